"""`good.py` and `bad.py` are read by type checkers, never imported."""

collect_ignore = ["good.py", "bad.py"]
