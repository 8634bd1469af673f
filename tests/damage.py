#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Damages a copy of a file, the same way for the same seed.

    tests/damage.py INPUT OUTPUT --kind flip|cut|swap|zero|mix|any --seed N [--keep BYTES]

flip  turns single bits, about one in 4,000 bytes, at least three
cut   drops the end, anywhere behind the first tenth
swap  exchanges blocks of 64 to 4,096 bytes, two to six pairs
zero  overwrites one to four blocks of up to 2,048 bytes with zeros
mix   any of these, by the seed
any   any of these and of more, by the seed, which chooses what stays as well: few or hundreds of
      bits, bits in the first and last kilobytes (where containers keep their tables), fields that
      become nothing or the largest number, blocks of noise, blocks removed, blocks twice
The first BYTES bytes stay (64: whatever the damage, it is still a file of its kind).
"""

import argparse
import pathlib
import random

KINDS = ("flip", "cut", "swap", "zero")


def flip(data, chance, keep):
    for _ in range(max(3, len(data) // 4000)):
        data[chance.randrange(keep, len(data))] ^= 1 << chance.randrange(8)


def cut(data, chance, keep):
    del data[chance.randrange(max(keep, len(data) // 10), len(data)):]


def swap(data, chance, keep):
    for _ in range(chance.randint(2, 6)):
        size = min(chance.randint(64, 4096), (len(data) - keep) // 2)
        if size < 1:
            return
        a = chance.randrange(keep, len(data) - 2 * size + 1)
        b = chance.randrange(a + size, len(data) - size + 1)
        data[a:a + size], data[b:b + size] = data[b:b + size], data[a:a + size]


def zero(data, chance, keep):
    for _ in range(chance.randint(1, 4)):
        size = min(chance.randint(1, 2048), len(data) - keep)
        at = chance.randrange(keep, len(data) - size + 1)
        data[at:at + size] = bytes(size)


def damaged(original, kind, seed, keep=64):
    """`original` (bytes) damaged; at most the first `keep` bytes are sure to be as they were."""
    chance = random.Random(f"{kind} {seed}")
    if kind == "mix":
        kind = chance.choice(KINDS)
    data = bytearray(original)
    if len(data) > keep + 16:
        {"flip": flip, "cut": cut, "swap": swap, "zero": zero}[kind](data, chance, keep)
    return bytes(data)


def flip_some(data, chance, keep):
    for _ in range(chance.choice([1, 2, 5, 20, 100, 400])):
        data[chance.randrange(keep, len(data))] ^= 1 << chance.randrange(8)


def flip_in_tables(data, chance, keep):
    reach = min(len(data) - keep, chance.choice([64, 512, 4096, 32768]))
    for _ in range(chance.choice([1, 2, 5, 20])):
        at = chance.randrange(reach)
        data[keep + at if chance.random() < 0.6 else -1 - at] ^= 1 << chance.randrange(8)


def extreme(data, chance, keep):
    reach = min(len(data), keep + chance.choice([512, 4096, len(data)]))
    for _ in range(chance.choice([1, 1, 3])):
        at, width = chance.randrange(keep, reach), chance.choice([1, 2, 4, 8])
        first = chance.choice([b"\x00", b"\xff", b"\x7f"])
        value = first + chance.choice([b"\x00", b"\xff"]) * 7
        data[at:at + width] = value[:width][:len(data) - at]


def block_of(data, chance, keep):
    size = min((len(data) - keep) // 2, chance.choice([16, 188, 512, 4096, 65536]))
    return chance.randrange(keep, len(data) - size), size


def noise(data, chance, keep):
    at, size = block_of(data, chance, keep)
    data[at:at + size] = chance.randbytes(size)


def remove(data, chance, keep):
    at, size = block_of(data, chance, keep)
    del data[at:at + size]


def repeat(data, chance, keep):
    at, size = block_of(data, chance, keep)
    data[at:at] = data[at:at + size]


ANYTHING = (flip, cut, swap, zero, flip_some, flip_in_tables, flip_in_tables, extreme, noise, remove,
            repeat)


def damaged_anyhow(original, seed):
    """`original` (bytes) damaged in one of ANYTHING's ways, and that way's name."""
    chance = random.Random(f"any {seed}")
    kind, keep = chance.choice(ANYTHING), chance.choice([0, 16, 64])
    data = bytearray(original)
    if len(data) > keep + 16:
        kind(data, chance, keep)
    return bytes(data), kind.__name__


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("input", type=pathlib.Path)
    parser.add_argument("output", type=pathlib.Path)
    parser.add_argument("--kind", choices=[*KINDS, "mix", "any"], default="mix")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--keep", type=int, default=64)
    options = parser.parse_args()
    if options.kind == "any":
        data, way = damaged_anyhow(options.input.read_bytes(), options.seed)
        options.output.write_bytes(data)
        print(way)
        return
    options.output.write_bytes(damaged(options.input.read_bytes(), options.kind, options.seed,
                                       options.keep))


if __name__ == "__main__":
    main()
