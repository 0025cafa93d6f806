"""The resource limits of a worker: a task may set its own, and the next one finds those that the worker began with."""

from __future__ import annotations

import resource

_KINDS = sorted({value for name, value in vars(resource).items() if name.startswith("RLIMIT_")})


class Limits:
    """All limits of this process as they are when this is made."""

    def __init__(self) -> None:
        self._own = {kind: resource.getrlimit(kind) for kind in _KINDS}

    def restore(self) -> bool:
        """Put back what was changed. False where the system refuses it: a lowered hard limit stays for good."""
        is_whole = True
        for kind, own in self._own.items():
            if resource.getrlimit(kind) != own:
                try:
                    resource.setrlimit(kind, own)
                except (ValueError, OSError):
                    is_whole = False
        return is_whole
