"""What streams meet, for `headrace dev`: they write logs of their own, so it is read from the rows of their shards."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from headrace.cli.words import count
from headrace.errors import StoreError

if TYPE_CHECKING:
    from pathlib import Path

    from headrace.store.sql.connection import Database
    from headrace.store.sql.reads.streams import ShardRow

_EVERY_S = 1.0


class StreamNews:
    """Compares the shards with those of the last look. Dead letters are one line per stream and look."""

    def __init__(self) -> None:
        self._before: dict[tuple[str, int], ShardRow] | None = None

    def look(self, database: Database) -> list[str]:
        """What is new since the last look. The first one tells only of shards that stand still."""
        from headrace.store.sql.reads import streams

        now = {(row.stream, row.shard): row for row in streams.shards(database)}
        before, self._before = self._before, now
        lines = [line for name, row in now.items() if (line := _stands(row, (before or {}).get(name))) is not None]
        if before is None:
            return lines
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
    why = now.why.strip().rpartition("\n")[2].strip()
    return f"stream {now.stream}/{now.shard} is {'stopped' if now.is_stopped else 'held'}: {why}"


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
    from headrace.store.sql.connection import Database

    news, database = StreamNews(), None
    while not over.wait(_EVERY_S):
        try:
            if database is None and path.exists():
                database = Database(path)
            lines = [] if database is None else news.look(database)
        except StoreError:  # the engine meets the same and says so; the next look may succeed
            continue
        for line in lines:
            tell(line)
    if database is not None:
        database.close()
