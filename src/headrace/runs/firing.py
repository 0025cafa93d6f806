"""Triggers that fired: each gives exactly one run or one recorded suppression."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.base.facts import Fact
from headrace.definitions.project import PipelineDef
from headrace.errors import RefusedError
from headrace.models.facts import RetrainAsked
from headrace.runs import facts as f
from headrace.runs.creation import created, run_window

if TYPE_CHECKING:
    from headrace.runs.office import Office
    from headrace.runs.training import ModelDesk


@dataclass(frozen=True, slots=True)
class Firing:
    """What fired: `cause` is event or updated, `why` says it to people, `about_us` is the event time that it is about."""

    cause: str
    key: str
    about_us: int
    why: str
    events: tuple[tuple[str, int, int, int], ...] = ()


def fire(office: Office, definition: PipelineDef, firing: Firing, models: ModelDesk) -> Iterator[Fact]:
    """Start the run, or ask for it where the pipeline registers a model."""
    model = office.project.models.get(definition.registers or "")
    # A training is about rows whose labels are there by then.
    end_us = firing.about_us if model is None else firing.about_us - model.mature_us
    try:
        window = run_window(definition, end_us)
    except RefusedError as error:
        yield f.TriggerSuppressed(definition.name, firing.key, error.message, office.now_us)
        return
    if model is None:
        name, key, events = definition.name, firing.key, firing.events
        yield created(office, name, key, firing.cause, window, events=events, why=firing.why)
        return
    about = (0, end_us)
    asking = models.asked(office, definition, firing.cause, firing.why, about, events=firing.events, key=firing.key)
    for fact in asking:
        yield fact
        if isinstance(fact, RetrainAsked) and not fact.accepted:
            yield f.TriggerSuppressed(definition.name, firing.key, fact.why, office.now_us)
