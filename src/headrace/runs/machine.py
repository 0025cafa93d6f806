"""The engine's step: events in, facts to commit and commands to carry out after the commit. No I/O, no clock.

For each event: hear it, decide on it, decide what follows. Then deadlines, then what time has made due, then work is
handed out. Every fact is applied to the state as it is decided, every command reckoned with; nothing is sent before the
commit has succeeded. After a commit that failed the shell throws this object away and makes a new one from the rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from headrace.base.facts import Fact
from headrace.runs import events as e
from headrace.runs import facts as f
from headrace.runs.applying import apply
from headrace.runs.deciding import decide
from headrace.runs.following import follow
from headrace.runs.handout import Handout
from headrace.runs.hearing import NOTHING, hear
from headrace.runs.outcome import Decided, Filed, Outcome
from headrace.runs.refusal import Refusal, rejected
from headrace.runs.sending import send
from headrace.runs.state import State
from headrace.runs.timers import Deadline


class TaintedStepError(Exception):
    """Deciding raised half-way through a step: the state in memory is no longer that of any commit."""


class Machine:
    """The step, and the state that it moves on."""

    def __init__(self, state: State) -> None:
        self.state = state
        self._handout = Handout(state)
        self._out = Decided()

    def step(
        self,
        events: Iterable[e.Event],
        *,
        now_us: int,
        mono_us: int,
        entropy: int,
        begun: Mapping[str, tuple[int, int]] | None = None,
    ) -> Decided:
        """Decide on all of it. `begun` maps a worker to (serial, monotonic microseconds) of what it is in.

        Raises TaintedStepError where this object may not be used any longer.
        """
        state = self.state
        state.begin_step(now_us, mono_us, entropy, begun or {})
        self._out = Decided()
        try:
            for event in events:
                self._take(event)
                self._follow()
            for deadline in state.timers.due(mono_us):
                self._take(deadline)
            self._follow()
            self._emit_all(state.desks.due(state, now_us))
            self._follow()
            self._emit_all(self._handout.hand_out())
            self._emit_all(self._handout.tend_workers())
        except TaintedStepError:
            raise
        except Exception as error:
            raise TaintedStepError(f"{type(error).__name__}: {error} while deciding on what follows") from error
        return self._out

    def next_due_us(self) -> int | None:
        """Monotonic time at which the next step is due without any event; None for never."""
        return self.state.timers.next_us(self.state.mono_us)

    def workers_with_timeouts(self) -> list[str]:
        """Workers whose begun slot must be read before the next step."""
        workers = self.state.pool.workers.values()
        return [w.name for w in workers if any(flight.timeout_us for flight in w.flights.values())]

    def emit(self, outcome: Outcome) -> None:
        """Take a decision into this step, and into the state."""
        if isinstance(outcome, Filed):
            self._out.files[len(self._out.facts)] = outcome.path
            outcome = outcome.fact
        if isinstance(outcome, Fact):
            self._out.facts.append(outcome)
            apply(self.state, outcome)
        else:
            self._out.commands.append(outcome)
            send(self.state, outcome)

    # -- inside --------------------------------------------------------------------------------------------------

    def _emit_all(self, outcomes: Iterable[Outcome]) -> None:
        for outcome in outcomes:
            self.emit(outcome)

    def _take(self, event: e.Event | Deadline) -> None:
        """An event whose decision raises is answered and stored, not tried again; unless something came of it before."""
        before = len(self._out.facts)
        is_heard = True
        try:
            heard = hear(self.state, event)
            is_heard = heard is not NOTHING
            self._emit_all(decide(self.state, event, heard))
        except Exception as error:
            if is_heard or len(self._out.facts) > before:
                raise TaintedStepError(f"{type(error).__name__}: {error} while deciding on {event!r:.500}") from error
            self._reject(event, error)

    def _reject(self, event: e.Event | Deadline, error: Exception) -> None:
        refusal, now_us = Refusal.of(error), self.state.now_us
        if isinstance(event, e.TriggerSeen | e.UpdateSeen):
            self._emit_all(rejected(repr(event), str(refusal), now_us, event.log, event.seq))
            return
        if not refusal.is_expected:
            self._emit_all(rejected(repr(event), str(refusal), now_us))
        request = getattr(event, "request", None)
        if request is None:
            self._out.refusals.append(refusal)
        else:
            self.emit(f.RequestAnswered(request, refusal.status, refusal.answer, now_us))

    def _follow(self) -> None:
        """Decide on what earlier facts left to do, until nothing is left; runs with ready work queue for workers."""
        state = self.state
        while state.touched:
            run = next(iter(state.touched))
            del state.touched[run]
            active = state.runs.get(run)
            if active is not None:
                self._emit_all(follow(state, active))
                self._handout.consider(active)
