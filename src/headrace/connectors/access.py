"""Data as user code reaches it: `TaskAccess` for an attempt, pinned by its run and published with its acceptance.

Nothing heavy is imported, and nothing read, before the first use: a task without data pays nothing.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import msgspec

from headrace.connectors.holdings import Holdings, needs_labels
from headrace.data.window import Window
from headrace.definitions.project import CHAMPION
from headrace.errors import NotFoundError, RefusedError, SchemaError
from headrace.runs.effects import NO_EFFECTS, Effects, JudgedWindow, RegisteredModel
from headrace.runs.facts import Read, TableWrite, TopicWrite

if TYPE_CHECKING:
    import polars as pl

    from headrace.connectors.examples import Labels
    from headrace.connectors.shapes import Shapes
    from headrace.data.access import Attempt
    from headrace.data.events import Events, OffsetRange
    from headrace.definitions.project import ModelDef, MonitorDef, SourceDef, TableDef, TopicDef

AskPin = Callable[[str, Any], Any]
"""`(dataset, what it would be now) -> what the run reads`."""


class StoreAccess(ABC):
    """Reads of one project's data. A subclass says what of a dataset is read."""

    def __init__(self, holdings: Holdings) -> None:
        self.holdings = holdings

    @abstractmethod
    def pin(self, dataset: str, now: Callable[[], Any], /) -> Any:
        """What of the dataset ("topic:departures") is read; `now` says what it would be now."""

    @abstractmethod
    def note(self, kind: str, name: str, pin: Any, /) -> None:
        """Something was read."""

    # -- topics --------------------------------------------------------------------------------------------------------

    def topic_pins(self, name: str) -> dict[int, int]:
        """Partition → offset at which reads of the topic end."""

        def heads() -> dict[str, int]:
            return {str(partition): offset for partition, offset in self.holdings.log.heads(name).items()}

        pin = cast("dict[str, int]", self.pin(f"topic:{name}", heads))
        self.note("topic", name, pin)
        return {int(partition): offset for partition, offset in pin.items()}

    def read_topic(self, topic: TopicDef, window: Window | None) -> pl.DataFrame:
        return self.holdings.log.read(topic, window, pins=self.topic_pins(topic.name))

    def read_with_time(self, topic: TopicDef, window: Window) -> pl.DataFrame:
        """`read_topic` with the event time as the column `_time`."""
        from headrace.connectors.blob import APPENDED, OFFSET, PARTITION

        rows = self.holdings.log.read(topic, window, pins=self.topic_pins(topic.name), hidden=True)
        return rows.drop(PARTITION, OFFSET, APPENDED)

    def read_events(self, events: Events) -> pl.DataFrame:
        """The events that started the run: exactly those offsets."""
        ranges = sorted((part.partition, part.first, part.end) for part in events.ranges)
        self.note("topic", events.topic, [list(part) for part in ranges])
        return self.holdings.log.read_ranges(self.holdings.topic(events.topic), events.ranges)

    def read_source(self, source: SourceDef, window: Window | None) -> pl.DataFrame:
        from headrace.connectors.log import read_source

        topics = self.holdings.topics_of(source)
        pins = {name: self.topic_pins(name) for name in topics}
        return read_source(self.holdings.log, source, topics, window, pins=pins)

    # -- tables --------------------------------------------------------------------------------------------------------

    def read_table(self, table: TableDef, version: int | None, at_us: int | None) -> pl.DataFrame:
        from headrace.connectors import tables

        if table.known is not None:
            if version is not None:
                raise RefusedError(
                    f"the table {table.name!r} keeps its history by time (known={table.known!r}), not by version",
                    cure=f"read it as of a time: {table.name}.read(at=…)",
                    code="HR3043",
                )
            return tables.read_history(self.holdings, table, self.topic_pins(table.name), at_us)
        number = self._table_version(table.name, version, at_us)
        self.note("table", table.name, number)
        row = self.holdings.table_version(table.name, number) if number else None
        if row is not None:
            return tables.read_parts(self.holdings, table, row.parts)
        if version is None and table.schema is not None:
            return tables.empty(table)
        raise self._no_version(table, version, at_us)

    def _table_version(self, name: str, version: int | None, at_us: int | None) -> int:
        if version is not None:
            return version

        def number() -> int:
            row = self.holdings.table_version(name, at_us=at_us)
            return row.version if row is not None else 0

        return int(self.pin(f"table:{name}" if at_us is None else f"table:{name}@{at_us}", number))

    def _no_version(self, table: TableDef, version: int | None, at_us: int | None) -> NotFoundError:
        if self.holdings.project.modules and table.name not in self.holdings.project.tables:
            raise self.holdings.undeclared("table", table.name, self.holdings.project.tables)
        which = (
            f"version {version}" if version is not None else "version yet" if at_us is None else "version at that time"
        )
        return NotFoundError(
            f"the table {table.name!r} has no {which}",
            cure="run the pipeline that writes it first, or declare schema= so that it reads as empty until then",
            code="HR2053",
        )

    # -- models --------------------------------------------------------------------------------------------------------

    def alias(self, model: str, name: str) -> int:
        """The version that the alias points to for this reader; 0 for none."""
        number = int(self.pin(f"model:{model}@{name}", lambda: self.holdings.alias(model, name)))
        self.note("model", model, number)
        return number

    def load_model(self, model: ModelDef, *, alias: str | None, version: int | None) -> Any:
        """The model itself. Raises `NotFoundError` where the alias or version does not exist."""
        if version is None:
            chosen = alias or CHAMPION
            version = self.alias(model.name, chosen)
            if not version:
                raise NotFoundError(
                    f"the model {model.name!r} has no {chosen}",
                    cure=f"register a version first: run the pipeline that calls {model.name}.register(…)",
                    code="HR2054",
                )
        else:
            self.note("model", model.name, version)
        return self.holdings.load_model(self.holdings.model_version(model.name, version))

    def labels(self, model: ModelDef, window: Window) -> Labels | None:
        """The model's labels as this reader may know them about the window; None where there are none at all."""
        from headrace.connectors.examples import Labels, moment_us

        topic, _, _ = needs_labels(model)
        # Asked before the offsets: all rows up to that time lie below them.
        complete_us = self.pin(f"complete:{topic}", lambda: self.holdings.known_through_us(topic))
        moment = moment_us(model, window.end_us, complete_us)
        if moment is None:
            return None
        return Labels(self.holdings.log, self.holdings.topic(topic), self.topic_pins(topic), moment)

    def examples(self, model: ModelDef, source: SourceDef, window: Window) -> pl.DataFrame:
        """The source's rows in the window with their label; `_time` is the event time, which `hr.split` divides by."""
        import polars as pl

        from headrace.connectors.blob import TIME
        from headrace.connectors.examples import labelled

        topic = self.holdings.topic(source.topic)
        if topic.event_time is None:
            raise SchemaError(
                f"examples are rows with a time that they are about, and the topic {topic.name!r} does not say which",
                where=f"topic {topic.name}",
                cure='declare event_time="…", a datetime column of the topic',
                code="HR1244",
            )
        rows = self.read_source(source, window).with_columns(pl.col(topic.event_time).alias(TIME))
        return labelled(model, rows, self.labels(model, window)).rows

    def secret(self, name: str) -> str:
        """The value, which this process conceals from now on in what it prints and in the text of its errors."""
        from headrace.connectors.secrets import resolve
        from headrace.executors.redaction import conceal

        value = resolve(name, self.holdings.secrets)
        conceal(value)
        return value


class TaskAccess(StoreAccess):
    """Data for one attempt. `prefix` is where its artifacts go, `window` the run's.

    The first read of a dataset asks the engine what the run reads of it. Afterwards `reads` tells what was read, and
    `effects` what is to be published.
    """

    def __init__(
        self, holdings: Holdings, ask: AskPin, *, prefix: str, attempt: Attempt, window: tuple[int, int] | None
    ) -> None:
        super().__init__(holdings)
        self._ask = ask
        self._prefix = prefix
        self._attempt = attempt
        self._window = window
        self._pins: dict[str, Any] = {}
        self._reads: dict[bytes, Read] = {}
        self._tables: list[TableWrite] = []
        self._topics: list[TopicWrite] = []
        self._models: list[RegisteredModel] = []
        self._judged: list[JudgedWindow] = []
        self._files = 0
        self._shapes: Shapes | None = None

    @property
    def reads(self) -> tuple[Read, ...]:
        return tuple(self._reads.values())

    @property
    def effects(self) -> Effects:
        if not (self._tables or self._topics or self._models or self._judged):
            return NO_EFFECTS
        return Effects(tuple(self._tables), tuple(self._topics), tuple(self._models), tuple(self._judged))

    def attempt(self) -> Attempt | None:
        return self._attempt

    def pin(self, dataset: str, now: Callable[[], Any], /) -> Any:
        if dataset not in self._pins:
            self._pins[dataset] = self._ask(dataset, now())
        return self._pins[dataset]

    def note(self, kind: str, name: str, pin: Any, /) -> None:
        self._reads.setdefault(msgspec.json.encode((kind, name, pin)), Read(kind, name, pin))

    def append(self, topic: TopicDef, rows: pl.DataFrame | list[dict[str, Any]]) -> tuple[OffsetRange, ...]:
        """Rows to append when the attempt is accepted. Returns nothing yet: offsets are given out then."""
        from headrace.connectors.appends import prepare_fitted
        from headrace.connectors.shapes import Shapes

        self.holdings.check_partitions(topic)
        now_us = self.holdings.now_us()
        if self._shapes is None:
            self._shapes = Shapes(self.holdings.topic_columns)
        shaped = self._shapes.shape(topic, rows, now_us)
        schema = None if shaped.fact is None else shaped.fact.schema
        (prepared,) = prepare_fitted(shaped.topic, shaped.rows, [len(rows)], now_us)
        for fact, body in prepared:
            path = self._path(f"{topic.name}-{fact.partition}", ".blob")
            self.holdings.files.write_bytes(path, body)
            self._topics.append(
                TopicWrite(
                    topic.name,
                    fact.partition,
                    fact.rows,
                    path,
                    min_time_us=fact.min_time_us,
                    max_time_us=fact.max_time_us,
                    min_known_us=fact.min_known_us,
                    max_known_us=fact.max_known_us,
                    schema=schema,
                    partitions=topic.partitions,
                    settled_us=fact.settled_us,
                    is_timed=topic.event_time is not None,
                    is_known=topic.known is not None,
                )
            )
            schema = None  # told once
        return ()

    def write_table(self, table: TableDef, rows: pl.DataFrame) -> None:
        """Rows to publish when the attempt is accepted, in the table's own way; a table with history grows."""
        from headrace.connectors.appends import history_topic
        from headrace.connectors.tables import fit, write_part

        _check_frame(table, rows)
        if table.known is not None:
            self.append(history_topic(table), fit(table, rows))
            return
        path = self._path(table.name, ".parquet")
        self._tables.append(write_part(self.holdings, table, rows, path=path, window=self._window))

    def register(
        self,
        model: ModelDef,
        value: Any,
        *,
        fit: pl.DataFrame,
        test: pl.DataFrame,
        predict: Callable[[Any, pl.DataFrame], pl.Series],
    ) -> int:
        """A version to judge and number when the attempt is accepted.

        Returns the number that it gets unless another version of the model is accepted before it. The controller lets
        one training run at a time, so that takes a second run outside it; then the gate rejects this one.
        """
        from headrace.connectors.registry import registered

        champion = self.alias(model.name, CHAMPION)
        new = registered(
            self.holdings,
            model,
            value,
            fit=fit,
            test=test,
            predict=predict,
            champion=champion,
            prefix=self._path(model.name, ""),
        )
        self._models.append(new)
        before = sum(1 for other in self._models if other.model == model.name)
        return self.holdings.last_version(model.name) + before

    def judge(self, monitor: MonitorDef, window: Window) -> None:
        """The judgement of one window of a monitor, recorded when the attempt is accepted."""
        from headrace.connectors.monitors import judge_window

        self._judged.append(judge_window(self, monitor, window))

    def _path(self, name: str, suffix: str) -> str:
        from headrace.storage.local import safe_name

        self._files += 1
        return f"{self._prefix}.{self._files}-{safe_name(name)}{suffix}"


def _check_frame(table: TableDef, rows: object) -> None:
    if not hasattr(rows, "write_parquet"):
        raise SchemaError(
            f"expected a polars DataFrame, got {type(rows).__qualname__}",
            where=f"table {table.name}",
            cure="return pl.DataFrame(…) from the task, or pass one to write()",
            code="HR1230",
        )
