"""What is damaged in a store, found by reading all of it: pages, facts, rows of topics, artifacts, and code."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from headrace.connectors.blob import unpack
from headrace.connectors.holdings import digest
from headrace.engine.code import code_hash
from headrace.errors import HeadraceError
from headrace.storage.local import LocalStorage
from headrace.storage.values import Values
from headrace.store.sql.reads import soundness
from headrace.store.sql.reads.soundness import Rows


def damaged_rows(database: Rows) -> Iterator[str]:
    """What is wrong with the database file. What no checksum covers is found only where it cannot be read."""
    broken = soundness.broken_pages(database)
    if broken:
        yield from broken
        return
    yield from soundness.broken_logs(database)
    for topic, partition, first, body in soundness.bodies(database):
        place = f"topic {topic}/{partition} at {first}"
        if body is None:
            yield f"{place}: the bytes of its rows are gone"
            continue
        try:
            unpack(body, place)
        except HeadraceError as error:
            yield f"{place}: {error.message}"


def damaged_files(database: Rows, files: LocalStorage) -> Iterator[str]:
    """Artifacts that are gone or are not what was written."""
    values = Values(files)
    try:
        for run, node, value in soundness.results(database):
            for error in values.damages(value):
                yield f"{error.where}, of task {node} of run {run}: {error.message}"
        for model, number, value, golden in soundness.versions(database):
            for error in values.damages(value):
                yield f"{error.where}, version {number} of {model}: {error.message}"
            if golden is not None and f".golden-{_found(files, golden)}." not in golden:
                yield f"{golden}, the golden rows of version {number} of {model}: they are not what was written"
        for path, (table, part) in soundness.parts(database).items():
            if f"xxh3:{_found(files, path)}" != part.digest:
                yield f"{path}, of table {table}: it is not what was written"
    except msgspec.MsgspecError as error:
        yield f"a row that names artifacts cannot be read: {error}"


def damaged_code(database: Rows, folder: Path) -> Iterator[str]:
    """Copies of deployed code versions that are gone or are not what was deployed."""
    for code in soundness.codes(database):
        version = folder / code
        places = [place for place in version.iterdir() if place.name != "__pycache__"] if version.is_dir() else []
        if not places:
            yield f"the code version {code}: its copy is gone"
        elif [code_hash(place) for place in places] != [code]:
            yield f"the code version {code}: its copy is not what was deployed"


def _found(files: LocalStorage, path: str) -> str:
    target = files.locate(path)
    return digest(target).removeprefix("xxh3:") if target.is_file() else "gone"
