"""Every public strategy, once or in several settings, for the contract tests."""

from typing import NamedTuple

import diffevo_jax as de


class Case(NamedTuple):
    """A strategy under test.

    Attributes:
        name: shown by pytest.
        strategy: four generations; cheap.
        shift_invariant: documented: a constant added to fitness changes nothing.
    """

    name: str
    strategy: de.Strategy
    shift_invariant: bool


CASES = [
    Case("diffusion_evolution", de.DiffusionEvolution(4), True),
    Case(
        "diffusion_evolution-latent",
        de.DiffusionEvolution(
            4, grid=de.noise.DDPM(), kernel=de.kernels.RandomProjection(dim=2)
        ),
        True,
    ),
    Case(
        "diffusion_evolution-published",
        de.DiffusionEvolution(
            4,
            grid=de.noise.Linear(),
            kernel=de.kernels.Gaussian(),
            shaping=de.shaping.Power(exponent=2.0),
            sampler=de.samplers.DDIM(eta=0.1),
            floor=1e-9,
        ),
        False,
    ),
]
