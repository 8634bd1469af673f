#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The image of deploy/Dockerfile, made by the scripts that it runs, in a bare Debian of debootstrap; and the pods of the
Helm chart, as a kubelet would start them in that image. With $ATELIER_SLOW the program is compiled there, too."""

import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import sys
import tempfile
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "e2e"))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "net"))

import azurite  # noqa: E402
import chart  # noqa: E402
import container  # noqa: E402
import support  # noqa: E402
from container import Container, Image, Pod  # noqa: E402

DOCKERFILE = container.ROOT / "deploy" / "Dockerfile"
MADE = {}  # the images, made once for all cases


def image():
    if "image" not in MADE:
        MADE["base"] = Image()
        MADE["image"] = Image(MADE["base"]) if support.SLOW_RUN else MADE["base"]
        with tempfile.TemporaryDirectory(prefix="atelier-stage-") as folder:
            container.stage(support.PROGRAM, folder)
            MADE["said"] = MADE["image"].build("/image/install.sh", {"/image": folder})
    return MADE["image"]


def dockerfile():
    """[(instruction, rest)], without comments."""
    lines = [line.strip() for line in DOCKERFILE.read_text().splitlines()]
    return [tuple(line.split(" ", 1)) for line in lines if line and not line.startswith("#")]


class Case(support.Case):
    spreads = False

    def setUp(self):
        super().setUp()
        self.folder.chmod(0o755)
        self.media = self.folder / "media"
        self.media.mkdir()
        support.make_video(self.media / "clip.mp4", frames=60)

    def start(self, command, mounts=None, environment=None):
        started = Container(image(), command, {"/scratch": (None, False), **(mounts or {})},
                            {"HOME": "/scratch", "TMPDIR": "/scratch", **(environment or {})})
        self.addCleanup(started.stop)
        return started

    def inside(self, *command, **keywords):
        code, said = self.start(command, **keywords).wait()
        self.assertEqual(code, 0, f"{command}: {said}")
        return said


class TheDockerfile(unittest.TestCase):
    def test_it_runs_the_scripts_that_are_tested_here_and_nothing_else(self):
        self.assertEqual([rest for name, rest in dockerfile() if name == "RUN"],
                         ["/src/deploy/image/build.sh /image",
                          "--mount=type=bind,from=build,source=/image,target=/image /image/install.sh"])
        for script in container.SCRIPTS.glob("*.sh"):
            self.assertTrue(script.stat().st_mode & 0o100, script)

    def test_nothing_of_the_build_is_in_the_image(self):
        stages = [i for i, (name, _) in enumerate(dockerfile()) if name == "FROM"]
        self.assertEqual(len(stages), 2)
        self.assertNotIn("COPY", [name for name, _ in dockerfile()[stages[1]:]])
        self.assertNotIn("ADD", [name for name, _ in dockerfile()])

    def test_it_is_of_a_user_and_names_no_host(self):
        found = dict(dockerfile())
        self.assertEqual(found["USER"], f"{container.USER}:{container.USER}")
        self.assertEqual(found["ENTRYPOINT"], '["/usr/local/bin/atelier"]')
        self.assertEqual(found["ARG"], "BASE=debian:bookworm-slim")
        for path in [DOCKERFILE, *container.SCRIPTS.glob("*.sh")]:
            self.assertNotRegex(path.read_text(), r"https?://|\b[a-z0-9-]+\.(com|org|io|net)\b", str(path))

    def test_what_is_sent_to_the_build_is_there(self):
        for line in DOCKERFILE.with_name("Dockerfile.dockerignore").read_text().splitlines():
            if line.startswith("!"):
                self.assertTrue((container.ROOT / line[1:]).exists(), line)


class TheImage(Case):
    def test_every_library_is_found(self):
        said = self.inside("ldd", "/usr/local/bin/atelier")
        self.assertIn("libavcodec", said)
        self.assertNotIn("not found", said)

    def test_version_and_models(self):
        version = support.run("--version").stdout.strip()
        self.assertEqual(self.inside("atelier", "--version").strip(), version)
        self.assertIn(version, MADE["said"])
        names = [model["name"] for model in json.loads(self.inside("atelier", "models", "--json"))["models"]]
        self.assertEqual(names, ["starry-night"])

    def test_only_what_runs_is_installed(self):
        names = self.inside("dpkg-query", "-W", "-f", "${Package}\n").split()
        self.assertIn("libavcodec59", names)
        self.assertEqual([name for name in names if name.endswith("-dev") or re.match(r"(g\+\+|gcc|cmake|git)\b(?!-)", name)
                          or re.match(r"(gcc|g\+\+)-\d+$", name)], [])
        left = container.run("find", image().root / "var/lib/apt/lists", image().root / "var/cache/apt", "-type", "f")
        self.assertNotRegex(left, r"\.deb|Packages|pkgcache")

    def test_its_user_can_write_nothing_but_scratch(self):
        root = image().root
        owned = container.run("find", root, "-xdev", "-user", container.USER).split()
        self.assertEqual(owned, [f"{root}/scratch"])
        open_to_all = container.run("find", root, "-xdev", "-perm", "-o+w", "!", "-type", "l", "!", "-type", "c", "!",
                                    "-perm", "-1000")
        self.assertEqual(open_to_all, "")

    def test_two_machines_are_not_taken_for_one(self):
        self.assertFalse((image().root / "etc/machine-id").exists())
        self.assertFalse((image().root / "var/lib/dbus/machine-id").exists())

    def test_it_paints_without_rights_in_a_root_that_cannot_be_written(self):
        self.media.chmod(0o777)
        job = ["run", "--model", "starry-night", "--chunk-seconds", "1", "--", "/media/clip.mp4", "/media/painted.mp4"]
        self.inside("atelier", *job, mounts={"/media": (self.media, False)})
        here = self.folder / "here.mp4"
        self.score(self.media / "clip.mp4", here, "--chunk-seconds", "1", model="starry-night")
        self.assertEqual(support.sha256(self.media / "painted.mp4"), support.sha256(here))

    def test_a_pod_says_what_it_takes(self):
        for arguments, words in (((), "it takes"), (("run",), "it takes"),
                                 (("paint", "a", "b"), '"paint" is none of run, worker and serve')):
            code, said = self.start(["atelier-pod", *arguments]).wait()
            self.assertEqual(code, 2, said)
            self.assertIn(f"atelier-pod: {words}", said)

    def test_containers_here_are_as_narrow_as_they_say(self):
        status = self.inside("cat", "/proc/self/status")
        self.assertRegex(status, rf"Uid:\t{container.USER}\t{container.USER}\t")
        self.assertRegex(status, r"CapEff:\t0+\n")
        self.assertRegex(status, r"CapBnd:\t0+\n")
        self.assertRegex(status, r"NoNewPrivs:\t1\n")
        self.assertRegex(self.inside("cat", "/proc/self/mounts"), r"(?m)^\S+ / tmpfs ro,")


@unittest.skipUnless(support.SLOW_RUN, "it takes a quarter of an hour")
class TheWholeBuild(Case):
    def test_a_bare_debian_compiles_what_another_one_runs(self):
        image()
        source = self.folder / "src"
        for line in DOCKERFILE.with_name("Dockerfile.dockerignore").read_text().splitlines():
            if line.startswith("!"):
                there, to = container.ROOT / line[1:], source / line[1:]
                to.parent.mkdir(parents=True, exist_ok=True)
                shutil.copytree(there, to) if there.is_dir() else shutil.copy2(there, to)
        made = self.folder / "image"
        made.mkdir()
        builder, fresh = Image(MADE["base"]), Image(MADE["base"])
        self.addCleanup(fresh.remove)
        self.addCleanup(builder.remove)
        builder.build("/src/deploy/image/build.sh /image", {"/src": source, "/image": made})
        fresh.build("/image/install.sh", {"/image": made})
        painted = Container(fresh, ["atelier", "run", "--model", "starry-night", "--", "/media/clip.mp4",
                                    "/scratch/painted.mp4"],
                            {"/scratch": (None, False), "/media": (self.media, True)},
                            {"HOME": "/scratch", "TMPDIR": "/scratch"})
        code, said = painted.wait()
        self.assertEqual(code, 0, said)


class Pods(Case):
    """The very Jobs that the chart renders; only threads and sizes are those of a small machine."""

    SMALL = ("--set", "run.threads=1,workers.threads=1,workers.joinSeconds=30")

    def setUp(self):
        super().setUp()
        reason = chart.why_not()
        if reason:
            print(f"SKIPPED: {reason}", file=sys.stderr)
            self.skipTest(reason)
        (self.folder / "runs").mkdir()
        (self.folder / "models").mkdir(exist_ok=True)
        self.claims = {"runs": self.folder / "runs", "media": self.media, "models": self.folder / "models"}
        self.secrets = {}
        self.pods = 0

    def slow_model(self):
        """Slow enough that a pod can start meanwhile and help."""
        return support.onnx_model.write_slow(self.folder / "models", support.slow_layers(milliseconds=40))

    def render(self, *options, example="claim"):
        self.objects = chart.render(example, *self.SMALL, "--set", "options={--chunk-seconds,0.4}", *options)

    def pod(self, component, index=None):
        self.pods += 1
        started = Pod(image(), chart.job(self.objects, component), self.folder / "volumes", self.secrets, self.claims,
                      index, self.pods)
        self.addCleanup(started.stop)
        return started

    def ends(self, pod, verdict, *words):
        """Its exit code, and what its Job makes of that."""
        code, said = pod.wait()
        component = "worker" if "-workers-" in pod.folder.name else "run"
        self.assertEqual(chart.verdict(chart.job(self.objects, component), code), verdict, f"{code}: {said}")
        for word in words:
            self.assertIn(word, said)
        return code

    def until(self, what, pod, condition):
        """Waits for it while the pod works."""
        deadline = time.monotonic() + support.TIMEOUT
        while not condition():
            if pod.process.poll() is not None:
                self.fail(f"{what}: the pod ended with {pod.process.returncode}: {pod.process.stdout.read()}")
            self.assertLess(time.monotonic(), deadline, f"{what}: not in time")
            time.sleep(0.01)  # the pods are other processes: nothing to wait on

    def painted_here(self, *options, model="starry-night"):
        here = self.folder / "here.mp4"
        self.score(self.media / "clip.mp4", here, "--chunk-seconds", "0.4", *options, model=model, runs=self.folder / "own")
        return support.sha256(here)

    def scored_by(self, pod):
        """The chunks that were."""
        return [path for path in self.commits() if pod.folder.name in json.loads(pathlib.Path(path).read_text())["worker"]]

    def beats_of(self, pod):
        return list((self.folder / "runs").glob(f"*/workers/*{pod.folder.name}*.beat"))

    # On claims ----------------------------------------------------------------------------------
    def test_workers_help_and_one_that_is_taken_away_comes_again(self):
        self.slow_model()
        self.render("--set", "models.claim=models,model=slow")
        worker = [self.pod("worker", index) for index in (0, 1)]  # they wait for the run
        run = self.pod("run")
        self.until("the run is known", run, lambda: list(self.claims["runs"].glob("demo-*.meeting")))
        signal_to(run, signal.SIGSTOP)  # what is done meanwhile is done by workers
        self.until("a worker has joined", worker[0], lambda: self.beats_of(worker[0]))
        signal_to(worker[0], signal.SIGTERM)
        self.assertEqual(self.ends(worker[0], "Ignore"), 130)
        again = self.pod("worker", 0)
        self.until("the other has scored", worker[1], lambda: self.scored_by(worker[1]))
        self.until("the new one has joined", again, lambda: self.beats_of(again))
        signal_to(run, signal.SIGCONT)
        self.ends(run, "Complete", "Run: file:///runs/")
        self.ends(worker[1], "Complete", "Worker ")
        self.ends(again, "Complete", "Worker ")
        self.assertEqual(support.sha256(self.media / "painted.mp4"), self.painted_here(model=self.slow_model()))

    def test_a_pod_that_is_killed_is_counted_and_the_next_one_goes_on(self):
        self.slow_model()
        self.render("--set", "models.claim=models,model=slow,workers.count=0")
        run = self.pod("run")
        self.until("a chunk is committed", run, self.commits)
        signal_to(run, signal.SIGKILL)
        self.assertEqual(self.ends(run, "Count"), 137)
        before = self.commits()
        self.assertFalse((self.media / "painted.mp4").exists())
        if not support.SLOW_RUN:
            return  # the dead pod's claim stands for half a minute: nobody can look into its namespace
        self.ends(self.pod("run"), "Complete", "scored earlier")
        self.assertLessEqual(before.items(), self.commits().items())
        self.assertEqual(support.sha256(self.media / "painted.mp4"), self.painted_here(model=self.slow_model()))

    def test_a_run_that_published_is_complete_whenever_it_is_started_again(self):
        self.render("--set", "workers.count=0")
        self.ends(self.pod("run"), "Complete")
        first = (self.media / "painted.mp4").stat()
        self.ends(self.pod("run"), "Complete", "was published before")
        self.assertEqual((self.media / "painted.mp4").stat().st_mtime_ns, first.st_mtime_ns)

    def test_an_output_of_somebody_else_is_kept(self):
        (self.media / "painted.mp4").write_bytes(b"mine")
        self.render("--set", "workers.count=0")
        self.assertEqual(self.ends(self.pod("run"), "FailJob", "exists and was kept"), 2)
        self.assertEqual((self.media / "painted.mp4").read_bytes(), b"mine")

    def test_what_is_wrong_fails_the_job_at_once(self):
        self.render("--set", "model=nobody")
        self.assertEqual(self.ends(self.pod("run"), "FailJob", "no model named 'nobody'"), 2)
        self.render("--set", "input=file:///media/none.mp4")
        self.assertEqual(self.ends(self.pod("run"), "FailJob", "none.mp4"), 3)

    def test_a_worker_without_a_run_says_so_and_is_tried_again(self):
        self.render("--set", "workers.joinSeconds=1")
        self.assertEqual(self.ends(self.pod("worker", 0), "Count", "no run was found by 'file:///runs/demo-"), 4)

    def test_a_meeting_that_names_an_old_run_is_looked_at_again(self):
        self.render()
        meeting = self.folder / chart.job(self.objects, "run")["spec"]["template"]["spec"]["containers"][0]["args"][
            1].removeprefix("file:///")
        meeting.write_text("file:///runs/0123456789abcdef\n")
        meeting.chmod(0o666)
        worker = self.pod("worker", 0)
        scratch = self.folder / "volumes" / worker.folder.name / "scratch" / "meeting"
        self.until("the old run was found", worker, scratch.exists)
        run = self.pod("run")
        self.ends(run, "Complete")
        self.ends(worker, "Complete", "There is no prepared run at", "Worker ")

    # In a store ---------------------------------------------------------------------------------
    def test_secrets_of_their_own_and_runs_that_are_encrypted(self):
        if not azurite.installed():
            print("SKIPPED: Azurite is not installed here and npm cannot install it", file=sys.stderr)
            self.skipTest("no Azurite")
        server = azurite.server()
        for name in ("input", "output", "runs"):
            server.make_container(name)
        server.put("input/clip.mp4", (self.media / "clip.mp4").read_bytes())
        account = f"az://{server.account}"
        rights = {"atelier-worker": {"input": "r", "runs": "rcwdl"},
                  "atelier-run": {"input": "r", "runs": "rcwdl", "output": "rcw"}}
        for name, places in rights.items():
            lines = [f"[{account}]", f"endpoint = {server.endpoint}", "ca_file = /run/atelier/ca.pem"]
            for place, permissions in places.items():
                lines += [f"[{account}/{place}]", f"sas = {server.container_sas(place, permissions)}"]
                if place == "runs":
                    lines.append("master_key_file = /run/atelier/master.key")
            self.secrets[name] = {"credentials": "\n".join(lines).encode(), "master.key": b"07" * 32,
                                  "ca.pem": pathlib.Path(server.ca).read_bytes()}
        self.render("--set", f"input={account}/input/clip.mp4,output={account}/output/painted.mp4,"
                             f"runs.url={account}/runs/all,workers.count=1", example="encrypted")
        worker = self.pod("worker", 0)
        self.check_renewal(worker)
        self.ends(self.pod("run"), "Complete", f"Run: {account}/runs/all/")
        self.ends(worker, "Complete", "Worker ")
        painted = self.folder / "there.mp4"
        painted.write_bytes(server.get("output/painted.mp4"))
        self.assertEqual(support.sha256(painted), self.painted_here())
        status, names = server.request("GET", "runs", "restype=container&comp=list")
        self.assertEqual(status, 200)
        self.assertIn(b"<Name>all/demo-", names)
        for name in re.findall(rb"<Name>(all/[^<]*)</Name>", names):
            self.assertTrue(server.get(f"runs/{name.decode()}").startswith(b"ATELCRYP"), name)

    def check_renewal(self, pod):
        """A Secret that changes is copied anew, for this user alone."""
        def copied():
            first = pod.first_process()
            return pathlib.Path(f"/proc/{first}/root/run/atelier/credentials") if first else None

        def says(text):
            try:
                return text in copied().read_bytes()
            except (AttributeError, OSError):
                return False

        self.until("credentials are copied", pod, lambda: says(b"[az://"))
        data = pod.folder / "secret"
        shutil.copytree(data / "..1", data / "..2")
        content = self.secrets["atelier-worker"]["credentials"] + b"\n# renewed\n"
        container.write_secret(data / "..2" / "credentials", content, pod.group, 0o400)
        for name in ("master.key", "ca.pem"):
            container.write_secret(data / "..2" / name, self.secrets["atelier-worker"][name], pod.group, 0o400)
        (data / "..tmp").symlink_to("..2")
        (data / "..tmp").rename(data / "..data")
        self.until("they are copied again", pod, lambda: says(b"# renewed"))
        facts = copied().stat()
        self.assertEqual((facts.st_uid, facts.st_mode & 0o077), (container.USER, 0))


def signal_to(pod, number):
    """As a kubelet does: to the container's process 1; what freezes, to all of it."""
    first = pod.first_process()
    os.kill(first, number)
    if number in (signal.SIGSTOP, signal.SIGCONT):
        family = support.children_of(first)  # looked up when the parent stands still: it makes no more of them
        for pid in family:
            with contextlib.suppress(ProcessLookupError):  # one that has done its work meanwhile is frozen enough
                os.kill(pid, number)
                family += support.children_of(pid)


if __name__ == "__main__":
    reason = container.why_not()
    if reason:
        print(f"SKIPPED: {reason}", file=sys.stderr)
        sys.exit(77)
    container.enter_own_mounts()
    try:
        support.main()
    finally:
        for each in azurite.SERVERS.values():
            each.stop()
        for each in {MADE[name] for name in ("base", "image") if name in MADE}:
            each.remove()
