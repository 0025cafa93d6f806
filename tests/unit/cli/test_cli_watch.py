"""What `headrace dev` tells of streams: once per change, and dead letters as a number."""

from __future__ import annotations

from headrace.base.facts import Fact
from headrace.cli.watch import StreamNews
from headrace.ports import Append
from headrace.store.sql.store import SqlStore
from headrace.streams.facts import BatchCommitted, DeadLettered, ShardHeld, ShardStarted

LOG = "shard:score:0"


def happens(store: SqlStore, *facts: Fact) -> None:
    store.commit([Append(LOG, store.head(LOG), facts)])


def test_a_shard_that_stands_still_is_told_once_and_that_it_goes_on() -> None:
    store, news = SqlStore(":memory:"), StreamNews()
    assert news.look(store.database) == []
    happens(store, ShardHeld("score", 0, "no champion yet", 0))
    assert news.look(store.database) == ["stream score/0 is held: no champion yet"]
    assert news.look(store.database) == []
    happens(store, ShardHeld("score", 0, "Traceback:\n  x\nTypeError: no", 0, stopped=True))
    assert news.look(store.database) == ["stream score/0 is stopped: TypeError: no"]
    happens(store, ShardStarted("score", 0, 0, 0))
    assert news.look(store.database) == ["stream score/0 goes on"]


def test_dead_letters_are_one_line_per_look_and_old_ones_are_not_told() -> None:
    store, news = SqlStore(":memory:"), StreamNews()

    def die(n: int, rows: int) -> None:
        first = n * 10
        letters = [
            DeadLettered("score", 0, n, "flights", 0, first + at, "error", "E", "{}", "c", 0) for at in range(rows)
        ]
        happens(store, BatchCommitted("score", 0, n, first, first + 10, 10, 10 - rows, 0, rows, "c", 0), *letters)

    happens(store, ShardStarted("score", 0, 0, 0))
    die(0, 2)
    assert news.look(store.database) == []
    die(1, 3)
    assert news.look(store.database) == ["stream score: 3 dead letters: headrace dead-letters ls score"]
    assert news.look(store.database) == []


def test_rows_that_a_stream_does_not_read_are_told_as_it_begins() -> None:
    store, news = SqlStore(":memory:"), StreamNews(is_new=True)
    happens(store, ShardStarted("score", 0, 3000, 0, "start is now"))
    assert news.look(store.database) == [
        "stream score/0 begins after 3,000 rows that it does not read: start is now",
    ]
    assert news.look(store.database) == []
    assert StreamNews().look(store.database) == [], "it has begun long ago"


def test_an_error_with_its_cure_below_is_told_without_it_and_a_long_one_is_cut() -> None:
    store, news = SqlStore(":memory:"), StreamNews(is_new=True)
    happens(store, ShardHeld("score", 0, 'rows="each" promises 3 rows\n  keep the rows as promised', 0, stopped=True))
    assert news.look(store.database) == ['stream score/0 is stopped: rows="each" promises 3 rows']
    happens(store, ShardHeld("score", 0, "x" * 1000, 0))
    (line,) = news.look(store.database)
    assert line.endswith("xxx …: headrace why score")
    assert len(line) < 220
