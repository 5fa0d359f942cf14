"""The contract from outside: denoisers that are not the library's own.

The page ``docs/denoisers.md`` has two of them.
"""

import functools
import re
from pathlib import Path
from typing import Any

import jax
import pytest

PAGE = Path(__file__).parents[2] / "docs" / "denoisers.md"


@functools.cache
def page() -> dict[str, Any]:
    """What the code of the page has named, run once."""
    names: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL):
        exec(compile(block, PAGE.name, "exec"), names)
    return names


@pytest.mark.parametrize("name", ["NearestNeighbours", "Growing"])
def test_a_denoiser_is_under_forty_lines(name) -> None:
    code = PAGE.read_text().split(f"class {name}:")[1]
    body = re.match(r"\n(?:(?:    .*)?\n)+", code)[0].strip()
    assert len(body.splitlines()) < 40


@pytest.mark.slow
def test_the_page_runs_through_every_entry_point() -> None:
    names = page()
    assert float(names["result"].best_fitness) > 0.95
    assert dict(names["swept"].sizes)["setting"] == 6
    assert names["divided"].population.shape == (64, 2)
    assert names["more"].shape == (2000, 2)
    assert float(names["grown"].best_fitness) > 0.95
    assert float(names["mixed"].best_fitness) > 0.95
    assert float(names["proposed"].best_fitness) > 0.5


@pytest.mark.slow
def test_what_was_drawn_of_an_evolution_is_as_good_as_it() -> None:
    # given 2,000 points drawn from what 256 individuals know
    names = page()
    problem = names["problem"]
    evaluate = lambda points: problem.evaluate(
        jax.random.key(1), (), problem.space.decode(points)
    )
    drawn = evaluate(names["more"])[0].fitness
    random = evaluate(jax.random.normal(jax.random.key(2), (2000, 2)))[0].fitness
    # then they are far better than random ones
    assert float(drawn.mean()) > float(random.mean()) + 0.3
