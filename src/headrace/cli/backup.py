"""`headrace backup`: a copy of the project's state, made while it is in use."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from headrace.cli.here import settings_of
from headrace.cli.output import notice, show_json, show_line
from headrace.cli.parser import PLAIN, Common, Folder, make_app
from headrace.cli.words import size

if TYPE_CHECKING:
    from headrace.storage.backup import Manifest

app = make_app("backup", "Copy the project's state into a folder, also while it is in use.")

_TELL_S = 1.0


@app.default
def backup(folder: Folder, /, *, common: Common = PLAIN) -> int:
    """Copy the project's state into a folder, also while it is in use: the database as it is at one moment, and every
    result, model, version of code and log that belongs to it.

    The exit code is 1 where files were damaged or gone before they were copied: the rest is a backup all the same.

    Parameters
    ----------
    folder
        A folder that is empty or not there yet, better on another disk.
    """
    from headrace.keeping.backup import back_up

    manifest = back_up(settings_of(common), folder.resolve(), Progress().tell)
    for damage in manifest.damaged:
        notice(f"damaged before it was copied: {damage}")
    if common.json:
        show_json(summary(manifest, folder))
    else:
        show_line(f"backed up {in_words(manifest)}, to {folder.resolve()}", "ok")
        notice(f"to put it back where there is no store:  headrace restore {folder.resolve()}")
    return int(bool(manifest.damaged))


class Progress:
    """Lines on standard error: one in a second, and one for each part that is done."""

    def __init__(self) -> None:
        self._told_s = time.monotonic()

    def tell(self, what: str, done: int, of: int) -> None:
        now_s = time.monotonic()
        if now_s - self._told_s >= _TELL_S:
            self._told_s = now_s
            notice(f"{what}: {100 * done // max(1, of)} %")


def summary(manifest: Manifest, folder: Path) -> dict[str, object]:
    """What JSON says of a backup."""
    return {
        "folder": str(folder.resolve()),
        "project": manifest.project,
        "store": manifest.store,
        "headrace": manifest.headrace,
        "made_us": manifest.made_us,
        "files": len(manifest.files),
        "size_bytes": manifest.size_bytes,
        "heads": manifest.heads,
        "damaged": manifest.damaged,
    }


def in_words(manifest: Manifest) -> str:
    facts = sum(manifest.heads.values())
    return f"{manifest.project}: {facts:,} facts, {len(manifest.files):,} files, {size(manifest.size_bytes)}"
