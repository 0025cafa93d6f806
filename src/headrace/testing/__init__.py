"""The public test kit: a clock that stands still, a store of its own for each test, and a harness for streams.

`from headrace.testing import FakeClock, run_stream, StreamHarness, audit_store`. Names are imported when first used. The
simulator (`headrace.testing.simulator`) and the auditor are Headrace's own proof, and may be read as such.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from headrace.testing.clock import FakeClock as FakeClock
    from headrace.testing.harness import StreamHarness as StreamHarness
    from headrace.testing.harness import StreamResult as StreamResult
    from headrace.testing.harness import audit_store as audit_store
    from headrace.testing.harness import run_stream as run_stream

__all__ = ["FakeClock", "StreamHarness", "StreamResult", "audit_store", "run_stream"]

_HOME = {"FakeClock": "clock"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'headrace.testing' has no attribute {name!r}")
    return getattr(importlib.import_module(f"headrace.testing.{_HOME.get(name, 'harness')}"), name)
