"""The two ways from authoring up into a running system: calling a dataset, and running a pipeline, outside of any worker.

The package itself fills them when it is imported, so that the rooms below name nothing above them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any


class Upward:
    """`open_access` gives the access to data for code that nobody runs; `run_pipeline` runs one here, to its end."""

    open_access: Callable[[], Any]
    run_pipeline: Callable[[Any, Mapping[str, Any]], Any]


upward = Upward()
