"""Pipelines run in this process, as in a script, a notebook or a test: everything that authoring offers, end to end."""

from __future__ import annotations

import gc
import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import polars as pl
import pytest

import headrace as hr
from headrace.app import here
from headrace.app.here import run_here
from headrace.app.opening import current_settings, open_store
from headrace.base.instants import to_us
from headrace.data.facts import TopicCompleted
from headrace.errors import RefusedError, RunFailedError, SchemaError, StoreError
from headrace.executors.here import HereCrew
from headrace.graph.loaded import freeze
from headrace.ports import Append, Committed
from headrace.store.sql.engine_store import EngineSqlStore
from headrace.store.sql.reads import runs

orders = hr.Table("orders")
by_day = hr.Table("by_day", by="window")
customers = hr.Table("customers", key="id")
clicks = hr.Topic("clicks", schema={"id": str, "n": int}, key="id")


@hr.task
def numbers(n: int) -> list[int]:
    return list(range(n))


@hr.task
def double(x: int) -> int:
    return 2 * x


@hr.task
def total(xs: list[int]) -> int:
    return sum(xs)


@hr.task
def fed_total(xs: Iterable[int]) -> int:
    return sum(xs)


def test_a_map_feeds_its_consumer_at_once_or_one_by_one() -> None:
    @hr.pipeline
    def mapped(n: int) -> tuple[int, int]:
        doubled = double.map(numbers(n))
        return total(doubled), fed_total(doubled)

    assert mapped.run(10).result() == (90, 90)


def test_maps_nest() -> None:
    @hr.pipeline
    def nested() -> list[int]:
        return hr.map(lambda n: total(hr.map(lambda x: double(x), numbers(n))), numbers.using(name="outer")(4))

    assert nested.run().result() == [0, 0, 2, 6]


def doubled(items: Any, levels: int) -> Any:
    return hr.map(lambda x: double(x) if levels == 1 else doubled(x, levels - 1), items)


DEEP = [[[1, 2], [3]], [[4], []], []]
DEEP_DOUBLED = [[[2, 4], [6]], [[8], []], []]


def test_maps_nest_as_deep_as_wanted_over_one_result() -> None:
    @hr.task
    def deep() -> list[list[list[int]]]:
        return DEEP

    @hr.pipeline
    def three() -> object:
        return doubled(deep(), 3)

    assert three.run().result() == DEEP_DOUBLED


def test_maps_nest_over_a_member_of_an_unpacked_result() -> None:
    @hr.task
    def pair() -> tuple[list[list[list[int]]], int]:
        return DEEP, 5

    @hr.pipeline
    def unpacked() -> object:
        lists, _ = pair()
        return doubled(lists, 3)

    assert unpacked.run().result() == DEEP_DOUBLED


def test_maps_nest_over_constants_parameters_and_lists_of_results() -> None:
    @hr.pipeline
    def of_constant() -> object:
        return doubled(DEEP, 3)

    @hr.pipeline
    def of_parameter(lists: list) -> object:  # type: ignore[type-arg]
        return doubled(lists, 3)

    @hr.pipeline
    def of_handles() -> object:
        return doubled([numbers(2), [7], numbers.using(name="none")(0)], 2)

    assert of_constant.run().result() == of_parameter.run(DEEP).result() == DEEP_DOUBLED
    assert of_handles.run().result() == [[0, 2], [14], []]


def test_maps_nest_over_what_another_map_gave() -> None:
    @hr.task
    def picky(n: int) -> list[int]:
        if n == 1:
            raise ValueError(n)
        return list(range(n))

    @hr.pipeline
    def over_lists() -> object:
        return doubled(picky.using(allow_failed=1).map([2, 1, 3]), 2)

    @hr.pipeline
    def over_inner_maps() -> object:
        return total.map(hr.map(lambda n: double.map(numbers(n)), [2, 3]))

    assert over_lists.run().result() == [[0, 2], [0, 2, 4]]
    assert over_inner_maps.run().result() == [2, 6]


def test_a_map_over_what_has_no_elements_deep_inside_fails_in_words() -> None:
    @hr.task
    def ragged() -> object:
        return [[1], "ab"]

    @hr.pipeline
    def uneven() -> object:
        return doubled(ragged(), 2)

    with pytest.raises(RunFailedError, match="a map could not expand"):
        uneven.run()


def test_a_frame_maps_over_its_rows() -> None:
    @hr.task
    def frame() -> pl.DataFrame:
        return pl.DataFrame({"a": [1, 2], "b": ["x", "y"]})

    @hr.task
    def word(row: dict[str, object]) -> str:
        return f"{row['a']}{row['b']}"

    @hr.pipeline
    def rows() -> list[str]:
        return word.map(frame())

    assert rows.run().result() == ["1x", "2y"]


@pytest.mark.parametrize(("n", "expected"), [(1, "small"), (100, "big")])
def test_a_branch_takes_one_side(n: int, expected: str) -> None:
    @hr.task
    def is_big(n: int) -> bool:
        return n > 10

    @hr.task
    def name(word: str) -> str:
        return word

    @hr.task
    def shout(word: str) -> str:
        return word.upper()

    @hr.pipeline
    def branch(n: int) -> str:
        return shout(hr.when(is_big(n), lambda: name("big"), lambda: name("small")))

    assert branch.run(n).result() == expected.upper()


def test_unpacked_results_and_containers_arrive() -> None:
    @hr.task
    def pair() -> tuple[int, pl.DataFrame]:
        return 3, pl.DataFrame({"x": [1, 2, 3]})

    @hr.task
    def use(parts: dict[str, object], both: list[object]) -> int:
        frame = both[1]
        assert isinstance(frame, pl.DataFrame)
        assert isinstance(parts["n"], int)
        return parts["n"] + frame.height

    @hr.pipeline
    def contained() -> int:
        n, frame = pair()
        return use({"n": n}, [1, frame])

    assert contained.run().result() == 6


def test_a_failure_raises_with_the_task_its_line_and_the_run() -> None:
    @hr.task
    def breaks() -> None:
        raise ValueError("no such thing")

    @hr.pipeline
    def broken() -> None:
        breaks()

    with pytest.raises(RunFailedError, match="breaks: ValueError: no such thing") as caught:
        broken.run()
    assert caught.value.run.state == "failed"


def test_a_retry_keeps_the_idempotency_key_and_grows_the_token() -> None:
    seen: list[tuple[str, int, int]] = []

    @hr.task(retries=2, backoff="1ms")
    def flaky() -> int:
        me = hr.current()
        assert me is not None
        seen.append((me.key, me.attempt, me.token))
        if len(seen) < 3:
            raise OSError("later")
        return len(seen)

    @hr.pipeline
    def tries() -> int:
        return flaky()

    assert tries.run().result() == 3
    assert len({key for key, _, _ in seen}) == 1
    assert [attempt for _, attempt, _ in seen] == [1, 2, 3]
    assert sorted(token for _, _, token in seen) == [token for _, _, token in seen]


def test_tables_are_written_whole_by_window_or_by_key() -> None:
    @hr.task(to=orders)
    def make(n: int) -> pl.DataFrame:
        return pl.DataFrame({"x": list(range(n))})

    @hr.task(to=by_day)
    def day(window: hr.Window) -> pl.DataFrame:
        return pl.DataFrame({"day": [window.start.date().isoformat()]})

    @hr.task(to=customers)
    def upsert(name: str) -> pl.DataFrame:
        return pl.DataFrame({"id": [1, 2], "name": [name, name]})

    @hr.pipeline
    def whole(n: int) -> None:
        make(n)

    @hr.pipeline
    def daily(window: hr.Window) -> None:
        day(window)

    @hr.pipeline
    def keyed(name: str) -> None:
        upsert(name)

    whole.run(3)
    whole.run(2)
    assert orders.read()["x"].to_list() == [0, 1]
    for start in ("2026-01-01", "2026-01-02", "2026-01-01"):
        daily.run(hr.Window(start, "1d"))
    assert sorted(by_day.read()["day"]) == ["2026-01-01", "2026-01-02"]
    keyed.run("ada")
    keyed.run("eve")
    assert customers.read().sort("id").rows() == [(1, "eve"), (2, "eve")]


def test_what_a_task_appends_is_there_when_it_is_accepted() -> None:
    @hr.task
    def click(n: int) -> None:
        clicks.append([{"id": f"c{i}", "n": i} for i in range(n)])

    @hr.pipeline
    def clicking(n: int) -> None:
        click(n)

    clicking.run(5)
    assert sorted(clicks.read()["n"]) == [0, 1, 2, 3, 4]
    clicks.append([{"id": "here", "n": 9}])
    assert clicks.read().height == 6


def test_a_value_that_nothing_can_store_says_so() -> None:
    @hr.task
    def lock() -> object:
        import threading

        return threading.Lock()

    @hr.pipeline
    def stores() -> object:
        return lock()

    with pytest.raises(RunFailedError, match="HR14"):
        stores.run()


def test_a_store_that_is_full_while_a_task_reads_is_no_failure_of_the_task(monkeypatch: pytest.MonkeyPatch) -> None:
    clicks.append([{"id": "a", "n": 1}])
    seen: list[str] = []
    commit = EngineSqlStore.commit

    def full_at_pins(self: EngineSqlStore, appends: Sequence[Append]) -> Committed:
        kinds = [fact.kind for append in appends for fact in append.facts]
        seen.extend(kinds)
        if "InputPinned" in kinds:
            raise StoreError("the disk is full", cure="free some space", code="HR4020")
        return commit(self, appends)

    monkeypatch.setattr(EngineSqlStore, "commit", full_at_pins)

    @hr.task
    def look() -> int:
        try:
            return clicks.read().height
        except Exception:
            return -1  # however much the task catches

    @hr.pipeline
    def looking() -> int:
        return look()

    with pytest.raises(StoreError, match="the disk is full") as caught:
        looking.run()
    assert caught.value.code == "HR4020"
    assert re.search(r"free some space; run \w+ .* until an engine .* closes it as lost", caught.value.cure or "")
    assert seen[-1] == "InputPinned", "neither a failure nor a result of the task is told"


def test_a_pin_that_nobody_answers_ends_the_run_in_plain_words(monkeypatch: pytest.MonkeyPatch) -> None:
    clicks.append([{"id": "a", "n": 1}])
    monkeypatch.setattr(HereCrew, "answer_pin", lambda *about: None)

    @hr.task
    def look() -> int:
        try:
            return clicks.read().height
        except Exception:
            return -1

    @hr.pipeline
    def looks() -> int:
        return look()

    with pytest.raises(StoreError, match=r"began again from its rows while its task read topic:clicks"):
        looks.run()


def test_a_run_keeps_its_store_open_as_long_as_somebody_has_it() -> None:
    @hr.pipeline
    def kept() -> list[int]:
        return numbers(2)

    run = kept.run()
    store = run._store
    assert run.result() == [0, 1]
    assert not store.database._is_closed
    del run
    gc.collect()
    assert store.database._is_closed


def test_a_run_that_cannot_say_that_it_lives_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    @hr.pipeline
    def unheld() -> list[int]:
        return numbers(2)

    monkeypatch.setattr(here, "take_right", lambda path: None)
    with pytest.raises(StoreError, match="has the right to the log run:"):
        unheld.run()


def test_a_run_here_leaves_what_clients_asked_to_the_engine() -> None:
    @hr.pipeline
    def asked_for() -> list[int]:
        return numbers(2)

    store = open_store(current_settings())
    asked = store.ask("trigger", {"pipeline": "asked_for"}, key="k", at_us=1)
    asked_for.run()
    assert store.answer(asked) is None
    store.close()


def test_a_topic_keeps_the_number_of_partitions_that_its_first_rows_found() -> None:
    hr.Topic("fixed", schema={"id": str}, key="id", partitions=2).append([{"id": "a"}])
    grown = hr.Topic("fixed", schema={"id": str}, key="id", partitions=3)
    with pytest.raises(SchemaError, match="has rows in 2 partitions and declares 3"):
        grown.append([{"id": "a"}])

    @hr.task
    def append() -> None:
        grown.append([{"id": "a"}])

    @hr.pipeline
    def appending() -> None:
        append()

    with pytest.raises(RunFailedError, match="HR1247"):
        appending.run()


def test_a_run_that_is_dropped_while_another_one_writes_waits_for_nobody() -> None:
    @hr.task
    def one() -> int:
        return 1

    @hr.pipeline
    def alone() -> int:
        return one()

    run = alone.run()
    store = open_store(current_settings())
    with store.database.write():
        began_s = time.monotonic()
        del run
        gc.collect()
        assert time.monotonic() - began_s < 10
    store.close()


def test_a_window_that_nobody_gives_ends_where_the_data_has_come_to_and_not_at_the_clock() -> None:
    seen = hr.Topic("seen", schema={"id": str, "at": datetime}, key="id", event_time="at")

    @hr.task
    def length(window: hr.Window) -> int:
        return len(seen.read(window))

    @hr.pipeline(window="all")
    def everything(window: hr.Window) -> int:
        return length(window)

    @hr.pipeline(window="1d")
    def lately(window: hr.Window) -> int:
        return length(window)

    settings = current_settings()
    store = open_store(settings)
    through_us = to_us("2013-03-01T05:00Z")
    store.commit([Append("import:seen", store.head("import:seen"), (TopicCompleted("seen", through_us, 1),))])
    store.close()
    loaded = freeze("here", [everything, lately])
    for name, start_us in (("everything", 0), ("lately", to_us("2013-02-28T05:00Z"))):
        run = here.run_loaded(settings, loaded, name, {})
        assert run.state == "succeeded"
        found = runs.run(run._store.database, run.id)
        assert found is not None
        assert found.window == (start_us, through_us)


def test_a_run_that_needs_a_window_which_nothing_gives_is_refused() -> None:
    @hr.task
    def length(window: hr.Window) -> int:
        return 1

    @hr.pipeline
    def some(window: hr.Window) -> int:
        return length(window)

    with pytest.raises(RefusedError, match="needs a window"):
        here.run_loaded(current_settings(), freeze("here", [some]), "some", {})


def test_without_pickle_nothing_is_pickled_in_process_either() -> None:
    @hr.task
    def odd() -> object:
        return Odd()

    @hr.pipeline
    def oddly() -> object:
        return odd()

    with pytest.raises(RunFailedError, match=r"pickle is switched off \(allow_pickle = false\)"):
        run_here(oddly, {}, settings=replace(current_settings(), allow_pickle=False))
    assert isinstance(oddly.run().result(), Odd)


class Odd:
    """Nothing but a pickle can hold one."""


def test_a_store_keeps_itself_out_of_git() -> None:
    open_store(current_settings()).close()
    assert (current_settings().home / ".gitignore").read_text() == "*\n"


@pytest.mark.parametrize(
    ("arguments", "why"), [({}, "HR3021 .* needs n"), ({"n": 1, "m": 2}, "HR3020 .* no parameter 'm'")]
)
def test_a_run_that_is_refused_says_why_and_what_to_do(arguments: dict[str, int], why: str) -> None:
    @hr.pipeline
    def counted(n: int) -> list[int]:
        return numbers(n)

    with pytest.raises(RunFailedError, match=f"counted did not start: {why}") as caught:
        run_here(counted, arguments)
    assert caught.value.cure
