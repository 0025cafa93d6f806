"""The words for everything that waits, is skipped or failed: the same in UI, CLI and API.

Pure functions from rows to reasons. A reason says what it is about, in which state, why, and what happens or is to be
done next. Here those of pipelines, models, monitors and streams; those of runs are in `run_reasons`.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from headrace.base.instants import iso, to_the_second
from headrace.definitions.project import ModelDef, MonitorDef, PipelineDef
from headrace.models.controller import ControllerState
from headrace.runs.reach import NOTHING_KNOWN, Reach, to_come, waits_for

NO_ENGINE = "no engine is alive"
START_ENGINE = "headrace dev"
NO_CHAMPION = "no champion yet"
AT_WORK = ("asked", "training", "judging")  # the phases of a controller that has a training under way


@dataclass(frozen=True, slots=True)
class Reason:
    """Why one thing is in its state, and the next step: a command, or what it waits for. `next` is "" for none."""

    about: str
    state: str
    why: str
    next: str = ""


@dataclass(frozen=True, slots=True)
class FailedTraining:
    """A training that failed or was lost, and why."""

    run: str
    pipeline: str
    why: str


class ShardState(Protocol):
    """One shard of a stream."""

    @property
    def stream(self) -> str: ...
    @property
    def shard(self) -> int: ...
    @property
    def next_offset(self) -> int | None: ...
    @property
    def model(self) -> str | None: ...
    @property
    def model_version(self) -> int | None: ...
    @property
    def model_problem(self) -> str | None: ...
    @property
    def why(self) -> str | None: ...
    @property
    def is_stopped(self) -> bool: ...
    @property
    def until_us(self) -> int | None: ...


def evidence_in_words(text: str) -> str:
    """What an ask for a training rests on: only what was found first.

    >>> evidence_in_words("psi of temp 0.3 is above 0.2; auc 0.7 …")
    'psi of temp 0.3 is above 0.2'
    """
    return text.partition("; ")[0]


def of_pipeline(
    pipeline: PipelineDef,
    *,
    paused_by: str | None,
    next_slot_us: int | None,
    fires_schedules: bool,
    has_engine: bool,
    missed: int = 0,
    held_events: int = 0,
) -> list[Reason]:
    """Why no run of the pipeline starts now. `missed` slots of its schedule are due, and nothing was done for them."""
    about = f"pipeline {pipeline.name}"
    reasons: list[Reason] = []
    if paused_by is not None:
        reasons.append(
            Reason(about, "paused", f"paused by {paused_by}", f"headrace pipelines resume {shlex.quote(pipeline.name)}")
        )
    if not has_engine:
        reasons.append(Reason(about, "waiting", NO_ENGINE, START_ENGINE))
    if next_slot_us is not None and not fires_schedules:
        reasons.append(Reason(about, "waiting", "schedules do not fire here", "schedules = true in headrace.toml"))
    elif missed and paused_by is None:
        why = f"{missed:,} missed slot{' is' if missed == 1 else 's are'} due"
        reasons.append(Reason(about, "waiting", why, "goes by itself" if has_engine else START_ENGINE))
    elif next_slot_us is not None:
        slot = f"its next slot is {iso(next_slot_us)}"
        if paused_by is None:
            reasons.append(Reason(about, "waiting", slot, "goes by itself"))
        else:
            reasons.append(Reason(about, "paused", f"{slot}: it is skipped while the pipeline is paused"))
    if held_events:
        reasons.append(Reason(about, "waiting", f"{held_events} events are held for a group", "more events"))
    if not pipeline.triggers:
        reasons.append(Reason(about, "waiting", "it has no trigger", f"headrace trigger {shlex.quote(pipeline.name)}"))
    return reasons


def of_model(
    model: ModelDef,
    *,
    champion: int | None,
    versions: int,
    controller: ControllerState,
    last_ask: str | None,
    trainer: str | None,
    failed: FailedTraining | None = None,
) -> list[Reason]:
    """Why the model serves what it serves, and why no training starts. `last_ask` is the controller's last answer.

    `failed` is the newest training, where it went wrong.
    """
    about = f"model {model.name}"
    reasons: list[Reason] = []
    if champion is None:
        step = f"headrace trigger {shlex.quote(trainer)}" if trainer else "a pipeline that registers a version"
        step = "" if controller.phase in AT_WORK or failed is not None else step
        why = f"{NO_CHAMPION}: {'no version was promoted' if versions else 'it has no version'}"
        reasons.append(Reason(about, "waiting", why, step))
    if controller.phase == "cooling" and controller.trained_us is not None:
        until_us = controller.trained_us + model.cooldown_us
        reasons.append(
            Reason(about, "cooling", f"cool-down until {to_the_second(until_us)}", "evidence from after then")
        )
    elif controller.phase in AT_WORK:
        step = f"headrace why {controller.run}" if controller.run else "goes by itself"
        asked = (
            f"asked by {controller.ask.by}: {evidence_in_words(controller.ask.evidence)}"
            if controller.ask
            else controller.phase
        )
        reasons.append(Reason(about, controller.phase, asked, step))
    if failed is not None:
        why = f"its last training went wrong: run {failed.run} ({failed.pipeline}): {failed.why}"
        step = f"headrace why {failed.run}; it is not tried again by itself, the next ask starts another training"
        reasons.append(Reason(about, "failed", why, step))
    if last_ask is not None:
        reasons.append(Reason(about, "suppressed", evidence_in_words(last_ask), "goes by itself"))
    return reasons


def of_monitor(
    monitor: MonitorDef,
    model: ModelDef | None,
    *,
    next_end_us: int | None,
    reaches: Mapping[str, Reach],
) -> list[Reason]:
    """What the next window of the monitor waits for. `next_end_us` is its end, None before the first champion."""
    about = f"monitor {monitor.name}"
    if next_end_us is None:
        why = f"{NO_CHAMPION} of {monitor.model}: there is nothing to compare with"
        return [Reason(about, "waiting", why, f"headrace why {monitor.model}")]
    mature_us = 0 if model is None else model.mature_us
    topics = [monitor.topic, *([model.labels] if model is not None and model.labels else [])]
    due_us = next_end_us + mature_us
    window = f"the window up to {iso(next_end_us)}"
    return [
        Reason(about, "waiting", f"{window} {waits_for(topic, due_us, reach)}", to_come(due_us, reach))
        for topic in topics
        if (reach := reaches.get(topic, NOTHING_KNOWN)).is_behind(due_us)
    ]


def of_shard(shard: ShardState, *, lag: int | None, dead: tuple[int, int] = (0, 0)) -> list[Reason]:
    """Why a shard of a stream does not advance, or lags by `lag` rows (None where it has not started).

    `dead`: how many of its rows have lately become dead letters, and when the first of them.
    """
    about = f"stream {shard.stream}/{shard.shard}"
    reasons: list[Reason] = []
    if shard.why:
        state = "stopped" if shard.is_stopped else "held"
        step = f"tries again at {to_the_second(shard.until_us)}" if shard.until_us is not None else ""
        reasons.append(Reason(about, state, shard.why, step or ("mend it and save" if shard.is_stopped else "")))
    if shard.model_problem:
        served = f"{shard.model} stays at version {shard.model_version}"
        why = f"{served if shard.model_version else f'no version of {shard.model} serves'}: {shard.model_problem}"
        state = "running" if shard.model_version and not shard.why else "held"
        reasons.append(Reason(about, state, why, f"headrace models show {shard.model}"))
    if lag and not reasons:
        reasons.append(Reason(about, "running", f"{lag:,} rows behind", "goes by itself"))
    n, first_us = dead
    if n:
        step = f"headrace dead-letters ls {shard.stream}"
        why = f"{n:,} row{'' if n == 1 else 's'} could not be processed since {to_the_second(first_us)}"
        reasons.append(Reason(about, "dead letters", why, step))
    return reasons
