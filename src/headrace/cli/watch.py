"""What streams meet, for `headrace dev`: they write logs of their own, so it is read from the rows of their shards."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from headrace.cli.words import count, headline
from headrace.errors import StoreError

if TYPE_CHECKING:
    from pathlib import Path

    from headrace.store.sql.connection import Database
    from headrace.store.sql.reads.streams import ShardRow

_EVERY_S = 1.0
_LONG = 160


class StreamNews:
    """Compares the shards with those of the last look. Dead letters are one line per stream and look.

    With `is_new` there was nothing before the first look; else it tells only of shards that stand still.
    """

    def __init__(self, *, is_new: bool = False) -> None:
        self._before: dict[tuple[str, int], ShardRow] | None = {} if is_new else None

    def look(self, database: Database) -> list[str]:
        """What is new since the last look."""
        from headrace.store.sql.reads import streams

        now = {(row.stream, row.shard): row for row in streams.shards(database)}
        before, self._before = self._before, now
        lines = [line for name, row in now.items() if (line := _stands(row, (before or {}).get(name))) is not None]
        if before is None:
            return lines
        lines += [line for name, row in now.items() if (line := _begins(row, before.get(name))) is not None]
        for stream in dict.fromkeys(row.stream for row in now.values()):
            own = [(name, row) for name, row in now.items() if row.stream == stream]
            died = sum(row.dead - (before[name].dead if name in before else 0) for name, row in own)
            if died > 0:
                lines.append(f"stream {stream}: {count(died, 'dead letter')}: headrace dead-letters ls {stream}")
        return lines


def _stands(now: ShardRow, before: ShardRow | None) -> str | None:
    held = (now.why, now.is_stopped)
    if held == ((None, False) if before is None else (before.why, before.is_stopped)):
        return None
    if not now.why:
        return f"stream {now.stream}/{now.shard} goes on"
    why = headline(now.why)
    if len(why) > _LONG:
        why = f"{why[:_LONG]} …: headrace why {now.stream}"
    return f"stream {now.stream}/{now.shard} is {'stopped' if now.is_stopped else 'held'}: {why}"


def _begins(now: ShardRow, before: ShardRow | None) -> str | None:
    """That a shard begins past rows that were there."""
    if not now.start_offset or (before is not None and before.start_offset is not None):
        return None
    rows = count(now.start_offset, "row")
    return f"stream {now.stream}/{now.shard} begins after {rows} that it does not read: {now.start_why}"


@contextmanager
def watching(path: Path, tell: Callable[[str], None]) -> Generator[None]:
    """While inside, a thread looks at the store every second and tells what streams meet."""
    over = threading.Event()
    thread = threading.Thread(target=_watch, args=(path, tell, over), name="headrace-stream-news", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _watch(path: Path, tell: Callable[[str], None], over: threading.Event) -> None:
    from headrace.store.sql.engine_store import EngineSqlStore

    news, store, changes = StreamNews(is_new=not path.exists()), None, -1
    while True:
        lines: list[str] = []
        try:
            if store is None and path.exists():
                store = EngineSqlStore(path)
            if store is not None and (found := store.change_count()) != changes:
                lines = news.look(store.database)
                changes = found
        except StoreError:  # the engine meets the same and says so; the next look may succeed
            lines = []
        for line in lines:
            tell(line)
        if over.wait(_EVERY_S):
            break
    if store is not None:
        store.close()
