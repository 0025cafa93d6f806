"""`import headrace` is light, and offers exactly the names that its stub promises."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import headrace as hr

HEAVY = {"polars", "numpy", "sqlalchemy", "alembic", "lightgbm", "rich", "cyclopts", "asyncio", "sqlite3", "pandas"}


def loaded_by(code: str) -> set[str]:
    script = f"import sys, json\n{code}\nprint(json.dumps(sorted(sys.modules)))"
    # -S leaves out what the environment's own start-up files import.
    out = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    return set(json.loads(out.stdout))


def test_importing_headrace_and_its_authoring_names_loads_nothing_heavy():
    names = "[getattr(hr, n) for n in dir(hr) if not n.startswith('__')]"
    assert not HEAVY & loaded_by(f"import headrace as hr\n{names}")


def test_the_stub_and_the_module_offer_the_same_names():
    stub = ast.parse(Path(hr.__file__).with_suffix(".pyi").read_text())
    promised = {alias.asname for node in stub.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert {*promised, "__version__"} == set(dir(hr))
    assert all(getattr(hr, str(name)) is not None for name in dir(hr))
    assert {*promised, "__version__"} == set(dir(hr)), "what is used by then is not shown besides"


def test_an_unknown_name_is_an_attribute_error():
    assert not hasattr(hr, "pipelines_of_the_future")
