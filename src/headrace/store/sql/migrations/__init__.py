"""Alembic migrations of the store's schema; loaded only when a database is made or upgraded."""
