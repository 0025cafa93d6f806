"""What came of the year that was played: read from the store as a user would, and compared with what could have been."""

from __future__ import annotations

import hashlib
import struct
from bisect import bisect_right
from collections import defaultdict
from typing import Any

import msgspec
import polars as pl

from headrace.app.opening import HERE, make_holdings, open_store
from headrace.base.instants import from_us, to_us
from headrace.connectors.blob import OFFSET, PARTITION
from headrace.connectors.holdings import Holdings
from headrace.demo import oracle
from headrace.demo.asof import live_flights, nightly_flights
from headrace.demo.played import Played
from headrace.demo.project.flights.features import predict
from headrace.demo.record import FIRST_DAY, NEW_YORK, midnight
from headrace.demo.story import Ask, Asker, Counts, Story, Week
from headrace.demo.weeks import auc, auc_by_week, windows
from headrace.lineage.trace import trace
from headrace.store.sql.connection import Database
from headrace.store.sql.reads import models, monitors, runs, streams, topics

MODEL, STREAM, MONITOR, SCORES = "delay", "score", "watch", "scores"
TRACED = ("batch", "model", "run", "topic", "code")  # what stands behind every prediction
_PAGE = 1000


class Summary(msgspec.Struct, frozen=True):
    """The one line that `headrace demo --json` ends with."""

    flights_scored: int
    predictions: int
    duplicates: int
    lost: int
    dead_letters: int
    late_rows: int
    runs: int
    asked: int
    retrains: int
    rejected: int
    promotions: int
    auc_nightly: float
    auc_first_model: float
    auc_served: float
    trace_ok: bool
    predictions_digest: str
    seconds: float
    kills: int = 0
    pauses: int = 0


def tell(played: Played) -> tuple[Summary, Story]:
    """Gather the figures and the story. Reads nothing but the store and the record."""
    store = open_store(played.settings)
    try:
        holdings = make_holdings(played.settings, store, played.project, HERE)
        return _tell(played, store.database, holdings)
    finally:
        store.close()


def _tell(played: Played, db: Database, holdings: Holdings) -> tuple[Summary, Story]:
    scores = holdings.log.read(played.project.topics[SCORES], None, pins=holdings.log.heads(SCORES), hidden=True)
    versions = _version_of_rows(db, scores)
    served = scores.select("flight_id", "announced", "p_late", version=versions).sort("announced", "flight_id")
    unique = served.unique("flight_id")
    begin = midnight(FIRST_DAY)
    live = live_flights(played.record)
    expected = live.filter(pl.col("announced") >= begin)
    labelled = served.join(live.select("flight_id", "late"), on="flight_id", how="left", maintain_order="left")
    first = _first_model(holdings, expected)
    nightly = oracle.never_retrained(nightly_flights(played.record))
    aucs = {
        "nightly": auc(nightly["late"], nightly["p_late"]),
        "first": auc(first["late"], first["p_late"]),
        "served": auc(labelled["late"], labelled["p_late"]),
    }
    asks = _asks(db)
    steps = _lineage(db, played, served)
    counts = runs.counts(db)
    shards = streams.shards(db, STREAM)
    dead = sum(shard.dead for shard in shards)
    digest = _digest(served)
    story = Story(
        weeks=_weeks(db, nightly, first, labelled),
        asks=asks,
        auc_nightly=aucs["nightly"],
        auc_first=aucs["first"],
        auc_served=aucs["served"],
        counts=Counts(
            flights=len(unique),
            runs=sum(counts.values()),
            batches=sum(shard.next_batch for shard in shards),
            dead_letters=dead,
            kills=played.kills,
        ),
        lineage=tuple(steps),
        seconds=0.0,
        digest=digest,
    )
    summary = Summary(
        flights_scored=len(unique),
        predictions=len(served),
        duplicates=len(served) - len(unique),
        lost=len(expected.join(unique, on="flight_id", how="anti")),
        dead_letters=dead,
        late_rows=_late_rows(db),
        runs=sum(counts.values()),
        asked=len(asks),
        retrains=sum(ask.is_accepted for ask in models.asks(db, MODEL)) - 1,
        rejected=story.rejected,
        promotions=story.promoted,
        auc_nightly=round(aucs["nightly"], 4),
        auc_first_model=round(aucs["first"], 4),
        auc_served=round(aucs["served"], 4),
        trace_ok=len(steps) == 1 + len(TRACED),
        predictions_digest=digest,
        seconds=0.0,
        kills=played.kills,
        pauses=played.pauses,
    )
    return summary, story


def _version_of_rows(db: Database, scores: pl.DataFrame) -> pl.Series:
    """The model version that made each row: that of the batch which the row's blob was committed with."""
    made: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for shard in streams.shards(db, STREAM):
        before: int | None = None
        while page := streams.batches(db, STREAM, shard.shard, before=before, limit=_PAGE):
            for batch in page:
                version = next((b.version_number for b in batch.bound if b.name == MODEL), 0)
                made[batch.log].append((batch.seq, version))
            before = page[-1].seq
    for known in made.values():
        known.sort()
    parts: dict[int, tuple[list[int], list[int]]] = defaultdict(lambda: ([], []))
    for blob in topics.blobs_between(db, SCORES, None, None):
        known = made[blob.log]
        version = known[bisect_right(known, (blob.seq, 1 << 62)) - 1][1]
        firsts, numbers = parts[blob.partition]
        firsts.append(blob.first)
        numbers.append(version)
    found = [
        parts[partition][1][bisect_right(parts[partition][0], offset) - 1]
        for partition, offset in scores.select(PARTITION, OFFSET).iter_rows()
    ]
    return pl.Series("version", found, dtype=pl.Int64)


def _digest(served: pl.DataFrame) -> str:
    """SHA-256 over (flight, probability to the last bit, model version), sorted by flight."""
    digest = hashlib.sha256()
    for flight, p_late, version in served.sort("flight_id").select("flight_id", "p_late", "version").iter_rows():
        digest.update(flight.encode() + struct.pack("<dq", p_late, version))
    return digest.hexdigest()


def _first_model(holdings: Holdings, flights: pl.DataFrame) -> pl.DataFrame:
    model = holdings.load_model(holdings.model_version(MODEL, 1))
    return flights.select("announced", "late", predict(model, flights))


def _asks(db: Database) -> tuple[Ask, ...]:
    """The accepted asks but the first (a person's), each with what the gate made of the version that it led to."""
    versions = {version.run: version for version in models.versions(db, MODEL, limit=_PAGE)}
    by_key = {row.key: row.run for row in runs.runs(db, pipeline="retrain", limit=_PAGE)}
    found: list[Ask] = []
    accepted = [ask for ask in reversed(models.asks(db, MODEL, limit=_PAGE)) if ask.is_accepted]
    for number, ask in enumerate(accepted, 1):
        version = versions.get(by_key.get(f"retrain:{MODEL}:{number}", ""))
        if number == 1 or version is None:
            continue
        gain: dict[str, Any] = version.evidence["gain"]
        by: Asker = "drift" if "drift" in ask.by else "performance"
        day = from_us(ask.event_us).astimezone(NEW_YORK).date()
        outcome = "rejected" if version.state == "rejected" else "promoted"
        found.append(Ask(day, by, gain["champion"], gain["challenger"], outcome))
    return tuple(found)


def _weeks(db: Database, nightly: pl.DataFrame, first: pl.DataFrame, served: pl.DataFrame) -> tuple[Week, ...]:
    judged = {row.end_us: row for row in monitors.windows(db, MONITOR, limit=_PAGE)}
    curves = zip(auc_by_week(nightly), auc_by_week(first), auc_by_week(served), strict=True)
    found: list[Week] = []
    for week, (of_nightly, of_first, of_served) in zip(windows(), curves, strict=True):
        row = judged.get(to_us(week.end))
        statistics = row.judgement["statistics"]["temp"] if row is not None else {}
        flights = len(served.filter((pl.col("announced") >= week.start) & (pl.col("announced") < week.end)))
        unseen, psi = statistics.get("unseen"), statistics.get("psi")
        found.append(Week(week.day, flights, of_nightly, of_first, of_served, _number(unseen), _number(psi)))
    return tuple(found)


def _number(value: float | None) -> float:
    return float("nan") if value is None else value


def _lineage(db: Database, played: Played, served: pl.DataFrame) -> list[tuple[str, str]]:
    """The trace of one prediction made late in the year, as pairs for the report: what, and its first lines."""
    flight = served["flight_id"][int(len(served) * 0.9)]
    found = trace(db, played.project, flight)
    steps = [found.root, *(found.find(kind) for kind in TRACED)]
    return [(step.kind, " · ".join((step.name, *step.says[:2]))) for step in steps if step is not None]


def _late_rows(db: Database) -> int:
    """Rows that were appended although their event time had been declared complete."""
    late = 0
    for name in ("departures", "weather", "outcomes"):
        through: list[tuple[int, int]] = [
            (seq, us)
            for seq, us in db.read(
                "SELECT seq, json_extract(body, '$[1]') FROM facts WHERE log = 'player' AND kind = 'TopicCompleted'"
                " AND json_extract(body, '$[0]') = ? ORDER BY seq",
                (name,),
            )
        ]
        for blob in topics.blobs_between(db, name, None, None):
            at = bisect_right(through, (blob.seq, 1 << 62)) - 1
            if at >= 0 and blob.min_time_us is not None and blob.min_time_us < through[at][1]:
                late += blob.rows
    return late
