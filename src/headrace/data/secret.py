"""Secrets: a name in the project, a reference in `headrace.toml`, a value only inside the process that uses it."""

from __future__ import annotations

from headrace.data.access import access
from headrace.data.names import checked_name
from headrace.data.recording import act_now
from headrace.data.where import user_line


class Secret:
    """A secret by name. `[secrets]` in `headrace.toml` says where its value is: `env:NAME` or `file:PATH`.

    >>> warehouse = Secret("warehouse")   # inside a task: connect(warehouse.value())
    """

    def __init__(self, name: str) -> None:
        self.name: str = checked_name("secret", name)
        self.where: str = user_line()

    def value(self) -> str:
        """The value, resolved now and never stored. Raises `SettingsError` when it is missing.

        From then on it is `***` in what this process prints and in the text of its errors; not in results and rows.
        """
        act_now(f"{self.name}.value()", "call it inside the task that needs the value")
        return access().secret(self.name)

    def __repr__(self) -> str:
        return f"Secret({self.name!r})"
