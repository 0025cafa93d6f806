"""The store as an engine uses it: besides the port `Store`, its own state at a start and what others have done."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from headrace.base.facts import Stored
from headrace.definitions.project import Project
from headrace.errors import NotFoundError
from headrace.runs.rows import ActiveRun, Restored, RunRow
from headrace.store.sql import failures, kinds
from headrace.store.sql.expiry import expire_answers
from headrace.store.sql.reads import project, restore, runs, settled, topics
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

    def open_runs(self, prefix: str) -> list[ActiveRun]:
        """Runs that have not ended, in logs whose name begins so."""
        logs = self.database.read(
            "SELECT DISTINCT log FROM runs WHERE ended_us IS NULL AND substr(log, 1, ?) = ?", (len(prefix), prefix)
        )
        return [run for (log,) in logs for run in restore.active_runs(self.database, log)]

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
        """Declared completeness; for the output of a stream the least watermark of its shards; else the newest rows."""
        with self.database.reading(is_snapshot=True) as connection:
            ask = connection.execute
            newest = ask("SELECT topic, min(max_time_us) FROM topic_parts WHERE max_time_us NOT NULL GROUP BY topic")
            marks: dict[str, int] = dict(newest)
            for name, through_us in ask("SELECT name, complete_through_us FROM topics"):
                if through_us is not None:
                    marks[name] = through_us
            shards: dict[str, list[int | None]] = defaultdict(list)
            for stream, watermark_us in ask("SELECT stream, watermark_us FROM shards"):
                shards[stream].append(watermark_us)
        for stream in definitions.streams.values():
            found = shards.get(stream.name, [])
            source = definitions.topics.get(stream.source.topic)
            if source is not None and (len(found) < source.partitions or None in found):
                marks.pop(stream.to, None)
            elif known := [mark for mark in found if mark is not None]:
                marks[stream.to] = min(known)
        return marks

    def champions(self) -> dict[str, int]:
        """Model → the event time from which its first champion serves."""
        rows = self.database.read(
            "SELECT model, coalesce(event_us, at_us) FROM alias_history WHERE alias = 'champion'"
            " ORDER BY at_us DESC, log DESC, seq DESC"
        )
        return dict(rows)

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
        if self.wal_bytes() > 0:
            self.checkpoint_truncate()

    def close(self) -> None:
        if self._watch is not None:
            self._watch.close()
        super().close()
