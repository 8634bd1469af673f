#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The Helm chart: linted, rendered with several sets of values, checked against the types of Kubernetes' API and
against what a careful cluster asks of its pods. What its pods do is in image_test.py."""

import copy
import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "e2e"))

import chart  # noqa: E402
import support  # noqa: E402
from chart import of_kind, render, template  # noqa: E402

SECRET_WORDS = ("sas=", "sig=", "key=", "password", "secret_access_key")


def with_pods(objects):
    """Jobs, and the service's Deployment."""
    return of_kind(objects, "Job") + of_kind(objects, "Deployment")


def containers(each):
    pod = each["spec"]["template"]["spec"]
    return pod["containers"] + pod.get("initContainers", [])


class Chart(unittest.TestCase):
    longMessage = True

    def assert_refused(self, words, *options, example="azure"):
        done = template(example, *options)
        self.assertNotEqual(done.returncode, 0, f"{options} was rendered")
        for word in words:
            self.assertIn(word, done.stderr)

    # What is valid ------------------------------------------------------------------------------
    def test_lint_finds_nothing(self):
        for example in chart.example_names():
            done = chart.helm("lint", "--strict", chart.CHART, "-f", chart.EXAMPLES / f"{example}.yaml")
            self.assertEqual(done.returncode, 0, done.stdout)

    def test_types_of_the_api(self):
        more = [("azure", "--set", "workers.count=0,networkPolicy.metadata=true,activeDeadlineSeconds=3600,"
                          "ttlSecondsAfterFinished=60,image.pullSecrets={registry},models.claim=models",
                 "--set", "serviceAccounts.annotations.run.a/b=c"),
                ("claim", "--set", "networkPolicy.enabled=false,workers.parallelism=1",
                 "--set", f"image.digest=sha256:{'0' * 64}"),
                ("service", "--set", "service.data.claim=films,service.tls.secret=,service.plainHttp=true,encrypted=true",
                 "--set", "serviceAccounts.annotations.service.a/b=c,service.nodeSelector.disk=fast")]
        objects = []
        for example in chart.example_names():
            objects += render(example)
        for example, *options in more:
            objects += render(example, *options)
        self.assertGreater(len(of_kind(objects, "Job")), 6)
        self.assertEqual(chart.check_types(objects), [])

    def test_the_check_of_types_finds_what_is_wrong(self):
        good = chart.job(render("claim"), "worker")
        bad = [copy.deepcopy(good) for _ in range(3)]
        bad[0]["spec"]["completions"] = "four"
        containers(bad[1])[0]["securityContext"]["readOnlyRootFileSystem"] = True
        del bad[2]["spec"]["template"]["spec"]["containers"]
        found = "\n".join(chart.check_types(bad))
        self.assertIn("completions must be integer", found)
        self.assertIn("readOnlyRootFileSystem", found)
        self.assertIn("required property containers", found)

    # What is refused ----------------------------------------------------------------------------
    def test_what_must_be_given(self):
        done = chart.helm("template", "demo", chart.CHART)
        self.assertNotEqual(done.returncode, 0)
        for name in ("image.repository", "input", "output", "runs.url"):
            self.assertIn(f"- {name}:", done.stderr)

    def test_values_that_are_no_values(self):
        self.assert_refused(["workers.count"], "--set", "workers.count=many")
        self.assert_refused(["wokers"], "--set", "wokers.count=3")
        self.assert_refused(["input"], "--set", "input=clip.mp4")
        self.assert_refused(["input"], "--set", "input=az://acme/in/clip.mp4?sig=abc")
        self.assert_refused(["run.memory"], "--set", "run.memory=8GB")
        self.assert_refused(["image.digest"], "--set", "image.digest=latest")
        self.assert_refused(["secrets"], "--set", "secrets.sas=sp=r")

    def test_what_does_not_fit_together(self):
        self.assert_refused(["--json is given by the chart"], "--set", "options={--json}")
        self.assert_refused(["--runs is given by the chart"], "--set", "options={--runs=az://a/b}")
        self.assert_refused(["networkPolicy.stores"], "--set", "networkPolicy.stores=null")
        self.assert_refused(["runs.claim"], "--set", "runs.claim=", example="claim")
        self.assert_refused(["file:///runs"], "--set", "runs.url=file:///tmp", example="claim")
        self.assert_refused(["media.claim"], "--set", "media.claim=", example="claim")
        self.assert_refused(["file:///media"], "--set", "output=file:///out.mp4", example="claim")

    # What a pod may -----------------------------------------------------------------------------
    def test_every_container_is_locked_down(self):
        for example in chart.example_names():
            objects = render(example)
            self.assertTrue(with_pods(objects))
            for each in with_pods(objects):
                pod = each["spec"]["template"]["spec"]
                self.assertFalse(pod["automountServiceAccountToken"])
                self.assertNotIn("hostNetwork", pod)
                self.assertNotIn("hostPID", pod)
                self.assertTrue(pod["securityContext"]["runAsNonRoot"])
                self.assertGreater(pod["securityContext"]["runAsUser"], 0)
                self.assertEqual(pod["securityContext"]["seccompProfile"], {"type": "RuntimeDefault"})
                for container in containers(each):
                    security = container["securityContext"]
                    self.assertTrue(security["readOnlyRootFilesystem"])
                    self.assertFalse(security["allowPrivilegeEscalation"])
                    self.assertEqual(security["capabilities"], {"drop": ["ALL"]})
                    self.assertEqual(container["resources"]["requests"], container["resources"]["limits"])
                    self.assertIn("memory", container["resources"]["limits"])
                for volume in pod["volumes"]:
                    self.assertNotIn("hostPath", volume)

    def test_secrets_are_files_of_existing_secrets_only(self):
        for example in ("azure", "encrypted"):
            objects = render(example)
            self.assertEqual(of_kind(objects, "Secret") + of_kind(objects, "ConfigMap"), [])
            names = set()
            for each in of_kind(objects, "Job"):
                volumes = each["spec"]["template"]["spec"]["volumes"]
                secret, = [volume["secret"] for volume in volumes if "secret" in volume]
                self.assertEqual(secret["defaultMode"], 0o400)
                names.add(secret["secretName"])
                private, = [volume for volume in volumes if volume["name"] == "private"]
                self.assertEqual(private["emptyDir"]["medium"], "Memory")
                for container in containers(each):
                    self.assertNotIn("envFrom", container)
                    for variable in container["env"]:
                        self.assertEqual(set(variable), {"name", "value"}, "a secret in the environment")
                    text = json.dumps([container["env"], container["args"], container["command"]]).lower()
                    for word in SECRET_WORDS:
                        self.assertNotIn(word, text)
            self.assertEqual(names, {"atelier-run", "atelier-worker"}, "workers have the credentials of the run")

    def test_no_secret_where_there_is_none(self):
        for each in of_kind(render("claim"), "Job"):
            self.assertNotIn("secret", json.dumps(each).lower())

    def test_workers_cannot_write_the_media(self):
        objects = render("claim")
        for component, read_only in (("run", False), ("worker", True)):
            container, = containers(chart.job(objects, component))
            media, = [mount for mount in container["volumeMounts"] if mount["name"] == "media"]
            self.assertEqual(media.get("readOnly", False), read_only)

    def test_scratch_of_encrypted_runs_stays_in_memory(self):
        for example, medium in (("azure", None), ("encrypted", "Memory")):
            for each in of_kind(render(example), "Job"):
                scratch, = [volume for volume in each["spec"]["template"]["spec"]["volumes"]
                            if volume["name"] == "scratch"]
                self.assertEqual(scratch["emptyDir"].get("medium"), medium)
                environment = {variable["name"]: variable["value"] for variable in containers(each)[0]["env"]}
                self.assertEqual(environment["TMPDIR"], "/scratch")

    # What the network lets through --------------------------------------------------------------
    def policy(self, *arguments):
        found, = of_kind(render(*arguments), "NetworkPolicy")
        return found["spec"]

    def test_nothing_in_and_only_names_and_stores_out(self):
        spec = self.policy("azure")
        self.assertEqual(sorted(spec["policyTypes"]), ["Egress", "Ingress"])
        self.assertEqual(spec["ingress"], [])
        out = [(to.get("ipBlock", {}).get("cidr", "names"), port["protocol"], port["port"])
               for rule in spec["egress"] for to in rule["to"] for port in rule["ports"]]
        self.assertEqual(out, [("names", "UDP", 53), ("names", "TCP", 53), ("10.0.2.4/32", "TCP", 443),
                               ("10.0.2.5/32", "TCP", 443)])
        self.assertEqual(self.policy("claim")["egress"], [])

    def test_the_policy_is_about_every_pod(self):
        objects = render("azure")
        wanted, = of_kind(objects, "NetworkPolicy")
        wanted = wanted["spec"]["podSelector"]["matchLabels"].items()
        for each in of_kind(objects, "Job"):
            self.assertLessEqual(wanted, each["spec"]["template"]["metadata"]["labels"].items())

    def test_metadata_only_where_it_is_asked_for(self):
        self.assertNotIn("169.254", json.dumps(self.policy("azure")))
        self.assertIn("169.254.169.254/32", json.dumps(self.policy("azure", "--set", "networkPolicy.metadata=true")))

    # Jobs ---------------------------------------------------------------------------------------
    def test_what_becomes_of_exit_codes(self):
        wanted = {0: "Complete", 1: "FailJob", 2: "FailJob", 3: "FailJob", 4: "Count", 130: "Ignore", 137: "Count"}
        for each in of_kind(render("azure"), "Job"):
            self.assertEqual({code: chart.verdict(each, code) for code in wanted}, wanted)
            rules = each["spec"]["podFailurePolicy"]["rules"]
            self.assertEqual(rules[0]["action"], "Ignore")
            self.assertEqual(rules[0]["onPodConditions"], [{"type": "DisruptionTarget", "status": "True"}])
            # Without it Kubernetes refuses a policy.
            self.assertEqual(each["spec"]["template"]["spec"]["restartPolicy"], "Never")
            names = {rule["onExitCodes"]["containerName"] for rule in rules if "onExitCodes" in rule}
            self.assertEqual(names, {container["name"] for container in containers(each)})

    def test_workers_are_an_indexed_job(self):
        objects = render("azure", "--set", "workers.parallelism=3")
        spec = chart.job(objects, "worker")["spec"]
        self.assertEqual((spec["completionMode"], spec["completions"], spec["parallelism"]), ("Indexed", 8, 3))
        self.assertEqual(spec["backoffLimitPerIndex"], 6)
        self.assertEqual(of_kind(render("azure", "--set", "workers.count=0"), "Job"),
                         [chart.job(render("azure"), "run")])

    def test_both_jobs_meet_in_one_place_that_is_their_own(self):
        def meetings(*options, release="demo"):
            objects = render("azure", *options, release=release)
            return {containers(each)[0]["args"][1] for each in of_kind(objects, "Job")}

        mine, = meetings()
        self.assertRegex(mine, r"^az://acmeops/runs/video/demo-[0-9a-f]{12}\.meeting$")
        self.assertEqual({mine}, meetings("--set", "workers.count=3"))
        for options in (["input=az://acmemedia/input/b.mp4"], ["output=az://acmemedia/output/b.mp4"], ["model=candy"],
                        ["options={--deinterlace}"], ["image.tag=v2"]):
            self.assertNotEqual({mine}, meetings("--set", *options), options)
        self.assertNotEqual({mine}, meetings(release="other"))

    def test_names_of_any_release_are_valid(self):
        for release in ("a", "a" * 53):
            for each in render("azure", release=release):
                self.assertRegex(each["metadata"]["name"], r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")


class Service(unittest.TestCase):
    """The chart as `atelier serve`."""
    longMessage = True
    assert_refused = Chart.assert_refused

    def setUp(self):
        self.objects = render("service")
        self.deployment, = of_kind(self.objects, "Deployment")
        self.pod = self.deployment["spec"]["template"]["spec"]

    def config(self, *options):
        found, = of_kind(render("service", *options), "ConfigMap")
        return found["data"]

    def test_it_is_in_place_of_the_jobs(self):
        self.assertEqual(of_kind(self.objects, "Job"), [])
        self.assertEqual(of_kind(render("azure"), "Deployment") + of_kind(render("azure"), "Service"), [])

    def test_the_database_is_of_one_pod(self):
        spec = self.deployment["spec"]
        self.assertEqual((spec["replicas"], spec["strategy"]), (1, {"type": "Recreate"}))
        claim, = of_kind(self.objects, "PersistentVolumeClaim")
        self.assertEqual(claim["spec"]["accessModes"], ["ReadWriteOnce"])
        self.assertEqual(claim["metadata"]["annotations"], {"helm.sh/resource-policy": "keep"})
        data, = [volume for volume in self.pod["volumes"] if volume["name"] == "data"]
        self.assertEqual(data["persistentVolumeClaim"]["claimName"], claim["metadata"]["name"])
        mount, = [mount for mount in self.pod["containers"][0]["volumeMounts"] if mount["name"] == "data"]
        self.assertEqual(mount["mountPath"], "/data")
        own = render("service", "--set", "service.data.claim=films")
        self.assertEqual(of_kind(own, "PersistentVolumeClaim"), [])

    def test_clients_find_the_pod_and_nobody_else_may_come_in(self):
        service, = of_kind(self.objects, "Service")
        labels = self.deployment["spec"]["template"]["metadata"]["labels"].items()
        self.assertLessEqual(service["spec"]["selector"].items(), labels)
        self.assertLessEqual(self.deployment["spec"]["selector"]["matchLabels"].items(), labels)
        names = {port["name"]: port["containerPort"] for port in self.pod["containers"][0]["ports"]}
        self.assertEqual({port["port"]: names[port["targetPort"]] for port in service["spec"]["ports"]},
                         {8080: 8080, 8081: 8081})
        out, clients = of_kind(self.objects, "NetworkPolicy")
        self.assertEqual((out["spec"]["policyTypes"], out["spec"]["ingress"]), (["Ingress", "Egress"], []))
        for policy in (out, clients):
            self.assertLessEqual(policy["spec"]["podSelector"]["matchLabels"].items(), labels)
        rule, = clients["spec"]["ingress"]
        self.assertEqual(rule["from"], [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "studio"}}}])
        self.assertEqual([port["port"] for port in rule["ports"]], [8080, 8081])

    def test_secrets_are_files_of_existing_secrets(self):
        self.assertEqual(of_kind(self.objects, "Secret"), [])
        secret, = [volume["projected"] for volume in self.pod["volumes"] if "projected" in volume]
        self.assertEqual(secret, {"defaultMode": 0o400, "sources": [{"secret": {"name": "atelier-service"}},
                                                                    {"secret": {"name": "atelier-service-tls"}}]})
        for variable in self.pod["containers"][0]["env"]:
            self.assertEqual(set(variable), {"name", "value"}, "a secret in the environment")

    def test_probes_speak_as_the_service_does(self):
        for options, scheme in (((), "HTTPS"), (("--set", "service.tls.secret=,service.plainHttp=true"), "HTTP")):
            found, = of_kind(render("service", *options), "Deployment")
            container, = containers(found)
            for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
                self.assertEqual(container[probe]["httpGet"]["scheme"], scheme)

    def test_another_configuration_is_another_pod(self):
        other, = of_kind(render("service", "--set", "service.plainHttp=true,service.tls.secret="), "Deployment")
        self.assertNotEqual(self.deployment["spec"]["template"]["metadata"]["annotations"],
                            other["spec"]["template"]["metadata"]["annotations"])

    def test_what_does_not_fit_together(self):
        for words, *options in (
                ("leave input, output and runs.url out", "--set", "input=az://a/b/c.mp4"),
                ("service.config must begin with a table", "--set", "service.config=data = '/elsewhere'\n[stores]"),
                ("[tls] is given by the chart", "--set", "service.config=[stores]\n[tls]"),
                ("service.tls.secret", "--set", "service.tls.secret="),
                ("networkPolicy.clients", "--set", "networkPolicy.clients=null"),
                ("service.config", "--set", "service.config="),
                ("pipelines", "--set-string", "service.pipelines.paint=x")):
            self.assert_refused([words], *options, example="service")

    def test_the_program_takes_the_configuration(self):
        """It starts with it, on this machine's loopback and with folders of this test."""
        data = self.config("--set", "service.tls.secret=,service.plainHttp=true")
        self.assertIn('certificate = "/run/atelier/tls.crt"', self.config()["atelier.toml"])
        with tempfile.TemporaryDirectory(prefix="atelier-chart-") as holder:
            folder = pathlib.Path(holder)
            text = data["atelier.toml"]
            for there, here in (('listen = "0.0.0.0:8080"', 'listen = "127.0.0.1:0"'),
                                ('events_listen = "0.0.0.0:8081"', 'events_listen = "127.0.0.1:0"'),
                                ('"/data"', f'"{folder}/data"'), ("az://acmemedia/input", f"{folder}/in"),
                                ("az://acmemedia/output", f"{folder}/out"), ("az://acmeops/runs", f"{folder}/runs")):
                self.assertIn(there, text)
                text = text.replace(there, here)
            for name in ("data", "in", "out", "runs"):
                (folder / name).mkdir(mode=0o700)
            for name, content in {**data, "atelier.toml": text}.items():
                (folder / name).write_text(content)
            process = subprocess.Popen([support.PROGRAM, "serve", "--config", folder / "atelier.toml"],
                                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            try:
                said = []
                for line in iter(process.stdout.readline, ""):
                    said.append(line)
                    if line.startswith("Serving at "):
                        break
                self.assertTrue(said and said[-1].startswith("Serving at "), said)
            finally:
                process.terminate()
                process.communicate(timeout=support.TIMEOUT)


if __name__ == "__main__":
    reason = chart.why_not()
    if reason:
        print(f"SKIPPED: {reason}", file=sys.stderr)
        sys.exit(77)
    support.main()
