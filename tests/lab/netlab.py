# SPDX-License-Identifier: Apache-2.0
"""Hosts on one machine, for tests of engines: each has network, host name, processes, mounts, IPC and /tmp of its own,
and a bridge in a namespace that has no name joins them. They share the file system outside /tmp, as nodes of a cluster
share a folder. Needs root and iproute2. Nothing of it reaches the machine's own network, and all of it ends with the
process that made it, even if that is killed.

    with netlab.Lab(3) as lab:                 # n0, n1, n2; n0 is the head
        lab.run("n1", ["hostname"])            # as subprocess.run
        lab.crash("n2")                        # power cut: peers see silence, every process there is dead
        lab.boot("n2")
"""

import ctypes
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

PREFIX = "10.77"
TOOLS = ("unshare", "nsenter", "ip", "mount")

# The first process of a host: what ends there is waited for, so that nothing stays a zombie.
INIT = """
hostname "$1"
mount --make-rprivate /
mount --bind "$2/hosts" /etc/hosts
mount --bind "$2/$1.tmp" /tmp
ip link set lo up
echo ready
trap 'exit 0' TERM
while :; do sleep 3600 & wait; done
"""


def why_not():
    """Nothing, or one sentence: why there can be no hosts here."""
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        return f"{missing[0]} is not installed; run tools/setup cluster"
    if os.geteuid() != 0:
        return "hosts of namespaces need root"
    done = subprocess.run(["unshare", "--net", "--uts", "--mount", "--ipc", "--pid", "--fork", "ip", "link", "add", "v0",
                           "type", "veth", "peer", "name", "v1"], capture_output=True, text=True)
    return f"no namespaces can be made here ({done.stderr.strip()})" if done.returncode else None


def end_with_parent():
    ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG


def wait_until(condition, seconds, what):
    """Polls; answers what `condition` answered."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not happen within {seconds} s")
        time.sleep(0.05)
    return found


class Lab:
    """Hosts n0 to n<count-1>, up; `most` of them can be booted in all. Those of `moving` have another address at each start,
    like machines of a cloud; names lead to where they are now."""

    def __init__(self, count, most=16, moving=()):
        reason = why_not()
        if reason:
            raise RuntimeError(reason)
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="atelier-lab-", dir="/var/tmp"))
        self.processes = {}  # host -> what started it
        self.init = {}  # host -> its first process, as the head sees it
        self.moving = moving
        self.starts = {}  # host -> how often it was started
        self.names = [f"n{i}" for i in range(most)]
        (self.folder / "hosts").touch()
        self.write_names()
        try:
            self.switch = subprocess.Popen(["unshare", "--net", "sh", "-c", "ip link add br0 type bridge && "
                                            "ip link set br0 up && echo ready && exec cat"], stdin=subprocess.PIPE,
                                           stdout=subprocess.PIPE, preexec_fn=end_with_parent)
            if self.switch.stdout.readline() != b"ready\n":
                raise RuntimeError("the bridge between the hosts cannot be made")
            for i in range(count):
                self.boot(f"n{i}")
        except BaseException:
            self.down()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.down()

    def address(self, host):
        network = max(0, self.starts.get(host, 0) - 1) % 10 if host in self.moving else 0
        return f"{PREFIX}.{network}.{int(host[1:]) + 10}"

    def write_names(self):
        """In place and in one go, as long as before: hosts have this very file mounted."""
        lines = "".join(f"{self.address(name)} {name}\n" for name in self.names)
        with open(self.folder / "hosts", "r+b", buffering=0) as file:
            file.write(f"127.0.0.1 localhost\n{lines}".encode())

    def boot(self, host):
        """A host without processes, with an empty /tmp."""
        if host in self.init:
            return
        self.starts[host] = self.starts.get(host, 0) + 1
        if host in self.moving:
            self.write_names()
        temporary = self.folder / f"{host}.tmp"
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        temporary.chmod(0o1777)
        # The head has the machine's own processes: from a PID namespace none beside it can be entered.
        own = [] if host == "n0" else ["--pid", "--mount-proc"]
        process = subprocess.Popen(["unshare", "--net", "--uts", "--mount", "--ipc", *own, "--fork", "--kill-child", "--",
                                    "bash", "-c", INIT, "init", host, str(self.folder)], stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                   preexec_fn=end_with_parent, start_new_session=True)
        self.processes[host] = process
        if process.stdout.readline() != b"ready\n":
            raise RuntimeError(f"host {host} did not start")
        children = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        self.init[host] = int(children[0])
        (self.folder / f"{host}.pid").write_text(children[0])
        self.at_switch("ip", "link", "add", f"v{host}", "type", "veth", "peer", "name", "eth0", "netns", children[0])
        self.at_switch("ip", "link", "set", f"v{host}", "master", "br0", "up")
        self.run(host, ["ip", "addr", "add", f"{self.address(host)}/16", "dev", "eth0"], check=True)
        # The same card after every boot, or its peers would write to the old one for a while.
        card = f"02:00:00:00:00:{int(host[1:]) + 10:02x}"
        self.run(host, ["ip", "link", "set", "eth0", "address", card, "up"], check=True)

    def at_switch(self, *command, check=True):
        subprocess.run(["nsenter", "-t", str(self.switch.pid), "-n", "--", *command], check=check,
                       stderr=None if check else subprocess.DEVNULL)

    def silence(self, host):
        """Its cable is out: nobody hears of it any more, and nothing tells them."""
        self.at_switch("ip", "link", "set", f"v{host}", "down")

    def reconnect(self, host):
        self.at_switch("ip", "link", "set", f"v{host}", "up")

    def crash(self, host):
        """A power cut. Processes that were started there end, too, as their callers see."""
        if host not in self.init:
            return
        # Peers hear nothing more, not even of connections that the kernel closes. A host that has ended by itself, as those
        # of a thread do when the thread ends, has no cable any more.
        self.at_switch("ip", "link", "set", f"v{host}", "down", check=False)
        self.kill(self.init.pop(host))
        self.processes.pop(host).wait()
        (self.folder / f"{host}.pid").unlink(missing_ok=True)
        # The kernel takes the cable away with the namespace, when its last process is gone.
        self.at_switch("ip", "link", "del", f"v{host}", check=False)

    @staticmethod
    def kill(pid):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass

    def enter(self, host):
        """What a command on that host begins with."""
        spaces = ["-n", "-u", "-m", "-i"] + ([] if host == "n0" else ["-p"])
        return ["nsenter", "-t", str(self.init[host]), *spaces, "--"]

    def run(self, host, command, **options):
        return subprocess.run([*self.enter(host), *map(str, command)], **options)

    def start(self, host, command, **options):
        return subprocess.Popen([*self.enter(host), *map(str, command)], preexec_fn=end_with_parent, **options)

    def pids(self, host, name):
        """Processes of that name (/proc/*/comm) on a host, as this machine numbers them."""
        space = os.readlink(f"/proc/{self.init[host]}/ns/net")
        found = []
        for folder in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                if (folder / "comm").read_text().strip() == name and os.readlink(folder / "ns/net") == space:
                    found.append(int(folder.name))
            except OSError:
                pass
        return sorted(found)

    def remote_shell(self):
        """A program that is called like ssh: HOST COMMAND..."""
        path = self.folder / "remote-shell"
        path.write_text("#!/bin/sh\n"
                        "host=$1\n"
                        "shift\n"
                        f"pid=$(cat \"{self.folder}/$host.pid\") || exit 255\n"
                        "exec nsenter -t \"$pid\" -n -u -m -i -p -- /bin/sh -c \"$*\"\n")
        path.chmod(0o755)
        return path

    def down(self):
        for host in list(self.processes):
            if host in self.init:
                self.crash(host)
            else:
                self.processes.pop(host).kill()
        if hasattr(self, "switch"):
            self.switch.kill()
            self.switch.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def main(run):
    """For a test file: 77 with a loud line where hosts cannot be made."""
    reason = why_not()
    if reason:
        print(f"SKIPPED: {reason}", file=sys.stderr)
        sys.exit(77)
    run()
