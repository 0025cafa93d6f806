"""`python -m headrace.testing.simulator --seed N`: run one seed again and tell its story; `--seeds A B` a range."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter

from headrace.testing.simulator.simulation import simulate


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m headrace.testing.simulator", description=__doc__)
    parser.add_argument("--seed", type=int, help="run this seed and print all that happened in it")
    parser.add_argument(
        "--seeds", type=int, nargs=2, metavar=("FIRST", "END"), help="run the seeds from FIRST to before END"
    )
    given = parser.parse_args()
    if given.seed is not None:
        result = simulate(given.seed)
        print(result.report())  # noqa: T201
        return 1 if result.violations else 0
    first, end = given.seeds or (0, 100)
    began = time.perf_counter()
    saw: Counter[str] = Counter()
    faults = runs = events = 0
    broken: list[str] = []
    for seed in range(first, end):
        result = simulate(seed)
        saw += result.saw
        faults, runs, events = faults + result.faults, runs + result.runs, events + result.events
        broken += [f"seed {seed}: {violation}" for violation in result.violations[:1]]
    print("\n".join(broken))  # noqa: T201
    took = time.perf_counter() - began
    print(f"simulated {end - first} schedules, {faults} faults, {runs} runs, {events} events in {took:.1f} s")  # noqa: T201
    print(dict(saw.most_common()))  # noqa: T201
    return 1 if broken else 0


sys.exit(main())
