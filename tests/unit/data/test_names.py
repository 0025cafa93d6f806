"""What may be a name, and what is shown of one that may not."""

from __future__ import annotations

import pytest

import headrace as hr
from headrace.errors import ProjectError


@pytest.mark.parametrize("name", ["", "1st", "a b", "../up", "é"])
def test_a_name_that_could_not_stand_in_a_path_or_a_command_is_refused(name: str) -> None:
    with pytest.raises(ProjectError, match="cannot be the name of a topic") as refused:
        hr.Topic(name)
    assert refused.value.code == "HR1003"
    assert repr(name) in refused.value.message


def test_of_a_name_that_is_much_too_long_the_beginning_is_shown() -> None:
    with pytest.raises(ProjectError) as refused:
        hr.Table("a" * 5000)
    assert refused.value.message == f"'{'a' * 79}…' cannot be the name of a table"
