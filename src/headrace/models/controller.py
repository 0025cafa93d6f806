"""The retrain controller: one state per model, evidence in, a decision with its reason out.

Askers (drift, performance, schedule, event, person) never start a training, they ask. The model's policy holds for
all of them: one training at a time, and a cool-down counted in the event time of the evidence, which a person
overrules. What is not decided is decided too: every ask has a reason.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from headrace.base.instants import to_the_second

Phase = Literal["idle", "asked", "training", "judging", "cooling"]


class Ask(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Someone asks for a training.

    `at_us` is the event time of the evidence in UTC microseconds (of a judged window: when it was due), never the wall
    clock: for a schedule or a person, the event time that the model's data has reached. `forced` is for a person.
    """

    by: str
    at_us: int
    evidence: str
    forced: bool = False


class RunStarted(msgspec.Struct, frozen=True, tag=True):
    """The run of the accepted ask exists; it belongs into the commit that creates the run."""

    run: str


class Retried(msgspec.Struct, frozen=True, tag=True):
    """A person wants a training that has ended to go again; accepted where the state waits for `run` then."""

    run: str


class RunEnded(msgspec.Struct, frozen=True, tag=True):
    """A run reached its end; cancelled and skipped runs have not succeeded."""

    run: str
    succeeded: bool


class Registered(msgspec.Struct, frozen=True, tag=True):
    """A run registered a version, which waits for its verdict."""

    run: str
    version: int


class Judged(msgspec.Struct, frozen=True, tag=True):
    """The gate has decided on a version."""

    version: int
    promoted: bool


Evidence = Ask | RunStarted | Retried | RunEnded | Registered | Judged


class ControllerState(msgspec.Struct, frozen=True, kw_only=True):
    """Where a model stands.

    `asks` counts accepted asks and numbers their runs. `ask` is the one being served; `run`, `version` and `promoted`
    fill as it proceeds and are None outside of it. `asked_us` is the newest event time of an accepted ask, `trained_us`
    that of the last one whose run registered a version: the cool-down counts from there.
    """

    phase: Phase = "idle"
    asks: int = 0
    ask: Ask | None = None
    run: str | None = None
    run_ended: bool = False
    version: int | None = None
    promoted: bool | None = None
    asked_us: int | None = None
    trained_us: int | None = None


class StartRun(msgspec.Struct, frozen=True, tag=True):
    """Start the model's training pipeline for this ask. `number` is unique per model: make the run's key of it."""

    ask: Ask
    number: int


class Decision(msgspec.Struct, frozen=True):
    """The next state, what to do (if anything), and why."""

    state: ControllerState
    action: StartRun | None
    reason: str


def decide(state: ControllerState, evidence: Evidence, *, cooldown_us: int) -> Decision:
    """The one authority over a model's trainings; pure, so that a replay of the evidence gives the same decisions.

    Each accepted ask gives exactly one `StartRun`. Evidence of another run or version changes nothing and says so.

    >>> spring = Ask(by="unseen temp", at_us=0, evidence="32 % of temp is new")
    >>> decision = decide(ControllerState(), spring, cooldown_us=14)
    >>> decision.state.phase, decision.action.number, decision.reason
    ('asked', 1, 'unseen temp asks: 32 % of temp is new')
    >>> decide(decision.state, spring, cooldown_us=14).reason
    'the run asked for by unseen temp has not started yet'
    """
    match evidence:
        case Ask():
            return _on_ask(state, evidence, cooldown_us)
        case RunStarted(run):
            return _on_started(state, run)
        case Retried(run):
            return _on_retried(state, run)
        case RunEnded(run, succeeded):
            return _on_ended(state, run, succeeded, cooldown_us)
        case Registered(run, version):
            return _on_registered(state, run, version)
        case Judged(version, promoted):
            return _on_judged(state, version, promoted, cooldown_us)


def _on_ask(state: ControllerState, ask: Ask, cooldown_us: int) -> Decision:
    objection = _objection(state, ask, cooldown_us)
    if objection is not None:
        return _stay(state, objection)
    accepted = ControllerState(
        phase="asked",
        asks=state.asks + 1,
        ask=ask,
        asked_us=_later(state.asked_us, ask.at_us),
        trained_us=state.trained_us,
    )
    return Decision(accepted, StartRun(ask, accepted.asks), f"{ask.by} asks: {ask.evidence}")


def _objection(state: ControllerState, ask: Ask, cooldown_us: int) -> str | None:
    """Why this ask starts nothing now; a person meets only the first kind."""
    busy = _busy(state)
    if busy is not None and not (ask.forced and state.phase == "judging" and state.run_ended):
        return busy
    if ask.forced:
        return None
    if state.trained_us is not None and ask.at_us < state.trained_us + cooldown_us:
        return f"cool-down until {to_the_second(state.trained_us + cooldown_us)}"
    if state.asked_us is not None and ask.at_us <= state.asked_us:
        return f"its evidence is not newer than that of the last run asked for, {to_the_second(state.asked_us)}"
    return None


def _busy(state: ControllerState) -> str | None:
    match state.phase:
        case "asked":
            return f"the run asked for by {state.ask.by if state.ask else 'another'} has not started yet"
        case "training":
            return f"run {state.run} is training"
        case "judging" if state.promoted is None:
            return f"version {state.version} waits for its verdict"
        case "judging":
            return f"run {state.run} has not ended"
        case "idle" | "cooling":
            return None


def _on_started(state: ControllerState, run: str) -> Decision:
    if state.phase != "asked":
        return _stay(state, _foreign_run(state, run))
    return _stay(msgspec.structs.replace(state, phase="training", run=run), f"run {run} is training")


def _on_retried(state: ControllerState, run: str) -> Decision:
    """No new ask: it still serves the one that it was made for, so no cool-down holds it up."""
    busy = _busy(state)
    if busy is not None:
        return _stay(state, busy)
    return _stay(msgspec.structs.replace(state, phase="training", run=run), f"run {run} is training again")


def _on_registered(state: ControllerState, run: str, version: int) -> Decision:
    if state.phase != "training" or run != state.run:
        return _stay(state, _foreign_run(state, run))
    judging = msgspec.structs.replace(state, phase="judging", version=version, trained_us=state.asked_us)
    return _stay(judging, f"run {run} registered version {version}, which waits for its verdict")


def _on_ended(state: ControllerState, run: str, succeeded: bool, cooldown_us: int) -> Decision:
    if state.phase == "training" and run == state.run:
        how = "ended without registering a version" if succeeded else "failed before it registered a version"
        return _rest(state, f"run {run} {how}", cooldown_us)
    if state.phase != "judging" or run != state.run:
        return _stay(state, _foreign_run(state, run))
    if state.promoted is not None:
        return _rest(state, f"run {run} ended", cooldown_us)
    ended = msgspec.structs.replace(state, run_ended=True)
    return _stay(ended, f"run {run} ended; version {state.version} waits for its verdict")


def _on_judged(state: ControllerState, version: int, promoted: bool, cooldown_us: int) -> Decision:
    reason = f"version {version} was {'promoted' if promoted else 'rejected'}"
    if state.phase != "judging" or version != state.version or state.promoted is not None:
        return _stay(state, f"{reason}; it is not the one this model waits for")
    if state.run_ended:
        return _rest(state, reason, cooldown_us)
    return _stay(msgspec.structs.replace(state, promoted=promoted), f"{reason}; run {state.run} has not ended")


def _rest(state: ControllerState, reason: str, cooldown_us: int) -> Decision:
    """The ask is served. An earlier training may still cool: a run that registered nothing changes no cool-down."""
    cooling = state.trained_us is not None and cooldown_us > 0
    rested = ControllerState(
        phase="cooling" if cooling else "idle",
        asks=state.asks,
        asked_us=state.asked_us,
        trained_us=state.trained_us,
    )
    if cooling and state.trained_us is not None:
        reason = f"{reason}; cool-down until {to_the_second(state.trained_us + cooldown_us)}"
    return Decision(rested, None, reason)


def _later(known_us: int | None, us: int) -> int:
    # A person may ask with older evidence than the last: that must not shorten a cool-down.
    return us if known_us is None else max(known_us, us)


def _foreign_run(state: ControllerState, run: str) -> str:
    return f"run {run} is not the one this model waits for ({state.run or state.phase})"


def _stay(state: ControllerState, reason: str) -> Decision:
    return Decision(state, None, reason)
