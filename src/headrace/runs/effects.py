"""What an attempt wants to happen together with its acceptance, besides its result."""

from __future__ import annotations

from typing import Any

import msgspec

from headrace.models.promotion import Gain
from headrace.runs.facts import TableWrite, TopicWrite


class RegisteredModel(msgspec.Struct, frozen=True, tag="registered"):
    """A model was stored and compared with the champion of that moment (`against`; 0: there was none).

    `gain` is None for the first version, and where `problem` says why nothing could be compared.
    """

    model: str
    codec: str
    path: str
    digest: str
    size_bytes: int
    predict: str
    cutoff_us: int
    rows_fit: int
    rows_test: int
    against: int
    gain: Gain | None
    metrics: dict[str, float]
    reference: msgspec.Raw
    golden: str | None = None
    problem: str = ""


class JudgedWindow(msgspec.Struct, frozen=True, tag="judged"):
    """A monitor looked at one window."""

    monitor: str
    model: str
    window: tuple[int, int]
    version_number: int
    n: int
    judged: bool
    why: str
    judgement: Any
    crossed: dict[str, bool | None]


class Effects(msgspec.Struct, frozen=True):
    """All of it. Published in the accepting transaction, or not at all."""

    tables: tuple[TableWrite, ...] = ()
    topics: tuple[TopicWrite, ...] = ()
    models: tuple[RegisteredModel, ...] = ()
    windows: tuple[JudgedWindow, ...] = ()


NO_EFFECTS = Effects()
