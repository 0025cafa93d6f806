"""The store as an engine uses it: besides the port `Store`, its own state at a start and what others have done."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from pathlib import Path

import msgspec

from headrace.data.facts import Part
from headrace.graph.definitions import Project
from headrace.runs.rows import ActiveRun, Restored
from headrace.store.sql.reads import restore, runs
from headrace.store.sql.store import SqlStore

_PARTS = msgspec.json.Decoder(tuple[Part, ...])


class EngineSqlStore(SqlStore):
    """Implements `ports.EngineStore`."""

    def __init__(self, path: str | Path, *, patience_s: float | None = 30.0) -> None:
        super().__init__(path, patience_s=patience_s)
        self._watch: sqlite3.Connection | None = None

    def restore(self, log: str) -> Restored:
        """All that an engine needs, of one moment."""
        base = restore.restore(self.database, log)
        with self.database.reading(is_snapshot=True) as connection:
            ask = connection.execute
            wanted = {base.code, *(run.run.code for run in base.runs)} - {""}
            codes = {
                code: project.encode()
                for code in wanted
                for (project,) in ask("SELECT project FROM codes WHERE code = ?", (code,))
            }
            tables = {
                name: (version, _PARTS.decode(parts))
                for name, version, parts in ask(
                    "SELECT t.name, t.version, v.parts FROM tables t JOIN table_versions v USING (name, version)"
                )
            }
            served: dict[str, list[int]] = defaultdict(list)
            since: dict[str, int] = {}
            history = "SELECT model, version, coalesce(event_us, at_us) FROM alias_history WHERE alias = 'champion'"
            for model, version, event_us in ask(f"{history} ORDER BY at_us, log, seq"):
                served[model].append(version)
                since.setdefault(model, event_us)
            monitored = dict(
                ask(
                    "SELECT substr(pipeline, 9), max(window_end_us) FROM runs WHERE pipeline LIKE 'monitor:%'"
                    " AND cause = 'monitor' GROUP BY pipeline"
                )
            )
        return Restored(
            log, base.head, base.epoch, base.code, codes, tuple(base.runs), base.paused, base.schedules, base.cursors,
            tables, base.models, base.aliases, {m: tuple(v) for m, v in served.items()}, since, base.controllers,
            base.streaks, monitored,
        )  # fmt: skip

    def active_run(self, run: str) -> ActiveRun | None:
        return restore.active_run(self.database, run)

    def open_runs(self, prefix: str) -> list[ActiveRun]:
        """Runs that have not ended, in logs whose name begins so."""
        logs = self.database.read(
            "SELECT DISTINCT log FROM runs WHERE ended_us IS NULL AND substr(log, 1, ?) = ?", (len(prefix), prefix)
        )
        return [run for (log,) in logs for run in restore.active_runs(self.database, log)]

    def generation(self, run: str) -> int | None:
        row = runs.run(self.database, run)
        return None if row is None else row.generation

    def watermarks(self, project: Project) -> dict[str, int]:
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
        for stream in project.streams.values():
            found = shards.get(stream.name, [])
            source = project.topics.get(stream.source.topic)
            if source is not None and (len(found) < source.partitions or None in found):
                marks.pop(stream.to, None)
            elif known := [mark for mark in found if mark is not None]:
                marks[stream.to] = min(known)
        return marks

    def change_count(self) -> int:
        if self.database.is_memory:
            return sum(self.heads("").values()) + len(self.requests())
        if self._watch is None:
            self._watch = sqlite3.connect(f"file:{self.database.path}?mode=ro", uri=True, check_same_thread=False)
        return int(self._watch.execute("PRAGMA data_version").fetchone()[0])

    def tidy(self) -> None:
        if self.wal_bytes() > 0:
            self.checkpoint_truncate()

    def close(self) -> None:
        if self._watch is not None:
            self._watch.close()
        super().close()
