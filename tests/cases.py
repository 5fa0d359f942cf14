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
            4,
            denoiser=de.denoisers.Population(kernel=de.kernels.RandomProjection(dim=2)),
            grid=de.noise.DDPM(),
        ),
        True,
    ),
    Case(
        "diffusion_evolution-published",
        de.DiffusionEvolution(
            4,
            denoiser=de.denoisers.Population(
                kernel=de.kernels.Gaussian(floor=1e-9),
                shaping=de.shaping.Power(exponent=2.0, floor=1e-9),
            ),
            grid=de.noise.Linear(),
            sampler=de.samplers.DDIM(eta=0.1),
        ),
        False,
    ),
    Case(
        "diffusion_evolution-self_conditioned",
        de.DiffusionEvolution(
            4,
            denoiser=de.denoisers.Population(
                kernel=de.kernels.SelfConditioned(de.kernels.Perplexity(neighbours=5.0)),
                shaping=de.shaping.Standardized(),
            ),
        ),
        True,
    ),
    Case(
        "diffusion_evolution-local",
        de.DiffusionEvolution(
            4,
            denoiser=de.denoisers.Population(
                shaping=de.shaping.Local(), memory=de.denoisers.Archive(1)
            ),
        ),
        True,
    ),
    Case(
        "diffusion_evolution-two_answers",
        de.DiffusionEvolution(
            4,
            denoiser=de.denoisers.Population(
                kernel=de.kernels.PrincipalComponents(dim=1),
                shaping=de.shaping.TargetESS(share=0.5),
            ),
            sampler=de.samplers.Heun(eta=0.5, frozen=True),
        ),
        True,
    ),
    Case(
        "diffusion_evolution-gaussian",
        de.DiffusionEvolution(
            4,
            denoiser=de.denoisers.GaussianFit(shaping=de.shaping.Rank()),
            sampler=de.samplers.PredictorCorrector(frozen=True),
        ),
        True,
    ),
    Case("monoflow", de.MonoFlow(4), True),
    Case(
        "monoflow-learned",
        de.MonoFlow(
            4,
            ratio=de.flows.Discriminator((8,), num_steps=3, learning_rate=0.03),
            divergence=de.flows.Vanilla(),
            generator=de.flows.Generator((8,), num_steps=3, learning_rate=0.03),
        ),
        True,
    ),
]
