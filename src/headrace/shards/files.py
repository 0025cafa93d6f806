"""Where the files of a shard lie. It loads nothing, because the engine asks too."""

from __future__ import annotations

from pathlib import Path

from headrace.storage.local import safe_name


def shard_file(locks: Path, log: str, kind: str) -> Path:
    """A file beside the log of a shard or trigger: its "lock", whose holder owns it, or its "hand"."""
    return locks / f"shard-{safe_name(log.partition(':')[2])}.{kind}"
