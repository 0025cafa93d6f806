"""The project whose processes fail: a little of everything, and the real code that its workers run."""

from __future__ import annotations

from typing import Any

import polars as pl

import headrace as hr
from crashing.boundaries import stage

# -- runs ------------------------------------------------------------------------------------------------------------


@hr.task(retries=4)
def numbers(n: int) -> list[int]:
    return list(range(n))


@hr.task(retries=4)
def double(x: int) -> int:
    return 2 * x


@hr.task(retries=4)
def total(xs: list[int]) -> int:
    return sum(xs)


@hr.task(retries=4)
def blob(n: int) -> bytes:
    """Too large for a row: an artifact."""
    return bytes([n]) * 20_000


@hr.task(retries=4)
def size(body: bytes) -> int:
    return len(body)


@hr.pipeline
def plain(n: int) -> int:
    return size(blob(n))


@hr.pipeline
def mapped() -> int:
    return total.using(name="all")(
        hr.map(lambda n: total(hr.map(lambda x: double(x), numbers(n))), numbers.using(name="outer")(3))
    )


# -- retries, cancels ------------------------------------------------------------------------------------------------


@hr.task(retries=6, backoff="1s")
def flaky() -> int:
    if stage.during("flaky") < 3:
        raise OSError("not yet")
    return 1


@hr.task
def broken(before: int) -> int:
    if "mended" not in stage.switches:
        raise ValueError("broken")
    return before + 1


@hr.pipeline
def retried() -> int:
    return flaky()


@hr.pipeline
def mended() -> int:
    return broken(double(1))


@hr.task(retries=4)
def slow(x: int) -> int:
    if x == 0:
        stage.during("slow")
    return x


@hr.pipeline
def cancelled() -> int:
    return total(slow.map(numbers(4)))


# -- data ------------------------------------------------------------------------------------------------------------

orders = hr.Topic(
    "orders", schema={"id": str, "at": "datetime", "x": int, "odd": bool}, key="id", event_time="at", partitions=2
)
notes = hr.Topic("notes", schema={"id": str, "x": int}, key="id", partitions=2)
whole = hr.Table("whole")
by_day = hr.Table("by_day", by="window")
by_key = hr.Table("by_key", key="id")
history = hr.Table("history", schema={"id": str, "at": "datetime", "x": int}, key="id", known="at")
sums = hr.Table("sums")


def order(n: int, x: int | None = None) -> dict[str, Any]:
    return {"id": f"o{n}", "at": f"2026-03-01T{n:02d}:00Z", "x": n if x is None else x, "odd": n % 2 == 1}


@hr.task(retries=4, to=by_day)
def day(window: hr.Window) -> pl.DataFrame:
    return pl.DataFrame({"day": [window.start.date().isoformat()]})


@hr.pipeline(schedule="@hourly", catchup=True)
def hourly(window: hr.Window) -> None:
    day(window)


@hr.pipeline
def daily(window: hr.Window) -> None:
    day(window)


@hr.task(retries=4, to=whole)
def rows_of(n: int) -> pl.DataFrame:
    return pl.DataFrame({"x": list(range(n))})


@hr.task(retries=4, to=by_key)
def keyed(n: int, after: object) -> pl.DataFrame:
    return pl.DataFrame({"id": ["a", f"b{n}"], "x": [n, n]})


@hr.task(retries=4, to=history)
def known(n: int, after: object) -> pl.DataFrame:
    return pl.DataFrame([{"id": "a", "at": f"2026-03-01T{n:02d}:00Z", "x": n}])


@hr.task(retries=4)
def noted(n: int, after: object) -> int:
    notes.append([{"id": f"n{i}", "x": i} for i in range(n)])
    return n


@hr.pipeline
def published(n: int) -> None:
    noted(n, known(n, keyed(n, rows_of(n))))


@hr.pipeline
def upserted(n: int) -> None:
    noted(n, keyed(n, None))


@hr.task(retries=4)
def first_read() -> int:
    """Others publish and append between this read and the next: the run reads the same."""
    found = orders.read().height + 100 * by_key.read().height
    stage.during("first read")
    return found


@hr.task(retries=4)
def second_read(before: int) -> tuple[int, int]:
    return before, orders.read().height + 100 * by_key.read().height


@hr.pipeline
def pinned() -> tuple[int, int]:
    return second_read(first_read())


@hr.task(retries=4, to=sums)
def summed(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.select(pl.col("x").sum())


@hr.pipeline(triggers=[hr.updated(by_key)])
def follows_upserts() -> None:
    summed(by_key.latest())


@hr.pipeline(triggers=[hr.updated(whole)])
def follows() -> None:
    summed(whole.latest())


# -- events and streams ----------------------------------------------------------------------------------------------


@hr.task(retries=4)
def counted(events: hr.Events) -> list[int]:
    return sorted(events.read()["x"].to_list())


@hr.pipeline(triggers=[hr.event(orders, where="odd", count=2, within="12h")])
def in_twos(events: hr.Events) -> list[int]:
    return counted(events)


@hr.pipeline(triggers=[hr.event(notes)])
def each(events: hr.Events) -> list[int]:
    return counted(events)


priced_orders = hr.Topic("priced_orders", key="id", event_time="at", partitions=2)


@hr.stream(orders, to=priced_orders, start="earliest", bind={"rates": whole.latest()})
def priced(batch: pl.DataFrame, rates: pl.DataFrame) -> pl.DataFrame:
    if (batch["x"] < 0).any():
        raise ValueError("negative")
    return batch.select("id", "at", y=pl.col("x") * rates.height)


# -- code that changes -----------------------------------------------------------------------------------------------


def _version(number: int) -> Any:
    @hr.task(retries=4, name="first")
    def first() -> int:
        stage.during("first")
        return number

    @hr.task(retries=4, name="second")
    def second(x: int) -> tuple[int, int]:
        return x, number

    @hr.stream(orders, to=priced_orders, name="copied", start="earliest")
    def copied(batch: pl.DataFrame) -> pl.DataFrame:
        return batch.select("id", "at", y=pl.lit(number))

    @hr.pipeline(name="changing")
    def changing() -> tuple[int, int]:
        return second(first())

    return [changing, copied]


old, new = _version(1), _version(2)

# -- a model ---------------------------------------------------------------------------------------------------------

flights = hr.Topic("flights", schema={"id": str, "at": "datetime", "x": float}, key="id", event_time="at", partitions=1)
outcomes = hr.Topic(
    "outcomes", schema={"id": str, "at": "datetime", "late": bool}, key="id", event_time="at", partitions=1
)
scores = hr.Topic("scores", key="id", event_time="at", partitions=1)
delay: hr.Model[Any] = hr.Model(
    "delay", dict, labels=outcomes, on="id", label="late", promote=hr.if_better("auc", by=0.01)
)


def predict(model: dict[str, float], rows: pl.DataFrame) -> pl.Series:
    return rows.select(p=0.5 + 0.4 * model["sign"] * (pl.col("x") % 2 - 0.5))["p"]


@hr.task(retries=4)
def ingest(window: hr.Window) -> pl.DataFrame:
    return delay.examples(flights, window)


@hr.task(retries=4)
def learn(rows: pl.DataFrame) -> dict[str, float]:
    """Which way round it was on the last day."""
    last = rows.filter(pl.col("at").dt.date() == pl.col("at").dt.date().max())
    odd = last.filter(pl.col("x") % 2 == 1)["late"].mean()
    return {"sign": 1.0 if float(odd or 0) > 0.5 else -1.0}  # type: ignore[arg-type]


@hr.pipeline(window="all")
def retrain(window: hr.Window) -> None:
    fit, test = hr.split(ingest(window), last="1d")
    delay.register(learn(fit), fit=fit, test=test, predict=predict)


@hr.stream(flights, to=scores, bind={"model": delay.champion()}, start="earliest")
def score(batch: pl.DataFrame, model: dict[str, float]) -> pl.DataFrame:
    return batch.select("id", "at", "x", p=predict(model, batch))


watch = hr.monitor(scores, model=delay, window="1d", min_rows=1, drift={"x": hr.unseen(above=0.5)}, name="watch")
retrain.on(watch.drift(consecutive=2))
