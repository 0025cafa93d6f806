"""What was promised, as the rows say it at the end, without what may differ: ids, times, numbers of attempts and batches."""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import Any

import msgspec

from crashing.world import World
from headrace.app.opening import make_holdings
from headrace.connectors import tables as table_files
from headrace.connectors.holdings import Holdings
from headrace.data.facts import Part
from headrace.definitions.project import Project
from headrace.runs.facts import Value
from headrace.storage.values import Values

Outcome = dict[str, Any]
_PARTS = msgspec.json.Decoder(tuple[Part, ...])


def outcome(world: World) -> Outcome:
    """Comparable, and short enough to be shown."""
    loaded = world.codes[world.code]
    holdings = make_holdings(world.settings, world.store, loaded.project, world.code)
    ask = world.store.database.read
    return {
        "runs": {
            row[0]: row[1:]
            for row in ask("SELECT key, pipeline, state, window_start_us, window_end_us, events FROM runs WHERE log = 'engine'")
        },
        "results": _results(world, holdings),
        "requests": dict(ask("SELECT key, status FROM inbox WHERE key NOT LIKE 'mend:%'")),
        "tables": _tables(world, holdings),
        "history": {
            name: sorted(map(repr, table_files.read_history(holdings, table, _pins(holdings, name), None).rows()))
            for name, table in loaded.project.tables.items()
            if table.known is not None
        },
        "topics": _topics(holdings, loaded.project),
        "dead letters": sorted(ask("SELECT stream, topic, partition, offset, reason, payload FROM dead_letters")),
        "read by streams": sorted(
            ask("SELECT stream, shard, next_offset, rows_in, rows_out, filtered, dead, is_stopped FROM shards")
        ),
        "versions": sorted(ask("SELECT model, version, state, cutoff_us, rows_fit, rows_test FROM model_versions")),
        "aliases": ask("SELECT model, alias, version, previous, by FROM alias_history ORDER BY log, seq"),
        "champions": sorted(ask("SELECT model, alias, version FROM aliases")),
        "asked": ask("SELECT model, by, is_accepted FROM asks ORDER BY log, seq"),
        "judged": sorted(ask("SELECT monitor, end_us, version, n, is_judged, crossed FROM windows")),
        "code": ask("SELECT code FROM current_code"),
        "forgotten": _forgotten(world),
        "unheard news": ask("SELECT log, seq FROM news"),
    }  # fmt: skip


def differences(found: Outcome, expected: Outcome) -> list[str]:
    """What is not as it was without failures, in words."""
    return [
        f"{what}: {_less(found[what], expected[what])}, without failures {_less(expected[what], found[what])}"
        for what in expected
        if found[what] != expected[what]
    ]


# -- inside ----------------------------------------------------------------------------------------------------------


def _less(one: Any, other: Any) -> str:
    """What is in one of them alone."""
    if isinstance(one, dict):
        return repr({key: value for key, value in one.items() if other.get(key) != value})
    left = Counter(map(repr, one)) - Counter(map(repr, other))
    return "[" + ", ".join(left.elements()) + "]"


def _forgotten(world: World) -> dict[str, Any]:
    """Of runs without details: whether files may be left, and those that are."""
    rows = world.store.database.read("SELECT key, run, has_files FROM runs WHERE dropped_us IS NOT NULL")
    folders = {key: (world.settings.artifacts / run, has_files) for key, run, has_files in rows}
    return {
        key: (has_files, sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()))
        for key, (folder, has_files) in folders.items()
    }


def _results(world: World, holdings: Holdings) -> dict[str, Any]:
    values = Values(holdings.files)
    sql = (
        "SELECT key, node, path, item, items.state, items.result FROM items JOIN runs USING (run) WHERE log = 'engine'"
    )
    return {
        f"{key} {node} {path}.{item}": (state, None if text is None else _short(values.decode(_value(text))))
        for key, node, path, item, state, text in world.store.database.read(sql)
    }


def _short(value: Any) -> str:
    return (
        hashlib.sha256(value).hexdigest()[:8]
        if isinstance(value, bytes)
        else repr(getattr(value, "rows", lambda: value)())
    )


def _value(text: str) -> Value:
    return msgspec.json.decode(text, type=Value)


def _tables(world: World, holdings: Holdings) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, version, parts in world.store.database.read("SELECT name, version, parts FROM table_versions"):
        rows = table_files.read_parts(holdings, holdings.project.tables[name], _PARTS.decode(parts))
        found[f"{name} {version}"] = repr(rows.rows())
    return found


def _topics(holdings: Holdings, project: Project) -> dict[str, Any]:
    """The rows of each partition: a key's rows stay in their order."""
    return {
        name: sorted(map(repr, holdings.log.read(topic).rows(named=True))) for name, topic in project.topics.items()
    }


def _pins(holdings: Holdings, name: str) -> dict[int, int]:
    return dict(holdings.log.heads(name))
