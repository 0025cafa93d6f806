"""The store as an engine uses it: besides the port `Store`, its own state at a start and what others have done."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path

from headrace.base.facts import Stored
from headrace.definitions.project import Project
from headrace.errors import NotFoundError
from headrace.runs.rows import ActiveRun, LeftFiles, OldDetails, OpenRun, Restored, RunRow
from headrace.store.sql import failures, kinds
from headrace.store.sql.expiry import expire_answers
from headrace.store.sql.reads import models, project, restore, retention, runs, settled, topics, watermarks
from headrace.store.sql.store import SqlStore


class EngineSqlStore(SqlStore):
    """Implements `ports.EngineStore`."""

    def __init__(self, path: str | Path, *, patience_s: float | None = 30.0) -> None:
        super().__init__(path, patience_s=patience_s)
        self._watch: sqlite3.Connection | None = None

    def restore(self, log: str) -> Restored:
        return restore.restore(self.database, log)

    def news(self, *, limit: int = 1000) -> list[Stored]:
        """Facts of other logs that no engine has acted on yet, in the order of each log."""
        rows = self.database.read(
            "SELECT log, seq, kind, version, body FROM news JOIN facts USING (log, seq) ORDER BY log, seq LIMIT ?",
            (limit,),
        )
        return [Stored(log, seq, kinds.read(kind, version, body)) for log, seq, kind, version, body in rows]

    def partitions(self) -> dict[str, int]:
        """Topic → how many partitions it was declared with when its first rows came."""
        return topics.partitions(self.database)

    def active_run(self, run: str) -> ActiveRun | None:
        return restore.active_run(self.database, run)

    def open_run(self, run: str) -> OpenRun | None:
        return restore.open_run(self.database, run)

    def open_runs(self, prefix: str) -> list[OpenRun]:
        """Runs that have not ended, in logs whose name begins so; without what they have running."""
        rows = self.database.read(
            "SELECT run, log, pipeline FROM runs WHERE ended_us IS NULL AND substr(log, 1, ?) = ? ORDER BY log",
            (len(prefix), prefix),
        )
        return [OpenRun(*row) for row in rows]

    def run_row(self, run: str) -> RunRow | None:
        return runs.run(self.database, run)

    def slots_run(self, pipeline: str, slug: str, after_us: int) -> frozenset[int]:
        return frozenset(runs.slots_run(self.database, pipeline, slug, after_us))

    def run_of_key(self, key: str) -> str | None:
        row = runs.run_by_key(self.database, key)
        return None if row is None else row.run

    def project_of(self, code: str) -> bytes:
        row = project.code(self.database, code)
        if row is None:
            raise NotFoundError(f"the code version {code!r} was never deployed here", cure="headrace runs ls")
        return row.project

    def watermarks(self, definitions: Project) -> dict[str, int]:
        return watermarks.watermarks(self.database, definitions)

    def champions(self) -> dict[str, int]:
        return models.champions_since_us(self.database)

    def unsettled(
        self,
        *,
        sources: Mapping[str, str],
        triggers: Mapping[tuple[str, str], str],
        bound: Mapping[str, str],
        windows: Mapping[str, Sequence[int]],
    ) -> list[str]:
        """What is still to happen; see `store.sql.reads.settled`."""
        return settled.unsettled(self.database, sources=sources, triggers=triggers, bound=bound, windows=windows)

    def change_count(self) -> int:
        if self.database.is_memory:
            return 2 * sum(self.heads("").values()) + len(self.requests())  # an answer takes one of the latter away
        try:
            if self._watch is None:
                self._watch = sqlite3.connect(f"file:{self.database.path}?mode=ro", uri=True, check_same_thread=False)
            return int(self._watch.execute("PRAGMA data_version").fetchone()[0])
        except sqlite3.Error as error:
            raise failures.plain(error, self.database.path) from error

    def tidy(self) -> None:
        expire_answers(self.database)
        self.database.give_back()
        if self.wal_bytes() > 0:
            self.checkpoint_truncate()

    def old_details(self, before_us: int, limit: int) -> OldDetails | None:
        return retention.old_details(self.database, before_us, limit)

    def left_files(self, limit: int) -> list[LeftFiles]:
        return retention.left_files(self.database, limit)

    def oldest_details_us(self) -> int | None:
        return retention.oldest_details_us(self.database)

    def close(self) -> None:
        if self._watch is not None:
            self._watch.close()
        super().close()
