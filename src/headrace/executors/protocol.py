"""What an engine and a worker say to each other: msgpack over a Unix socket pair, many messages to a frame.

A worker's serials grow by one with each `Start`, and it works through them in that order. So the last serial that it
began tells of each of its attempts whether user code was entered. What it gives back it tells before it begins anything
later; where that word is lost with the engine, it counts as begun, which never runs anything twice.
"""

from __future__ import annotations

from typing import Any

import msgspec

from headrace.runs.facts import LogSpan, Read, Value


class Upstream(msgspec.Struct, frozen=True, array_like=True):
    """The result of one instance of a node that the attempt needs: `key` holds one index for each of its maps."""

    node: str
    key: tuple[int, ...]
    value: Value


class Setup(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """The first message to a worker. `wiring` is the `module:function` that makes the worker's `Parts` of it."""

    worker: str
    wiring: str
    home: str  # the folder .headrace
    root: str  # the project's folder, which stays the working directory
    code_path: str  # the copy of the package that this worker serves
    project: str
    slot: str
    log: str
    log_name: str  # how `LogSpan.file` names the log
    store: str = ""
    allow_pickle: bool = True


class Start(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """Run an attempt. The node and its inputs are those of the worker's own copy of the project.

    `upstream` holds the single results that it needs, also those that its maps go over; what it joins is read from the
    store. `params` is JSON text, made once per run.
    """

    serial: int
    run: str
    pipeline: str
    node: str
    path: tuple[int, ...] = ()
    item: int = 0
    attempt: int = 1
    epoch: int = 1
    key: str = ""
    token: int = 0
    upstream: tuple[Upstream, ...] = ()
    params: str = "{}"
    window: tuple[int, int] | None = None
    events: tuple[tuple[str, int, int, int], ...] = ()


class PinAnswer(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """What the run reads of the dataset; `error` instead where that cannot be said."""

    serial: int
    dataset: str
    pin: Any
    error: str | None = None


class Cancel(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """Stop the attempt: raised inside its code when it runs, answered at once when it waits."""

    serial: int


class Stop(msgspec.Struct, frozen=True, array_like=True, tag=5):
    """Leave when everything handed over so far is done."""


class Ready(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """The project is loaded."""

    pid: int
    took_us: int


class Broken(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """The project cannot be loaded; the worker exits."""

    error: str
    detail: str


class Done(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """`effects` is the JSON of `runs.effects.Effects`, None for none."""

    serial: int
    result: Value
    took_us: int
    reads: tuple[Read, ...] = ()
    effects: bytes | None = None
    log: LogSpan | None = None


class Failed(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """`error` is one line, `detail` the traceback cut to the user's frames."""

    serial: int
    error: str
    detail: str
    took_us: int
    retryable: bool = True
    log: LogSpan | None = None


class PinAsked(msgspec.Struct, frozen=True, array_like=True, tag=5):
    """The attempt reads a dataset for the first time; `pin` is what it would be now. It waits for the answer."""

    serial: int
    dataset: str
    pin: Any


class Returned(msgspec.Struct, frozen=True, array_like=True, tag=6):
    """What the worker was given and has not begun, since `serial` runs for so long already: others may do it sooner."""

    serials: tuple[int, ...]
    serial: int
    running_us: int


ToWorker = Setup | Start | PinAnswer | Cancel | Stop
FromWorker = Ready | Broken | Done | Failed | PinAsked | Returned
