"""A producer in a process of its own: `python -m benchmarks.producer ROOT SECONDS RATE`, raw JSON every 5 ms.

The id of an event is the moment when it was due, in microseconds of the monotonic clock, and a number.
"""

from __future__ import annotations

import gc
import sys
import time
from pathlib import Path

from benchmarks import events
from headrace.host.doorbell import doorbell_path, ring
from headrace.settings import read_settings
from headrace.store.sql.engine_store import EngineSqlStore

EVERY_S = 0.005


def main(root: Path, seconds: float, rate: int) -> None:
    """Append `rate` rows a second for so long, each time all that are due.

    Falling behind makes larger appends and shows as latency: due times never move.
    """
    settings = read_settings(root)
    store = EngineSqlStore(settings.database)
    topic = events.topic_of(root, "events")
    bell = doorbell_path(settings.home)
    gc.freeze()  # what is loaded is not walked between appends
    sent, count = 0, round(seconds * rate)
    begun_s = time.monotonic()
    while sent < count:
        looked_s = time.monotonic()
        due = min(count, int((looked_s - begun_s) * rate))
        if due > sent:
            ids = [f"{(begun_s + number / rate) * 1e6:.0f}-{number}" for number in range(sent, due)]
            events.append(store, topic, events.lines(ids), time.time_ns() // 1000)
            ring(bell)
            sent = due
        time.sleep(max(0.0, looked_s + EVERY_S - time.monotonic()))
    store.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]))
