"""Which cases of a test are seen in every run."""

from collections.abc import Iterable
from typing import Any

import pytest


def often(count: int, cases: Iterable[Any]) -> list[Any]:
    """The first cases for every run; the others, of the same promise, for ``make slow``.

    Args:
        count: so many are seen in every run.
        cases: values of a parameter, or tuples of those of several.
    """
    return [
        case if index < count else pytest.param(*_values(case), marks=pytest.mark.slow)
        for index, case in enumerate(cases)
    ]


def _values(case: Any) -> tuple[Any, ...]:
    return case if isinstance(case, tuple) else (case,)
