"""Stream processes: they own shards and event triggers, run user functions on batches, and commit what comes of them.

The decisions are in `streams`; the engine only starts these processes and follows their logs. May import every adapter.
"""
