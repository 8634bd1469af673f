#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A decryptor that follows docs/encryption.md reads what the program encrypts ($ENCRYPT_FOLDER)."""
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import unittest

import decrypt_object
from decrypt_object import FRAME, HEADER, TAG, Damaged

ROOT = pathlib.Path(__file__).resolve().parent.parent


def vectors():
    """What the page lists: a name, two spaces or more, a value that goes on in lines with spaces first."""
    found, name = {}, None
    block = (ROOT / "docs/encryption.md").read_text().split("## Test vectors")[1].split("```")[1]
    for line in block.strip("\n").splitlines():
        if not line.startswith(" "):
            name, line = line.split("  ", 1)
        found[name] = found.get(name, "") + line.strip()
    return found


class Vectors(unittest.TestCase):
    def test_they_open_to_what_the_page_says(self):
        listed = vectors()
        raw = {name: bytes.fromhex(value) for name, value in listed.items()}
        master = raw["master key"]
        self.assertEqual(decrypt_object.fingerprint(master).decode(), listed["fingerprint"])
        ring = decrypt_object.open_ring(raw["ring"], master)
        self.assertEqual(ring, {raw["store key id"]: raw["store key"]})
        self.assertEqual(decrypt_object.open_object(raw["empty, nothing"], b"empty", ring), b"")
        self.assertEqual(decrypt_object.open_object(raw["a/b, hello"], b"a/b", ring), b"hello")
        for wrong in (b"a", b"empty"):
            with self.assertRaises(Damaged):
                decrypt_object.open_object(raw["a/b, hello"], wrong, ring)


class Written(unittest.TestCase):
    def setUp(self):
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.folder = pathlib.Path(holder.name)
        self.key_file = self.folder / "master.key"
        draw = random.Random(3)
        self.key_file.write_text(draw.randbytes(32).hex() + "\n")
        self.key_file.chmod(0o600)
        self.plain = {f"size/{size}": draw.randbytes(size)
                      for size in (0, 1, 5000, FRAME - 1, FRAME, FRAME + 1, 9 * FRAME, 9 * FRAME + 77)}
        self.plain["a b/\udcff"] = b"a name that is not text"
        for key, data in self.plain.items():
            path = self.folder / "plain" / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        self.vault = self.folder / "vault"
        subprocess.run([os.environ["ENCRYPT_FOLDER"], self.key_file, self.folder / "plain", self.vault], check=True)

    def decrypt(self, key):
        return subprocess.run([sys.executable, "-B", ROOT / "tests/decrypt_object.py", self.key_file,
                               self.vault, key], capture_output=True)

    def test_every_object_is_what_it_was(self):
        for key, data in self.plain.items():
            stored = (self.vault / key).read_bytes()
            self.assertEqual(len(stored), HEADER + len(data) + TAG * max(1, -(-len(data) // FRAME)))
            done = self.decrypt(key)
            self.assertEqual((done.returncode, done.stderr), (0, b""))
            self.assertTrue(done.stdout == data, repr(key))

    def test_damage_is_told_in_a_line(self):
        path = self.vault / "size/5000"
        data = bytearray(path.read_bytes())
        data[3000] ^= 1
        path.write_bytes(data)
        done = self.decrypt("size/5000")
        self.assertEqual((done.returncode, done.stdout), (1, b""))
        self.assertIn(b"frame 0 fails its check", done.stderr)


if __name__ == "__main__":
    unittest.main()
