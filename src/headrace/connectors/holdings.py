"""What a project holds, in one place: its store, its artifacts, its definitions. Whatever reads the store asks here.

Cheap to make: the frame engine is imported when the first row is read.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import xxhash

from headrace.base.near import near
from headrace.base.shown import shown
from headrace.data.facts import Part
from headrace.data.partitions import resized
from headrace.definitions.project import ModelDef, Project, SourceDef, TopicDef
from headrace.errors import CodecError, NotFoundError
from headrace.runs.facts import Value
from headrace.storage.local import LocalStorage
from headrace.storage.values import Values
from headrace.store.sql.connection import Database
from headrace.store.sql.reads import models, tables, topics
from headrace.store.sql.reads.models import VersionRow
from headrace.store.sql.reads.tables import TableVersionRow

if TYPE_CHECKING:
    from headrace.connectors.log import Log
    from headrace.drift.histogram import Histogram

__all__ = ["Holdings", "TableVersionRow", "VersionRow"]


@dataclass(frozen=True)
class Holdings:
    """One project's data, for one process that serves the code version `code`.

    `code_folder` holds a copy of every code version under its hash. `secrets` maps names to references such as
    "env:WAREHOUSE_URL". `now_us` is the clock.
    """

    database: Database
    files: LocalStorage
    project: Project
    code: str
    code_folder: Path
    now_us: Callable[[], int]
    secrets: Mapping[str, str] = field(default_factory=dict[str, str])
    allow_pickle: bool = True

    @cached_property
    def log(self) -> Log:
        """The topics."""
        from headrace.connectors.log import Log

        return Log(self.database, topics)

    @cached_property
    def model_values(self) -> Values:
        """Where models are stored: always as files, since a version's row names one."""
        return Values(self.files, allow_pickle=self.allow_pickle, inline_limit_bytes=0)

    # -- definitions ---------------------------------------------------------------------------------------------------

    def topic(self, name: str) -> TopicDef:
        """The topic, or that in which the table of this name keeps its history. Raises `NotFoundError`."""
        if name in self.project.topics:
            return self.project.topics[name]
        table = self.project.tables.get(name)
        if table is not None and table.known is not None:
            from headrace.connectors.appends import history_topic

            return history_topic(table)
        if not self.project.modules:  # a script or notebook outside of one
            raise NotFoundError(
                f"there is no project that declares the topic {shown(name)}; a join and a model find theirs by name",
                cure="start this in the folder of a project that declares it (headrace new my-project makes one), or "
                "read each topic by itself",
                code="HR2050",
            )
        raise self.undeclared("topic", name, self.project.topics)

    def undeclared(self, kind: str, name: str, known: Iterable[str]) -> NotFoundError:
        """The error for a dataset that no module of the project declares."""
        return NotFoundError(
            f"the project {self.project.name!r} has no {kind} {shown(name)}{near(name, known)}",
            cure="declare it in a module of the project; headrace check lists what was found",
            code="HR2050",
        )

    def topics_of(self, source: SourceDef) -> dict[str, TopicDef]:
        """The source's topic and every joined one, by name."""
        return {name: self.topic(name) for name in (source.topic, *(join.topic for join in source.joins))}

    # -- rows of the store ---------------------------------------------------------------------------------------------

    def known_through_us(self, topic: str) -> int | None:
        """Up to which known time a reader may look: as declared, else that of the newest row; None without rows.

        No watermark, which is about event times (`store.sql.reads.watermarks`): rows of one event become known later.
        Nothing is known later than it was appended: where a row says so, its partition counts up to its last append.
        """
        declared = topics.watermark(self.database, topic)
        if declared is not None:
            return declared
        parts = topics.parts(self.database, topic)
        newest = [min(part.max_known_us, part.last_us) for part in parts if part.max_known_us is not None]
        return max(newest, default=None)

    def check_partitions(self, topic: TopicDef) -> None:
        """Raise `SchemaError` (HR1247) where the rows that are there were spread over another number of partitions."""
        found = topics.partitions(self.database).get(topic.name, topic.partitions)
        if found != topic.partitions:
            raise resized(topic, found)

    def topic_columns(self, topic: str) -> dict[str, str] | None:
        """Column → type word of a topic that took its columns from its first rows; None where it took none."""
        return topics.columns(self.database, topic)

    def table_version(
        self, table: str, number: int | None = None, *, at_us: int | None = None
    ) -> TableVersionRow | None:
        return tables.version(self.database, table, number, at_us=at_us)

    def alias(self, model: str, name: str) -> int:
        """The version that the alias points to; 0 for none."""
        return models.alias(self.database, model, name) or 0

    def last_version(self, model: str) -> int:
        newest = models.versions(self.database, model, limit=1)
        return newest[0].version if newest else 0

    def model_version(self, model: str, number: int) -> VersionRow:
        """Raises `NotFoundError` where there is no such version."""
        row = models.version(self.database, model, number)
        if row is None:
            raise NotFoundError(
                f"the model {model!r} has no version {number}; its last is {self.last_version(model)}",
                cure=f"headrace models show {model}",
                code="HR2041",
            )
        return row

    def reference(self, model: str, number: int) -> dict[str, Histogram]:
        """The frozen histograms of a version, by column, and "prediction"."""
        from headrace.drift.histogram import Histogram

        body = models.reference(self.database, model, number)
        return {} if body is None else msgspec.json.decode(body, type=dict[str, Histogram] | None) or {}

    # -- artifacts -----------------------------------------------------------------------------------------------------

    def load_model(self, row: VersionRow) -> Any:
        """The model of a version. Its digest is checked before anything is parsed. Raises `CodecError`."""
        return self.model_values.decode(Value(row.codec, None, row.path, row.size_bytes, row.digest))

    def verified(self, part: Part) -> Path:
        """The file of a table's part. Raises `CodecError` where it is gone or is not what was written."""
        path = self.files.locate(part.path)
        found = digest(path) if path.exists() else "no file"
        if found != part.digest:
            raise CodecError(
                f"expected {part.rows:,} rows with {part.digest}, found {found}",
                where=part.path,
                cure="the artifact is damaged: restore it from a copy, or run the task that wrote it again",
                code="HR1410",
            )
        return path


def digest(path: Path) -> str:
    """The digest of a file: against damage, not against an attacker."""
    with path.open("rb") as file:
        if path.stat().st_size == 0:
            return f"xxh3:{xxhash.xxh3_128_hexdigest(b'')}"
        with mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as body:
            return f"xxh3:{xxhash.xxh3_128_hexdigest(body)}"


def needs_labels(model: ModelDef) -> tuple[str, str, str]:
    """The topic of the labels, the key, and the label's column. Raises `NotFoundError` for a model without labels."""
    if model.labels is None or model.on is None or model.label is None:
        raise NotFoundError(
            f"the model {model.name!r} does not say where its labels are",
            cure='hr.Model(…, labels=outcomes, on="flight_id", label="late", mature="48h")',
            code="HR2051",
        )
    return model.labels, model.on, model.label
