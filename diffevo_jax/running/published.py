"""Published settings, in one place: what the demo, the command and the benchmarks run.

Each experiment is a strategy, a problem and a population size, as Diffusion Evolution was
published with (Zhang et al., ICLR 2025, arXiv:2410.02543).
"""

from typing import NamedTuple

from diffevo_jax import denoisers, kernels, noise, problems, pytree, samplers, shaping
from diffevo_jax.base import Kernel, Problem
from diffevo_jax.problems.control.environments import limit_of
from diffevo_jax.problems.control.spaces import Environment
from diffevo_jax.pytree.annotations import checked
from diffevo_jax.strategies import DiffusionEvolution

#: Published scale of the weights for each environment; 1 elsewhere.
CONTROL_SCALES = {
    "CartPole-v1": 1.0,
    "Acrobot-v1": 1.0,
    "MountainCar-v0": 10.0,
    "MountainCarContinuous-v0": 10.0,
    "Pendulum-v1": 10.0,
}
#: Published longest episode, whatever the environment's own limit.
CONTROL_STEPS = 500
#: Added to kernel and weights by the published code.
FLOOR = 1e-9
PEAKS = ("two_peaks", "two_peaks_step")


class Experiment(NamedTuple):
    """A strategy, a problem and a population size.

    Example:
        >>> import diffevo_jax as de
        >>> experiment = de.published.control("CartPole-v1")
        >>> experiment.population_size, experiment.problem.space.dim
        (256, 58)
    """

    strategy: DiffusionEvolution
    problem: Problem
    population_size: int


@checked
def control(
    env_name: str | None = None,
    *,
    hidden: tuple[int, ...] = (8,),
    kernel: Kernel | None = None,
    env: Environment | None = None,
) -> Experiment:
    """The control experiment: 256 policies, 10 generations, cosine grid, eta 1.

    Args:
        env_name: a gymnax name, or None if ``env`` is given.
        hidden: widths of the policy's hidden layers.
        kernel: the latent kernel in two dimensions if None, as published.
        env: in place of a name, an environment of your own.

    Example:
        >>> import diffevo_jax as de
        >>> experiment = de.published.control("Pendulum-v1", kernel=de.kernels.Gaussian())
        >>> experiment.strategy.num_generations, experiment.population_size
        (10, 256)
    """
    problem = problems.Control(
        env_name, policy=problems.MLP(hidden), max_steps=CONTROL_STEPS, env=env
    )
    limit = limit_of(problem.with_env_params().env_params)
    return Experiment(
        strategy=DiffusionEvolution(
            num_generations=10,
            grid=noise.Cosine(),
            denoiser=denoisers.Population(
                kernel=kernel or kernels.RandomProjection(dim=2),
                shaping=shaping.Boltzmann(temperature=1.0),
                guidance=None,
            ),
            sampler=samplers.DDIM(eta=1.0),
        ),
        problem=pytree.replace(
            problem,
            max_steps=CONTROL_STEPS if limit is None else min(int(limit), CONTROL_STEPS),
            scale=CONTROL_SCALES.get(problem.env_name or "", 1.0),
        ),
        population_size=256,
    )


@checked
def landscape(name: str, *, dim: int = 2, num_generations: int | None = None) -> Experiment:
    """The two-dimensional experiment: 512 individuals, exact kernel, eta 0.1, floor 1e-9.

    25 cosine generations at scale 4 for the functions; 100 linear ones at scale 1.5 for the
    two peaks.

    Args:
        name: one of ``landscapes.NAMES``.
        dim: dimension, for ``rastrigin``.
        num_generations: None takes the published number.

    Example:
        >>> import diffevo_jax as de
        >>> experiment = de.published.landscape("rastrigin", dim=4)
        >>> experiment.strategy.num_generations, experiment.population_size
        (25, 512)
        >>> experiment.strategy.sampler
        DDIM(eta=0.1)
    """
    peaks = name in PEAKS
    return Experiment(
        strategy=DiffusionEvolution(
            num_generations=(100 if peaks else 25)
            if num_generations is None
            else num_generations,
            grid=noise.Linear() if peaks else noise.Cosine(),
            denoiser=denoisers.Population(
                kernel=kernels.Gaussian(floor=FLOOR),
                shaping=shaping.Identity(floor=FLOOR),
                guidance=None,
            ),
            sampler=samplers.DDIM(eta=0.1),
        ),
        problem=problems.Landscape(name, dim=dim, scale=1.5 if peaks else 4.0),
        population_size=512,
    )
