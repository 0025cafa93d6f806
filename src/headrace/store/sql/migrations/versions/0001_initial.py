"""The first schema. Times are UTC microseconds; JSON is canonical text; `log` and `seq` name the fact behind a row."""

from __future__ import annotations

revision = "0001"
down_revision = None

_FACTS = """
CREATE TABLE logs (
    name TEXT PRIMARY KEY,
    head INTEGER NOT NULL,
    epoch INTEGER NOT NULL DEFAULT 0,
    owner TEXT
) WITHOUT ROWID;

CREATE TABLE facts (
    log TEXT NOT NULL,
    seq INTEGER NOT NULL,
    kind TEXT NOT NULL,
    version INTEGER NOT NULL,
    at_us INTEGER,
    body BLOB NOT NULL,
    PRIMARY KEY (log, seq)
) WITHOUT ROWID;

CREATE TABLE cursors (
    owner TEXT NOT NULL,
    log TEXT NOT NULL,
    seq INTEGER NOT NULL,
    PRIMARY KEY (owner, log)
) WITHOUT ROWID;

CREATE TABLE news (
    log TEXT NOT NULL,
    seq INTEGER NOT NULL,
    PRIMARY KEY (log, seq)
) WITHOUT ROWID;

CREATE TABLE inbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    key TEXT NOT NULL UNIQUE,
    verb TEXT NOT NULL,
    body TEXT NOT NULL,
    at_us INTEGER NOT NULL,
    status TEXT,
    answer TEXT,
    answered_us INTEGER
);
CREATE INDEX inbox_unanswered ON inbox (id) WHERE status IS NULL;
CREATE INDEX inbox_answered ON inbox (answered_us) WHERE status IS NOT NULL
"""

_PROJECT = """
CREATE TABLE codes (
    code TEXT PRIMARY KEY,
    project TEXT NOT NULL,
    at_us INTEGER NOT NULL,
    heads TEXT NOT NULL DEFAULT '{}'
) WITHOUT ROWID;

CREATE TABLE current_code (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    code TEXT NOT NULL
);

CREATE TABLE paused (
    pipeline TEXT PRIMARY KEY,
    is_paused INTEGER NOT NULL,
    by TEXT NOT NULL,
    at_us INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE schedules (
    pipeline TEXT NOT NULL,
    slug TEXT NOT NULL,
    last_us INTEGER NOT NULL,
    PRIMARY KEY (pipeline, slug)
) WITHOUT ROWID;

CREATE TABLE rejected (
    log TEXT NOT NULL,
    seq INTEGER NOT NULL,
    event TEXT NOT NULL,
    error TEXT NOT NULL,
    about_log TEXT,
    about_seq INTEGER,
    at_us INTEGER NOT NULL,
    PRIMARY KEY (log, seq)
) WITHOUT ROWID;
CREATE INDEX rejected_by_time ON rejected (at_us);

CREATE TABLE playback (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    step INTEGER NOT NULL,
    through_us INTEGER NOT NULL
)
"""

_RUNS = """
CREATE TABLE runs (
    run TEXT PRIMARY KEY,
    log TEXT NOT NULL,
    first_seq INTEGER NOT NULL,
    last_seq INTEGER,
    pipeline TEXT NOT NULL,
    code TEXT NOT NULL,
    key TEXT NOT NULL UNIQUE,
    cause TEXT NOT NULL,
    state TEXT NOT NULL,
    params TEXT NOT NULL,
    window_start_us INTEGER,
    window_end_us INTEGER,
    events TEXT NOT NULL,
    why TEXT NOT NULL,
    waits TEXT NOT NULL,
    missing TEXT NOT NULL DEFAULT '[]',
    max_lost INTEGER NOT NULL,
    generation INTEGER NOT NULL DEFAULT 1,
    created_us INTEGER NOT NULL,
    ready_us INTEGER,
    started_us INTEGER,
    ended_us INTEGER,
    cancelled_by TEXT,
    cancelled_why TEXT,
    end_why TEXT,
    result TEXT,
    dropped_us INTEGER,
    has_files INTEGER NOT NULL DEFAULT 1
) WITHOUT ROWID;
CREATE INDEX runs_of_pipeline ON runs (pipeline, run);
CREATE INDEX runs_with_details ON runs (ended_us, created_us) WHERE dropped_us IS NULL;
CREATE INDEX runs_with_files ON runs (dropped_us) WHERE dropped_us IS NOT NULL AND has_files = 1;
CREATE INDEX runs_active ON runs (log) WHERE ended_us IS NULL;

CREATE TABLE scopes (
    run TEXT NOT NULL,
    scope TEXT NOT NULL,
    path TEXT NOT NULL,
    n INTEGER NOT NULL,
    PRIMARY KEY (run, scope, path)
) WITHOUT ROWID;

CREATE TABLE cells (
    run TEXT NOT NULL,
    node TEXT NOT NULL,
    path TEXT NOT NULL,
    running INTEGER NOT NULL DEFAULT 0,
    succeeded INTEGER NOT NULL DEFAULT 0,
    failed INTEGER NOT NULL DEFAULT 0,
    skipped INTEGER NOT NULL DEFAULT 0,
    cancelled INTEGER NOT NULL DEFAULT 0,
    is_skipped INTEGER NOT NULL DEFAULT 0,
    why TEXT,
    after_failure INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (run, node, path)
) WITHOUT ROWID;

CREATE TABLE items (
    run TEXT NOT NULL,
    node TEXT NOT NULL,
    path TEXT NOT NULL,
    item INTEGER NOT NULL,
    state TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    failures INTEGER NOT NULL DEFAULT 0,
    losses INTEGER NOT NULL DEFAULT 0,
    worker TEXT,
    started_us INTEGER,
    ended_us INTEGER,
    took_us INTEGER,
    retry_at_us INTEGER,
    result TEXT,
    error TEXT,
    detail TEXT,
    why TEXT,
    after_failure INTEGER NOT NULL DEFAULT 0,
    log_file TEXT,
    log_start INTEGER,
    log_end INTEGER,
    PRIMARY KEY (run, node, path, item)
) WITHOUT ROWID;

CREATE TABLE pins (
    run TEXT NOT NULL,
    dataset TEXT NOT NULL,
    pin TEXT NOT NULL,
    PRIMARY KEY (run, dataset)
) WITHOUT ROWID;

CREATE TABLE reads (
    run TEXT NOT NULL,
    node TEXT NOT NULL,
    path TEXT NOT NULL,
    item INTEGER NOT NULL,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    pin TEXT NOT NULL,
    PRIMARY KEY (run, node, path, item, kind, name, pin)
) WITHOUT ROWID;
CREATE INDEX reads_of_dataset ON reads (kind, name)
"""

_DATA = """
CREATE TABLE tables (
    name TEXT PRIMARY KEY,
    version INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE table_versions (
    name TEXT NOT NULL,
    version INTEGER NOT NULL,
    replaced TEXT NOT NULL DEFAULT '[]',
    parts TEXT NOT NULL,
    rows INTEGER NOT NULL,
    columns TEXT,
    run TEXT NOT NULL,
    node TEXT NOT NULL,
    path TEXT NOT NULL DEFAULT '',
    item INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    at_us INTEGER NOT NULL,
    log TEXT NOT NULL,
    seq INTEGER NOT NULL,
    PRIMARY KEY (name, version)
) WITHOUT ROWID;
CREATE INDEX table_versions_of_run ON table_versions (run);

CREATE TABLE topics (
    name TEXT PRIMARY KEY,
    complete_through_us INTEGER,
    floor_us INTEGER,
    schema TEXT,
    partitions INTEGER
) WITHOUT ROWID;

CREATE TABLE topic_parts (
    topic TEXT NOT NULL,
    partition INTEGER NOT NULL,
    next INTEGER NOT NULL,
    size_bytes INTEGER NOT NULL,
    reaches_us INTEGER,
    max_known_us INTEGER,
    last_us INTEGER NOT NULL,
    PRIMARY KEY (topic, partition)
) WITHOUT ROWID;

CREATE TABLE topic_blobs (
    topic TEXT NOT NULL,
    partition INTEGER NOT NULL,
    first INTEGER NOT NULL,
    rows INTEGER NOT NULL,
    encoding TEXT NOT NULL,
    size_bytes INTEGER NOT NULL,
    min_time_us INTEGER,
    max_time_us INTEGER,
    settled_us INTEGER,
    min_known_us INTEGER,
    max_known_us INTEGER,
    at_us INTEGER NOT NULL,
    log TEXT NOT NULL,
    seq INTEGER NOT NULL,
    body_id INTEGER,
    PRIMARY KEY (topic, partition, first)
) WITHOUT ROWID;

CREATE TABLE topic_bodies (
    id INTEGER PRIMARY KEY,
    body BLOB NOT NULL
)
"""

_STREAMS = """
CREATE TABLE shards (
    stream TEXT NOT NULL,
    shard INTEGER NOT NULL,
    next_batch INTEGER NOT NULL DEFAULT 0,
    next_offset INTEGER,
    start_offset INTEGER,
    start_why TEXT,
    watermark_us INTEGER,
    model TEXT,
    model_version INTEGER,
    model_problem TEXT,
    why TEXT,
    is_stopped INTEGER NOT NULL DEFAULT 0,
    until_us INTEGER,
    deaths INTEGER NOT NULL DEFAULT 0,
    rows_in INTEGER NOT NULL DEFAULT 0,
    rows_out INTEGER NOT NULL DEFAULT 0,
    filtered INTEGER NOT NULL DEFAULT 0,
    dead INTEGER NOT NULL DEFAULT 0,
    code TEXT,
    at_us INTEGER NOT NULL,
    PRIMARY KEY (stream, shard)
) WITHOUT ROWID;

CREATE TABLE dead_letters (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    stream TEXT NOT NULL,
    shard INTEGER NOT NULL,
    n INTEGER NOT NULL,
    topic TEXT NOT NULL,
    partition INTEGER NOT NULL,
    offset INTEGER NOT NULL,
    reason TEXT NOT NULL,
    error TEXT NOT NULL,
    payload TEXT NOT NULL,
    code TEXT NOT NULL,
    at_us INTEGER NOT NULL,
    UNIQUE (stream, topic, partition, offset)
);
CREATE INDEX dead_letters_by_time ON dead_letters (stream, at_us, shard);

CREATE TABLE triggers (
    pipeline TEXT NOT NULL,
    slug TEXT NOT NULL,
    offsets TEXT NOT NULL,
    held TEXT NOT NULL,
    expired INTEGER NOT NULL,
    at_us INTEGER NOT NULL,
    why TEXT,
    PRIMARY KEY (pipeline, slug)
) WITHOUT ROWID
"""

_MODELS = """
CREATE TABLE models (
    name TEXT PRIMARY KEY,
    last_version INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE model_versions (
    model TEXT NOT NULL,
    version INTEGER NOT NULL,
    state TEXT NOT NULL,
    why TEXT,
    codec TEXT NOT NULL,
    path TEXT NOT NULL,
    digest TEXT NOT NULL,
    size_bytes INTEGER NOT NULL,
    run TEXT NOT NULL,
    node TEXT NOT NULL,
    code TEXT NOT NULL,
    predict TEXT NOT NULL,
    cutoff_us INTEGER NOT NULL,
    rows_fit INTEGER NOT NULL,
    rows_test INTEGER NOT NULL,
    evidence TEXT NOT NULL,
    reference TEXT NOT NULL,
    golden TEXT,
    at_us INTEGER NOT NULL,
    log TEXT NOT NULL,
    seq INTEGER NOT NULL,
    PRIMARY KEY (model, version)
) WITHOUT ROWID;
CREATE INDEX model_versions_of_run ON model_versions (run);

CREATE TABLE aliases (
    model TEXT NOT NULL,
    alias TEXT NOT NULL,
    version INTEGER NOT NULL,
    at_us INTEGER NOT NULL,
    PRIMARY KEY (model, alias)
) WITHOUT ROWID;

CREATE TABLE alias_history (
    model TEXT NOT NULL,
    log TEXT NOT NULL,
    seq INTEGER NOT NULL,
    alias TEXT NOT NULL,
    version INTEGER NOT NULL,
    previous INTEGER NOT NULL,
    by TEXT NOT NULL,
    why TEXT NOT NULL,
    event_us INTEGER,
    at_us INTEGER NOT NULL,
    PRIMARY KEY (model, log, seq)
) WITHOUT ROWID;

CREATE TABLE controllers (
    model TEXT PRIMARY KEY,
    state TEXT NOT NULL,
    why TEXT NOT NULL,
    at_us INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE asks (
    model TEXT NOT NULL,
    log TEXT NOT NULL,
    seq INTEGER NOT NULL,
    by TEXT NOT NULL,
    evidence TEXT NOT NULL,
    event_us INTEGER NOT NULL,
    is_accepted INTEGER NOT NULL,
    why TEXT NOT NULL,
    at_us INTEGER NOT NULL,
    key TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (model, log, seq)
) WITHOUT ROWID;
CREATE INDEX asks_by_key ON asks (key) WHERE key <> '';

CREATE TABLE windows (
    monitor TEXT NOT NULL,
    start_us INTEGER NOT NULL,
    end_us INTEGER NOT NULL,
    model TEXT NOT NULL,
    version INTEGER NOT NULL,
    n INTEGER NOT NULL,
    is_judged INTEGER NOT NULL,
    why TEXT NOT NULL,
    judgement TEXT NOT NULL,
    crossed TEXT NOT NULL,
    run TEXT NOT NULL,
    at_us INTEGER NOT NULL,
    PRIMARY KEY (monitor, end_us)
) WITHOUT ROWID;

CREATE TABLE streaks (
    asker TEXT PRIMARY KEY,
    length INTEGER NOT NULL,
    window_end_us INTEGER NOT NULL
) WITHOUT ROWID
"""


STATEMENTS = tuple(
    statement for group in (_FACTS, _PROJECT, _RUNS, _DATA, _STREAMS, _MODELS) for statement in group.split(";")
)
"""What makes this revision of the one before. A new store runs those of all revisions, an old one those it lacks."""


def upgrade() -> None:
    from alembic import op

    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("a store is never taken back to an older schema: keep a copy instead")
