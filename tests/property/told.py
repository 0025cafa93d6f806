"""What every error says, wherever it comes from."""

from __future__ import annotations

from headrace.errors import HeadraceError


def check_told(error: HeadraceError, *codes: str) -> None:
    """It has one of these codes (or one that begins so), says something, and says what to do next."""
    assert error.code.startswith(codes)
    assert error.message
    assert error.cure
