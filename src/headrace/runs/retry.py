"""Whether, and when, an attempt that failed is tried again."""

from __future__ import annotations

import zlib

from headrace.definitions.nodes import Options


def retry_delay_us(options: Options, failures: int, key: str) -> int | None:
    """Wait before the next try after `failures` failures, or None where the retries are used up.

    Exponential backoff, at most `backoff_max_us`, of which a random quarter is taken away so that many failures do not
    come back together. The jitter is a hash of `key`, so that a replay decides the same.

    >>> retry_delay_us(Options(retries=1, backoff_us=1_000_000), 2, "a") is None
    True
    """
    if failures > options.retries:
        return None
    full = min(options.backoff_us * 2 ** min(failures - 1, 40), options.backoff_max_us)
    return full - full * (zlib.crc32(f"{key}/{failures}".encode()) % 1000) // 4000
