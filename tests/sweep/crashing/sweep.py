"""One scenario, one failure after the other: at boundary 1, 2, … until it passes untouched, and what was found."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from told_again import differences as told_differently
from told_again import listening, tell

from crashing.boundaries import installed
from crashing.faults import KINDS, SAYS, Boundary, Faults
from crashing.outcome import Outcome, differences, outcome
from crashing.world import UnrestError, World
from headrace.graph.loaded import Loaded
from headrace.keeping.soundness import damaged_files
from headrace.settings import FOREVER
from headrace.storage.local import LocalStorage
from headrace.store.sql.engine_store import EngineSqlStore
from headrace.testing.auditor import audit
from headrace.testing.auditor.evidence import Evidence
from headrace.testing.clock import FakeClock

START = "2026-03-02T00:00Z"
TOLD_AGAIN_EVERY = 10
MENDS_MOST = 3
SHOWN = 600
SECOND_AFTER = (1, 3, 2, 7, 4, 13, 5, 23, 9)
Act = Callable[[World], None]


def as_it_is(found: Outcome) -> Outcome:
    return found


@dataclass(frozen=True)
class Scenario:
    """What people do, step by step; after each step everything comes to rest. `prepared` is done without failures.

    `promised` leaves out of an outcome what may differ. `fails` are keys of runs that fail without any failure of ours.
    """

    name: str
    codes: Mapping[str, Loaded]
    steps: Sequence[Act]
    prepared: Sequence[Act] = ()
    promised: Callable[[Outcome], Outcome] = as_it_is
    fails: frozenset[str] = frozenset()
    retention: str = FOREVER


@dataclass(frozen=True)
class Untouched:
    """The scenario without failures: how it ends, and every boundary on its way."""

    outcome: Outcome
    boundaries: tuple[Boundary, ...]


@dataclass
class Swept:
    """What a sweep has found. `points` failures were put in; `told_again` stores were told their facts once more."""

    points: int = 0
    told_again: int = 0
    problems: list[str] = field(default_factory=list)


def sweep(scenario: Scenario, kind: str, *, most: int = 5) -> Swept:
    """A failure of this kind at every boundary that can have it. Stops after so many problems."""
    swept = Swept()
    for number, boundary in enumerate(untouched(scenario).boundaries, 1):
        if boundary.takes(kind) and len(swept.problems) < most:
            _strike(scenario, {number: kind}, swept)
    return swept


def sweep_pairs(scenario: Scenario, count: int, *, most: int = 5) -> Swept:
    """Two failures each, evenly over the scenario: the second soon after the first, while the processes recover."""
    swept = Swept()
    boundaries = untouched(scenario).boundaries
    for at in range(count):
        number = 1 + at * len(boundaries) // count
        first = next(kind for kind in (KINDS[at % 3], "death", "before") if boundaries[number - 1].takes(kind))
        plan = {number: first, number + SECOND_AFTER[at % len(SECOND_AFTER)]: KINDS[at // 3 % 3]}
        if len(swept.problems) < most:
            _strike(scenario, plan, swept)
    return swept


def point(scenario: Scenario, plan: Mapping[int, str], *, is_told_again: bool = True) -> list[str]:
    """Play the scenario with these failures: what was not as promised."""
    with _played(scenario, Faults(plan)) as world:
        if not is_told_again:
            return _problems(scenario, world)
        with listening() as heard:
            found = _problems(scenario, world)
            world.end()
        changed = told_differently(heard.rows, tell(heard.asked, heard.commits))
        # What was there before the first step has no commit of this world.
        return (
            [*found, *(f"D2: {table}: {rows}" for table, rows in changed.items())] if not scenario.prepared else found
        )


@cache
def _untouched(name: str) -> Untouched:
    scenario = _known[name]
    faults = Faults({}, is_listed=True)
    with _played(scenario, faults) as world:
        problems = [*_play(scenario, world), *_audited(world)]
        assert not problems, f"{name} without failures: {problems}"
        return Untouched(scenario.promised(outcome(world)), tuple(faults.crossed))


_known: dict[str, Scenario] = {}


def untouched(scenario: Scenario) -> Untouched:
    _known[scenario.name] = scenario
    return _untouched(scenario.name)


# -- inside ----------------------------------------------------------------------------------------------------------


def _strike(scenario: Scenario, plan: Mapping[int, str], swept: Swept) -> None:
    is_told_again = not scenario.prepared and swept.points % TOLD_AGAIN_EVERY == 0
    swept.points += 1
    swept.told_again += is_told_again
    problems = point(scenario, plan, is_told_again=is_told_again)
    if problems:
        swept.problems.append(_story(scenario, plan, problems))


def _story(scenario: Scenario, plan: Mapping[int, str], problems: Sequence[str]) -> str:
    boundaries = untouched(scenario).boundaries
    lines = [f"scenario {scenario.name}"]
    for number, kind in plan.items():
        name = boundaries[number - 1].name if number <= len(boundaries) else "a boundary of the recovery"
        lines.append(f"  {SAYS[kind]} at boundary {number} of {len(boundaries)}: {name}")
    lines += [f"  {problem[:SHOWN]}" for problem in problems]
    chosen = ",".join(f"{number}={kind}" for number, kind in plan.items())
    lines.append(f"  again: CRASH_POINT={scenario.name}:{chosen} .venv/bin/pytest -n 0 tests/sweep")
    return "\n".join(lines)


def _problems(scenario: Scenario, world: World) -> list[str]:
    found = _play(scenario, world)
    if found:
        return found
    plan = world.faults.plan
    expected = untouched(scenario)
    first = min(plan)
    if not world.faults.struck:
        return [f"boundary {first} was never reached"]
    if world.faults.struck[0].name != expected.boundaries[first - 1].name:
        return [f"the scenario does not repeat: boundary {first} is now {world.faults.struck[0].name}"]
    return [*_audited(world), *differences(scenario.promised(outcome(world)), expected.outcome)]


def _play(scenario: Scenario, world: World) -> list[str]:
    try:
        for step in scenario.steps:
            step(world)
            _settle(scenario, world)
    except UnrestError as error:
        return [str(error)]
    return []


def _settle(scenario: Scenario, world: World) -> None:
    """Come to rest; a run that failed because of our failure is retried by a person, as one does."""
    world.settle()
    for _ in range(MENDS_MOST if world.faults.struck else 0):
        sql = "SELECT run, key, generation FROM runs WHERE state = 'failed' AND log = 'engine'"
        failed = [row for row in world.store.database.read(sql) if row[1] not in scenario.fails]
        if not failed:
            return
        for run, _, generation in failed:
            world.ask("retry", f"mend:{run}:{generation}", run=run)
        world.settle()


def _audited(world: World) -> list[str]:
    evidence = Evidence(
        world.store.database,
        {code: loaded.project for code, loaded in world.codes.items()},
        slots_until_us=None,
        code=world.code,
    )
    files = damaged_files(world.store.database, LocalStorage(world.settings.artifacts))
    return [*map(str, audit(evidence)), *(f"a file: {damage}" for damage in files)]


@contextmanager
def _played(scenario: Scenario, faults: Faults) -> Iterator[World]:
    template, clock = _template(scenario)
    with tempfile.TemporaryDirectory(prefix="sweep-", dir=_folder()) as folder:
        home = Path(folder) / "project"
        shutil.copytree(template, home)
        world = World(home, scenario.codes, _same(clock), faults, scenario.retention)
        with world.on_stage():
            try:
                yield world
            finally:
                world.end()


_templates: dict[str, tuple[Path, FakeClock]] = {}


def _template(scenario: Scenario) -> tuple[Path, FakeClock]:
    """The state after what is prepared, made once."""
    if scenario.name not in _templates:
        folder = Path(tempfile.mkdtemp(prefix=f"sweep-{scenario.name}-", dir=_folder()))
        (folder / ".headrace").mkdir()
        EngineSqlStore(folder / ".headrace" / "headrace.db").close()
        clock = FakeClock(START)
        world = World(folder, scenario.codes, clock, Faults({}), scenario.retention)
        with world.on_stage():
            for step in scenario.prepared:
                step(world)
                world.settle()
            world.end()
        _templates[scenario.name] = (folder, clock)
    return _templates[scenario.name]


@contextmanager
def prepared() -> Iterator[None]:
    """What sweeps need, taken away at the end."""
    try:
        with installed():
            yield
    finally:
        for folder, _ in _templates.values():
            shutil.rmtree(folder)
        _templates.clear()
        _untouched.cache_clear()


def _same(clock: FakeClock) -> FakeClock:
    made = FakeClock(START)
    passed_us = clock.monotonic_us()
    if passed_us:
        made.advance(f"{passed_us}us")
    return made


def _folder() -> str | None:
    """Files in memory where there are any: what is asked here is not whether fsync reaches the disk."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None
