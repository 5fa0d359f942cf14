"""What a Diffusion Evolution may be made of, and what to change if it may not."""

import math
from typing import Any

from diffevo_jax.attention import attend
from diffevo_jax.pytree import validation
from diffevo_jax.samplers import check_grid, num_levels
from diffevo_jax.strategies.posterior import is_row_wise

SUPPORTS = ("best", "sample")
DENOISERS = ("kernel", "gaussian", "diagonal")


def check(strategy: Any) -> None:
    """Raise ValueError or TypeError if parts of a strategy do not go together."""
    name = type(strategy).__name__
    validation.check_count(f"{name}.num_generations", strategy.num_generations)
    validation.check_count(f"{name}.archive", strategy.archive, low=0)
    if strategy.floor is not None and not 0 < strategy.floor < math.inf:
        raise ValueError(f"{name}.floor: got {strategy.floor}, want None or > 0, finite")
    if strategy.num_support is not None:
        validation.check_count(f"{name}.num_support", strategy.num_support)
    for field, names in (("support", SUPPORTS), ("denoiser", DENOISERS)):
        value = getattr(strategy, field)
        if value not in names:
            raise ValueError(f"{name}.{field}: got {value!r}, want one of {names}")
    if not isinstance(strategy.conditions, tuple):
        raise TypeError(f"{name}.conditions: got {strategy.conditions!r}, want a tuple")
    _check_denoiser(name, strategy)
    levels = num_levels(strategy.sampler, strategy.num_generations)
    check_grid(strategy.sampler, strategy.grid, levels)


def _check_denoiser(name: str, strategy: Any) -> None:
    unused = {
        "self_conditioned": strategy.self_conditioned,
        "num_support": strategy.num_support is not None,
        "shaping": hasattr(strategy.shaping, "row_log_weight"),
        "floor": strategy.floor is not None,
    }
    for field, used in unused.items():
        if used and strategy.denoiser != "kernel":
            raise ValueError(
                f"{name}.{field}: got {getattr(strategy, field)!r}, which "
                f"denoiser={strategy.denoiser!r} has no use for; want denoiser='kernel', "
                f"or the default {field}"
            )
    whole = getattr(strategy.attention, "attention", strategy.attention)  # if divided
    if whole is not attend and is_row_wise(strategy):
        parts = [type(part).__name__ for part in (strategy.kernel, strategy.shaping)]
        raise ValueError(
            f"{name}.attention: got {strategy.attention!r}, which does not make the rows "
            f"that {parts[0]} or {parts[1]} needs; want the default"
        )
