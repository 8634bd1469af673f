# SPDX-License-Identifier: Apache-2.0
"""A real Slurm on the hosts of netlab.py: munged and slurmctld on n0, a slurmd on every other host that is up. n1 to n3
are the partitions `ondemand` and `spot`, which takes second place; n4 to n7 are the partition `cloud`, powered up and
down by Slurm itself, each time with another address. The configuration is deploy/slurm/atelier.conf with other programs, times and nodes.

    with slurmlab.SlurmLab() as lab:
        lab.slurm("sinfo")                     # a command on the head
        lab.crash("n2")                        # Slurm finds out by itself
        lab.boot("n2")                         # and is back with its slurmd

Its ports are those of the hosts, not of this machine, and everything ends with the process that made it.
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import threading

import netlab
from netlab import wait_until

FRAGMENT = pathlib.Path(__file__).resolve().parents[2] / "deploy/slurm/atelier.conf"
PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
STATIC = ("n1", "n2", "n3")
CLOUD = ("n4", "n5", "n6", "n7")

# What every site must say for itself; no cgroups, since the hosts have none of their own.
SITE = """
ClusterName=lab
SlurmctldHost=n0({head})
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/log/slurmctld.log
SlurmctldDebug=verbose
SlurmdDebug=verbose
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SlurmdParameters=config_overrides
MpiDefault=none
SlurmctldTimeout=30
InactiveLimit=0
MaxArraySize=9
GresTypes=paint
MinJobAge=300
"""


def why_not():
    """Nothing, or one sentence: why there can be no Slurm here."""
    missing = [tool for tool in ("munged", "slurmctld", "slurmd", "sbatch") if shutil.which(tool, path=PATH) is None]
    return f"{missing[0]} is not installed; run tools/setup cluster" if missing else netlab.why_not()


def configuration(folder, head):
    """The fragment as the lab uses it. What is replaced must be there."""
    nodes, cloud = f"n[1-{len(STATIC)}]", f"n[{len(STATIC) + 1}-{len(STATIC) + len(CLOUD)}]"
    size = "CPUs=2 RealMemory=1000"
    gres = "Gres=paint:1"  # of no device
    text = FRAGMENT.read_text()
    for before, after in (
            (r"SlurmdTimeout=\d+", "SlurmdTimeout=6"), (r"MessageTimeout=\d+", "MessageTimeout=3"),
            (r"TCPTimeout=\d+", "TCPTimeout=1"), (r"KillWait=\d+", "KillWait=5"),
            (r"AuthInfo=cred_expire=\d+", f"AuthInfo=socket={folder}/munge.sock,cred_expire=5"),
            (r"bf_interval=\d+,sched_interval=\d+", "bf_interval=2,sched_interval=2"),
            (r"ResumeProgram=.*", f"ResumeProgram={folder}/resume"),
            (r"SuspendProgram=.*", f"SuspendProgram={folder}/suspend"),
            (r"ResumeFailProgram=.*", f"ResumeFailProgram={folder}/suspend"),
            (r"ResumeTimeout=\d+", "ResumeTimeout=20"), (r"SuspendTimeout=\d+", "SuspendTimeout=3"),
            (r"SuspendTime=\d+", "SuspendTime=5"), (r"node_reg_mem_percent=\d+", "node_reg_mem_percent=1"),
            (r"NodeName=node\S+ .*", f"NodeName={nodes} {size} {gres}"),
            (r"NodeName=cloud\S+ .* State=CLOUD", f"NodeName={cloud} {size} State=CLOUD"),
            (r"Nodes=node\S+", f"Nodes={nodes}"), (r"Nodes=cloud\S+", f"Nodes={cloud}")):
        # A key is a whole word: SuspendProgram is also the end of nothing else.
        text, count = re.subn(r"(?m)(^|(?<=[ ,=]))" + before, lambda _, value=after: value, text)
        if not count:
            raise AssertionError(f"{FRAGMENT} has no {before}")
    return SITE.format(head=head, folder=folder) + text


class SlurmLab(netlab.Lab):
    def __init__(self, static=STATIC):
        reason = why_not()
        if reason:
            raise RuntimeError(reason)
        self.lock = threading.RLock()  # of hosts: Slurm powers them up and down from another thread
        self.daemons = []
        self.powered = []  # "resume n4", in the order in which Slurm asked
        self.power_fails = set()  # hosts that do not come when Slurm asks for them
        super().__init__(1, moving=CLOUD)
        try:
            self.begin(static)
        except BaseException:
            self.down()
            raise

    def begin(self, static):
        for name in ("log", "state", "spool"):
            (self.folder / name).mkdir()
        self.folder.chmod(0o755)  # munged wants its socket's folder readable
        (self.folder / "slurm.conf").write_text(configuration(self.folder, self.address("n0")))
        (self.folder / "gres.conf").write_text(f"NodeName={','.join(STATIC)} Name=paint Count=1\n")
        key = self.folder / "munge.key"
        key.touch(mode=0o600)
        key.write_bytes(os.urandom(1024))
        self.listen_to_power()
        self.environment = {**os.environ, "PATH": PATH, "SLURM_CONF": str(self.folder / "slurm.conf")}
        self.daemon("munged", "--foreground", "--force", f"--socket={self.folder}/munge.sock", f"--key-file={key}",
                    f"--pid-file={self.folder}/munged.pid", f"--seed-file={self.folder}/munge.seed",
                    f"--log-file={self.folder}/log/munged.log")
        wait_until((self.folder / "munge.sock").exists, 20, "munged's start")
        self.daemon("slurmctld", "-D", "-c", "-f", self.folder / "slurm.conf")
        for host in static:
            self.boot(host)
        wait_until(lambda: all(self.node_states().get(host) == "idle" for host in static), 30, "the nodes' start")

    def daemon(self, *command):
        self.daemons.append(self.start("n0", command, env=self.environment, stdin=subprocess.DEVNULL,
                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))

    # Power: Slurm's programs write into a pipe, and this process, which owns the hosts, does it.
    def listen_to_power(self):
        pipe = self.folder / "power"
        os.mkfifo(pipe)
        for verb in ("resume", "suspend"):
            program = self.folder / verb
            program.write_text(f"#!/bin/bash\nexport SLURM_CONF={self.folder}/slurm.conf PATH={PATH}\n"
                               f"for host in $(scontrol show hostnames \"$1\"); do echo \"{verb} $host\"; done "
                               f"> {pipe}\n")
            program.chmod(0o755)
        # Also written to by us: so it never ends when a program closes it.
        self.pipe = os.fdopen(os.open(pipe, os.O_RDWR), "r+b", buffering=0)
        self.power_thread = threading.Thread(target=self.obey_power, daemon=True)
        self.power_thread.start()

    def obey_power(self):
        waiting = b""
        while True:
            waiting += self.pipe.read(4096)
            *lines, waiting = waiting.split(b"\n")
            for line in lines:
                text = line.decode()
                if text == "end":
                    return
                verb, host = text.split()
                self.powered.append(text)
                if verb == "suspend":
                    self.crash(host)
                elif host not in self.power_fails:
                    self.boot(host)

    def boot(self, host):
        with self.lock:
            super().boot(host)
            if host == "n0":
                return
            spool = self.folder / "spool" / host
            shutil.rmtree(spool, ignore_errors=True)  # a fresh disk: what an earlier life left there breaks steps
            spool.mkdir()
            # -b: a boot time of its own; the hosts share the kernel's, and power saving wants a later one.
            log = open(self.folder / f"log/slurmd.{host}.log", "ab")
            self.start(host, ["slurmd", "-D", "-b", "-N", host, "-f", self.folder / "slurm.conf"],
                       env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            log.close()

    def crash(self, host):
        with self.lock:
            super().crash(host)

    # Questions ----------------------------------------------------------------------------------
    def slurm(self, *command, check=True):
        done = self.run("n0", command, env=self.environment, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if check and done.returncode:
            raise AssertionError(f"{command}: {done.stderr}")
        return done.stdout

    def node_states(self):
        """{host: "idle~"}, as sinfo writes states."""
        return dict(line.split() for line in self.slurm("sinfo", "-h", "-N", "-o", "%N %t", check=False).splitlines())

    def jobs(self):
        """{job or task: "RUNNING"} of what waits or runs."""
        lines = self.slurm("squeue", "-h", "-r", "-o", "%i %T").splitlines()
        return dict(line.split() for line in lines)

    def down(self):
        for daemon in reversed(getattr(self, "daemons", [])):
            daemon.kill()
            daemon.wait()
        if hasattr(self, "pipe"):
            self.pipe.write(b"end\n")
            self.power_thread.join()
            self.pipe.close()
        super().down()


def main(run):
    """For a test file: 77 with a loud line where there can be no Slurm."""
    reason = why_not()
    if reason:
        print(f"SKIPPED: {reason}", file=sys.stderr)
        sys.exit(77)
    run()
