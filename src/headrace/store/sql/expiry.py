"""What the store forgets: answers of the inbox that nobody will ask for any more."""

from __future__ import annotations

from headrace.store.sql.connection import Database

ANSWERS_US = 7 * 86_400_000_000
_AT_ONCE = 1000
_DUE = (
    "SELECT id FROM inbox WHERE status IS NOT NULL AND answered_us < (SELECT max(answered_us) FROM inbox"
    " WHERE status IS NOT NULL) - ? ORDER BY answered_us LIMIT ?"
)


def expire_answers(db: Database) -> None:
    """Delete requests that were answered 7 days before the newest answer, some at a time."""
    while due := db.read(_DUE, (ANSWERS_US, _AT_ONCE)):
        with db.write() as connection:
            connection.executemany("DELETE FROM inbox WHERE id = ? AND status IS NOT NULL", due)
