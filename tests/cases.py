"""Every public part, once or in several settings, for the contract tests."""

from collections.abc import Collection
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import diffevo_jax as de
from diffevo_jax import diffusion, testing
from diffevo_jax.denoisers import (
    Archive,
    Best,
    Drawn,
    Elites,
    Fixed,
    GaussianFit,
    Mixture,
    Population,
)
from diffevo_jax.shaping.conditions import Density, Fitness, Novelty, Target
from diffevo_jax.testing import Promise


class Case(NamedTuple):
    """A part under test.

    Attributes:
        name: shown by pytest.
        part: cheap; a strategy has four generations.
        but: promises that it does not make, as documented.
    """

    name: str
    part: Any
    but: Collection[Promise] = ()


def first(candidates: jax.Array, measures: Any) -> jax.Array:
    """The first number of each."""
    return candidates[:, 0]


def network(dim: int = testing.agreement.D) -> diffusion.NetworkDenoiser:
    """An untrained network."""
    mlp = diffusion.MLP(hidden=(8,))
    weights = mlp.init(jax.random.key(0), (dim,))
    return diffusion.NetworkDenoiser(mlp, diffusion.EDM(sigma_data=1.0), weights, (dim,))


#: Trained so little that every program of it is small.
ONLINE = diffusion.OnlineNetwork(
    diffusion.MLP((8,), embedding=4), num_steps=3, batch_size=8
)
#: An exact denoiser, of points about the optimum of the promises' fitness.
ORACLE = de.oracles.gaussian_mixture([[0.5] * testing.agreement.D], 0.01)

#: What is drawn by weight, or belongs to a place in an order, feels the order.
DRAWS = (testing.denoisers.order_does_not_matter,)
#: What asks for more than one individual says so.
COMPANY = (testing.strategies.one_individual_is_enough,)
#: A denoiser that learns nothing needs no fitness, and has the dimensions that it has.
FIXED = (testing.denoisers.failure_of_all_is_not_sound,)
FIXED_STRATEGY = (
    testing.strategies.failure_of_all_changes_no_individual,
    testing.strategies.one_dimension_is_enough,
)

DENOISERS = [
    Case("default", Population()),
    Case(
        "published",
        Population(
            de.kernels.Gaussian(floor=1e-9),
            de.shaping.Power(2.0, floor=1e-9),
            guidance=0.0,
        ),
    ),
    Case(
        "exact",
        Population(
            de.kernels.Gaussian(),
            de.shaping.Boltzmann(),
            conditions=(Target(first, 0.5),),
            memory=Archive(1, correction=0.5),
            support=Best(5),
            guidance=3.0,
        ),
    ),
    Case(
        "latent",
        Population(
            de.kernels.RandomProjection(dim=2), de.shaping.Identity(), support=Drawn(6)
        ),
        DRAWS,
    ),
    Case(
        "axes",
        Population(
            de.kernels.PrincipalComponents(dim=1),
            de.shaping.TargetESS(share=0.5),
            conditions=(Density(), Novelty(0.5, num_neighbours=3)),
        ),
    ),
    Case(
        "self_conditioned",
        Population(
            de.kernels.SelfConditioned(de.kernels.Perplexity(neighbours=5.0)),
            de.shaping.Rank(),
        ),
    ),
    Case(
        "local", Population(shaping=de.shaping.Local(), memory=Archive(1), support=Best(8))
    ),
    Case(
        "competing",
        Population(
            de.kernels.Gaussian(),
            de.shaping.DominatedNovelty(dim=1, measure=first),
            memory=Elites(12),
            support=Best(12),
        ),
    ),
    Case("gaussian_fit", GaussianFit(shaping=de.shaping.Rank(), guidance=1.0)),
    Case("gaussian_fit-diagonal", GaussianFit(memory=Archive(1), diagonal=True)),
    Case("mixture", Mixture(Population(), GaussianFit(diagonal=True), 0.5, crossover=1.0)),
    Case("online_network", ONLINE),
    Case(
        "online_network-told",
        de.replace(
            ONLINE,
            conditions=(Target(first, 0.5), Fitness(), Novelty(0.5, 3), Density()),
            memory=Archive(1),
        ),
    ),
    Case("fixed-oracle", Fixed(ORACLE.denoise), FIXED),
    Case("fixed-network", Fixed(network().denoise), FIXED),
]

#: The steps that each denoiser is tried with as a strategy; DDIM and Cosine where none.
STEPS = {
    "exact": {"sampler": de.samplers.DPMSolver2M(eta=0.5)},
    "published": {"grid": de.noise.Linear(), "sampler": de.samplers.DDIM(eta=0.1)},
    "latent": {"grid": de.noise.DDPM()},
    "axes": {"sampler": de.samplers.Heun(eta=0.5, frozen=True)},
    "gaussian_fit": {"sampler": de.samplers.PredictorCorrector(frozen=True)},
}
LEARNED = de.MonoFlow(
    4,
    conditions=(Target(first, 0.5),),
    # Adam's first step along a slope of 0, as of the bias, is one along its rounding.
    ratio=de.flows.Discriminator((8,), num_steps=6, optimizer=optax.sgd(1.0)),
    divergence=de.flows.Vanilla(),
    generator=de.flows.Generator((8,), num_steps=6, learning_rate=0.1),
)
BUT = {
    "axes": COMPANY,
    "exact": COMPANY,
    "latent": COMPANY,
    "local": COMPANY,
    "online_network-told": COMPANY,
    "fixed-oracle": FIXED_STRATEGY,
}
STRATEGIES = [
    Case(
        case.name,
        de.DiffusionEvolution(4, case.part, **STEPS.get(case.name, {})),
        BUT.get(case.name, ()),
    )
    for case in DENOISERS
    if case.name != "fixed-network"  # untrained, it is at home nowhere
]
STRATEGIES += [
    Case("monoflow", de.MonoFlow(4)),
    Case("monoflow-learned", LEARNED),
    Case("consensus", de.Consensus(4)),
    Case("consensus-plain", de.Consensus.plain(4)),
    Case(
        "consensus-polarised",
        de.Consensus(
            4,
            Population(de.kernels.Gaussian(), guidance=0.0),
            de.noise.VE(0.3, 2.0),
            rate=0.5,
            noise=0.3,
            fresh=0.1,
            growth=1.1,
            isotropic=True,
        ),
    ),
]
#: Those that feel a constant that is added to fitness, as documented.
FEEL_A_CONSTANT = {"published", "latent"}

SAMPLERS = [
    Case("ddim", de.samplers.DDIM(eta=0.5)),
    Case("ancestral", de.samplers.Ancestral()),
    Case("consistency", de.samplers.Consistency()),
    Case("euler_maruyama", de.samplers.EulerMaruyama()),
    Case("heun", de.samplers.Heun()),
    Case("heun-frozen", de.samplers.Heun(eta=0.5, frozen=True)),
    Case("edm", de.samplers.EDM(churn=1.0)),
    Case("predictor_corrector", de.samplers.PredictorCorrector(num_corrections=2)),
    Case("predictor_corrector-frozen", de.samplers.PredictorCorrector(frozen=True)),
    Case("annealed_langevin", de.samplers.AnnealedLangevin(num_steps=3)),
    Case("annealed_langevin-frozen", de.samplers.AnnealedLangevin(3, frozen=True)),
    Case("dpm_solver", de.samplers.DPMSolver2M(eta=0.5)),
    Case("gh_filter", de.samplers.GHFilter(g=0.5, h=0.1)),
    Case("optax", de.samplers.Optax(optax.sgd(0.1))),
]
KERNELS = [
    Case("gaussian", de.kernels.Gaussian(kappa=0.5)),
    Case("tempered", de.kernels.Tempered(2.0)),
    Case("random_projection", de.kernels.RandomProjection(2)),
    Case("principal_components", de.kernels.PrincipalComponents(2)),
    Case("perplexity", de.kernels.Perplexity(neighbours=3.0, components=2)),
    Case("self_conditioned", de.kernels.SelfConditioned(de.kernels.Gaussian())),
]
SHAPINGS = [
    Case("boltzmann", de.shaping.Boltzmann(temperature=0.5)),
    Case("power", de.shaping.Power(exponent=2.0)),
    Case("identity", de.shaping.Identity()),
    Case("identity-floor", de.shaping.Identity(floor=1e-9)),
    Case("standardized", de.shaping.Standardized()),
    Case("rank", de.shaping.Rank()),
    Case("target_ess", de.shaping.TargetESS(share=0.5)),
    Case("local", de.shaping.Local()),
    Case("dominated_novelty", de.shaping.DominatedNovelty(dim=2)),
]
GRIDS = [
    Case("cosine", de.noise.Cosine()),
    Case("linear", de.noise.Linear()),
    Case("ddpm", de.noise.DDPM()),
    Case("vp", de.noise.VP()),
    Case("sub_vp", de.noise.SubVP()),
    Case("ve", de.noise.VE()),
    Case("edm", de.noise.EDM()),
    Case("log_snr", de.noise.LogSNR()),
    Case("flow", de.noise.Flow()),
    Case("constant", de.noise.Constant()),
    Case("sde", de.noise.SDE(drift=lambda t: 0.0, diffusion=jnp.exp)),
    Case("chain", de.noise.Chain(de.noise.Levels(jnp.geomspace(8.0, 0.1, 9)))),
    Case("levels", de.noise.Levels(jnp.geomspace(8.0, 0.1, 9))),
]


def small(solution: dict[str, jax.Array]) -> jax.Array:
    """Highest where all numbers of a solution are small."""
    return -jnp.sum(solution["w"] ** 2) - solution["n"].astype(float)


def outside(solutions: np.ndarray) -> np.ndarray:
    """What JAX cannot look into."""
    return -np.linalg.norm(solutions - 0.5, axis=1)


def first_of(samples: jax.Array) -> jax.Array:
    """The first number of each sample."""
    return samples[:, 0]


PROBLEMS = [
    Case("function", de.problems.Function(testing.agreement.sphere, dim=3)),
    Case(
        "function-box",
        de.problems.Function(
            small,
            space=de.problems.Space(
                {"w": jnp.zeros((2, 3)), "n": jnp.zeros((), jnp.int32)},
                lower=-2.0,
                upper=2.0,
                boundary="tanh",
            ),
        ),
    ),
    Case(
        "external",
        de.problems.External(outside, de.problems.Space(jnp.zeros(3)), callback=True),
    ),
    Case("generator", de.problems.Generator(ORACLE.denoise, first_of, 3, num_levels=3)),
    Case("landscape", de.problems.Landscape("rastrigin", dim=4)),
    Case(
        "constrained",
        de.problems.Constrained(
            de.problems.Function(testing.agreement.sphere, dim=3),
            (
                de.problems.Constraint(lambda x: x - 2.0),
                de.problems.Constraint(lambda x: x[0] - x[1], equal=True, softness=0.5),
            ),
        ),
    ),
]
KINDS = {
    "strategy": (STRATEGIES, testing.strategies.PROMISES),
    "denoiser": (DENOISERS, testing.denoisers.PROMISES),
    "sampler": (SAMPLERS, testing.samplers.PROMISES),
    "kernel": (KERNELS, testing.kernels.PROMISES),
    "shaping": (SHAPINGS, testing.shapings.PROMISES),
    "grid": (GRIDS, testing.grids.PROMISES),
    "problem": (PROBLEMS, testing.problems.PROMISES),
}
#: Parts that only `make slow` holds to their promises: the default run holds what they are
#: made of, and others that are put together alike.
SELDOM = {
    "strategy": {
        "axes",
        "competing",
        "consensus",
        "consensus-plain",
        "consensus-polarised",
        "exact",
        "fixed-oracle",
        "gaussian_fit",
        "gaussian_fit-diagonal",
        "latent",
        "local",
        "mixture",
        "monoflow-learned",
        "online_network",
        "online_network-told",
        "published",
        "self_conditioned",
    },
    "denoiser": {
        "axes",
        "competing",
        "latent",
        "local",
        "mixture",
        "online_network",
        "online_network-told",
        "self_conditioned",
    },
    "problem": {"generator"},
}


def marks(kind: str, case: Case) -> tuple[pytest.MarkDecorator, ...]:
    """Slow, or none."""
    return (pytest.mark.slow,) if case.name in SELDOM.get(kind, ()) else ()


#: Each part with each promise that it makes.
PROMISED = [
    pytest.param(
        promise,
        case,
        id=f"{kind}-{case.name}-{promise.__name__}",
        marks=marks(kind, case),
    )
    for kind, (cases, promises) in KINDS.items()
    for case in cases
    for promise in promises
    if promise not in case.but
]
