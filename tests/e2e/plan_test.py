#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`plan` measures a run, predicts others, and refuses what makes no sense. No time is asserted: what
was predicted and what was measured is printed side by side (benchmarks/plan.py makes the table)."""

import json
import pathlib
import signal

import support
from support import make_video, run

support.SHORT |= {"test_without_a_run", "test_shapes_are_compared", "test_a_shape_without_seconds_takes_those_of_all",
                  "test_refused"}

GIVEN = ["--chunks", "40", "--chunk-seconds-of-work", "3"]


class Plan(support.Case):
    spreads = False

    def plan(self, *arguments):
        done = run("plan", "--json", *map(str, arguments))
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return json.loads(done.stdout)

    def job(self, name, *options):
        source = self.folder / "in.mp4"
        if not source.exists():
            make_video(source, frames=120)
        done = self.score(source, self.folder / f"{name}.mp4", "--chunk-seconds", "0.4", "--threads", "1", "--json",
                          *options, model=self.slow_model(), runs=self.folder / name)
        return json.loads(done.stdout), self.run_folders(self.folder / name)[0]

    def test_prediction_beside_measurement(self):
        one, folder = self.job("one", "--workers", "1")
        found = self.plan(folder, "--nodes", "1,2")
        measured, (alone, both) = found["measured"], found["nodes"]
        self.assertEqual((measured["chunks"], measured["workers"], measured["gaps"]), (12, 1, 11))
        self.assertEqual(found["planned"]["chunks"], 12)
        for row in (alone, both):
            self.assertEqual((row["chunks"], row["chunks_repeated"], row["preemptions"]), (12, 0, 0))
        records = [json.loads(pathlib.Path(path).read_text()) for path in self.commits(self.folder / "one")]
        self.assertAlmostEqual(measured["bytes_out_per_chunk"], sum(r["bytes"] for r in records) / 12)
        # What was measured adds up to the run it was measured in, but for the first chunk, of which only the end is known.
        self.assertAlmostEqual(alone["finished_seconds"], one["wall_seconds"],
                               delta=0.05 * one["wall_seconds"] + measured["chunk_seconds"])
        # Half the chunks, after the same beginning and before the same end.
        around = alone["finished_seconds"] - 12 * measured["chunk_seconds"]
        self.assertAlmostEqual(both["worker_seconds"]["busy"], 12 * measured["chunk_seconds"], places=6)
        self.assertGreaterEqual(both["finished_seconds"] + 1e-9, around + 6 * measured["chunk_seconds"])
        self.assertLess(both["finished_seconds"], alone["finished_seconds"])
        two, _ = self.job("two", "--workers", "2")
        print(f"1 worker: predicted {alone['finished_seconds']:.2f} s, measured {one['wall_seconds']:.2f} s; "
              f"2 workers: predicted {both['finished_seconds']:.2f} s, measured {two['wall_seconds']:.2f} s")

    def test_of_a_run_that_was_stopped(self):
        source = make_video(self.folder / "in.mp4", frames=120)
        process = self.start(*self.command(source, self.folder / "out.mp4", "--chunk-seconds", "0.4", "--quiet",
                                           model=self.slow_model()))
        self.wait_for_commits(process, 3)
        process.send_signal(signal.SIGINT)
        process.communicate()
        done = len(self.commits())
        found = self.plan(self.run_folders()[0], "--nodes", "3")
        self.assertEqual((found["measured"]["chunks"], found["measured"]["gaps"]), (12, done - 1))
        self.assertIsNone(found["measured"]["prepare_seconds"])
        self.assertIn("not done by one command", found["notes"][0])
        self.assertEqual(found["nodes"][0]["chunks"], 12)
        # Options go before what was measured.
        found = self.plan(self.run_folders()[0], "--chunks", "30", "--chunk-seconds-of-work", "2", "--nodes", "3")
        self.assertEqual(found["nodes"][0]["finished_seconds"], 20)

    def test_without_a_run(self):
        found = self.plan(*GIVEN, "--nodes", "1,4..20,7", "--start-delay", "60", "--price", "0.36",
                          "--finish-seconds", "4", "--idle-timeout", "10")
        self.assertEqual([row["nodes"] for row in found["nodes"]], [1, 4, 5, 7, 10, 20])
        for row in found["nodes"]:
            nodes = row["nodes"]
            rounds = -(-40 // nodes)
            self.assertAlmostEqual(row["finished_seconds"], 60 + 3 * rounds + 4)
            seconds = row["node_seconds"]
            self.assertAlmostEqual(sum(row["worker_seconds"].values()), seconds)
            self.assertAlmostEqual(row["worker_seconds"]["busy"], 120)
            self.assertAlmostEqual(row["worker_seconds"]["starting"], 60 * nodes)
            self.assertAlmostEqual(row["cost"], seconds * 0.0001)
            self.assertEqual(row["peak_nodes"], nodes)
        self.assertIsNone(found["measured"])
        self.assertIsNone(found["idle_sweep"])
        text = run("plan", *GIVEN, "--nodes", "1,4").stdout
        self.assertRegex(text, r"(?m)^ +4 +30\.0 s +30\.0 s ")
        self.assertIn("Within what services publish", text)
        self.assertEqual(run("plan", *GIVEN, "--quiet").stdout, "")

    def test_shapes_are_compared(self):
        around = ["--chunks", "40", "--nodes", "1,5", "--start-delay", "60", "--idle-timeout", "10"]
        found = self.plan(*around, "--shape", "small=1,0.36,3", "--shape", "big=4,1.20,2")
        rows = {(row["shape"], row["nodes"]): row for row in found["nodes"]}
        # 60 s to start, the chunks that one worker has, and 10 s until the nodes are switched off.
        for (shape, nodes), seconds, price in ((("small", 1), 40 * 3, 0.36), (("small", 5), 8 * 3, 0.36),
                                               (("big", 1), 10 * 2, 1.20), (("big", 5), 2 * 2, 1.20)):
            row = rows.pop((shape, nodes))
            self.assertAlmostEqual(row["finished_seconds"], 60 + seconds)
            self.assertAlmostEqual(row["cost"], nodes * (60 + seconds + 10) * price / 3600)
        self.assertEqual(rows, {})
        self.assertEqual(found["cheapest"], {"shape": "small", "nodes": 1, "cost": found["nodes"][0]["cost"]})
        self.assertEqual(found["shapes"][1], {"name": "big", "workers_per_node": 4, "price_per_node_hour": 1.2,
                                              "chunk_seconds": 2})
        self.assertEqual([found["planned"][key] for key in ("workers_per_node", "price_per_node_hour", "chunk_seconds")],
                         [None] * 3)
        text = run("plan", *around, "--shape", "small=1,2.40,3", "--shape", "big=4,1.20,2").stdout
        self.assertRegex(text, r"(?m)^ +shape +nodes ")
        self.assertRegex(text, r"(?m)^ +small +5 +84\.0 s ")
        self.assertIn("The cheapest: 1 node of big, 0.03, done after 80.0 s.", text)

    def test_a_shape_without_seconds_takes_those_of_all(self):
        found = self.plan(*GIVEN, "--spread", "0.5", "--nodes", "1", "--shape", "a=1,1", "--shape", "b=1,1,6")
        first, second = found["nodes"]
        self.assertNotEqual(first["finished_seconds"], 40 * 3, "chunks do not differ")
        self.assertAlmostEqual(second["finished_seconds"], 2 * first["finished_seconds"])
        for shape, seconds in zip(found["shapes"], (3, 6)):
            self.assertAlmostEqual(shape["chunk_seconds"], seconds)
        found = self.plan(*GIVEN, "--nodes", "1")
        self.assertEqual((found["shapes"], found["cheapest"], found["nodes"][0]["shape"]), ([], None, None))
        self.assertEqual((found["planned"]["workers_per_node"], found["planned"]["price_per_node_hour"]), (1, 0))
        found = self.plan(*GIVEN, "--nodes", "2", "--shape", "a=2,1", "--sweep-idle", "0,60")
        self.assertEqual(found["idle_sweep"]["choices"][0]["worker_seconds"]["busy"], 120)
        found = self.plan("--chunks", "20000", "--nodes", "1,500", "--shape", "a=1,1,1", "--shape", "b=4,1,1")
        first = {limit["what"]: (limit["exceeded_from_nodes"], limit["exceeded_by_shape"]) for limit in found["limits"]}
        self.assertEqual(first["writes a second of a prefix"], (500, "b"))

    def test_limits_are_named_with_the_nodes_that_exceed_them(self):
        found = self.plan("--chunks", "20000", "--chunk-seconds-of-work", "1", "--nodes", "1,10,2000", "--bytes-out", "10M")
        first = {limit["what"]: limit["exceeded_from_nodes"] for limit in found["limits"]}
        self.assertEqual(first["writes a second of a prefix"], 2000)
        self.assertEqual(first["bytes a second into an account"], 2000)
        self.assertIsNone(first["bytes a second out of an account"])
        text = run("plan", "--chunks", "20000", "--chunk-seconds-of-work", "1", "--nodes", "1,10,2000").stdout
        self.assertRegex(text, r"Amazon S3, 3500 writes a second of a prefix: from 2000 nodes on, \d+")

    def test_accidents_are_the_same_for_a_seed(self):
        options = [*GIVEN, "--nodes", "5", "--preemptions", "60", "--spread", "0.3"]
        first = self.plan(*options)
        self.assertGreater(first["nodes"][0]["preemptions"], 0)
        self.assertEqual(first["nodes"][0]["chunks"], 40)
        self.assertEqual(first, self.plan(*options))
        self.assertNotEqual(first["nodes"], self.plan(*options, "--seed", "2")["nodes"])

    def test_arrivals_and_idle_timeouts(self):
        log = self.folder / "arrivals.log"
        log.write_text("# when, chunks\n2026-03-01T10:00:00Z 2\n2026-03-01T10:10:00Z\n2026-03-01T10:01:00.5Z\n")
        found = self.plan(*GIVEN, "--arrivals", log, "--nodes", "1", "--start-delay", "60", "--price", "1",
                          "--sweep-idle", "0,300,never")
        self.assertEqual((found["planned"]["jobs"], found["planned"]["chunks"]), (3, 82))
        sweep = found["idle_sweep"]
        # The node works until 186 s, since the second job comes while it does; the third waits for a start where none
        # is kept, until 780 s, and that is how long those are paid for that stay.
        costs = [choice["node_seconds"] for choice in sweep["choices"]]
        for found, wanted in zip(costs, (186 + 180, 186 + 300 + 180 + 300, 780, 780)):
            self.assertAlmostEqual(found, wanted)
        self.assertEqual([choice["always_on"] for choice in sweep["choices"]], [False, False, False, True])
        self.assertEqual(sweep["cheapest"], 0)
        self.assertEqual(sweep["break_even_seconds"], 60)
        found = self.plan(*GIVEN, "--arrivals", "poisson:60", "--jobs", "50", "--nodes", "3")
        self.assertEqual(found["planned"]["chunks"], 2000)

    def test_refused(self):
        for options, words in ((["--nodes", "0"], "--nodes"), (["--nodes", "3..1"], "--nodes"),
                               (["--idle-timeout", "soon"], "--idle-timeout"), (["--sweep-idle", "1,,2"], "--sweep-idle"),
                               (["--arrivals", self.folder / "none"], "no file of arrivals"),
                               (["--arrivals", "poisson:-1"], "poisson:"), (["--bytes-in", "3Q"], "--bytes-in"),
                               (["--chunks", "0"], "--chunks"), (["--price", "-1"], "--price")):
            self.assert_refused(2, ["plan", *GIVEN, *map(str, options)], saying=words)
        for shape in ("a", "a=1", "=1,2", "a=0,1", "a=1.5,1", "a=1,nan", "a=1,-1", "a=1,1,0", "a=1,1,2,3", "a b=1,1"):
            self.assert_refused(2, ["plan", *GIVEN, "--shape", shape], saying="--shape takes NAME=WORKERS,PRICE")
        for options, words in ((["a=1,1", "--shape", "a=2,2"], "two shapes 'a'"), (["a=1,1", "--price", "2"], "--price"),
                               (["a=1,1", "--workers-per-node", "2"], "--workers-per-node"),
                               (["a=1,1", "--shape", "b=1,2", "--sweep-idle", "0"], "--sweep-idle compares")):
            self.assert_refused(2, ["plan", *GIVEN, "--shape", *options], saying=words)
        self.assert_refused(2, ["plan", "--chunks", "3", "--shape", "a=1,1"], saying="--chunk-seconds-of-work")
        self.assert_refused(2, ["plan"], saying="--chunk-seconds-of-work")
        self.assert_refused(2, ["plan", "--chunks", "3"], saying="--chunk-seconds-of-work")
        self.assert_refused(2, ["plan", str(self.folder / "none")], saying="There is no run")
        log = self.folder / "bad.log"
        log.write_text("0\nyesterday\n")
        self.assert_refused(2, ["plan", *GIVEN, "--arrivals", str(log)], saying="Line 2")


if __name__ == "__main__":
    support.main()
