#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`atelier run --engine slurm` on a real Slurm whose nodes vanish, come when they are needed and go when they are not:
the output has the bits of a local run all the same. Gangs, too. With $ATELIER_SLOW also a time limit, which takes Slurm a minute
and a half."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import time
import unittest

import slurm_case
import slurmlab
import support
from netlab import wait_until


# Chunks of a gang are free when its end is noticed.
NOTICED = "what Slurm takes to notice and to start the next life"


class Losses(slurm_case.SlurmCase):
    def test_a_node_is_lost_and_a_worker_killed(self):
        process = self.begin("--partition", "spot", "--nodes", "3")
        wait_until(lambda: len(self.nodes()) == 3, 30, "the workers' start")
        self.wait_for_commits(process, 2)
        _, node, other = sorted(self.nodes())
        self.lab.crash(node)
        crashed = time.time()
        try:
            # Slurm calls a task running before its worker is there.
            wait_until(lambda: self.signal_workers(other, signal.SIGKILL), 30, f"a worker on {other}")
            report = self.finish(process)
        finally:
            self.lab.boot(node)
        self.print_time_lost("an eviction", crashed)
        self.assertIn(f"{node} was lost: task ", self.texts(report))
        self.assertIn(f"ended without a verdict on {other} and was requeued", self.texts(report))
        self.assertGreaterEqual(report["engine"]["restarts"], 2)
        wait_until(lambda: self.lab.node_states()[node] == "idle", 30, "the node's return")

    def test_a_host_falls_silent_and_a_daemon_is_killed(self):
        """Workers need no slurmd: those of both hosts go on without, until Slurm counts the nodes as lost."""
        process = self.begin("--partition", "spot", "--nodes", "3")
        wait_until(lambda: len(self.nodes()) == 3, 30, "the workers' start")
        self.wait_for_commits(process, 2)
        alive, silent, headless = sorted(self.nodes())
        self.stop_in_a_chunk(process, alive)
        done = len(self.commits())
        self.lab.silence(silent)
        for pid in self.lab.pids(headless, "slurmd"):
            os.kill(pid, signal.SIGKILL)
        try:
            # The chunk of who is held is left, so the run cannot end before Slurm has noticed.
            self.wait_for_commits(process, done + 1)
            for node in (silent, headless):
                self.signal_workers(node, signal.SIGSTOP)
            wait_until(lambda: set(self.nodes()) == {alive} and self.are_down(silent, headless), slurm_case.PATIENCE,
                       "Slurm's notice of both losses")
            self.signal_all((alive, silent, headless), signal.SIGCONT)
            report = self.finish(process)
        finally:
            for node in (silent, headless):
                self.lab.crash(node)
                self.lab.boot(node)
        self.assertLessEqual({silent, headless}, set(report["engine"]["nodes"]))
        for node in (silent, headless):
            self.assertIn(f"{node} was lost: task ", self.texts(report))
        wait_until(lambda: {self.lab.node_states()[node] for node in (silent, headless)} == {"idle"}, slurm_case.PATIENCE,
                   "the nodes' return")

    def are_down(self, *nodes):
        states = self.lab.node_states()
        return all(states[node].startswith("down") for node in nodes)

    @unittest.skipUnless(support.SLOW_RUN, "Slurm's shortest time limit is a minute and a half")
    def test_out_of_time(self):
        process = self.begin("--partition", "ondemand", "--time", "1")
        self.wait_for_commits(process, 1)
        # Too slow for its limit; Slurm wakes what it ends.
        self.assertTrue(self.signal_workers(next(iter(self.nodes())), signal.SIGSTOP))
        report = self.finish(process, 300)
        self.assertIn("reached its time limit on n", self.texts(report))


class Gang(slurm_case.SlurmCase):
    """Ranks of MPI, by srun --mpi=pmix."""
    OPTIONS = ["--partition", "spot", "--nodes", "2..3", "--gang", "--threads", "2"]
    RANKS = [*OPTIONS, "--interface", "eth0"]

    def hang_ranks_on(self, node):
        """Until the node is booted anew, or the test ends."""
        program = self.folder / "hangs"
        program.write_text("#!/bin/sh\nexec sleep 600\n")
        program.chmod(0o755)
        rank = f"{support.PROGRAM}-rank"
        self.lab.run(node, ["mount", "--bind", program, rank], check=True)
        self.addCleanup(self.lab.run, node, ["umount", rank], stderr=subprocess.DEVNULL)

    def assert_statistics(self, report, left_for_all=True):
        """What the last gang did, reduced over its ranks; where little is left, one of them may be first at all of it."""
        statistics = report["engine"]["statistics"]
        print(f"   {statistics['frames']:.0f} frames by the last gang, {statistics['most_frames_of_a_rank']:.0f} by one rank")
        self.assertLessEqual(statistics["frames"], report["frames_scored_now"])
        if left_for_all:
            self.assertGreater(statistics["frames"], statistics["most_frames_of_a_rank"], "one rank did it all")

    def assert_restarts_are_told(self, report):
        """One; a busy machine may lose the next gang as it begins, and then that is told, too."""
        self.assertGreaterEqual(report["engine"]["restarts"], 1)
        self.assertEqual(report["engine"]["restarts"], self.texts(report).count("requeued"))

    def test_all_at_once_and_again_when_it_is_preempted(self):
        process = self.begin(*self.RANKS)
        self.wait_for_commits(process, 2)
        self.preempt()
        preempted = time.time()
        report = self.finish(process)
        self.print_time_lost("a preempted gang", preempted, NOTICED)
        self.assertEqual(report["engine"]["nodes"], ["n1", "n2", "n3"])
        # The state lasts for seconds: on a busy machine Slurm may be asked after it.
        self.assertRegex(self.texts(report), r"The job was (preempted on n\d and was |taken from n\d and )requeued")
        self.assert_restarts_are_told(report)
        self.assert_statistics(report)

    def test_a_lost_rank_ends_the_gang_and_the_rest_is_scored_by_another(self):
        process = self.begin(*self.RANKS)
        self.wait_for_commits(process, 2)
        ranks = self.lab.pids("n2", "atelier-rank")
        self.assertTrue(ranks, "no rank works on n2")
        for pid in ranks:
            os.kill(pid, signal.SIGKILL)
        killed = time.time()
        report = self.finish(process)
        self.print_time_lost("a killed rank", killed, NOTICED)
        self.assertIn("The job ended without a verdict on n", self.texts(report))
        self.assertEqual(report["engine"]["nodes"], ["n1", "n2", "n3"])
        self.assert_restarts_are_told(report)
        self.assertEqual(report["engine"]["workers"], 3, "not as many as there are")
        self.assert_statistics(report)

    def test_a_rank_that_does_not_come_is_named(self):
        self.hang_ranks_on("n3")
        self.refused(4, "Not all ranks of the gang were there within 3 s (--gang-timeout): none on n3", *self.RANKS,
                     "--gang-timeout", "3", "--restarts", "0")

    def test_a_node_is_lost_while_the_gang_meets(self):
        """Who notices first, the ranks or Slurm, is open; either way the others go on."""
        self.hang_ranks_on("n3")
        process = self.begin(*self.RANKS, "--gang-timeout", "3")
        marks = wait_until(lambda: list(self.runs.glob("*/gang/*/n[12].there")), 60, "the others' coming")
        self.assertEqual(self.commits(), {}, marks)
        self.lab.crash("n3")
        try:
            report = self.finish(process)
        finally:
            self.lab.boot("n3")
        self.assert_restarts_are_told(report)
        self.assertIn("n3", self.texts(report))
        wait_until(lambda: self.lab.node_states()["n3"] == "idle", 30, "the node's return")

    def test_a_node_is_lost_while_the_gang_works(self):
        process = self.begin(*self.RANKS)
        self.wait_for_commits(process, 2)
        self.lab.crash("n3")
        crashed = time.time()
        try:
            report = self.finish(process)
        finally:
            self.lab.boot("n3")
        self.print_time_lost("a lost node of a gang", crashed, NOTICED)
        self.assert_restarts_are_told(report)
        # Ranks of the other nodes work until Slurm notices.
        self.assert_statistics(report, left_for_all=False)
        wait_until(lambda: self.lab.node_states()["n3"] == "idle", 30, "the node's return")

    def test_a_gang_without_pmix_is_workers_that_start_and_end_together(self):
        folder = self.folder / "bin"
        folder.mkdir()
        srun = folder / "srun"
        srun.write_text(f"#!/bin/sh\n[ \"$1\" != --mpi=list ] || exec echo none\n"
                        f"exec {shutil.which('srun', path=slurmlab.PATH)} \"$@\"\n")
        srun.chmod(0o755)
        environment = {**self.lab.environment, "PATH": f"{folder}:{self.lab.environment['PATH']}"}
        self.refused(2, "this Slurm has no PMIx", *self.RANKS, environment=environment)
        report = self.finish(self.begin(*self.OPTIONS, environment=environment))
        self.assertEqual(report["engine"]["nodes"], ["n1", "n2", "n3"])
        self.assertEqual(report["engine"]["statistics"], {})
        self.assertEqual({worker.rsplit(".", 1)[1] for worker in self.scorers()}, {"0", "1", "2"})


class Cloud(slurm_case.SlurmCase):
    def powered(self):
        states = self.lab.node_states()
        return {host for host in slurmlab.CLOUD if not states[host].endswith("~")}

    def hold_workers_as_they_come(self, process, wanted):
        """The nodes whose workers wait now, once there are as many as wanted."""
        held = set()

        def are_there():
            self.assertIsNone(process.poll(), "the program ended early")
            held.update(node for node in set(self.nodes()) - held if self.signal_workers(node, signal.SIGSTOP))
            return len(held) >= wanted

        try:
            wait_until(are_there, slurm_case.PATIENCE, f"the start of {wanted} workers")
        except AssertionError as error:
            self.fail(f"{error}: held on {sorted(held)}, jobs {self.lab.jobs()}, nodes {self.lab.node_states()}, "
                      f"asked for {self.lab.powered}")
        return held

    def test_from_nothing_to_three_and_back(self):
        """Although one of them does not come, and another one is lost."""
        self.assertEqual(self.powered(), set())
        self.lab.power_fails = {"n4"}
        self.addCleanup(self.lab.power_fails.clear)
        process = self.begin("--partition", "cloud", "--nodes", "3")
        # How soon each comes depends on the machine, and one alone could do all the work before the others are there.
        started = self.hold_workers_as_they_come(process, 3)
        print(f"   three nodes after {time.monotonic() - self.begun:.1f} s")
        node = self.stop_in_a_chunk(process, *started)
        self.lab.crash(node)
        crashed = time.time()
        self.signal_all(started - {node}, signal.SIGCONT)
        report = self.finish(process)
        self.print_time_lost("a lost node of the cloud", crashed)
        self.assertIn(f"{node} was lost: task ", self.texts(report))
        self.assertIn("n4 did not start: task ", self.texts(report))
        self.assertGreaterEqual(len(report["engine"]["nodes"]), 3)
        scored = time.monotonic()
        wait_until(lambda: not self.powered(), 60, "the way back to nothing")
        print(f"   no node any more {time.monotonic() - scored:.1f} s after the end")
        self.assertGreaterEqual(len([line for line in self.lab.powered if line.startswith("resume")]), 4)
        self.assert_reached_where_it_is_now(min(started - {node}))

    def assert_reached_where_it_is_now(self, node):
        """A machine that is made anew has another address."""
        before = self.lab.address(node)
        self.assertEqual(self.lab.slurm("srun", "-p", "cloud", "-w", node, "hostname").strip(), node)
        self.assertNotEqual(self.lab.address(node), before)


if __name__ == "__main__":
    slurm_case.main()
