#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Decrypts an object of an encrypted store that lies in a folder; plain bytes go to stdout.

tests/decrypt_object.py MASTER-KEY-FILE FOLDER KEY

Follows docs/encryption.md and shares no code with the program, to check that the page says all that
is needed. Whatever does not fit ends it with one line on stderr and exit code 1.
"""
import base64
import hashlib
import pathlib
import sys

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

FRAME = 1 << 20
TAG = 16
HEADER = 92


class Damaged(Exception):
    pass


def unseal(key, nonce, additional, sealed, what):
    try:
        return AESGCM(key).decrypt(nonce, sealed, additional)
    except (InvalidTag, ValueError) as error:
        raise Damaged(f"{what} fails its check") from error


def number(data):
    return int.from_bytes(data, "big")


def parse_master_key(data):
    if len(data) == 32:
        return data
    text = data.decode("ascii").removesuffix("\n").removesuffix("\r")
    return bytes.fromhex(text) if len(text) == 64 else base64.b64decode(text.ljust(44, "="), validate=True)


def fingerprint(master):
    return hashlib.sha256(b"atelier master key" + master).hexdigest()[:32].encode()


def open_ring(data, master):
    """Store keys by their ids, oldest first."""
    count = number(data[12:16])
    if data[:8] != b"ATELKEYS" or number(data[8:12]) != 1 or not 1 <= count <= 1000:
        raise Damaged("this is no key ring of version 1")
    if data[16:48] != fingerprint(master):
        raise Damaged("the ring belongs to another master key")
    if len(data) != 60 + 48 * count + TAG:
        raise Damaged("the ring has another size than it says")
    entries = unseal(master, data[48:60], data[:48], data[60:], "the ring")
    return {entries[at:at + 16]: entries[at + 16:at + 48] for at in range(0, len(entries), 48)}


def open_rings(folder, master):
    """Those of all rings there are."""
    found = [*folder.glob("ring"), *folder.glob("ring-*")]
    rings = sorted(found, key=lambda path: (path.stat().st_size, path.name))
    keys = {}
    for ring in rings:
        for name, key in open_ring(ring.read_bytes(), master).items():
            keys.setdefault(name, key)
    return keys


def open_object(data, key, ring):
    """The plain bytes of the object `key` (bytes) that is stored as `data`."""
    header, body = data[:HEADER], data[HEADER:]
    if header[:8] != b"ATELCRYP" or number(header[8:12]) != 1 or number(header[12:16]) != FRAME:
        raise Damaged("this is no encrypted object of version 1")
    if header[16:32] not in ring:
        raise Damaged("its store key is not in the ring")
    data_key = unseal(ring[header[16:32]], header[32:44], header[:32] + key, header[44:], "the header")
    frames = max(1, -(-len(body) // (FRAME + TAG)))
    plain = []
    for i in range(frames):
        last = i == frames - 1
        nonce = last.to_bytes(4, "big") + i.to_bytes(8, "big")
        sealed = body[i * (FRAME + TAG):(i + 1) * (FRAME + TAG)]
        plain.append(unseal(data_key, nonce, header + key, sealed, f"frame {i}"))
    if i > 0 and not plain[-1]:
        raise Damaged("its last frame is empty")
    return b"".join(plain)


def main(key_file, folder, key):
    folder = pathlib.Path(folder)
    master = parse_master_key(pathlib.Path(key_file).read_bytes())
    ring = open_rings(folder / ".atelier-keys", master)
    sys.stdout.buffer.write(open_object((folder / key).read_bytes(), key.encode(errors="surrogateescape"), ring))


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    try:
        main(*sys.argv[1:])
    except (Damaged, OSError, ValueError) as why:
        sys.exit(f"{sys.argv[0]}: {sys.argv[3]}: {why}")
