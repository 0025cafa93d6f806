"""A store made new and one lifted by Alembic have the same schema."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from headrace.store.sql import schema


def test_a_new_store_has_the_schema_that_the_migrations_lead_to(tmp_path: Path) -> None:
    new = sqlite3.connect(":memory:", isolation_level=None)
    new.deserialize(schema.memory_image())
    schema.upgrade(sqlite3.connect(tmp_path / "lifted.db", isolation_level=None))  # closed by Alembic's engine
    lifted = sqlite3.connect(tmp_path / "lifted.db", isolation_level=None)
    wanted = "SELECT type, name, tbl_name FROM sqlite_master ORDER BY name"
    assert new.execute(wanted).fetchall() == lifted.execute(wanted).fetchall()
    for (name,) in new.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
        columns = f"SELECT * FROM pragma_table_info('{name}')"
        assert new.execute(columns).fetchall() == lifted.execute(columns).fetchall(), name
    assert schema.revision(new) == schema.revision(lifted) == schema.REVISIONS[-1]
    new.close()
    lifted.close()
