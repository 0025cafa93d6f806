"""Models: who may start a training, whether its version serves, and every move of an alias."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from headrace.base.facts import Fact
from headrace.definitions.project import CHAMPION, ModelDef, PipelineDef
from headrace.errors import NotFoundError, RefusedError
from headrace.models import controller as c
from headrace.models.facts import AliasMoved, ControllerMoved, RetrainAsked, VersionRegistered, VersionRejected
from headrace.models.promotion import IfBetter, Verdict, gate
from headrace.runs import facts as f
from headrace.runs.creation import bounded_by, created, reached, run_window
from headrace.runs.effects import RegisteredModel
from headrace.runs.events import AliasAsked, RunAsked
from headrace.runs.path import path_text
from headrace.runs.pool import Flight
from headrace.runs.rows import Restored, RunRow

if TYPE_CHECKING:
    from headrace.runs.office import Office

_CAUSE = "retrain"
_KEY = "retrain:"  # a training is retrain:<model>:<number>


class ModelDesk:
    """Last version, aliases with their history, and the controller's state, per model."""

    heeds = (VersionRegistered, AliasMoved, ControllerMoved)

    def __init__(self) -> None:
        self.last_version: dict[str, int] = {}
        self.aliases: dict[tuple[str, str], int] = {}
        self.served: dict[str, list[int]] = {}  # champions in order, for a rollback
        self.champion_since_us: dict[str, int] = {}
        self.states: dict[str, c.ControllerState] = {}
        self._unheard: dict[str, str] = {}  # trainings that ended without their controller hearing of it

    def restore(self, rows: Restored) -> None:
        self.last_version = dict(rows.models)
        self.aliases = dict(rows.aliases)
        self.served = {model: list(versions) for model, versions in rows.served.items()}
        self.champion_since_us = dict(rows.champion_since_us)
        self.states = {
            model: msgspec.json.decode(body, type=c.ControllerState) for model, body in rows.controllers.items()
        }
        self._unheard = dict(rows.ended_trainings)

    def apply(self, fact: Fact) -> None:
        match fact:
            case VersionRegistered():
                self.last_version[fact.model] = fact.version_number
            case AliasMoved():
                self.aliases[fact.model, fact.alias] = fact.version_number
                if fact.alias == CHAMPION:
                    self.served.setdefault(fact.model, []).append(fact.version_number)
                    self.champion_since_us.setdefault(fact.model, fact.event_us or fact.at_us)
            case ControllerMoved():
                self.states[fact.model] = msgspec.json.decode(fact.state, type=c.ControllerState)
            case _:
                pass

    # -- asking --------------------------------------------------------------------------------------------------

    def asked_by_person(
        self, office: Office, definition: PipelineDef, event: RunAsked, watermarks: dict[str, int]
    ) -> Iterator[Fact]:
        """A person overrules the cool-down, not a training in progress."""
        model = self._model(office, definition)
        evidence = event.why or "asked for"
        if event.window is not None:
            window = event.window
        else:
            if event.at_us is None:
                evidence += f" ({bounded_by(definition, watermarks, model.mature_us)})"
            end_us = event.at_us or reached(definition, watermarks, office.now_us) - model.mature_us
            window = run_window(definition, end_us) or (0, end_us)
        ask = c.Ask(by=event.cause, at_us=window[1] + model.mature_us, evidence=evidence, forced=True)
        decision = c.decide(self._state(model), ask, cooldown_us=model.cooldown_us)
        if decision.action is None:
            cure = f"headrace models show {model.name}"
            raise RefusedError(f"{model.name}: {decision.reason}", cure=cure, code="HR3030")
        yield from self.asked(office, definition, ask.by, ask.evidence, window, params=event.params, forced=True)

    def asked(
        self,
        office: Office,
        definition: PipelineDef,
        by: str,
        evidence: str,
        window: tuple[int, int],
        *,
        params: dict[str, object] | None = None,
        events: tuple[tuple[str, int, int, int], ...] = (),
        key: str = "",
        forced: bool = False,
    ) -> Iterator[Fact]:
        """Somebody asks for a training about `window`: recorded whatever is decided, a run where it is accepted.

        `key` and `events` are those of a trigger that fired.
        """
        model = self._model(office, definition)
        about_us = window[1] + model.mature_us
        state = self._state(model)
        ask = c.Ask(by=by, at_us=about_us, evidence=evidence, forced=forced)
        decision = c.decide(state, ask, cooldown_us=model.cooldown_us)
        accepted = decision.action is not None
        yield RetrainAsked(model.name, by, evidence, about_us, accepted, decision.reason, office.now_us, key)
        if decision.action is None:
            return
        key, why = f"{_KEY}{model.name}:{decision.action.number}", f"{by}: {evidence}"
        window = run_window(definition, window[1]) or window
        run = created(office, definition.name, key, _CAUSE, window, params=params, events=events, why=why)
        yield run
        started = c.decide(decision.state, c.RunStarted(run.run), cooldown_us=model.cooldown_us)
        yield self._moved(model.name, started.state, decision.reason, office)

    def on_retry(self, office: Office, row: RunRow) -> Iterator[Fact]:
        """A training that has ended goes again: as the one training of its model, or it is refused."""
        if row.cause != _CAUSE:
            return
        name = row.key.removeprefix(_KEY).rpartition(":")[0]
        decision = c.decide(self.states.get(name, c.ControllerState()), c.Retried(row.run), cooldown_us=0)
        if decision.state.run != row.run:
            cure = f"headrace models show {name}"
            raise RefusedError(f"{name}: {decision.reason}", cure=cure, code="HR3030")
        yield self._moved(name, decision.state, decision.reason, office)

    # -- versions ------------------------------------------------------------------------------------------------

    def on_registered(
        self, office: Office, run: str, flight: Flight, code: str, new: RegisteredModel
    ) -> Iterator[Fact]:
        """Number the version, let the gate judge it, move the alias or record the rejection.

        The policy is that of the code version that the run was made with, whatever is deployed by now.
        """
        model = office.model_of(run) or ModelDef(new.model)
        number = self.last_version.get(model.name, 0) + 1
        champion = self.aliases.get((model.name, CHAMPION), 0)
        verdict = self._verdict(model, new, champion)
        yield VersionRegistered(
            model=model.name,
            version_number=number,
            codec=new.codec,
            path=new.path,
            digest=new.digest,
            size_bytes=new.size_bytes,
            run=run,
            node=flight.node,
            code=code,
            predict=new.predict,
            cutoff_us=new.cutoff_us,
            at_us=office.now_us,
            rows_fit=new.rows_fit,
            rows_test=new.rows_test,
            evidence=_evidence(new, verdict),
            reference=new.reference,
            golden=new.golden,
            map_path=path_text(flight.path),
            item=flight.item,
            attempt=flight.attempt,
        )
        event_us = self._about_us(office, run, model)
        if verdict.promoted:
            yield AliasMoved(model.name, CHAMPION, number, champion, "gate", verdict.reason, office.now_us, event_us)
        else:
            yield VersionRejected(model.name, number, verdict.reason, office.now_us, event_us)
        state = self._state(model)
        registered = c.decide(state, c.Registered(run, number), cooldown_us=model.cooldown_us)
        judged = c.decide(registered.state, c.Judged(number, verdict.promoted), cooldown_us=model.cooldown_us)
        if judged.state != state:
            yield self._moved(model.name, judged.state, judged.reason, office)

    def on_run_ended(self, office: Office, model: ModelDef | None, ended: f.RunEnded) -> Iterator[Fact]:
        """The controller that waits for the run hears of its end. `model` is what it registers, if anything."""
        state = self.states.get(model.name) if model is not None else None
        if model is None or state is None or state.run != ended.run:
            return
        decision = c.decide(state, c.RunEnded(ended.run, ended.state == "succeeded"), cooldown_us=model.cooldown_us)
        yield self._moved(model.name, decision.state, decision.reason, office)

    def due(self, office: Office) -> Iterator[Fact]:
        """Free the controllers that wait for a run that was ended from the outside."""
        unheard, self._unheard = self._unheard, {}
        for run, how in unheard.items():
            for name, state in tuple(self.states.items()):
                if state.run == run:
                    model = office.project.models.get(name) or ModelDef(name)
                    yield from self.on_run_ended(office, model, f.RunEnded(run, how, office.now_us))

    def move_alias(self, office: Office, event: AliasAsked) -> Iterator[Fact]:
        """Promote by hand, or back to the version that served before (`version` None)."""
        last, served = self.last_version.get(event.model, 0), self.served.get(event.model, [])
        current = self.aliases.get((event.model, event.alias), 0)
        target = alias_target(event, last=last, current=current, served=served)
        why = "rolled back" if event.version is None else "promoted by hand"
        yield AliasMoved(event.model, event.alias, target, current, event.by, why, office.now_us)

    # -- inside --------------------------------------------------------------------------------------------------

    def _verdict(self, model: ModelDef, new: RegisteredModel, champion: int) -> Verdict:
        if model.promote is None:
            return Verdict("promote", False, "the model declares no gate: every version serves", None)
        rule = IfBetter(model.promote.metric, model.promote.by, model.promote.inconclusive)  # type: ignore[arg-type]
        if new.problem:
            return Verdict("reject", True, f"it could not be compared with the champion: {new.problem}", None)
        if new.against != champion:
            reason = f"judged against version {new.against}, but version {champion} serves now: judge it again"
            return Verdict("reject", True, reason, None)
        return gate(rule, new.gain)

    def _about_us(self, office: Office, run: str, model: ModelDef) -> int:
        window = office.window_of(run)
        return office.now_us if window is None else window[1] + model.mature_us

    def _state(self, model: ModelDef) -> c.ControllerState:
        return self.states.get(model.name, c.ControllerState())

    def _moved(self, model: str, state: c.ControllerState, why: str, office: Office) -> ControllerMoved:
        return ControllerMoved(model, msgspec.Raw(msgspec.json.encode(state)), why, office.now_us)

    def _model(self, office: Office, definition: PipelineDef) -> ModelDef:
        model = office.project.models.get(definition.registers or "")
        if model is None:
            raise NotFoundError(f"{definition.name} registers {definition.registers!r}, which is not in the project")
        return model


def _evidence(new: RegisteredModel, verdict: Verdict) -> dict[str, Any]:
    gain = msgspec.to_builtins(new.gain)
    problem = {"problem": new.problem} if new.problem else {}
    return {"metrics": new.metrics, "gain": gain, "against": new.against, "verdict": verdict.reason, **problem}


def alias_target(event: AliasAsked, *, last: int, current: int, served: Sequence[int]) -> int:
    """The version that an alias is to point to: the asked one, or the champion before `current` (`version` None).

    `last` is the model's newest version and `served` its champions in order. Raises NotFoundError, RefusedError.
    """
    if not last:
        raise NotFoundError(f"the model {event.model!r} has no version", cure="headrace models ls", code="HR2040")
    target = event.version
    if target is None:
        before = [version for version in served if version != current]
        if not before:
            raise RefusedError(f"{event.model}: nothing served before version {current}", code="HR3031")
        target = before[-1]
    if not 1 <= target <= last:
        raise NotFoundError(
            f"{event.model} has versions 1 to {last}, not {target}",
            cure=f"headrace models show {event.model}",
            code="HR2041",
        )
    if target == current:
        raise RefusedError(f"version {target} of {event.model} is the {event.alias} already", code="HR3032")
    return target
