"""A store made new and one lifted by Alembic have the same schema."""

from __future__ import annotations

import sqlite3

from headrace.store.sql import schema


def test_a_new_store_has_the_schema_that_the_migrations_lead_to() -> None:
    new = sqlite3.connect(":memory:", isolation_level=None)
    new.deserialize(schema.memory_image())
    lifted = sqlite3.connect(":memory:", isolation_level=None)
    schema.upgrade(lifted)
    wanted = "SELECT type, name, tbl_name FROM sqlite_master ORDER BY name"
    assert new.execute(wanted).fetchall() == lifted.execute(wanted).fetchall()
    for (name,) in new.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
        columns = f"SELECT * FROM pragma_table_info('{name}')"
        assert new.execute(columns).fetchall() == lifted.execute(columns).fetchall(), name
    assert schema.revision(new) == schema.revision(lifted) == schema.REVISIONS[-1]
    new.close()
    lifted.close()
