"""Secrets that this process has resolved, and text without them.

What a task was given must not come back in what it prints or raises. Known for as long as the process lives, since a
client that was made with a secret may name it much later.
"""

from __future__ import annotations

import re

SHORTEST = 4
"""Shorter values are not concealed: they stand in too many other words."""

MASK = "***"

_known: set[str] = set()
_texts: list[re.Pattern[str]] = []  # one pattern for all that is known, none while nothing is
_bodies: list[re.Pattern[bytes]] = []  # the same for UTF-8


def conceal(value: str) -> None:
    """From now on this value, each of its lines, and the way `repr` writes it, are concealed in this process."""
    found = {part.strip() for part in (value, *value.splitlines())}
    found |= {repr(part)[1:-1] for part in found}
    new = {part for part in found if len(part) >= SHORTEST} - _known
    if new:
        _known.update(new)
        # The longest first, so that a secret within another one leaves nothing of the other.
        pattern = "|".join(re.escape(part) for part in sorted(_known, key=len, reverse=True))
        _texts[:] = [re.compile(pattern)]
        _bodies[:] = [re.compile(pattern.encode("utf-8", "backslashreplace"))]


def redacted(text: str) -> str:
    """The text with `***` for every secret that is known by now.

    >>> conceal("s3cr3t-of-a-doctest")
    >>> redacted("cannot log in with s3cr3t-of-a-doctest")
    'cannot log in with ***'
    """
    for pattern in _texts:
        text = pattern.sub(MASK, text)
    return text


def redacted_bytes(body: bytes) -> bytes:
    """The same for text that is encoded as UTF-8."""
    for pattern in _bodies:
        body = pattern.sub(MASK.encode(), body)
    return body
