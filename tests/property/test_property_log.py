"""The embedded log as a list: whatever is appended, refused, cut off and opened again, reads give what was acknowledged."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import polars as pl
import pytest
import xxhash
from depth import examples
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from told import check_told

from headrace.base.instants import from_us, iso
from headrace.connectors.appends import append, appends, prepare, prepare_json
from headrace.connectors.log import Log
from headrace.connectors.shapes import Shapes
from headrace.data.events import OffsetRange
from headrace.data.facts import TopicAppended
from headrace.data.window import Window
from headrace.definitions.project import TopicDef
from headrace.errors import SchemaError, StoreError, SupersededError
from headrace.ports import Append
from headrace.store.sql.reads import topics
from headrace.store.sql.store import SqlStore

PARTITIONS = 3
IN_MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None  # no disk to wait for
HIDDEN = ("_partition", "_offset", "_time", "_appended")
SECOND_US = 1_000_000

KEYS = st.sampled_from(["a", "b", "c", "é", "", "\0", "long" * 20])
TIMES = st.integers(0, 50).map(lambda s: s * SECOND_US)
ROWS = st.fixed_dictionaries(
    {"k": KEYS, "at": TIMES, "n": st.none() | st.integers(-(2**63), 2**63 - 1)},
    optional={"x": st.none() | st.floats(allow_nan=False), "j": st.none() | st.lists(st.integers(0, 9), max_size=3)},
)
BAD = st.sampled_from([{"k": None}, {"n": 2**63}, {"n": "1"}, {"at": None}, {"strange": 1}, {"n": True}])


class Kept(NamedTuple):
    """A row or a raw record as it was appended; `bad` are the columns that no reader can take, "" all of it."""

    values: dict[str, Any]
    appended_us: int
    text: str = ""
    bad: tuple[str, ...] = ()


class LogMachine(RuleBasedStateMachine):
    """Two processes on one store file, a topic with a key, event time and a schema that changes, and one without a key."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory(dir=IN_MEMORY)
        self.path = Path(self.folder.name) / "store.db"
        self.stores = [SqlStore(self.path), SqlStore(self.path)]
        self.log = Log(self.stores[0].database, topics)
        self.kept: dict[int, list[Kept]] = {}
        self.plain: dict[int, list[int]] = {}
        self.at_us = 0
        self.owned = 0

    @initialize(partitions=st.sampled_from((1, PARTITIONS)))
    def declare(self, partitions: int) -> None:
        schema = {"k": "str", "at": "datetime", "n": "int"}
        self.topic = TopicDef("keyed", schema, key="k", event_time="at", known="at", partitions=partitions)
        self.keyless = TopicDef("plain", {"n": "int"}, partitions=partitions)

    # -- appending -----------------------------------------------------------------------------------------------

    @rule(rows=st.lists(ROWS, max_size=6), who=st.integers(0, 1), as_frame=st.booleans())
    def rows_are_appended(self, rows: list[dict[str, Any]], who: int, as_frame: bool) -> None:
        given_rows = self._given(rows)
        given: Any = pl.DataFrame(given_rows, infer_schema_length=None) if as_frame and rows else given_rows
        if as_frame and any(dtype == pl.Null for dtype in getattr(given, "dtypes", ())):
            given = given_rows
        places = append(self.stores[who], "clients", self.topic, given, self._tick())
        self._keep([(row["k"].encode(), Kept(row, self.at_us)) for row in self._fitting(rows)], places)

    @rule(rows=st.lists(ROWS, min_size=1, max_size=4), bad=st.lists(st.none() | BAD, min_size=4, max_size=4),
          broken=st.sampled_from([b"", b"{", b"\xff", b"[]", b"null", b'{"k":"a"}']))  # fmt: skip
    def raw_records_are_appended(self, rows: list[dict[str, Any]], bad: list[Any], broken: bytes) -> None:
        rows = self._fitting(rows)
        records = [(row, {**row, **(worse or {})}) for row, worse in zip(rows, bad, strict=False)]
        lines = [self._line(record) for _, record in records] + [broken]
        committed = self.stores[0].commit([appends("clients", prepare_json(self.topic, lines, self._tick()))])
        kept: list[tuple[bytes, Kept]] = []
        for line, (row, record) in zip(lines, [*records, (None, {})], strict=True):
            bad = ("",) if row is None else tuple(name for name in row if not _is_same(record[name], row[name]))
            key = record.get("k")
            if line == b'{"k":"a"}':
                key = "a"
            text = line.decode("utf-8", "replace")
            kept.append((line if key is None else key.encode(), Kept(row or {}, self.at_us, text, bad)))
        self._keep(kept, _places(committed.facts["clients"]))

    @rule(rows=st.lists(st.integers(0, 9), min_size=1, max_size=4), who=st.integers(0, 1))
    def rows_without_a_key_are_appended(self, rows: list[int], who: int) -> None:
        (place,) = append(self.stores[who], "clients", self.keyless, [{"n": n} for n in rows], self._tick())
        known = self.plain.setdefault(place.partition, [])
        assert place == OffsetRange("plain", place.partition, len(known), len(known) + len(rows))
        known += rows

    @rule(rows=st.lists(ROWS, min_size=1, max_size=4), stale=st.booleans())
    def the_owner_of_a_log_appends(self, rows: list[dict[str, Any]], stale: bool) -> None:
        prepared = prepare(self.topic, self._given(rows), self._tick())
        asked = appends("shard:s/0", prepared, expected_seq=self.owned + stale)
        if stale:
            with pytest.raises(SupersededError):
                self.stores[1].commit([asked])
            return
        committed = self.stores[1].commit([asked])
        self.owned = committed.heads["shard:s/0"]
        kept = [(row["k"].encode(), Kept(row, self.at_us)) for row in self._fitting(rows)]
        self._keep(kept, _places(committed.facts["shard:s/0"]))

    # -- what must not be appended ---------------------------------------------------------------------------------

    @rule(rows=st.lists(ROWS, max_size=3), bad=BAD, at=st.integers(0, 3))
    def rows_that_do_not_fit_are_refused(self, rows: list[dict[str, Any]], bad: dict[str, Any], at: int) -> None:
        given = self._given([*rows[:at], {"k": "a", "at": 0, "n": 1}, *rows[at:]])
        given[min(at, len(rows))] |= bad
        with pytest.raises(SchemaError) as caught:
            append(self.stores[0], "clients", self.topic, given, self._tick())
        check_told(caught.value, "HR1210")

    @rule(rows=st.lists(ROWS, min_size=1, max_size=3), how=st.sampled_from(("gap", "past", "other log", "no bytes")))
    def a_commit_fails_in_its_middle(self, rows: list[dict[str, Any]], how: str) -> None:
        good = appends("clients", prepare(self.topic, self._given(rows), self._tick()))
        head = len(self.kept.get(0, ()))
        fact = TopicAppended("keyed", 0, 2, self.at_us, first={"gap": head + 99, "past": max(head - 1, 0)}.get(how, -1))
        worse = Append("clients", None, (fact,), {} if how == "no bytes" else {0: b"x"})
        if how == "other log":
            worse = Append("shard:s/0", self.owned + 7, (fact,), {0: b"x"})
        with pytest.raises(StoreError if how != "other log" else SupersededError):
            self.stores[0].commit([good, worse] if how != "past" or head else [good, good, worse])

    # -- what happens to the store ---------------------------------------------------------------------------------

    @rule(who=st.integers(0, 1))
    def a_process_ends_and_comes_back(self, who: int) -> None:
        self.stores[who].close()
        self.stores[who] = SqlStore(self.path)
        self.log = Log(self.stores[0].database, topics)

    @rule(torn=st.binary(max_size=200))
    def the_power_fails(self, torn: bytes) -> None:
        """All that is on the disk, with half a transaction behind it, is opened elsewhere."""
        with tempfile.TemporaryDirectory(dir=IN_MEMORY) as folder:
            for file in self.path.parent.glob("store.db*"):
                shutil.copy(file, folder)
            wal = Path(folder) / "store.db-wal"
            if wal.exists():
                wal.write_bytes(wal.read_bytes() + torn)
            found = SqlStore(Path(folder) / "store.db")
            self._check_all(Log(found.database, topics))
            found.close()

    @rule(change=st.sampled_from(("x", "j", "n")))
    def the_schema_changes(self, change: str) -> None:
        """A column more, or one that is gone."""
        schema = dict(self.topic.schema or {})
        if schema.pop(change, None) is None:
            schema[change] = {"x": "float", "j": "json", "n": "int"}[change]
        self.topic = msgspec.structs.replace(self.topic, schema=schema)

    # -- reading ---------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.kept)
    @rule(data=st.data())
    def some_offsets_are_read(self, data: st.DataObject) -> None:
        partition = data.draw(st.sampled_from(sorted(self.kept)))
        head = len(self.kept[partition])
        first = data.draw(st.integers(0, head))
        end = data.draw(st.integers(first, head))
        self._check(self.log, partition, first, end)

    @precondition(lambda self: self.kept)
    @rule(data=st.data(), start=TIMES, length=st.integers(1, 30))
    def a_window_is_read_up_to_pins(self, data: st.DataObject, start: int, length: int) -> None:
        pins = {p: data.draw(st.integers(0, len(known))) for p, known in self.kept.items() if data.draw(st.booleans())}
        end = start + length * SECOND_US
        window = Window.of(start, end)
        wanted = [
            (row["at"], row["k"], partition, offset)
            for partition, known in self.kept.items()
            for offset, row in enumerate(map(self._row, known[: pins.get(partition, 0)]))
            if row is not None and start <= row["at"] < end
        ]
        read = self.log.read(self.topic, window, pins=pins, hidden=True)
        assert _columns(read, "at", "k", "_partition", "_offset") == sorted(wanted)
        known = self.log.read_known(self.topic, start, end, pins=pins)
        assert sorted(_columns(known, "at", "k", "_partition", "_offset")) == sorted(wanted)

    @precondition(lambda self: self.kept)
    @rule(data=st.data(), us=st.integers(0, 60 * SECOND_US))
    def the_first_row_since_a_time_is_found(self, data: st.DataObject, us: int) -> None:
        partition = data.draw(st.sampled_from(sorted(self.kept)))
        known = self.kept[partition]
        times = [row["at"] if row else -1 for row in map(self._row, known)]
        assert self.log.first_at(self.topic, partition, us, len(known)) == _first(times, lambda at: at >= us)
        since = data.draw(st.integers(0, self.at_us + 1))
        appended = [one.appended_us for one in known]
        assert self.log.first_appended(self.topic, partition, since, len(known)) == _first(
            appended, lambda at: at >= since
        )

    @rule(partition=st.integers(0, PARTITIONS), more=st.integers(1, 3))
    def offsets_that_nobody_appended_are_missed(self, partition: int, more: int) -> None:
        head = len(self.kept.get(partition, ()))
        with pytest.raises(StoreError) as caught:
            self.log.rows(self.topic, partition, max(head - 1, 0), head + more)
        assert caught.value.code == "HR4041"

    @invariant()
    def heads_are_dense(self) -> None:
        for store in self.stores:
            heads = Log(store.database, topics).heads("keyed")
            assert heads == {partition: len(known) for partition, known in self.kept.items() if known}

    def teardown(self) -> None:
        if hasattr(self, "topic"):
            for store in self.stores:
                self._check_all(Log(store.database, topics))
        for store in self.stores:
            store.close()
        self.folder.cleanup()

    # -- inside ----------------------------------------------------------------------------------------------------

    def _tick(self) -> int:
        self.at_us += 3
        return self.at_us

    def _fitting(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The rows with the columns that the schema has now."""
        return [{name: value for name, value in row.items() if name in (self.topic.schema or {})} for row in rows]

    def _given(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{**row, "at": from_us(row["at"])} for row in self._fitting(rows)]

    def _line(self, record: dict[str, Any]) -> bytes:
        at = record["at"]
        return msgspec.json.encode({**record, "at": at if at is None else iso(at)})

    def _keep(self, rows: list[tuple[bytes, Kept]], places: list[OffsetRange] | tuple[OffsetRange, ...]) -> None:
        """Note what was acknowledged, and that each place is the next of its partition."""
        by_partition: dict[int, list[Kept]] = {}
        for key, one in rows:
            number = xxhash.xxh3_64_intdigest(key) % self.topic.partitions
            by_partition.setdefault(number, []).append(one)
        heads = {partition: len(self.kept.get(partition, ())) for partition in by_partition}
        assert {place.partition: (place.first, place.end) for place in places} == {
            partition: (heads[partition], heads[partition] + len(some)) for partition, some in by_partition.items()
        }
        for partition, some in by_partition.items():
            self.kept.setdefault(partition, []).extend(some)

    def _check_all(self, log: Log) -> None:
        for partition, known in self.kept.items():
            self._check(log, partition, 0, len(known))
        for partition, numbers in self.plain.items():
            assert log.rows(self.keyless, partition, 0, len(numbers)).frame["n"].to_list() == numbers
        assert log.heads("plain") == {partition: len(numbers) for partition, numbers in self.plain.items()}

    def _check(self, log: Log, partition: int, first: int, end: int) -> None:
        rows = log.rows(self.topic, partition, first, end)
        wanted = list(enumerate(self.kept[partition]))[first:end]
        good = [(offset, one) for offset, one in wanted if self._row(one) is not None]
        found = rows.frame.with_columns(pl.col("at", "_time", "_appended").to_physical()).to_dicts()
        assert found == [self._shown(partition, offset, one) for offset, one in good]
        misfits = [(misfit.partition, misfit.offset, misfit.payload) for misfit in rows.misfits]
        assert misfits == [(partition, offset, one.text) for offset, one in wanted if self._row(one) is None]

    def _row(self, one: Kept) -> dict[str, Any] | None:
        """The row that a record is under the schema of now; raw records are judged by who reads them."""
        return None if any(not name or name in (self.topic.schema or {}) for name in one.bad) else one.values

    def _shown(self, partition: int, offset: int, one: Kept) -> dict[str, Any]:
        row = one.values
        shown = {name: row.get(name) for name in self.topic.schema or {}}
        if shown.get("j") is not None:
            shown["j"] = msgspec.json.encode(shown["j"]).decode()
        return shown | dict(zip(HIDDEN, (partition, offset, row["at"], one.appended_us), strict=True))


def _places(facts: tuple[Any, ...]) -> list[OffsetRange]:
    return [
        OffsetRange(fact.topic, fact.partition, fact.first, fact.first + fact.rows)
        for fact in facts
        if isinstance(fact, TopicAppended)
    ]


def _is_same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and one == other


def _columns(frame: pl.DataFrame, *names: str) -> list[tuple[Any, ...]]:
    return frame.select(pl.col(names[0]).to_physical(), *names[1:]).rows()


def _first(values: list[int], is_it: Callable[[int], bool]) -> int:
    return next((offset for offset, value in enumerate(values) if is_it(value)), len(values))


LOOSE = TopicDef("loose", partitions=1)
PLAIN_CELLS = st.none() | st.booleans() | st.integers(-5, 5) | st.sampled_from((0.5, -1.5)) | st.text("ab", max_size=2)
CELLS = PLAIN_CELLS | st.lists(PLAIN_CELLS, max_size=2) | st.dictionaries(st.sampled_from("ab"), PLAIN_CELLS)
LOOSE_ROWS = st.lists(st.dictionaries(st.sampled_from("abc"), CELLS, min_size=1), min_size=1, max_size=3)


class LooseMachine(RuleBasedStateMachine):
    """A topic without a schema, and two writers who may both believe that they are the first."""

    def __init__(self) -> None:
        super().__init__()
        self.store = SqlStore(":memory:")
        self.kept: list[dict[str, Any]] = []
        self.at_us = 0

    @rule(rows=LOOSE_ROWS)
    def rows_are_appended(self, rows: list[dict[str, Any]]) -> None:
        self.at_us += 1
        known = self.store.topic_columns("loose")
        try:
            append(self.store, "clients", LOOSE, rows, self.at_us)
        except SchemaError as error:
            check_told(error, "HR1210")
            assert known is None or not all(_fits(known, row) for row in rows)
            return
        self.kept += rows

    @rule(late=LOOSE_ROWS, early=LOOSE_ROWS)
    def one_writer_is_overtaken_by_another(self, late: list[dict[str, Any]], early: list[dict[str, Any]]) -> None:
        late_us = self.at_us + 2
        try:
            shaped = Shapes(self.store.topic_columns).shape(LOOSE, late, late_us)
            asked = appends("shard:x/0", prepare(shaped.topic, shaped.rows, late_us), shaped.fact)
        except SchemaError:
            return
        self.rows_are_appended(early)
        try:
            self.store.commit([asked])
        except StoreError as error:
            check_told(error, "HR4061")
            return
        self.kept += late
        self.at_us = late_us

    @invariant()
    def all_that_was_acknowledged_is_read(self) -> None:
        found = Log(self.store.database, topics).read(LOOSE).to_dicts()
        wanted = [[_exact(row.get(name)) for name in "abc"] for row in self.kept]
        words = self.store.topic_columns("loose") or {}
        read = [[_exact(_decoded(words.get(name), row.get(name))) for name in "abc"] for row in found]
        assert read == wanted

    @invariant()
    def columns_keep_their_types(self) -> None:
        words = self.store.topic_columns("loose")
        assert (words is None) == (not self.kept)
        for name, word in (words or {}).items():
            values = [row[name] for row in self.kept if row.get(name) is not None]
            assert (word == "null") == (not values)
            assert word == "json" or all(
                type(value).__name__ in (word, "int" if word == "float" else word) for value in values
            )

    def teardown(self) -> None:
        self.store.close()


def _fits(known: dict[str, str], row: dict[str, Any]) -> bool:
    """Certainly: every value is of the very type that its column has."""
    return all(name in known and (value is None or type(value).__name__ == known[name]) for name, value in row.items())


def _decoded(word: str | None, value: Any) -> Any:
    """Nested values are kept as their JSON text."""
    return msgspec.json.decode(value) if word == "json" and value is not None else value


def _exact(value: Any) -> tuple[bool, Any]:
    return isinstance(value, bool), value


TestLog = LogMachine.TestCase
TestLog.settings = examples(6, steps=25)
TestLoose = LooseMachine.TestCase
TestLoose.settings = examples(15, steps=10)
