"""How dataset objects reach data: whoever runs user code installs an `Access`; everywhere else a default one is opened.

The pure rooms know only this Protocol. A worker installs an access that pins what a run reads and publishes with the
attempt's acceptance; a script or notebook gets one that acts at once; a test gets one on its own store.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol, cast

from headrace.base.upward import upward

if TYPE_CHECKING:
    import polars as pl

    from headrace.data.events import Events, OffsetRange
    from headrace.data.window import Window
    from headrace.definitions.project import ModelDef, SourceDef, TableDef, TopicDef


class Attempt(Protocol):
    """What `hr.current()` returns inside a task."""

    @property
    def run(self) -> str: ...
    @property
    def task(self) -> str: ...
    @property
    def item(self) -> tuple[int, ...]: ...
    @property
    def attempt(self) -> int: ...
    @property
    def key(self) -> str:
        """Equal for all attempts of a task run: the idempotency key for effects outside Headrace."""
        ...

    @property
    def token(self) -> int:
        """Grows with each start of the task run: the fence for effects outside Headrace."""
        ...


class Access(Protocol):
    """Reads and writes of datasets, as they act where the code runs."""

    def read_topic(self, topic: TopicDef, window: Window | None) -> pl.DataFrame: ...
    def read_events(self, events: Events) -> pl.DataFrame: ...
    def read_source(self, source: SourceDef, window: Window | None) -> pl.DataFrame: ...
    def append(self, topic: TopicDef, rows: pl.DataFrame | list[dict[str, Any]]) -> tuple[OffsetRange, ...]: ...
    def read_table(self, table: TableDef, version: int | None, at_us: int | None) -> pl.DataFrame: ...
    def write_table(self, table: TableDef, rows: pl.DataFrame) -> None: ...
    def examples(self, model: ModelDef, source: SourceDef, window: Window) -> pl.DataFrame: ...
    def load_model(self, model: ModelDef, *, alias: str | None, version: int | None) -> Any: ...
    def register(
        self,
        model: ModelDef,
        value: Any,
        *,
        fit: pl.DataFrame,
        test: pl.DataFrame,
        predict: Callable[[Any, pl.DataFrame], pl.Series],
    ) -> int: ...
    def secret(self, name: str) -> str: ...
    def attempt(self) -> Attempt | None: ...


_installed: ContextVar[Access | None] = ContextVar("headrace_access", default=None)


def access() -> Access:
    """The access in force here: the installed one, else the project's (or the test's own), opened on first use."""
    return _installed.get() or cast(Access, upward.open_access())


@contextmanager
def installed(chosen: Access) -> Generator[Access]:
    """Make `chosen` the access for the code run inside the block (this thread or async task)."""
    token = _installed.set(chosen)
    try:
        yield chosen
    finally:
        _installed.reset(token)
