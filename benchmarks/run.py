"""`python -m benchmarks.run [scenario …]`: measure, one JSON line per figure, on standard output and into a file."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from benchmarks.machine import Limits, Moment
from benchmarks.result import Line, Plan, line

SCENARIOS = (
    "limits", "imports", "start", "idle", "chain", "fan_out", "trigger", "many_runs", "frame", "stream_log",
    "stream_latency", "event_run",
)  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the scenarios that were named, or all. Results of those before a failing one stay."""
    given = _parser().parse_args(arguments)
    plan = Plan(runs=given.runs or (1 if given.quick else 5), is_quick=given.quick)
    for scenario in given.scenarios or SCENARIOS:
        for found in measured(scenario, plan):
            text = msgspec.json.encode(found).decode()
            print(text, flush=True)
            if given.out is not None:
                with given.out.open("a") as file:
                    file.write(text + "\n")
    return 0


def measured(scenario: str, plan: Plan) -> Iterator[Line]:
    """The figures of one scenario, each with what the machine did besides since the one before."""
    module = importlib.import_module(f"benchmarks.scenarios.{scenario}")
    before = Moment.now()
    with TemporaryDirectory(prefix="headrace-bench-") as folder:
        limits = Limits(Path(folder), seconds=0.02 if plan.is_quick else 0.5)
        for result in module.measure(plan, limits):
            now = Moment.now()
            yield line(
                result,
                load=os.getloadavg()[0],
                foreign_cpu=now.foreign_since(before),
                at=datetime.now(UTC).isoformat(timespec="seconds"),
            )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__)
    parser.add_argument("scenarios", nargs="*", choices=[*SCENARIOS, []], metavar="scenario", help=", ".join(SCENARIOS))
    parser.add_argument("--runs", type=int, help="how often to measure after the warm-up (5)")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, once: only to see that everything works")
    parser.add_argument("--out", type=Path, help="a file to add the lines to")
    return parser


if __name__ == "__main__":
    sys.exit(main())
