"""Run by Alembic: migrates the one connection that the store hands over, in one transaction."""

from __future__ import annotations

from alembic import context


def migrate() -> None:
    context.configure(connection=context.config.attributes["connection"], transactional_ddl=True)
    with context.begin_transaction():
        context.run_migrations()


# The name under which Alembic runs this file; anybody else may import it in peace.
if __name__ == "env_py":
    migrate()
