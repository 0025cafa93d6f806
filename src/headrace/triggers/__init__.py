"""When is the next run due: schedules, catch-up, backfills and groups of events, as arithmetic on instants.

Not here: starting runs, reading a clock, keeping state.
May import: `headrace.base`, `headrace.data`, `headrace.errors`.
"""
