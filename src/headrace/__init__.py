"""Headrace: batch, streaming and hybrid pipelines for AI work, defined once in Python.

`import headrace as hr` loads nothing but this list; a name's module is imported when the name is first used.
The types are in the `.pyi` beside this file.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from headrace.base.upward import upward as _upward

_HOME = {
    "headrace.data.access": ("Attempt",),
    "headrace.data.current": ("current",),
    "headrace.data.events": ("Events",),
    "headrace.data.model": ("Model", "if_better"),
    "headrace.data.secret": ("Secret",),
    "headrace.data.table": ("Table",),
    "headrace.data.topic": ("Source", "Topic"),
    "headrace.data.window": ("Window",),
    "headrace.graph.builtin": ("split",),
    "headrace.graph.flow": ("chain", "group", "map", "when"),
    "headrace.graph.limits": ("accuracy", "auc", "log_loss", "missing", "psi", "unseen", "wasserstein"),
    "headrace.graph.monitor": ("Monitor", "monitor"),
    "headrace.graph.pipeline": ("Pipeline", "Run", "pipeline"),
    "headrace.graph.stream": ("Stream", "stream"),
    "headrace.graph.task": ("AsyncTask", "Task", "task"),
    "headrace.graph.trigger": ("Trigger", "event", "updated"),
    "headrace.errors": ("HeadraceError",),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("headrace")
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'headrace' has no attribute {name!r}")
    value = getattr(importlib.import_module(_MODULE_OF[name]), name)
    globals()[name] = value
    return value


def _open_access() -> Any:
    from headrace.app.opening import default_access

    return default_access()


def _run_pipeline(pipeline: Any, arguments: Mapping[str, Any]) -> Any:
    from headrace.app.here import run_here

    return run_here(pipeline, arguments)


_upward.open_access, _upward.run_pipeline = _open_access, _run_pipeline


def __dir__() -> list[str]:
    return sorted([*_MODULE_OF, "__version__"])
