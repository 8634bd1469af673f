# SPDX-License-Identifier: Apache-2.0
"""Images and containers without a container engine, as root: a bare Debian by debootstrap in a tmpfs, and processes that
have it as a read-only root, namespaces and a user of their own, and no capabilities.

What a kubelet does for a pod of ours is here, too (`Pod`): volumes, secrets with the group of the pod, environment,
command. Not here: the network's rules, seccomp of the engine, limits of processors and memory."""

import ctypes
import os
import pathlib
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile

import support

ROOT = pathlib.Path(__file__).resolve().parents[2]
SCRIPTS = ROOT / "deploy" / "image"
USER = 10001
OWN_MOUNTS = "ATELIER_TEST_OWN_MOUNTS"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def why_not():
    """Why no image can be made here; empty if one can."""
    if os.geteuid() != 0:
        return "images are made by root alone"
    missing = [name for name in ("debootstrap", "unshare", "apt-get") if shutil.which(name) is None]
    if missing:
        return f"{missing[0]} is missing: run tools/setup deploy"
    if subprocess.run(["unshare", "--mount", "--pid", "--uts", "--ipc", "--fork", "true"], capture_output=True,
                      check=False).returncode:
        return "namespaces cannot be had here"
    if not mirrors():
        return "apt of this machine knows no mirror of its own release of Debian"
    return ""


def enter_own_mounts():
    """Starts this program again where what it mounts is seen by nobody else, and is gone when it ends."""
    if os.environ.get(OWN_MOUNTS) == str(os.getpid()):
        return
    # unshare gives its process to what it runs, so the pid stays.
    os.environ[OWN_MOUNTS] = str(os.getpid())
    os.execvp("unshare", ["unshare", "--mount", "--propagation", "private", sys.executable, "-B", *sys.argv])


def codename():
    facts = dict(line.split("=", 1) for line in pathlib.Path("/etc/os-release").read_text().splitlines() if "=" in line)
    return facts.get("VERSION_CODENAME", "").strip('"')


def mirrors():
    """(address, suite) of this machine's own sources of its own release, by apt; the release itself comes first."""
    done = subprocess.run(["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)",
                           "Created-By: Packages"], capture_output=True, text=True, check=False)
    found = []
    for line in done.stdout.splitlines():
        address, suite, component = line.split(" ")
        known = suite in (codename(), f"{codename()}-updates", f"{codename()}-security")
        if known and component == "main" and address.startswith(("http:", "https:", "file:")):
            found.append((address, suite))
    found = sorted(set(found), key=lambda source: source[1])
    return found if found and found[0][1] == codename() else []


def apt_environment():
    """What apt of this machine is told of proxies, for programs that do not read its settings."""
    done = subprocess.run(["apt-config", "shell", "http", "Acquire::http::Proxy", "https", "Acquire::https::Proxy"],
                          capture_output=True, text=True, check=False)
    environment = {"PATH": PATH, "LC_ALL": "C.UTF-8"}
    for line in done.stdout.splitlines():
        name, _, value = line.partition("=")
        environment[f"{name}_proxy"] = shlex.split(value)[0]
    return environment


def run(*command, timeout=600, **keywords):
    done = subprocess.run([*map(str, command)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=timeout, check=False, **keywords)
    if done.returncode:
        raise RuntimeError(f"{command}: {done.returncode}\n{done.stdout[-3000:]}")
    return done.stdout


def die_with_parent():
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


class Image:
    """A root folder in a tmpfs of its own; `enter_own_mounts` first. The tmpfs spares dpkg its waiting for disks."""

    def __init__(self, base=None):
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="atelier-image-"))
        run("mount", "-t", "tmpfs", "-o", "mode=0755", "image", self.root)
        if base:
            run("cp", "-a", f"{base.root}/.", self.root)
            return
        sources = mirrors()
        run("debootstrap", "--variant=minbase", codename(), self.root, sources[0][0], env=apt_environment())
        (self.root / "etc/apt/sources.list").write_text(
            "".join(f"deb {address} {suite} main\n" for address, suite in sources))

    def build(self, script, volumes):
        """Runs a script in it, as a RUN line of a Dockerfile does; `volumes` is {place in the image: folder}."""
        lines = ["set -e", "cd /"]
        for place, folder in volumes.items():
            (self.root / place.lstrip("/")).mkdir(parents=True, exist_ok=True)
            lines.append(f"mount --bind {shlex.quote(str(folder))} {self.root}{place}")
        lines += [f"mount -t proc proc {self.root}/proc", f"exec chroot {self.root} {script}"]
        return run("unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", "\n".join(lines), timeout=7200,
                   env=apt_environment())

    def remove(self):
        run("umount", self.root)
        self.root.rmdir()


def stage(program, folder):
    """What install.sh needs, made of a program that is built already."""
    run(SCRIPTS / "stage.sh", program, folder)
    return folder


class Container:
    """A process in the image. `mounts` is {place: (folder or None for memory, read-only)}."""

    def __init__(self, image, command, mounts, environment, name="container", groups=(USER,)):
        root = image.root
        holder = pathlib.Path(tempfile.mkdtemp(prefix="atelier-container-"))
        self.holder = holder
        lines = ["set -e", f"hostname {name}", f"mount --bind {root} {holder}", f"mount -o remount,bind,ro {holder}",
                 f"mount -t proc proc {holder}/proc", f"mount -t tmpfs -o mode=0755 dev {holder}/dev"]
        for minor, device in ((3, "null"), (5, "zero"), (8, "random"), (9, "urandom")):
            lines.append(f"mknod -m 0666 {holder}/dev/{device} c 1 {minor}")
        lines += [f"ln -s /proc/self/fd {holder}/dev/fd", f"mkdir -m 1777 {holder}/dev/shm",
                  f"mount -t tmpfs shm {holder}/dev/shm"]
        for place, (folder, read_only) in mounts.items():
            (root / place.lstrip("/")).mkdir(parents=True, exist_ok=True)  # an engine does this in a layer on top
            if folder is None:
                lines.append(f"mount -t tmpfs -o mode=2777,gid={groups[0]} memory {holder}{place}")
            else:
                lines.append(f"mount --bind {shlex.quote(str(folder))} {holder}{place}")
            if read_only:
                lines.append(f"mount -o remount,bind,ro {holder}{place}")
        inside = ["/usr/bin/setpriv", f"--reuid={USER}", f"--regid={USER}", f"--groups={','.join(map(str, groups))}",
                  "--no-new-privs", "--bounding-set=-all", "--inh-caps=-all", "--", *map(str, command)]
        lines.append(f"exec chroot {holder} {shlex.join(inside)}")
        # The shell's first child is process 1 of the new namespace. unshare's own --fork forgets by which signal it ended.
        self.process = subprocess.Popen(
            ["unshare", "--mount", "--pid", "--uts", "--ipc", "sh", "-c", 'sh -c "$1" & wait $!', "sh",
             "\n".join(lines)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env={"PATH": PATH, **environment}, preexec_fn=die_with_parent)

    def first_process(self):
        """The pid, outside, of its process 1."""
        return next(iter(support.children_of(self.process.pid)), None)

    def wait(self, timeout=150):
        """Exit code and what it said. A process that a signal ended has 128 and the signal, as in Kubernetes."""
        try:
            said, _ = self.process.communicate(timeout=timeout)
        finally:
            self.stop()
        return self.process.returncode, said

    def stop(self):
        if self.process.poll() is None:
            inside = self.first_process()
            if inside is not None:
                os.kill(inside, signal.SIGKILL)
            self.process.kill()
        self.process.communicate()
        if self.holder.exists():
            self.holder.rmdir()


class Pod(Container):
    """A pod of a rendered Job, as a kubelet would start it. `folder` is for its volumes; `secrets` is {name: {file:
    bytes}}, `claims` {name: folder}."""

    def __init__(self, image, job, folder, secrets=None, claims=None, index=None, attempt=0):
        pod = job["spec"]["template"]["spec"]
        container, = pod["containers"]
        security = pod["securityContext"]
        assert security["runAsUser"] == USER and container["securityContext"]["readOnlyRootFilesystem"]
        self.group = security["fsGroup"]
        name = job["metadata"]["name"] + (f"-{index}" if index is not None else "") + f"-{attempt}"
        self.folder = pathlib.Path(folder) / name
        self.folder.mkdir(parents=True)
        sources = {volume["name"]: self.source_of(volume, secrets or {}, claims or {}) for volume in pod["volumes"]}
        mounts = {mount["mountPath"]: (sources[mount["name"]], mount.get("readOnly", False))
                  for mount in container["volumeMounts"]}
        environment = {variable["name"]: variable["value"] for variable in container["env"]}
        if index is not None:
            environment["JOB_COMPLETION_INDEX"] = str(index)
        super().__init__(image, container["command"] + container["args"], mounts, environment, name,
                         (self.group,))

    def source_of(self, volume, secrets, claims):
        if "persistentVolumeClaim" in volume:
            folder = claims[volume["persistentVolumeClaim"]["claimName"]]
        elif "secret" in volume:
            return self.secret(volume["secret"], secrets)
        elif volume["emptyDir"].get("medium") == "Memory":
            return None
        else:
            folder = self.folder / volume["name"]
            folder.mkdir()
        os.chown(folder, 0, self.group)
        os.chmod(folder, 0o2777)
        return folder

    def secret(self, volume, secrets):
        """Files behind links that can be turned in one step; with a group, it can read them whatever the mode says."""
        folder = self.folder / "secret"
        data = folder / "..1"
        data.mkdir(parents=True)
        (folder / "..data").symlink_to("..1")
        for name, content in secrets[volume["secretName"]].items():
            write_secret(data / name, content, self.group, volume["defaultMode"])
            (folder / name).symlink_to(f"..data/{name}")
        return folder


def write_secret(path, content, group, mode):
    path.write_bytes(content)
    os.chown(path, 0, group)
    os.chmod(path, mode | 0o440)
