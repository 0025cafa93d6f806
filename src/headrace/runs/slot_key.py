"""The key of a slot's run. It holds no code version or id, so neither a deploy nor a restart can double a slot."""

from __future__ import annotations


def slot_key(pipeline: str, slug: str, slot_us: int) -> str:
    """
    >>> slot_key("report", "daily", 5)
    'schedule:report:daily:5'
    """
    return f"{slot_prefix(pipeline, slug)}{slot_us}"


def slot_prefix(pipeline: str, slug: str) -> str:
    """What the keys of all slots of a schedule begin with."""
    return f"schedule:{pipeline}:{slug}:"


def slot_of(pipeline: str, key: str) -> tuple[str, int]:
    """(slug, slot in UTC microseconds). Raises ValueError for a key that is not a slot's of this pipeline.

    >>> slot_of("report", "schedule:report:daily:5")
    ('daily', 5)
    """
    slug, _, slot = key.removeprefix(f"schedule:{pipeline}:").rpartition(":")
    if not slug or key != f"schedule:{pipeline}:{slug}:{slot}":
        raise ValueError(f"{key!r} is not schedule:{pipeline}:<slug>:<slot_us>")
    return slug, int(slot)
