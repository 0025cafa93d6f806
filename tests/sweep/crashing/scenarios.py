"""What people do with the project, one short story for each kind of work."""

from __future__ import annotations

from typing import Any

from crashing import flows
from crashing.outcome import Outcome
from crashing.sweep import Scenario
from crashing.world import World
from headrace.graph.loaded import Loaded, freeze

DAY_US = 86_400_000_000
FIRST_US = 1_772_323_200_000_000  # 2026-03-01


def _codes(*found: Any) -> dict[str, Loaded]:
    return {"c1": freeze("swept", found)}


def _triggered(pipeline: str, **body: Any) -> Any:
    return lambda world: world.trigger(pipeline, pipeline, **body)


# -- cancel ----------------------------------------------------------------------------------------------------------


def _cancels(world: World) -> None:
    world.acts["slow"] = lambda: world.ask("cancel", "cancel", run=world.run_of("cancelled"))
    world.trigger("cancelled", "cancelled")


def _only_the_end(found: Outcome) -> Outcome:
    """How far a cancelled run got depends on the moment; what it got is right."""
    ends = {state for state, _ in found["results"].values()}
    assert ends <= {"succeeded", "cancelled", "returned", "waiting_retry"}, ends
    return found | {"results": {}}


# -- retry -----------------------------------------------------------------------------------------------------------


def _mends(world: World) -> None:
    world.switches.add("mended")
    world.ask("retry", "again", run=world.run_of("mended"))


# -- windows ---------------------------------------------------------------------------------------------------------


def _backfills(world: World) -> None:
    for n in range(3):
        window = (FIRST_US + n * DAY_US, FIRST_US + (n + 1) * DAY_US)
        key = f"backfill:b:{window[0]}-{window[1]}"
        body = {"pipeline": "daily", "window": window, "why": "backfill b", "cause": "backfill", "key": key}
        world.ask("trigger", key, **body)
        world.ask("trigger", f"{key} again", **body)


def _in_any_order(found: Outcome) -> Outcome:
    """Windows run beside each other: which is first is not promised, nor which of two same asks is told to ask again."""
    first = {"requests": {key: status for key, status in found["requests"].items() if not key.endswith(" again")}}
    tables = found["tables"]
    return (
        found | first | {"tables": {"versions": len(tables), "last": sorted(tables.get(max(tables, default=""), ""))}}
    )


def _three_hours_pass(world: World) -> None:
    world.clock.advance("2h")
    world.settle()
    world.clock.advance("1h")


# -- retention -------------------------------------------------------------------------------------------------------


def _works(world: World) -> None:
    world.trigger("plain", "plain", params={"n": 3})
    world.trigger("published", "published", params={"n": 3})
    world.trigger("mapped", "mapped")
    world.trigger("mended", "mended")


def _a_quarter_passes(world: World) -> None:
    world.clock.advance("100d")
    world.settle()
    world.clock.advance("2h")  # what could not be done at the first look is done at the next


def _asks_again(world: World) -> None:
    world.ask("retry", "again", run=world.run_of("mended"))


def _asks_for_the_same(world: World) -> None:
    """The first answer is forgotten too by now; the key of the run is not."""
    world.trigger("plain", "plain", params={"n": 3})


def _without_old_answers(found: Outcome) -> Outcome:
    """Answers are forgotten when the engine next has something to tidy up."""
    return found | {"requests": {key: found["requests"].get(key) for key in ("again", "plain")}}


# -- data ------------------------------------------------------------------------------------------------------------


def _appends(world: World) -> None:
    world.append(flows.orders, [flows.order(n) for n in range(6)])


def _appends_poison(world: World) -> None:
    world.append(flows.orders, [flows.order(n, -1 if n == 8 else None) for n in range(6, 12)])


def _appends_more(world: World) -> None:
    world.append(flows.orders, [flows.order(n) for n in range(12, 14)])


def _appends_notes(world: World) -> None:
    world.append(flows.notes, [{"id": f"m{n}", "x": n} for n in range(3)])


def _reads_while_others_write(world: World) -> None:
    def others() -> None:
        _appends_poison(world)
        world.trigger("upserted", "meanwhile", params={"n": 4})

    world.acts["first read"] = others
    world.trigger("pinned", "pinned")


def _runs_here(world: World) -> None:
    world.run_here(freeze("swept", [flows.upserted]), "upserted", n=2)


def _the_newest(found: Outcome) -> Outcome:
    """A run in process that died is closed as lost, and people run it again: what it publishes then is the same."""
    newest = {name.partition(" ")[0]: rows for name, rows in sorted(found["tables"].items())}
    return found | {"tables": newest, "topics": {}, "history": {}, "runs": {}, "results": {}}


# -- code ------------------------------------------------------------------------------------------------------------


def _changes_code(world: World) -> None:
    world.acts["first"] = lambda: world.save("c2")
    _appends(world)
    world.trigger("changing", "before")


def _by_either_code(found: Outcome) -> Outcome:
    """Which rows the old code still takes depends on the moment; the last ones are the new one's."""
    rows = [
        row if "'o12'" in row or "'o13'" in row else row.partition("'y'")[0] for row in found["topics"]["priced_orders"]
    ]
    return found | {"topics": {"priced_orders": rows}}


def _goes_on(world: World) -> None:
    world.trigger("changing", "after")
    _appends_more(world)


# -- a model ---------------------------------------------------------------------------------------------------------


def _flies(world: World, day: int, *, shift: float = 0.0, is_turned: bool = False, n: int = 8) -> None:
    rows = [{"id": f"f{day}-{i}", "at": f"2026-03-{1 + day:02d}T{i:02d}:00Z", "x": shift + i} for i in range(n)]
    late = [{"id": row["id"], "at": row["at"], "late": (i % 2 == 1) != is_turned} for i, row in enumerate(rows)]
    world.append(flows.flights, rows)
    world.append(flows.outcomes, late)


def _three_days(world: World) -> None:
    for day in range(3):
        _flies(world, day)


def _drifts(day: int) -> Any:
    def act(world: World) -> None:
        world.clock.advance("1d")
        _flies(world, day, shift=100.0, is_turned=True)
        _flies(world, day + 1, shift=100.0, is_turned=True, n=1)

    return act


def _drifts_on(world: World) -> None:
    world.clock.advance("1d")
    rows = [{"id": f"f4-{i}", "at": f"2026-03-05T{i:02d}:00Z", "x": 100.0 + i} for i in range(1, 8)]
    world.append(flows.flights, rows)
    world.append(flows.outcomes, [{"id": r["id"], "at": r["at"], "late": i % 2 == 0} for i, r in enumerate(rows, 1)])
    _flies(world, 5, shift=100.0, is_turned=True, n=1)


def _trains(world: World) -> None:
    world.trigger("retrain", "first", window=None)


_TABLES = _codes(flows.published, flows.follows)
_PINS = _codes(flows.upserted, flows.pinned, flows.orders)

SCENARIOS = {
    scenario.name: scenario
    for scenario in (
        Scenario("run", _codes(flows.plain), [_triggered("plain", params={"n": 3})]),
        Scenario("map", _codes(flows.mapped), [_triggered("mapped")]),
        Scenario(
            "retry",
            _codes(flows.retried, flows.mended),
            [_triggered("retried"), _triggered("mended"), _mends],
            fails=frozenset({"person:mended"}),
        ),
        Scenario(
            "retention",
            _codes(flows.plain, flows.published, flows.mapped, flows.mended),
            [_a_quarter_passes, _asks_again, _asks_for_the_same],
            [_works],
            promised=_without_old_answers,
            fails=frozenset({"person:mended"}),
            retention="90d",
        ),
        Scenario("cancel", _codes(flows.cancelled), [_cancels], promised=_only_the_end),
        Scenario("backfill", _codes(flows.daily), [_backfills], promised=_in_any_order),
        Scenario("schedule", _codes(flows.hourly), [_three_hours_pass], [lambda world: None]),
        Scenario("publish", _TABLES, [_triggered("published", params={"n": 3})]),
        Scenario(
            "pins", _PINS, [_reads_while_others_write], [_appends, _triggered("upserted", params={"n": 2})]
        ),
        Scenario("event", _codes(flows.in_twos, flows.each), [_appends, _appends_notes], [lambda world: None]),
        Scenario(
            "stream",
            _codes(flows.priced, flows.published),
            [_appends, _appends_poison, _appends_more],
            [_triggered("published", params={"n": 2})],
        ),
        Scenario(
            "reload",
            {"c1": freeze("swept", flows.old), "c2": freeze("swept", flows.new)},
            [_changes_code, _goes_on],
            promised=_by_either_code,
        ),
        Scenario("here", _codes(flows.upserted, flows.follows_upserts), [_runs_here], promised=_the_newest),
        Scenario(
            "retraining",
            _codes(flows.retrain, flows.score, flows.watch),
            [_drifts_on],
            [_three_days, _trains, _drifts(3)],
        ),
    )
}  # fmt: skip
