"""How many examples each property gets: few and always the same by default, other ones and more of them when asked.

`HEADRACE_DEPTH=20 .venv/bin/pytest tests/property` draws twenty times as many, new ones each time.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

DEPTH = int(os.environ.get("HEADRACE_DEPTH", "0"))
_SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]


def examples(n: int, *, steps: int = 50) -> settings:
    """Settings of one test: `n` examples; a state machine takes up to `steps` steps in each."""
    return settings(
        max_examples=n * max(DEPTH, 1),
        stateful_step_count=steps,
        derandomize=DEPTH == 0,
        deadline=None,
        print_blob=True,
        suppress_health_check=_SLOW,
    )
