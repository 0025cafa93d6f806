"""What a stream does, as values and pure functions: facts, the as-of join, windows of offsets, the shard owner's step.

Not here: reading a log, committing, threads, a clock. May import: the rooms below (`base`, `data`, `graph`, `triggers`)
and `errors`.
"""
