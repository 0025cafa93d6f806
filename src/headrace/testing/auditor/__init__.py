"""The auditor: checks Headrace's promises from stored rows and facts, by SQL and its own small Python.

It shares the shapes of the facts with the engine, and no code that decides. Public: `audit`, `Violation`.
"""

from __future__ import annotations

from headrace.testing.auditor.audit import Violation, audit

__all__ = ["Violation", "audit"]
