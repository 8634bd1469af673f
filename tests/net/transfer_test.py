#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`cp` between folders and a real Azurite: equal bytes, goes on after a kill, sees damage, tells no secret."""

import itertools
import json
import os
import pathlib
import random
import signal
import sys
import unittest
import urllib.parse

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "e2e"))

import azurite  # noqa: E402
import faulty_proxy  # noqa: E402
import support  # noqa: E402
import swift  # noqa: E402
from support import run  # noqa: E402

support.SHORT |= {"test_bytes_are_the_same_there_and_back"}

MIB = 1 << 20
ODD_NAMES = ("a b.mp4", "100%41.mp4", "#1?&=+.mp4", "\u00e9\u00df\u4e2d/\U0001f3a8.bin", "-dash", "d/e/f/deep",
             os.fsdecode(b"bad\xff\x01utf8"))


class Transfer(support.Case):
    TLS = True
    counter = 0

    def setUp(self):
        super().setUp()
        self.azurite = azurite.server(self.TLS)
        Transfer.counter += 1
        self.containers = [f"{what}{Transfer.counter}" for what in ("from", "to")]
        for name in self.containers:
            self.azurite.make_container(name)
        # Each container has a token of its own: nothing opens both.
        self.sas = [self.azurite.container_sas(name, "rcwdl") for name in self.containers]
        self.write_credentials()

    def write_credentials(self, endpoint=None):
        lines = [f"[az://{self.azurite.account}]", f"endpoint = {endpoint or self.azurite.endpoint}"]
        if self.azurite.ca:
            lines.append(f"ca_file = {self.azurite.ca}")
        for place, sas in zip(self.places(), self.sas):
            lines += [f"[{place}]", f"sas = {sas}"]
        path = self.folder / "credentials"
        path.write_text("\n".join(lines) + "\n")
        path.chmod(0o600)
        os.environ["ATELIER_CREDENTIALS"] = str(path)
        self.addCleanup(os.environ.pop, "ATELIER_CREDENTIALS", None)

    def places(self):
        return [f"az://{self.azurite.account}/{name}" for name in self.containers]

    def signatures(self):
        found = [urllib.parse.parse_qs(sas)["sig"][0] for sas in self.sas]
        return found + [urllib.parse.quote(signature, safe="") for signature in found]

    def cp(self, *arguments, code=0):
        done = run("cp", "--json", *arguments)
        self.assertEqual(done.returncode, code, done.stderr)
        for secret in self.signatures():
            self.assertNotIn(secret, done.stdout + done.stderr)
        return json.loads(done.stdout)

    def write_tree(self, sizes):
        root = self.folder / "tree"
        for name, size in sizes.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(random.Random(os.fsencode(name)).randbytes(size))
        return root

    @staticmethod
    def tree(root):
        return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


class Copies(Transfer):
    def test_bytes_are_the_same_there_and_back(self):
        sizes = {name: 1000 + i for i, name in enumerate(ODD_NAMES)}
        sizes |= {f"small/{i:02}": 77 * i for i in range(30)}  # the first one is empty
        sizes |= {"large": 20 * MIB + 3, "piece": 8 * MIB}
        root = self.write_tree(sizes)
        there, beside = (f"{place}/deep/down" for place in self.places())
        total = {"objects": len(sizes), "bytes": sum(sizes.values()), "skipped": 0}
        again = {"objects": 0, "bytes": 0, "skipped": len(sizes)}
        back = self.folder / "back"
        for source, target in ((root, there), (there, beside), (beside, back)):
            self.assertEqual(self.cp("--recursive", source, target), total)
            self.assertEqual(self.cp("--recursive", source, target), again)
        self.assertEqual(self.tree(back), self.tree(root))
        self.assertEqual(self.azurite.get(f"{self.containers[0]}/deep/down/large"), (root / "large").read_bytes())

    def test_one_object_and_its_names(self):
        root = self.write_tree({"a b.mp4": 5})
        first, second = self.places()
        self.cp(root / "a b.mp4", f"{first}/x/renamed%20%23.mp4")
        self.cp(f"{first}/x/renamed%20%23.mp4", f"{second}/folder/")
        self.cp(f"{second}/folder/renamed%20%23.mp4", first)
        self.cp(f"{first}/renamed%20%23.mp4", self.folder)
        self.assertEqual((self.folder / "renamed #.mp4").read_bytes(), (root / "a b.mp4").read_bytes())

    def test_names_that_no_file_can_have_are_told(self):
        for name, content in (("in/good", b"1"), ("in/a//b", b"2"), ("in/./x", b"3"), ("in/folder/", b"")):
            self.azurite.put(f"{self.containers[0]}/{name}", content)
        source = f"{self.places()[0]}/in"
        found = self.cp("--recursive", source, self.folder / "here")
        self.assertEqual(found, {"objects": 1, "bytes": 1, "skipped": 0, "left_out": 2})
        done = run("cp", "--recursive", source, self.folder / "here")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stdout + done.stderr, "2 of the objects below .*/in.* are not copied.*rename them")
        self.azurite.put(f"{self.containers[1]}/only//this", b"1")
        self.assert_refused(3, ["cp", "--quiet", "--recursive", f"{self.places()[1]}", self.folder / "there"],
                            saying="are not copied")

    def test_what_is_damaged_there_is_seen_and_replaced_when_asked(self):
        root = self.write_tree({"one": 9 * MIB, "two": 100})
        place = self.places()[0]
        self.cp("--recursive", root, place)
        for name in ("one", "two"):
            content = (root / name).read_bytes()
            self.azurite.put(f"{self.containers[0]}/{name}", content[:-1] + bytes([content[-1] ^ 1]))
        done = self.assert_refused(2, ["cp", "--quiet", "--recursive", root, place], saying="--force")
        self.assertIn("not the same", done.stderr)
        self.assertEqual(self.cp("--recursive", "--force", root, place)["objects"], 2)
        for name in ("one", "two"):
            self.assertEqual(self.azurite.get(f"{self.containers[0]}/{name}"), (root / name).read_bytes())

    def test_into_an_encrypted_place_and_out_of_it(self):
        root = self.write_tree({"small": 100, "large": 20 * MIB, "empty": 0})
        key = self.folder / "master"
        key.write_bytes(bytes(range(32)))
        key.chmod(0o600)
        with open(self.folder / "credentials", "a") as file:
            file.write(f"[{self.places()[1]}]\nmaster_key_file = {key}\n")
        self.cp("--recursive", root, self.places()[1])
        self.assertEqual(self.cp("--recursive", root, self.places()[1])["skipped"], 3)
        back = self.folder / "back"
        self.cp("--recursive", self.places()[1], back)
        self.assertEqual(self.tree(back), self.tree(root))
        self.assertNotIn((root / "small").read_bytes(), self.azurite.get(f"{self.containers[1]}/small"))

    def test_what_it_refuses(self):
        root = self.write_tree({"d/a": 5})
        place = self.places()[0]
        self.cp("--recursive", root, place)
        for code, saying, arguments in (
                (3, "no file or object", [f"{place}/absent", self.folder / "x"]),
                (2, "--recursive", [f"{place}/d", self.folder / "x"]),
                (3, "nothing below", ["--recursive", f"{place}/absent", self.folder / "x"]),
                (2, "folder where a file", [place, self.folder / "x"]),
                (2, "denied", [root / "d/a", f"az://{self.azurite.account}/absent/a"])):
            with self.subTest(arguments):
                self.assert_refused(code, ["cp", "--quiet", *arguments], saying=saying)

    def test_secrets_are_not_on_the_command_line(self):
        root = self.write_tree({"large": 64 * MIB})
        process = self.start("cp", root / "large", self.places()[0])
        while process.poll() is None:
            try:
                seen = pathlib.Path(f"/proc/{process.pid}/cmdline").read_bytes()
            except OSError:
                break
            for secret in self.signatures():
                self.assertNotIn(secret.encode(), seen)
        out, err = process.communicate(timeout=support.TIMEOUT)
        self.assertEqual(process.returncode, 0, err)
        for secret in self.signatures():
            self.assertNotIn(secret.encode(), out + err)


class CopiesBetweenServices(Transfer):
    def test_from_azure_to_s3_and_home(self):
        if swift.why_not():
            print(f"SKIPPED: {swift.why_not()}", file=sys.stderr)
            raise unittest.SkipTest(swift.why_not())
        sizes = {name: 1000 + i for i, name in enumerate(ODD_NAMES)} | {"empty": 0, "large": 20 * MIB + 3}
        root = self.write_tree(sizes)
        self.cp("--recursive", root, self.places()[0])
        total = {"objects": len(sizes), "bytes": sum(sizes.values()), "skipped": 0}
        with swift.Swift() as s3:
            s3.make_bucket("copies")
            with open(self.folder / "credentials", "a") as file:
                file.write(f"[s3://copies]\nendpoint = {s3.endpoint}\nca_file = {s3.ca}\n"
                           f"access_key_id = {s3.key}\nsecret_access_key = {s3.secret}\n")
            back = self.folder / "back"
            for source, target in ((self.places()[0], "s3://copies/a/b"), ("s3://copies/a/b", back)):
                self.assertEqual(self.cp("--recursive", source, target), total)
                self.assertEqual(self.cp("--recursive", source, target)["skipped"], len(sizes))
            self.assertEqual(s3.get("copies/a/b/large"), (root / "large").read_bytes())
        self.assertEqual(self.tree(back), self.tree(root))


class CopiesThatAreCutShort(Transfer):
    """Through a proxy that holds back what should not arrive yet."""

    TLS = False

    def through(self, fault):
        proxy = faulty_proxy.FaultyProxy(self.azurite.endpoint, fault)
        self.addCleanup(proxy.stop)
        self.write_credentials(proxy.endpoint)
        return proxy

    @staticmethod
    def blocks(proxy):
        return [target for method, target, _ in proxy.seen if method == "PUT" and "comp=block&" in target]

    def waiting_blocks(self, name):
        status, body = self.azurite.request("GET", f"{self.containers[0]}/{name}",
                                            "comp=blocklist&blocklisttype=uncommitted")
        return body.count(b"<Block>") if status == 200 else 0

    def test_a_large_object_goes_on_after_a_kill(self):
        root = self.write_tree({"large": 60 * MIB})
        arrived = 4

        def hold(_method, target, _nth):
            return "stall" if "comp=block&" in target and len(self.blocks(proxy)) > arrived else None

        proxy = None
        proxy = self.through(hold)
        process = self.start("cp", root / "large", f"{self.places()[0]}/large")
        faulty_proxy.wait_until(lambda: self.waiting_blocks("large") == arrived, 60, "the arrival of four blocks")
        process.kill()
        process.communicate()
        self.assertEqual(self.azurite.request("HEAD", f"{self.containers[0]}/large")[0], 404, "half of it can be seen")
        proxy.stop()
        second = self.through(lambda *_: None)
        self.assertEqual(self.cp(root / "large", f"{self.places()[0]}/large")["objects"], 1)
        self.assertEqual(self.azurite.get(f"{self.containers[0]}/large"), (root / "large").read_bytes())
        # Blocks grow by a hundredth each, so that eight hold 60 MiB.
        self.assertEqual(len(self.blocks(second)), 8 - arrived)

    def test_many_objects_go_on_after_a_kill(self):
        root = self.write_tree({f"{i:02}": 1000 for i in range(30)})
        place = self.places()[0]

        def hold(method, _target, _nth):
            puts = [1 for verb, _, _ in proxy.seen if verb == "PUT"]
            return "stall" if method == "PUT" and len(puts) > 10 else None

        proxy = None
        proxy = self.through(hold)
        process = self.start("cp", "--recursive", root, place)
        faulty_proxy.wait_until(lambda: len([1 for verb, _, _ in proxy.seen if verb == "PUT"]) > 12, 60, "ten copies")
        process.kill()
        process.communicate()
        proxy.stop()
        self.through(lambda *_: None)
        found = self.cp("--recursive", root, place)
        self.assertEqual((found["objects"] + found["skipped"], found["skipped"] >= 10), (30, True))
        back = self.folder / "back"
        self.cp("--recursive", place, back)
        self.assertEqual(self.tree(back), self.tree(root))

    def test_a_download_that_is_killed_leaves_nothing_under_its_name(self):
        root = self.write_tree({"large": 40 * MIB})
        place = f"{self.places()[0]}/large"
        self.cp(root / "large", place)

        def hold(method, _target, nth):
            return "stall" if method == "GET" and nth > 3 else None

        proxy = self.through(hold)
        process = self.start("cp", place, self.folder / "here")
        faulty_proxy.wait_until(lambda: len(proxy.seen) > 5, 60, "some pieces")
        process.kill()
        process.communicate()
        self.assertFalse((self.folder / "here").exists())
        proxy.stop()
        self.through(lambda *_: None)
        self.assertEqual(self.cp(place, self.folder / "here")["objects"], 1)
        self.assertEqual((self.folder / "here").read_bytes(), (root / "large").read_bytes())

    def test_an_interrupt_is_130_and_the_same_command_goes_on(self):
        root = self.write_tree({f"{i:02}": 1000 for i in range(30)})
        place = self.places()[0]
        asked = itertools.count()

        def interrupt(method, _target, nth):
            # Several requests are under way at once, and a second signal would end it without a word.
            if method == "PUT" and nth > 20 and next(asked) == 0:
                process.send_signal(signal.SIGINT)
            return None

        process = None
        self.through(interrupt)
        process = self.start("cp", "--recursive", root, place)
        _, err = process.communicate(timeout=support.TIMEOUT)
        self.assertEqual(process.returncode, 130, err)
        self.assert_one_sentence(err.decode())
        found = self.cp("--recursive", root, place)
        self.assertEqual(found["objects"] + found["skipped"], 30)
        self.assertGreater(found["skipped"], 0)

    def test_an_object_that_changes_while_it_is_copied(self):
        content = random.Random(1).randbytes(30 * MIB)
        self.azurite.put(f"{self.containers[0]}/large", content)
        changed = []

        def change(method, _target, nth):
            if method == "GET" and nth > 3 and not changed:
                changed.append(True)
                self.azurite.put(f"{self.containers[0]}/large", content[::-1])
            return None

        self.through(change)
        self.assert_refused(3, ["cp", "--quiet", f"{self.places()[0]}/large", self.folder / "here"],
                            self.folder / "here", saying="changed")

    def test_a_network_that_breaks_loses_nothing(self):
        root = self.write_tree({f"{i:02}": 1000 for i in range(20)} | {"large": 30 * MIB})
        proxy = self.through(faulty_proxy.seeded(4, 0.1, ("reset", "lost", "503", "429", "cut")))
        self.cp("--recursive", root, self.places()[0])
        back = self.folder / "back"
        self.cp("--recursive", self.places()[0], back)
        self.assertGreater(proxy.faults, 5)
        self.assertEqual(self.tree(back), self.tree(root))


if __name__ == "__main__":
    azurite.run_tests(support.main)
