"""Datasets by name: topics, tables, models, references to them, windows of time, schemas.

Not here: bytes and rows themselves (`storage`, `store`, `connectors`), and what runs over them (`graph`, `runs`).
May import `base`, `errors` and the frozen definitions of `graph`.
"""
