"""The auditor: checks Headrace's promises from stored rows and facts, by SQL and its own small Python.

It shares the shapes of the facts with the engine, and no code that decides. Public: `audit`, `Violation`.
"""

from __future__ import annotations

from headrace.testing.auditor.audit import audit
from headrace.testing.auditor.evidence import Violation

__all__ = ["Violation", "audit"]
