"""What happens to models: versions, aliases, evidence, and what the retrain controller decided."""

from __future__ import annotations

from typing import Any

import msgspec

from headrace.base.facts import Fact


class VersionRegistered(Fact, frozen=True):
    """An immutable version of a model. `evidence` holds metrics, histograms and the comparison with the champion."""

    model: str
    version_number: int
    codec: str
    path: str
    digest: str
    size_bytes: int
    run: str
    node: str
    code: str
    predict: str  # `module:qualname` in that code version
    cutoff_us: int
    at_us: int
    rows_fit: int = 0
    rows_test: int = 0
    evidence: Any = None
    reference: msgspec.Raw = msgspec.Raw(b"null")  # frozen histograms by column, and "prediction"
    golden: str | None = None  # artifact: test rows and their predictions, checked when a process loads the version
    map_path: str = ""  # with `item` and `attempt`: which attempt of the node made it
    item: int = 0
    attempt: int = 1


class AliasMoved(Fact, frozen=True):
    """An alias of a model points to another version: who, why, and what it pointed to before (0: nothing)."""

    model: str
    alias: str
    version_number: int
    previous: int
    by: str
    why: str
    at_us: int
    event_us: int | None = None  # the event time of the evidence


class VersionRejected(Fact, frozen=True):
    model: str
    version_number: int
    why: str
    at_us: int
    event_us: int | None = None


class RetrainAsked(Fact, frozen=True):
    """Somebody asked for a retraining, and what the controller answered. `key` is that of the trigger that fired."""

    model: str
    by: str
    evidence: str
    event_us: int
    accepted: bool
    why: str
    at_us: int
    key: str = ""


class ControllerMoved(Fact, frozen=True):
    """The retrain controller of a model is in a new state (canonical JSON of `models.controller.ControllerState`)."""

    model: str
    state: msgspec.Raw
    why: str
    at_us: int


class WindowJudged(Fact, frozen=True):
    """A monitor looked at one closed window. `judgement` is `drift.judge.Judgement`; `version_number` the champion judged."""

    monitor: str
    model: str
    window: tuple[int, int]
    version_number: int
    n: int
    judged: bool
    why: str
    judgement: Any
    run: str
    at_us: int
    crossed: dict[str, bool | None] = {}  # "drift" and "performance"; None where it was not judged


class StreakMoved(Fact, frozen=True):
    """How many windows in a row one asker has seen its limit crossed."""

    asker: str  # "monitor:which:pipeline"
    length: int
    window_end_us: int
