"""All settings of a training: declared, documented and checked here."""

import dataclasses
from typing import TYPE_CHECKING

from diffevo_jax import pytree
from diffevo_jax.diffusion.training.objectives import ObjectiveLike
from diffevo_jax.diffusion.training.optimizers import default_optimizer
from diffevo_jax.diffusion.training.parameterisations import EDM, Parameterisation
from diffevo_jax.pytree import Number, annotations, validation
from diffevo_jax.samplers.optax import Transformation

if TYPE_CHECKING:  # it takes a seventh of a second to import
    import optax

#: Largest learning rate of the default optimizer, if none is given.
LEARNING_RATE = 2e-3


@pytree.dataclass
class Recipe:
    """How a network is trained; the defaults are EDM's parameterisation and noise levels.

    Args:
        parameterisation: what the network predicts.
        objective: noise levels and their weights; None is that of the parameterisation.
        num_steps: of the whole training, and so the length of the schedule of the learning
            rate, a whole number >= 1.
        batch_size: samples a step, drawn with replacement, >= 1; static.
        learning_rate: largest one of the default optimizer, > 0; None is 0.002.
        optimizer: of optax; None is :func:`diffevo_jax.diffusion.default_optimizer`: Adam
            with clipped gradients (global norm 1), a warm-up of a twentieth of the steps,
            and a cosine to 0; static.
        ema: decay of the averaged weights a step, in [0, 1); at step t it is at most
            (1 + t) / (10 + t), so that early ones are forgotten.
        label_dropout: share of labels that are hidden, in [0, 1], if the network knows what
            none is; what guidance compares with.
        trust: share of the target that is the output of the averaged weights, in [0, 1);
            None for none. It takes noise out of the gradient, and has the same minimum.

    Example:
        >>> import diffevo_jax as de
        >>> from diffevo_jax import diffusion
        >>> recipe = diffusion.Recipe(num_steps=500, batch_size=64)
        >>> ddpm = de.replace(recipe, parameterisation=diffusion.Noise())

    References:
        Karras et al., 2022, arXiv:2206.00364, section 5; Ho and Salimans, 2022,
        arXiv:2207.12598, algorithm 1.
    """

    parameterisation: Parameterisation = dataclasses.field(default_factory=EDM)
    objective: ObjectiveLike | None = None
    num_steps: Number = pytree.number(default=2000, low=1.0)
    batch_size: int = pytree.static(default=256)
    learning_rate: Number | None = pytree.numbers(default=None)
    optimizer: "optax.GradientTransformation | None" = pytree.static(default=None)
    ema: Number = pytree.number(default=0.999, low=0.0, high=1.0 - 1e-6)
    label_dropout: Number = pytree.number(default=0.1, low=0.0, high=1.0)
    trust: Number | None = pytree.numbers(default=None)

    def check(self) -> None:
        """Raise if a part is none, a setting out of its range, or without a use."""
        kind = Parameterisation
        _check_part("parameterisation", self.parameterisation, kind, "EDM() or Noise()")
        if self.objective is not None:
            _check_part("objective", self.objective, ObjectiveLike, "Objective(...)")
        steps = pytree.concrete(self.num_steps)
        if steps is not None and not (steps == steps.round()).all():
            raise ValueError(f"Recipe.num_steps: got {self.num_steps}, want a whole number")
        validation.check_count("Recipe.batch_size", self.batch_size)
        if self.optimizer is not None:
            example = "optax.adam(1e-3)"
            name = "Recipe.optimizer"
            annotations.check(name, self.optimizer, Transformation, example)
        if self.learning_rate is not None:
            validation.check_positive("Recipe.learning_rate", self.learning_rate)
            if self.optimizer is not None:
                raise ValueError(
                    "Recipe.learning_rate: got one and an optimizer, want one of the two"
                )
        known = pytree.concrete(0.0 if self.trust is None else self.trust)
        if known is not None and not 0 <= known < 1:
            raise ValueError(f"Recipe.trust: got {self.trust}, want a number >= 0 and < 1")

    def used_objective(self) -> ObjectiveLike:
        """The objective, or else that of the parameterisation."""
        if self.objective is not None:
            return self.objective
        return self.parameterisation.objective()

    def used_optimizer(self) -> "optax.GradientTransformation":
        """The optimizer, or else the default one at the learning rate."""
        if self.optimizer is not None:
            return self.optimizer
        rate = LEARNING_RATE if self.learning_rate is None else self.learning_rate
        return default_optimizer(rate, self.num_steps)

    def completed(self) -> "Recipe":
        """The same recipe, with what was left open filled in."""
        rate = self.learning_rate
        if rate is None and self.optimizer is None:
            rate = LEARNING_RATE
        return pytree.replace(self, objective=self.used_objective(), learning_rate=rate)


def _check_part(name: str, part: object, kind: type, examples: str) -> None:
    validation.check_part(f"Recipe.{name}", part, kind, examples)
    if not pytree.is_component(part):
        raise TypeError(
            f"Recipe.{name}: got {part!r}, want a pytree: make its class one with "
            "@diffevo_jax.pytree.dataclass"
        )
