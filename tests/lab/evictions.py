# SPDX-License-Identifier: Apache-2.0
"""What an eviction costs, as the records of a run's folder say it: for tests of engines."""

import json

# A chunk that is scored, the next one, and one whose result is on its way to the store (src/run/broker.h).
MOST_IN_WORK = 3


def claims(runs):
    """{chunk: [who claimed it, in order]}; nobody ("") where it was given back."""
    found = {}
    for path in runs.glob("*/chunks/*.claim.*"):
        chunk, _, generation = path.name.split(".")
        found.setdefault(chunk, {})[int(generation)] = json.loads(path.read_text())["worker"]
    return {chunk: [worker for _, worker in sorted(by.items())] for chunk, by in found.items()}


def lost_chunks(runs):
    """{worker: chunks that it claimed and that were another's afterwards}."""
    lost = {}
    for chunk, workers in claims(runs).items():
        for place, worker in enumerate(workers):
            if worker and any(later not in ("", worker) for later in workers[place + 1:]):
                lost.setdefault(worker, set()).add(chunk)
    return lost


def assert_bounded(case, runs):
    """Nobody lost more than what it had in work."""
    for worker, chunks in lost_chunks(runs).items():
        case.assertLessEqual(len(chunks), MOST_IN_WORK, f"{worker} lost {sorted(chunks)}")


def print_time_lost(runs, what, since, detection):
    """The last chunk that was begun anew was committed so long after `since` (seconds since 1970), beside what bounds it."""
    commits = {path.stem: path for path in runs.glob("*/chunks/*.json")}
    again = [commits[chunk].stat().st_mtime for chunk, workers in claims(runs).items() if workers[1:] and chunk in commits]
    longest = max(sum(json.loads(path.read_text())["seconds"].values()) for path in commits.values())
    lost = sorted(map(len, lost_chunks(runs).values()))
    print(f"   {what}: {len(again)} chunks begun anew ({', '.join(map(str, lost)) or 0} of a worker), the last one "
          f"committed {max(again, default=since) - since:.1f} s later; the bound is {detection} and a chunk of "
          f"{longest:.1f} s, which begins when somebody is free", flush=True)
