"""`python -m benchmarks.run [scenario …]`: measure, one JSON line per figure, on standard output and into a file."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Self

import msgspec

from benchmarks.bench import Bench
from benchmarks.machine import Limits, Moment
from benchmarks.project import Project, project
from benchmarks.result import Line, line

SCENARIOS = (
    "limits", "imports", "start", "idle", "chain", "fan_out", "recovery", "trigger", "many_runs", "frame",
    "stream_log", "stream_latency", "event_run", "growth", "churn", "crowd",
)  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the scenarios that were named, or all. Results of those before a failing one stay."""
    given = _parser().parse_args(arguments)
    runs = given.runs or (1 if given.quick else 5)
    with kept_bytecode(), Hall(is_shared=given.quick) as hall:
        for scenario in given.scenarios or SCENARIOS:
            for found in measured(scenario, hall, runs, is_quick=given.quick):
                text = msgspec.json.encode(found).decode()
                print(text, flush=True)
                if given.out is not None:
                    with given.out.open("a") as file:
                        file.write(text + "\n")
    return 0


@contextmanager
def kept_bytecode() -> Generator[None]:
    """Processes keep their bytecode, as on any machine, even where PYTHONDONTWRITEBYTECODE is set for this one.

    Without it each of them compiles all its modules again, which takes a stream process 0.8 s.
    """
    with TemporaryDirectory(prefix="headrace-bench-") as folder:
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        os.environ["PYTHONPYCACHEPREFIX"] = folder
        yield


class Hall:
    """The project that is being served: a new one for each scenario, or (`is_shared`) for each source."""

    def __init__(self, *, is_shared: bool) -> None:
        self._is_shared = is_shared
        self._source = ""
        self._project: Project | None = None
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def project(self, source: str) -> Project | None:
        """A project of this source, served; None for ""."""
        if source != self._source or not self._is_shared:
            self._stack.close()
            self._source, self._project = source, self._stack.enter_context(project(source)) if source else None
        return self._project


def measured(scenario: str, hall: Hall, runs: int, *, is_quick: bool) -> Iterator[Line]:
    """The figures of one scenario, each with what the machine did besides since the one before."""
    module = importlib.import_module(f"benchmarks.scenarios.{scenario}")
    served = hall.project(getattr(module, "SOURCE", ""))
    before = Moment.now()
    with TemporaryDirectory(prefix="headrace-bench-") as folder:
        limits = Limits(Path(folder), seconds=0.02 if is_quick else 0.5)
        for result in module.measure(Bench(runs, is_quick, limits, served)):
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
