"""Keeping a project's state: whether all of it is sound, copies of it while it is in use, and putting one back.

Reads what everybody else writes: the database, the files that its rows name, the code. Not here: the copying of pages and
files, which `store` and `storage` do.
"""
