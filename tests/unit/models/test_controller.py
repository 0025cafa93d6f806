from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.base.instants import to_us
from headrace.models.controller import (
    Ask,
    ControllerState,
    Decision,
    Evidence,
    Judged,
    Registered,
    RunEnded,
    RunStarted,
    StartRun,
    decide,
)

COOLDOWN_US = 14 * 86_400_000_000


def ask(day: str, by: str = "drift", forced: bool = False) -> Ask:
    return Ask(by=by, at_us=to_us(f"2013-{day}"), evidence="32 % of temp is new", forced=forced)


def after(*evidence: Evidence, state: ControllerState | None = None) -> Decision:
    """The decision on the last piece of evidence."""
    decision = Decision(state or ControllerState(), None, "")
    for piece in evidence:
        decision = decide(decision.state, piece, cooldown_us=COOLDOWN_US)
    return decision


def training(day: str) -> tuple[Evidence, ...]:
    return ask(day), RunStarted("r1"), Registered("r1", 2), Judged(2, True), RunEnded("r1", True)


def test_a_reason_names_instants_to_the_second() -> None:
    spring_us = to_us("2013-03-01T05:00:07.408135")
    state = ControllerState(phase="cooling", asked_us=spring_us, trained_us=spring_us)
    asked = Ask(by="drift", at_us=spring_us, evidence="")
    assert decide(state, asked, cooldown_us=60_000_000).reason == "cool-down until 2013-03-01T05:01:07Z"
    assert decide(state, asked, cooldown_us=0).reason.endswith("last run asked for, 2013-03-01T05:00:07Z")


def test_a_training_passes_through_the_five_states() -> None:
    steps = training("04-21")
    assert [after(*steps[:n]).state.phase for n in range(6)] == [
        "idle", "asked", "training", "judging", "judging", "cooling",
    ]  # fmt: skip


def test_the_verdict_may_come_before_or_after_the_run_ends() -> None:
    *start, verdict, end = training("04-21")
    assert after(*start, verdict, end).state == after(*start, end, verdict).state


def test_only_the_ask_starts_a_run_and_carries_its_number() -> None:
    actions = [after(*training("04-21")[:n]).action for n in range(1, 6)]
    assert actions == [StartRun(ask("04-21"), 1), None, None, None, None]
    assert after(*training("04-21"), ask("05-05")).action == StartRun(ask("05-05"), 2)


def test_an_ask_in_the_cool_down_is_suppressed_for_every_asker() -> None:
    for by in ("drift", "performance", "schedule"):
        decision = after(*training("04-21"), ask("05-04", by=by))
        assert (decision.action, decision.reason) == (None, "cool-down until 2013-05-05T00:00Z")


def test_the_cool_down_counts_from_the_evidence_and_ends_at_its_instant() -> None:
    assert after(*training("04-21"), ask("05-05")).state.phase == "asked"


def test_a_rejected_version_cools_down_too() -> None:
    *start, _, end = training("04-21")
    decision = after(*start, Judged(2, False), end)
    assert decision.state.phase == "cooling"
    assert decision.reason == "run r1 ended; cool-down until 2013-05-05T00:00Z"


def test_a_person_overrules_the_cool_down() -> None:
    assert after(*training("04-21"), ask("04-22", by="ada", forced=True)).action is not None


def test_a_person_does_not_start_a_second_training_beside_the_first() -> None:
    steps = training("04-21")
    for n in range(1, 5):
        decision = after(*steps[:n], ask("04-22", by="ada", forced=True))
        assert decision.action is None
        assert decision.state == after(*steps[:n]).state


def test_a_person_may_leave_behind_a_version_that_waits_for_its_verdict() -> None:
    *start, _, end = training("04-21")
    decision = after(*start, end, ask("04-22", by="ada", forced=True))
    assert decision.state.phase == "asked"
    assert "not the one" in after(Judged(2, True), state=decision.state).reason


def test_older_evidence_of_a_person_does_not_shorten_the_cool_down() -> None:
    again = ask("04-01", by="ada", forced=True), RunStarted("r2"), Registered("r2", 3), Judged(3, True)
    state = after(*training("04-21"), *again, RunEnded("r2", True)).state
    assert after(ask("05-04"), state=state).reason == "cool-down until 2013-05-05T00:00Z"


def test_an_ask_while_a_training_runs_is_suppressed_with_the_reason() -> None:
    steps = training("04-21")
    assert after(*steps[:1], ask("05-19")).reason == "the run asked for by drift has not started yet"
    assert after(*steps[:2], ask("05-19")).reason == "run r1 is training"
    assert after(*steps[:3], ask("05-19")).reason == "version 2 waits for its verdict"
    assert after(*steps[:4], ask("05-19")).reason == "run r1 has not ended"


@pytest.mark.parametrize("succeeded", [True, False])
def test_a_run_that_registers_nothing_leads_back_to_idle_without_a_cool_down(succeeded: bool) -> None:
    decision = after(ask("04-21"), RunStarted("r1"), RunEnded("r1", succeeded))
    assert decision.state.phase == "idle"
    assert "registered" in decision.reason or "registering" in decision.reason
    assert after(ask("04-28"), state=decision.state).action is not None


def test_a_failed_training_leaves_an_earlier_cool_down_as_it_is() -> None:
    forced = ask("04-22", by="ada", forced=True), RunStarted("r2"), RunEnded("r2", False)
    decision = after(*training("04-21"), *forced, ask("05-04"))
    assert decision.reason == "cool-down until 2013-05-05T00:00Z"


def test_the_same_evidence_asks_no_second_time_after_its_run_failed() -> None:
    decision = after(ask("04-21"), RunStarted("r1"), RunEnded("r1", False), ask("04-21"))
    assert decision.action is None
    assert "not newer" in decision.reason


@pytest.mark.parametrize("evidence", [RunStarted("r9"), RunEnded("r9", True), Registered("r9", 9), Judged(9, True)])
def test_news_of_another_run_or_version_changes_nothing_and_says_so(evidence: Evidence) -> None:
    steps = training("04-21")
    for n in (0, 2, 3, 5):
        state = after(*steps[:n]).state
        decision = after(evidence, state=state)
        assert decision.state == state
        assert "is not the one this model waits for" in decision.reason


# Properties over any order of evidence.

events = st.one_of(
    st.builds(
        Ask, by=st.sampled_from(["a", "b"]), at_us=st.integers(0, 60), evidence=st.just("e"), forced=st.booleans()
    ),
    st.builds(RunStarted, st.sampled_from(["r1", "r2"])),
    st.builds(RunEnded, st.sampled_from(["r1", "r2"]), st.booleans()),
    st.builds(Registered, st.sampled_from(["r1", "r2"]), st.integers(1, 3)),
    st.builds(Judged, st.integers(1, 3), st.booleans()),
)
histories = st.lists(events, max_size=80)


@given(histories, st.integers(0, 20))
def test_nothing_starts_while_another_run_is_active(history: list[Evidence], cooldown_us: int) -> None:
    state, active = ControllerState(), None
    for evidence in history:
        decision = decide(state, evidence, cooldown_us=cooldown_us)
        assert decision.reason
        if decision.action is not None:
            assert active is None
            active = "asked"
        elif isinstance(evidence, RunStarted) and active == "asked":
            active = evidence.run
        elif isinstance(evidence, RunEnded) and evidence.run == active:
            active = None
        state = decision.state


@given(histories, st.integers(0, 20))
def test_each_accepted_ask_is_one_run_with_the_next_number(history: list[Evidence], cooldown_us: int) -> None:
    state, numbers = ControllerState(), []
    for evidence in history:
        decision = decide(state, evidence, cooldown_us=cooldown_us)
        assert (decision.action is not None) == (decision.state.asks == state.asks + 1)
        if decision.action is not None:
            assert decision.action.ask == evidence
            numbers.append(decision.action.number)
        state = decision.state
    assert numbers == list(range(1, len(numbers) + 1))


@given(histories, st.integers(1, 20))
def test_only_a_person_starts_within_the_cool_down(history: list[Evidence], cooldown_us: int) -> None:
    state, served, trained = ControllerState(), None, []
    for evidence in history:
        decision = decide(state, evidence, cooldown_us=cooldown_us)
        if decision.action is not None:
            served = decision.action.ask
            assert served.forced or all(served.at_us >= before + cooldown_us for before in trained)
        if isinstance(evidence, Registered) and decision.state.phase == "judging" != state.phase:
            trained.append(served.at_us)
        state = decision.state


@given(histories)
def test_the_stored_state_continues_as_the_one_in_memory(history: list[Evidence]) -> None:
    live = stored = ControllerState()
    for evidence in history:
        live = decide(live, evidence, cooldown_us=7).state
        read = msgspec.json.decode(msgspec.json.encode(stored), type=ControllerState)
        message = msgspec.json.decode(msgspec.json.encode(evidence), type=Evidence)
        stored = decide(read, message, cooldown_us=7).state
    assert live == stored
