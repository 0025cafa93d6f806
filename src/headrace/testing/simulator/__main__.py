"""`python -m headrace.testing.simulator`: tell one seed, make one that fails smaller, or run many over all cores."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path

from headrace.testing.simulator import recipe as recipes
from headrace.testing.simulator.campaign import Campaign, Progress
from headrace.testing.simulator.recipe import Recipe, recipe_of
from headrace.testing.simulator.shrink import shrink, signature
from headrace.testing.simulator.simulation import simulate
from headrace.testing.simulator.story import tell
from headrace.testing.simulator.tables import write_tables

SHRUNK_MOST = 3


def main() -> int:
    given = _parser().parse_args()
    if given.replay is not None:
        return _one(recipes.decode(Path(given.replay).read_bytes()), given.shrink, given.keep)
    return _many(given) if given.seed is None else _one(recipe_of(given.seed), given.shrink, given.keep)


def _one(recipe: Recipe, is_shrunk: bool, keep: str | None) -> int:
    if is_shrunk:
        recipe = shrink(recipe, told=_say)
    result = simulate(recipe)
    _show(tell(result))
    if keep is not None:
        about = {"broke": signature(result.violations[0]) if result.violations else ""}
        Path(keep).write_bytes(recipes.encode(replace(recipe, about=about)))
        _say(f"kept as {keep}")
    return 1 if result.violations else 0


def _many(given: argparse.Namespace) -> int:
    file = Path(given.progress)
    campaign = Campaign(given.first, given.count, file=file, planted=given.planted, told=_say)
    try:
        found = campaign.run(given.jobs)
    except KeyboardInterrupt:
        _say(f"stopped; the same command goes on from {file}")
        return 130
    for seed, broken in found.total.broken[:SHRUNK_MOST]:
        _say(f"seed {seed}: {broken}\nmaking it smaller …")
        _say(tell(simulate(shrink(recipe_of(seed), seconds=given.patience))))
    if given.tables is not None:
        write_tables(Path(given.tables), found)
    _show(json.dumps(_summary(found)))
    escaped = [x.name for x in found.planted.values() if not x.schedules]
    return 1 if found.total.broken or escaped else 0


def _summary(found: Progress) -> dict[str, object]:
    return {
        "schedules": found.total.schedules,
        "violations": len(found.total.broken),
        "planted": len(found.planted),
        "caught": sum(1 for x in found.planted.values() if x.schedules),
        "seconds": found.seconds,
        "faults": found.total.faults,
        "seeds": [seed for seed, _ in found.total.broken[:20]],
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m headrace.testing.simulator", description=__doc__)
    parser.add_argument("--seed", type=int, help="run this seed and tell all that happened in it")
    parser.add_argument("--replay", metavar="FILE", help="run a schedule that was kept")
    parser.add_argument("--shrink", action="store_true", help="make the one that fails as small as possible first")
    parser.add_argument("--keep", metavar="FILE", help="keep it, for the corpus")
    parser.add_argument("--count", type=int, default=1_000, help="how many schedules")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--jobs", type=int, help="processes; as many as there are cores")
    parser.add_argument("--planted", metavar="FOLDER", help="find the planted bugs of this folder too")
    parser.add_argument("--progress", metavar="FILE", default=".simulate/progress.json", help="where to go on from")
    parser.add_argument("--patience", type=float, default=60.0, help="seconds for making a failing seed smaller")
    parser.add_argument("--tables", metavar="FILE", help="write what was found into this page, between its marks")
    return parser


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201


def _show(text: str) -> None:
    print(text, flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
