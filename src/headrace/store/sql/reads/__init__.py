"""Queries, one module per page or reader: plain functions of a `Database` that return frozen rows, complete."""
