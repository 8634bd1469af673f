#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What the pods of deploy/kubernetes run; in the image it is called atelier-pod.
#
#   atelier-pod run MEETING ARGUMENT...         `atelier run ARGUMENT...`, which leaves the URL of its run in MEETING
#   atelier-pod worker MEETING N ARGUMENT...    `atelier worker` of that run, as number $JOB_COMPLETION_INDEX + 1 of N
#   atelier-pod serve ARGUMENT...               `atelier serve ARGUMENT...`
#
# MEETING is an object beside the runs: only who has prepared a run knows its name. Files in $ATELIER_SECRETS_FROM, a
# Secret, are copied into $ATELIER_SECRETS, where only this user can read them, and copied again when they change. A
# worker looks for its run for $ATELIER_JOIN_SECONDS [1800]. Exit codes are the program's; 4 if no run was found.
set -uo pipefail

fail() {
  echo "atelier-pod: $1" >&2
  exit 2
}

[ $# -ge 3 ] || fail "it takes \"run MEETING ARGUMENT...\", \"worker MEETING N ARGUMENT...\" or \"serve ARGUMENT...\""
role=$1
shift
meeting=
if [ "$role" != serve ]; then
  meeting=$1
  shift
fi
look_every=2
scratch=${TMPDIR:?atelier-pod needs TMPDIR, a folder of its own}
child=
stopping=
code=1

# What was asked to end is asked once more to the program, which then keeps what is done and exits with 130.
stop() {
  stopping=yes
  interrupted=yes
  [ -z "$child" ] || kill -TERM "$child" 2>/dev/null
}
trap stop TERM INT

# Waits for `child`, through signals; its exit code is in `code`.
await() {
  local status
  while :; do
    interrupted=
    wait "$child"
    status=$?
    [ "$status" = 127 ] || code=$status
    [ -n "$interrupted" ] || break
  done
  child=
}

run() {
  [ -z "$stopping" ] || exit 130
  code=1
  "$@" &
  child=$!
  [ -z "$stopping" ] || kill -TERM "$child" 2>/dev/null
  await
}

# A Secret is mounted so that root and a group can read it, and the program refuses what a group can read.
copy_secrets() {
  local file name
  for file in "$ATELIER_SECRETS_FROM"/*; do
    [ -f "$file" ] || continue
    name=${file##*/}
    cmp -s "$file" "$ATELIER_SECRETS/$name" && continue
    (umask 077 && cp --remove-destination "$file" "$ATELIER_SECRETS/.$name") &&
      mv -f "$ATELIER_SECRETS/.$name" "$ATELIER_SECRETS/$name" || return 1
  done
}

keep_secrets() {
  [ -n "${ATELIER_SECRETS_FROM:-}" ] || return 0
  copy_secrets || fail "cannot copy the secrets in '$ATELIER_SECRETS_FROM' to '$ATELIER_SECRETS'"
  (
    trap - TERM INT
    while sleep "$look_every"; do copy_secrets; done
  ) &
  local refresher=$!
  # shellcheck disable=SC2064 # this very process
  trap "kill $refresher 2>/dev/null" EXIT
}

# The URL that stands in the meeting, in `url`; `code` is that of `atelier cp`.
look() {
  url=
  run atelier cp "$meeting" "$scratch/meeting" --force --quiet 2>"$scratch/why"
  [ "$code" != 0 ] || url=$(<"$scratch/meeting")
}

# Passes on what `atelier run` says; the line that names the run goes into the meeting, too.
listen() {
  local line
  while IFS= read -r line; do
    printf '%s\n' "$line"
    case $line in
      "Run: "*)
        printf '%s\n' "${line#Run: }" >"$scratch/run-url"
        atelier cp "$scratch/run-url" "$meeting" --force --quiet ||
          echo "atelier-pod: no worker will find the run, which goes on without any" >&2
        ;;
    esac
  done
}

run_job() {
  rm -f "$scratch/said"
  mkfifo "$scratch/said" || fail "cannot make '$scratch/said'; set TMPDIR to a writable folder"
  (trap '' TERM INT && listen) <"$scratch/said" &
  local listener=$!
  run atelier run "$@" >"$scratch/said"
  wait "$listener"
  # A pod that ended between publishing and saying so is started again, and finds its own output there.
  local verdict=$code
  if [ "$verdict" = 2 ]; then
    look
    case ${url:+$(atelier show "$url" 2>/dev/null)} in
      "Run "*", published."*)
        echo "The run $url was published before."
        verdict=0
        ;;
    esac
  fi
  exit "$verdict"
}

run_worker() {
  local workers=$1 verdict=4 url
  local deadline=$((SECONDS + ${ATELIER_JOIN_SECONDS:-1800}))
  shift
  while :; do
    look
    [ "$code" = 0 ] || [ "$code" = 3 ] || cat "$scratch/why" >&2
    [ "$code" != 2 ] || exit 2
    if [ -n "$url" ]; then
      run atelier worker "$url" --worker "$((JOB_COMPLETION_INDEX + 1))/$workers" "$@"
      # The URL may be that of an earlier run, of another input or removed since; the next one is on its way.
      [ "$code" = 2 ] || [ "$code" = 3 ] || exit "$code"
      verdict=$code
    fi
    if [ "$SECONDS" -ge "$deadline" ]; then
      [ "$verdict" != 4 ] || echo "atelier-pod: no run was found by '$meeting'; see the log of the pod that runs it" >&2
      exit "$verdict"
    fi
    run sleep "$look_every"
  done
}

# The program ends with 0 when it is asked to stop.
run_service() {
  run atelier serve "$@"
  exit "$code"
}

keep_secrets
case $role in
  run) run_job "$@" ;;
  worker) run_worker "$@" ;;
  serve) run_service "$@" ;;
  *) fail "\"$role\" is none of run, worker and serve" ;;
esac
