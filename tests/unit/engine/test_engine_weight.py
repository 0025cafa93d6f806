"""The engine that serves a project works with facts and rows only: frames are for its workers and stream processes."""

from __future__ import annotations

import json
import subprocess
import sys

HEAVY = {"polars", "numpy", "pyarrow", "sqlalchemy", "alembic", "lightgbm", "sklearn", "asyncio", "pandas"}


def test_a_serving_engine_loads_no_library_of_frames():
    script = "import sys, json, headrace.app.serving, headrace.cli.dev\nprint(json.dumps(sorted(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert not HEAVY & set(json.loads(out.stdout))
