"""Identifiers: sortable by time of making, short enough to read aloud."""

from __future__ import annotations

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32: no i, l, o, u


def make_id(at_us: int, entropy: int) -> str:
    """Twelve characters: milliseconds since 1970, then 18 bits of `entropy`.

    Ids made later sort later (to the millisecond). The caller brings time and randomness, so a simulation repeats.

    >>> make_id(1_362_114_000_000_000, 7)
    '9x4h93900007'
    """
    number = ((at_us // 1_000) << 18) | (entropy & 0x3FFFF)
    digits: list[str] = []
    while number:
        number, digit = divmod(number, 32)
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits)).rjust(12, "0")
