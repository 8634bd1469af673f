#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`cp` between folders of this machine; tests/net/transfer_test.py has those of a service."""

import json
import os
import signal
import time

import support
from support import run

support.SHORT |= {"test_a_folder_and_again"}


class Copy(support.Case):
    spreads = False

    def write_tree(self, files):
        root = self.folder / "tree"
        for name, content in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return root

    @staticmethod
    def tree(root):
        return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}

    def cp(self, *arguments):
        done = run("cp", "--json", *arguments)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return json.loads(done.stdout)

    def test_a_folder_and_again(self):
        root = self.write_tree({"a": b"", "b c/%41 #": b"1", os.fsdecode(b"\xff"): b"22", "d": bytes(9 << 20)})
        target = self.folder / "target"
        size = 3 + (9 << 20)
        self.assertEqual(self.cp("--recursive", root, target), {"objects": 4, "bytes": size, "skipped": 0})
        self.assertEqual(self.cp("--recursive", root, target), {"objects": 0, "bytes": 0, "skipped": 4})
        self.assertEqual(self.tree(target), self.tree(root))
        (root / "e").write_bytes(b"new")
        self.assertEqual(self.cp("--recursive", root, target), {"objects": 1, "bytes": 3, "skipped": 4})
        self.assertEqual(self.cp("--recursive", root, root)["skipped"], 5)

    def test_one_file_and_its_names(self):
        source = self.write_tree({"a": b"1"}) / "a"
        (self.folder / "there").mkdir()
        for target, path in (("b", "b"), ("there", "there/a"), ("new/", "new/a"), ("new/x/y", "new/x/y")):
            done = run("cp", source, f"{self.folder}/{target}")
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertRegex(done.stdout, r"^Copied to file:///.*: 1 objects, 1 B; there already: 0\.\n$")
            self.assertEqual((self.folder / path).read_bytes(), b"1")

    def test_something_else_is_kept_unless_forced(self):
        root = self.write_tree({"a": b"1", "b": b"22"})
        (self.folder / "a").write_bytes(b"2")
        done = self.assert_refused(2, ["cp", "--quiet", root / "a", self.folder / "a"], saying="--force")
        self.assertIn("not the same", done.stderr)
        self.assertEqual((self.folder / "a").read_bytes(), b"2")
        self.assertEqual(self.cp("--force", root / "a", self.folder / "a")["objects"], 1)
        self.assertEqual((self.folder / "a").read_bytes(), b"1")

    def test_what_it_refuses(self):
        root = self.write_tree({"d/a": b"1"})
        for code, saying, arguments in (
                (2, "FROM", []), (2, "TO", [root]), (2, "empty", ["", root]),
                (3, "no file or object", [root / "absent", self.folder / "x"]),
                (2, "--recursive", [root / "d", self.folder / "x"]),
                (3, "nothing below", ["--recursive", root / "absent", self.folder / "x"]),
                (2, "is a file", ["--recursive", root / "d/a", self.folder / "x"]),
                (2, "Cannot use a http:// location", ["http://a/b", self.folder / "x"])):
            with self.subTest(arguments):
                self.assert_refused(code, ["cp", "--quiet", *arguments], self.folder / "x", saying=saying)

    def start_large(self):
        source = self.folder / "large"
        with open(source, "wb") as file:
            file.truncate(2 << 30)
        target = self.folder / "target"
        process = self.start("cp", source, target / "large")
        deadline = time.monotonic() + support.TIMEOUT
        while not (target.is_dir() and any(path.stat().st_size > 1 << 23 for path in target.iterdir())):
            self.assertLess(time.monotonic(), deadline)
            self.assertIsNone(process.poll(), "it ended early")
            time.sleep(0.005)  # the program under test is another process: nothing to wait on
        return process, target

    def test_an_interrupt_leaves_nothing(self):
        process, target = self.start_large()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=support.TIMEOUT)
        self.assertEqual(process.returncode, 130, err)
        self.assert_one_sentence(err.decode())
        self.assertFalse(target.exists())

    def test_a_kill_leaves_nothing_under_the_name(self):
        process, target = self.start_large()
        process.kill()
        process.communicate()
        self.assertFalse((target / "large").exists())

    def test_a_source_that_changes(self):
        process, target = self.start_large()
        with open(self.folder / "large", "r+b") as file:
            file.write(b"changed")
        _, err = process.communicate(timeout=support.TIMEOUT)
        self.assertEqual(process.returncode, 3, err)
        self.assert_one_sentence(err.decode())
        self.assertFalse(target.exists())


if __name__ == "__main__":
    support.main()
