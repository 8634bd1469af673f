{{/* SPDX-License-Identifier: Apache-2.0 */}}
{{- define "atelier.name" -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- end }}

{{- define "atelier.labels" -}}
app.kubernetes.io/name: atelier
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "atelier.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end }}

{{/* What decides which run it is, beside the input's content: another hash is another meeting. */}}
{{- define "atelier.meeting" -}}
{{- $v := .Values -}}
{{- $hash := list $v.input $v.output $v.model $v.options (include "atelier.image" .) | toJson | sha256sum | trunc 12 -}}
{{ $v.runs.url | trimSuffix "/" }}/{{ .Release.Name }}-{{ $hash }}.meeting
{{- end }}

{{/* Refuses, in a sentence, what a schema cannot see. */}}
{{- define "atelier.check" -}}
{{- $v := .Values -}}
{{- range $v.options -}}
{{- $name := regexReplaceAll "=.*" . "" -}}
{{- if has $name (list "--runs" "--model" "--workers" "--threads" "--json" "--quiet" "--memory" "--sandbox") -}}
{{- fail (printf "options: %s is given by the chart; leave it out" $name) -}}
{{- end -}}
{{- end -}}
{{- $places := list $v.input $v.output $v.runs.url -}}
{{- $away := false -}}
{{- range $places -}}
{{- if not (hasPrefix "file:" .) -}}{{- $away = true -}}{{- end -}}
{{- end -}}
{{- if and (hasPrefix "file:" $v.runs.url) (not $v.runs.claim) -}}
{{- fail "runs.url is a folder: name the ReadWriteMany claim that holds it in runs.claim" -}}
{{- end -}}
{{- if and (hasPrefix "file:" $v.runs.url) (not (hasPrefix "file:///runs" $v.runs.url)) -}}
{{- fail "runs.url must lie below file:///runs, where runs.claim is mounted" -}}
{{- end -}}
{{- range list $v.input $v.output -}}
{{- if and (hasPrefix "file:" .) (not (and $v.media.claim (hasPrefix "file:///media/" .))) -}}
{{- fail (printf "%s must lie below file:///media, where the claim in media.claim is mounted" .) -}}
{{- end -}}
{{- end -}}
{{- if and $away $v.networkPolicy.enabled (not $v.networkPolicy.stores) -}}
{{- fail "networkPolicy.stores: list the addresses of the stores, or set networkPolicy.enabled to false" -}}
{{- end -}}
{{- end }}

{{/* Exit codes of the program: README.md, "Exit codes". */}}
{{- define "atelier.podFailurePolicy" -}}
podFailurePolicy:
  rules:
    # The machine was taken away, or the pod was evicted: not its fault.
    - action: Ignore
      onPodConditions:
        - type: DisruptionTarget
          status: "True"
    # It was asked to stop; what was done is kept.
    - action: Ignore
      onExitCodes:
        containerName: atelier
        operator: In
        values: [130]
    # The run failed, the configuration is wrong, the input cannot be scored: the same again for whoever tries.
    - action: FailJob
      onExitCodes:
        containerName: atelier
        operator: In
        values: [1, 2, 3]
    # Everything else, 4 (a store cannot be reached) and 137 (memory) among it, is tried again.
{{- end }}

{{- define "atelier.podSecurity" -}}
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile:
    type: RuntimeDefault
automountServiceAccountToken: false
enableServiceLinks: false
{{- end }}

{{- define "atelier.containerSecurity" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  runAsNonRoot: true
  privileged: false
  capabilities:
    drop: [ALL]
{{- end }}

{{/* Of a dict with Values, and role: the values of this pod, secret: the name of its Secret. */}}
{{- define "atelier.env" -}}
- name: HOME
  value: /scratch
- name: TMPDIR
  value: /scratch
{{- if .Values.models.claim }}
- name: ATELIER_MODELS
  value: /models
{{- end }}
{{- if .secret }}
- name: ATELIER_SECRETS_FROM
  value: /run/secrets/atelier
- name: ATELIER_SECRETS
  value: /run/atelier
- name: ATELIER_CREDENTIALS
  value: /run/atelier/credentials
{{- end }}
{{- end }}

{{- define "atelier.mounts" -}}
- name: scratch
  mountPath: /scratch
{{- if .secret }}
- name: secret
  mountPath: /run/secrets/atelier
  readOnly: true
- name: private
  mountPath: /run/atelier
{{- end }}
{{- if .Values.runs.claim }}
- name: runs
  mountPath: /runs
{{- end }}
{{- if .Values.media.claim }}
- name: media
  mountPath: /media
  {{- if .readOnly }}
  readOnly: true
  {{- end }}
{{- end }}
{{- if .Values.models.claim }}
- name: models
  mountPath: /models
  readOnly: true
{{- end }}
{{- end }}

{{- define "atelier.volumes" -}}
- name: scratch
  emptyDir:
    {{- if .Values.encrypted }}
    medium: Memory
    {{- end }}
    sizeLimit: {{ .role.scratch }}
{{- if .secret }}
- name: secret
  {{- if .role.tls }}
  projected:
    defaultMode: 0400
    sources:
      {{- range uniq (compact (list .role.secret .role.tls.secret)) }}
      - secret:
          name: {{ . }}
      {{- end }}
  {{- else }}
  secret:
    secretName: {{ .secret }}
    defaultMode: 0400
  {{- end }}
- name: private
  emptyDir:
    medium: Memory
    sizeLimit: 1Mi
{{- end }}
{{- range $name := list "runs" "media" "models" }}
{{- with (index $.Values $name).claim }}
- name: {{ $name }}
  persistentVolumeClaim:
    claimName: {{ . }}
    {{- if eq $name "models" }}
    readOnly: true
    {{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* As many processors as threads; requests are limits, so that a pod is the last to be evicted. */}}
{{- define "atelier.resources" -}}
resources:
  {{- range list "requests" "limits" }}
  {{ . }}:
    cpu: {{ $.role.threads | quote }}
    memory: {{ $.role.memory }}
    {{- if not $.Values.encrypted }}
    ephemeral-storage: {{ $.role.scratch }}
    {{- end }}
  {{- end }}
{{- end }}

{{/* Refuses, in a sentence, what a schema cannot see of the service. */}}
{{- define "atelier.checkService" -}}
{{- $v := .Values.service -}}
{{- if or .Values.input .Values.output .Values.runs.url -}}
{{- fail "service.enabled: its videos are submitted to it; leave input, output and runs.url out, or make the video a release of its own" -}}
{{- end -}}
{{- if not (regexMatch "^(\\s*#[^\\n]*\\n|\\s*\\n)*\\s*\\[" $v.config) -}}
{{- fail "service.config must begin with a table, like [stores]: what stands before the tables is given by the chart" -}}
{{- end -}}
{{- if regexMatch "(?m)^\\s*\\[tls\\]" $v.config -}}
{{- fail "service.config: [tls] is given by the chart; name the Secret of the certificate in service.tls.secret" -}}
{{- end -}}
{{- if and (not $v.tls.secret) (not $v.plainHttp) -}}
{{- fail "service.tls.secret: name a Secret of type kubernetes.io/tls, or set service.plainHttp where a proxy with TLS stands before the service" -}}
{{- end -}}
{{- if and .Values.networkPolicy.enabled (not .Values.networkPolicy.clients) -}}
{{- fail "networkPolicy.clients: say who may reach the service, or set networkPolicy.enabled to false" -}}
{{- end -}}
{{- end }}

{{/* atelier.toml: what the pod decides, then what the values say. */}}
{{- define "atelier.serviceConfig" -}}
{{- $v := .Values.service -}}
listen = "0.0.0.0:8080"
events_listen = "0.0.0.0:8081"
allow_plain_http = {{ not $v.tls.secret }}
data = "/data"
{{- if $v.pipelines }}
pipelines = {{ keys $v.pipelines | sortAlpha | toJson }}
{{- end }}
{{- if $v.tls.secret }}

[tls]
certificate = "/run/atelier/tls.crt"
key = "/run/atelier/tls.key"
{{- end }}

{{ $v.config | trim }}
{{- end }}
