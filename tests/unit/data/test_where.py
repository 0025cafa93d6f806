"""The line of the user's code: one in a file, where there is one."""

from __future__ import annotations

from typing import Any

from headrace.data.where import line_of_error, user_frame


def test_code_without_a_file_is_passed_over_for_the_file_that_called_it() -> None:
    made: dict[str, Any] = {"user_frame": user_frame}
    exec(compile("def made():\n    return user_frame()\n", "<string>", "exec"), made)
    frame = made["made"]()
    assert frame is not None
    assert frame.f_code.co_filename == __file__


def test_an_error_is_reported_in_the_innermost_file() -> None:
    made: dict[str, Any] = {}
    exec(compile("def made():\n    raise ValueError\n", "<string>", "exec"), made)
    try:
        made["made"]()
    except ValueError as error:
        where = line_of_error(error)
    assert where is not None
    assert where.startswith(f"{__file__}:")
