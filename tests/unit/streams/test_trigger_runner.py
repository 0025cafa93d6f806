"""Event triggers: each matching event in exactly one group, over partitions, cuts and restarts."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headrace.data.topic import Topic
from headrace.graph.pipeline import pipeline
from headrace.graph.task import task
from headrace.graph.trigger import event
from headrace.store.sql.reads.streams import TriggerRow, triggers
from headrace.streams.place import Place

OUTCOMES = {"id": str, "at": "datetime", "diverted": bool}


def watching(count: int = 1, within: str | None = None):
    outcomes = Topic("outcomes", schema=OUTCOMES, key="id", event_time="at")

    @task
    def look() -> int:
        return 1

    @pipeline
    def investigate() -> None:
        look()

    investigate.on(event(outcomes, where="diverted", count=count, within=within))
    return outcomes, investigate


PLACE = Place("investigate", slug="event outcomes diverted")
LOG = "trigger:investigate:event outcomes diverted"


def outcome(n: int, diverted: bool) -> dict[str, object]:
    return {"id": f"f{n}", "at": f"2013-01-01T00:{n // 60:02}:{n % 60:02}Z", "diverted": diverted}


def trigger_row(h) -> TriggerRow:
    (row,) = triggers(h.store.database)
    return row


def fired_events(h) -> list[tuple[int, int]]:
    places: list[tuple[int, int]] = []
    for fact in h.facts(LOG, "TriggerFired"):
        for _, partition, first, end in fact.ranges:
            places += [(partition, offset) for offset in range(first, end)]
    return places


def matching(h, outcomes) -> list[tuple[int, int]]:
    rows = h.log.read(outcomes.definition, hidden=True)
    return [(r["_partition"], r["_offset"]) for r in rows.iter_rows(named=True) if r["diverted"]]


def test_each_matching_event_fires_once_and_names_its_offset(harness):
    outcomes, investigate = watching()
    h = harness(investigate)
    h.start(PLACE)
    h.append(outcomes, [outcome(n, n % 3 == 0) for n in range(20)])
    h.settle()
    fired = h.facts(LOG, "TriggerFired")
    assert len({f.key for f in fired}) == 7
    assert sorted(fired_events(h)) == sorted(matching(h, outcomes))


def test_progress_without_news_is_saved_when_quiet_and_read_again_by_the_next_owner(harness):
    outcomes, investigate = watching(count=3)
    h = harness(investigate)
    h.start(PLACE)
    h.append(outcomes, [outcome(1, True), outcome(2, False), outcome(3, True)])
    h.settle()
    assert h.facts(LOG, "TriggerFired") == []
    assert sum(h.facts(LOG, "TriggerProgressed")[-1].offsets) == 3
    h.restart()
    h.append(outcomes, [outcome(4, True)])
    h.settle()
    (fired,) = h.facts(LOG, "TriggerFired")
    assert sum(end - first for _, _, first, end in fired.ranges) == 3


def test_under_steady_load_progress_is_saved_once_a_second(harness):
    outcomes, investigate = watching(count=1000)
    h = harness(investigate)
    runner = h.start(PLACE)
    for n in range(20):
        h.append(outcomes, [outcome(n, True)])
        h.clock.monotonic += 5_000
        h.clock.pass_us(100_000)
        runner.tick()
        runner.tick()
    assert len(h.facts(LOG, "TriggerProgressed")) == 2


def test_a_count_lowered_below_what_is_held_fires_without_another_event(harness):
    outcomes, investigate = watching(count=20)
    h = harness(investigate)
    h.start(PLACE)
    h.append(outcomes, [outcome(n, True) for n in range(12)])
    h.settle()
    h.use(watching(count=5)[1])
    h.restart()
    h.settle()
    assert len(h.facts(LOG, "TriggerFired")) == 2
    h.append(outcomes, [outcome(n, True) for n in range(12, 16)])
    h.settle()
    assert len(h.facts(LOG, "TriggerFired")) == 3
    assert len(set(fired_events(h))) == 15


NEW_YEAR_US = 1_356_998_400_000_000
FAR = {"id": "far", "at": "2999-01-01T00:00Z", "diverted": True}


def test_a_run_of_a_row_that_is_ahead_is_as_of_the_newest_event_before_it_else_of_now(harness):
    outcomes, investigate = watching()
    h = harness(investigate)
    h.clock.us = NEW_YEAR_US + 3_000_000_000
    h.start(PLACE)
    for row in (FAR, outcome(5, True), FAR, outcome(3, True)):
        h.append(outcomes, [row])
        h.settle()
    times = [fired.event_time_us - NEW_YEAR_US for fired in h.facts(LOG, "TriggerFired")]
    assert times == [3_000_000_000, 5_000_000, 5_000_000, 3_000_000]


@pytest.mark.parametrize("down_us", [0, 2 * 3_600_000_000])
def test_a_row_two_hours_ahead_is_in_no_group_though_it_is_read_two_hours_later(harness, down_us):
    outcomes, investigate = watching(count=2, within="24h")
    h = harness(investigate)
    h.clock.us = NEW_YEAR_US - 2 * 3_600_000_000
    h.append(outcomes, [outcome(1, True), {**outcome(2, True), "at": datetime(2012, 12, 31, 22, tzinfo=UTC)}])
    h.clock.pass_us(down_us)
    h.start(PLACE)
    h.settle()
    assert h.facts(LOG, "TriggerFired") == []
    assert trigger_row(h).expired == 1


def test_a_new_trigger_is_not_about_what_was_there_before_though_the_clock_was_set_back(harness):
    outcomes, investigate = watching()
    h = harness(investigate)
    h.clock.us = 5_000_000
    h.append(outcomes, [outcome(1, True)])
    h.clock.us = 5
    h.deploy()
    h.append(outcomes, [outcome(2, True)])
    h.start(PLACE)
    h.settle()
    assert len(h.facts(LOG, "TriggerFired")) == 1


def test_a_column_that_is_not_boolean_stops_the_trigger_and_says_so(harness):
    odd = Topic("outcomes", schema={"id": str, "at": "datetime", "diverted": str}, key="id", event_time="at")
    _, investigate = watching()
    h = harness(investigate)
    h.append(odd, [{**outcome(1, True), "diverted": "yes"}])
    h.use(investigate)
    h.loaded.project.topics["outcomes"] = odd.definition
    h.start(PLACE)
    h.settle()
    assert "boolean column 'diverted'" in trigger_row(h).why
    (held,) = h.facts(LOG, "TriggerHeld")
    assert held.why == trigger_row(h).why


def test_damaged_rows_stop_the_trigger_until_they_can_be_read(harness):
    outcomes, investigate = watching()
    h = harness(investigate)
    h.start(PLACE)
    h.append(outcomes, [outcome(1, True)])
    ((whole,),) = h.store.database.read("SELECT body FROM topic_bodies")

    def put(body: bytes) -> None:
        with h.store.database.write() as connection:
            connection.execute("UPDATE topic_bodies SET body = ?", (body,))

    put(bytes(len(whole)))
    h.settle()
    assert "HR4040" in trigger_row(h).why
    put(whole)
    h.restart()
    h.settle()
    assert trigger_row(h).why is None
    assert len(fired_events(h)) == 1


@settings(
    deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(
    st.lists(st.lists(st.booleans(), min_size=1, max_size=8), min_size=1, max_size=6),
    st.integers(1, 4),
    st.lists(st.booleans(), min_size=6, max_size=6),
)
def test_over_any_cut_and_restart_an_event_is_in_one_group_or_still_held(harness, appends, count, restarts):
    outcomes, investigate = watching(count=count)
    h = harness(investigate)
    h.start(PLACE)
    n = 0
    for flags, is_restarted in zip(appends, restarts, strict=False):
        h.append(outcomes, [outcome(n + i, flag) for i, flag in enumerate(flags)])
        n += len(flags)
        h.settle()
        if is_restarted:
            h.restart()
    h.settle()
    fired, wanted = fired_events(h), matching(h, outcomes)
    assert len(fired) == len(set(fired)) == len(wanted) // count * count
    assert set(fired) <= set(wanted)
