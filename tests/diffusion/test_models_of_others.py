"""A model of others answers as what it was made of.

The exact denoiser of a mixture is rewritten, by the formulas of the papers, as a model in
coordinates and times of its own, and comes back as a denoiser.
"""

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import diffevo_jax as de
from diffevo_jax import diffusion

MIXTURE = de.oracles.gaussian_mixture(
    [[-1.0, 0.5], [1.0, -0.5]], [[0.04, 0.3], [0.2, 0.1]], [1.0, 2.0]
)
LEVELS = np.geomspace(0.02, 10.0, 7)
#: DDPM's own betas, and its alpha_bar in float64.
BETAS = np.linspace(1e-4, 0.02, 1000)
ALPHA_BAR = np.cumprod(1 - BETAS)


class Schedule(NamedTuple):
    """What is given; and as published, the signal and the noise of x_t at time t."""

    given: Any
    rates: Callable[[Any], tuple[Any, Any]]


def of_chain(t: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Between two steps the logarithm of sigma is linear."""
    logs = 0.5 * np.log(1 / ALPHA_BAR - 1)
    sigma = jnp.exp(jnp.interp(t, jnp.arange(1000.0), jnp.asarray(logs)))
    return 1 / jnp.sqrt(1 + sigma**2), sigma / jnp.sqrt(1 + sigma**2)


def of_vp(t: jax.Array) -> tuple[jax.Array, jax.Array]:
    total = 0.1 * t + 9.95 * t**2
    return jnp.exp(-total / 2), jnp.sqrt(-jnp.expm1(-total))


def of_sub_vp(t: jax.Array) -> tuple[jax.Array, jax.Array]:
    total = 0.1 * t + 9.95 * t**2
    return jnp.exp(-total / 2), -jnp.expm1(-total)


def of_log_snr(t: jax.Array) -> tuple[jax.Array, jax.Array]:
    log_snr = 10.0 - 20.0 * t
    return jnp.sqrt(jax.nn.sigmoid(log_snr)), jnp.sqrt(jax.nn.sigmoid(-log_snr))


SCHEDULES = {
    "alpha_bar": Schedule(ALPHA_BAR, of_chain),
    "betas": Schedule(de.noise.Chain(de.noise.from_betas(BETAS)), of_chain),
    "vp": Schedule(de.noise.VP(), of_vp),
    "sub_vp": Schedule(de.noise.SubVP(), of_sub_vp),
    "ve": Schedule(de.noise.VE(0.01, 50.0), lambda t: (1.0 + 0 * t, 0.01 * 5000.0**t)),
    "edm": Schedule(de.noise.EDM(), lambda t: (1.0 + 0 * t, t)),
    "log_snr": Schedule(de.noise.LogSNR(-10.0, 10.0), of_log_snr),
    "flow": Schedule(de.noise.Flow(), lambda t: (1 - t, t)),
}
#: What is predicted, of the clean point and the noise; v at unit variance.
PREDICTIONS: dict[str, tuple[Any, Callable]] = {
    "epsilon": (diffusion.Noise(), lambda clean, eps, sigma: eps),
    "v": (
        diffusion.Velocity(),
        lambda clean, eps, sigma: (eps - sigma * clean) / jnp.sqrt(1 + sigma**2),
    ),
    "x0": (diffusion.Clean(), lambda clean, eps, sigma: clean),
    "velocity": (diffusion.Flow(), lambda clean, eps, sigma: eps - clean),
    "score": (diffusion.Score(), lambda clean, eps, sigma: -eps),
}


def model(schedule: str, prediction: str) -> Callable[[jax.Array, jax.Array], jax.Array]:
    """What somebody else has trained to perfection."""
    rates, predict = SCHEDULES[schedule].rates, PREDICTIONS[prediction][1]

    def of_one(x: jax.Array, t: jax.Array) -> jax.Array:
        signal, noise = rates(jnp.asarray(t, float))
        clean = MIXTURE.denoise((x / signal)[None], noise / signal)[0]
        return predict(clean, (x - signal * clean) / noise, noise / signal)

    return jax.vmap(of_one)


def of(schedule: str, prediction: str, **options: Any) -> diffusion.ModelDenoiser:
    predicts = PREDICTIONS[prediction][0]
    given = SCHEDULES[schedule].given
    return diffusion.from_model(model(schedule, prediction), predicts, given, **options)


def noisy(sigma: float, count: int = 16) -> jax.Array:
    key = jax.random.key(3)
    eps = jax.random.normal(key, (count, 2))
    return MIXTURE.sample(key, count) + sigma * eps


def asked(denoiser: diffusion.ModelDenoiser, levels: np.ndarray) -> tuple[Any, Any]:
    """Answers at all levels in one program, and the exact ones, (L, N, 2) both."""
    sigmas = jnp.asarray(levels, float)
    points = jnp.stack([noisy(sigma) for sigma in levels])
    both = lambda y, s: (denoiser.denoise(y, s), MIXTURE.denoise(y, s))
    return jax.jit(jax.vmap(both))(points, sigmas)


def assert_close(got: jax.Array, want: jax.Array, levels: np.ndarray) -> None:
    """To 1e-5 of the size of the points."""
    error = jnp.abs(got - want).max(axis=(1, 2)) / np.maximum(levels, 1.0)
    assert float(error.max()) < 1e-5


@pytest.mark.parametrize(
    ("schedule", "prediction"),
    [("alpha_bar", "epsilon"), ("vp", "v"), ("flow", "velocity")],
)
def test_the_exact_denoiser_comes_back(schedule, prediction) -> None:
    assert_close(*asked(of(schedule, prediction), LEVELS), LEVELS)


@pytest.mark.slow
@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_it_comes_back_whatever_it_predicts_along_whatever(schedule, prediction) -> None:
    assert_close(*asked(of(schedule, prediction), LEVELS), LEVELS)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_time_is_the_inverse_of_the_noise_level(schedule) -> None:
    process = of(schedule, "x0").schedule
    np.testing.assert_allclose(process.sigma(process.time(LEVELS)), LEVELS, rtol=2e-5)


def test_beyond_the_ends_of_a_chain_is_the_time_of_the_end() -> None:
    chain = of("alpha_bar", "x0").schedule
    assert chain.time(np.array([1e-5, 1e5])).tolist() == [0.0, 999.0]


def test_a_model_of_steps_is_told_whole_numbers_and_exact_on_them() -> None:
    steps = np.array([0, 17, 400, 700])
    seen = []

    def of_steps(x: jax.Array, t: jax.Array) -> jax.Array:
        seen.append(t.dtype)
        return model("alpha_bar", "epsilon")(x, t)

    denoiser = diffusion.from_model(of_steps, diffusion.Noise(), ALPHA_BAR, integer=True)
    levels = np.sqrt(1 / ALPHA_BAR[steps] - 1)
    assert_close(*asked(denoiser, levels), levels)
    assert set(seen) == {jnp.dtype("int32")}


def test_a_model_of_images_gets_images() -> None:
    def of_images(x: jax.Array, t: jax.Array) -> jax.Array:
        return x - x.mean(axis=(1, 2), keepdims=True)

    denoiser = diffusion.from_model(
        of_images, diffusion.Clean(), de.noise.EDM(), shape=(2, 1)
    )
    y = noisy(1.0)
    want = y - y.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(denoiser.denoise(y, 1.0), want, atol=1e-6)
    images = denoiser.denoise(y.reshape(-1, 2, 1), 1.0)
    np.testing.assert_allclose(images[..., 0], want, atol=1e-6)


@pytest.mark.slow
def test_a_level_for_each_point_is_the_levels_alone() -> None:
    denoise, levels = jax.jit(of("vp", "epsilon").denoise), jnp.geomspace(0.1, 5.0, 4)
    y = noisy(1.0, 4)
    alone = [denoise(y, levels[i])[i] for i in range(4)]
    np.testing.assert_allclose(denoise(y, levels), jnp.stack(alone), atol=1e-6)


def test_weights_that_are_bound_are_leaves() -> None:
    linear = jax.tree_util.Partial(lambda weights, x, t: x @ weights, jnp.eye(2))
    denoiser = diffusion.from_model(linear, diffusion.Clean(), de.noise.EDM())
    doubled = jax.tree.map(
        lambda leaf: leaf * 2 if leaf.ndim == 2 else leaf, denoiser.model
    )
    y = noisy(1.0)
    other = de.replace(denoiser, model=doubled).denoise(y, 1.0)
    np.testing.assert_allclose(other, 2 * denoiser.denoise(y, 1.0), rtol=1e-6)


@pytest.mark.parametrize(
    ("schedule", "prediction", "sampler"),
    [
        ("alpha_bar", "epsilon", de.samplers.Heun()),
        pytest.param(
            *("flow", "velocity", de.samplers.DDIM(eta=1.0)), marks=pytest.mark.slow
        ),
    ],
)
def test_its_samples_have_the_moments_of_the_data(schedule, prediction, sampler) -> None:
    denoiser, count = of(schedule, prediction), 4000
    draw = lambda key: de.sample(
        key,
        denoiser.denoise,
        de.noise.EDM(0.01, 30.0),
        sampler,
        (count, 2),
        num_levels=60,
    )
    samples = jax.jit(draw)(jax.random.key(0))
    # five standard errors of a mean of so many
    errors = 5 * np.sqrt(np.diag(MIXTURE.covariance()) / count)
    assert np.all(np.abs(samples.mean(axis=0) - MIXTURE.mean()) < errors)
    np.testing.assert_allclose(np.cov(samples.T), MIXTURE.covariance(), atol=0.05)


@pytest.mark.slow
def test_it_evolves_as_a_fixed_denoiser() -> None:
    fixed = de.denoisers.Fixed(of("alpha_bar", "v").denoise)
    strategy = de.DiffusionEvolution(20, fixed, de.samplers.DDIM(), de.noise.EDM())
    problem = de.problems.Function(lambda x: x[0], dim=2)
    result = de.evolve(jax.random.key(0), strategy, problem, population_size=64)
    assert np.abs(result.population[:, 0]).max() < 4  # samples of the mixture
    assert float(result.best_fitness) > 1.0


WRONG: dict[str, tuple[Callable[[], Any], str]] = {
    "one alpha_bar": (
        lambda: diffusion.from_model(print, diffusion.Noise(), 0.5),
        r"schedule: got shape \(\), want a process, or alpha_bar",
    ),
    "alpha_bar that rises": (
        lambda: diffusion.from_model(print, diffusion.Noise(), [0.1, 0.9]),
        r"schedule: got 2 numbers from 0\.1 to 0\.9, want alpha_bar .*; of betas",
    ),
    "no steps": (
        lambda: diffusion.from_model(print, diffusion.Noise(), []),
        r"schedule: got no steps",
    ),
    "a process without a time": (
        lambda: diffusion.from_model(print, diffusion.Noise(), de.noise.Constant()),
        r"schedule: got Constant.*want a TimedProcess, with .*time",
    ),
    "a name": (
        lambda: diffusion.from_model(print, "epsilon", ALPHA_BAR),
        r"predicts: got 'epsilon', want a Parameterisation",
    ),
    "a module": (
        lambda: diffusion.from_model(Unhashable(), diffusion.Noise(), ALPHA_BAR),
        r"model: got Unhashable, which cannot be hashed, want a function of \(x_t, t\)",
    ),
    "another shape": (
        lambda: diffusion.from_model(
            lambda x, t: x[:, :1], diffusion.Noise(), ALPHA_BAR
        ).denoise(noisy(1.0), 1.0),
        r"model: got an answer of shape \(16, 1\), want \(16, 2\)",
    ),
    "other points": (
        lambda: diffusion.from_model(
            lambda x, t: x, diffusion.Noise(), ALPHA_BAR, shape=(3,)
        ).denoise(noisy(1.0), 1.0),
        r"y: got shape \(16, 2\), want \(N, \*\(3,\)\)",
    ),
    "integers": (
        lambda: diffusion.from_model(
            lambda x, t: x.astype(int), diffusion.Noise(), ALPHA_BAR
        ).denoise(noisy(1.0), 1.0),
        r"model: got an answer of int32, want floats",
    ),
}


class Unhashable:
    """As a module of arrays is."""

    __hash__ = None

    def __call__(self, x: jax.Array, t: jax.Array) -> jax.Array:
        return x


@pytest.mark.parametrize(("called", "message"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_named(called, message) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        called()


@pytest.mark.slow
def test_a_module_of_flax_answers() -> None:
    linen = pytest.importorskip("flax.linen")
    module = linen.Dense(2)
    weights = module.init(jax.random.key(0), jnp.zeros((1, 2)))
    apply = jax.tree_util.Partial(lambda w, x, t: module.apply(w, x), weights)
    denoiser = diffusion.from_model(apply, diffusion.Noise(), de.noise.VP())
    y, sigma = noisy(2.0), 2.0
    want = y - sigma * module.apply(weights, y / np.sqrt(1 + sigma**2))
    np.testing.assert_allclose(denoiser.denoise(y, sigma), want, atol=1e-5)


@pytest.mark.slow
def test_a_module_of_equinox_answers_and_alone_is_refused() -> None:
    eqx = pytest.importorskip("equinox")
    module = eqx.nn.MLP(2, 2, 8, 1, key=jax.random.key(0))
    of_all = lambda x, t: jax.vmap(module)(x)
    denoiser = diffusion.from_model(of_all, diffusion.Clean(), de.noise.Flow())
    y = noisy(1.0)
    want = jax.vmap(module)(y / 2)
    np.testing.assert_allclose(denoiser.denoise(y, 1.0), want, atol=1e-5)
    with pytest.raises(TypeError, match=re.escape("model: got MLP, which cannot be")):
        diffusion.from_model(module, diffusion.Clean(), de.noise.Flow())


def test_whole_times_are_those_of_a_chain_alone() -> None:
    with pytest.raises(ValueError, match="integer: got True with VP"):
        diffusion.from_model(lambda x, t: x, diffusion.Clean(), de.noise.VP(), integer=True)


def test_a_model_that_looks_its_times_up_is_told_of_whole_ones() -> None:
    table = jnp.ones(1000)
    model = diffusion.from_model(
        lambda x, t: table[t][:, None] * x, diffusion.Noise(), ALPHA_BAR
    )
    with pytest.raises(TypeError, match="want integer=True"):
        model.denoise(jnp.ones((2, 2)), 1.0)


def test_a_model_of_another_framework_is_told_the_way() -> None:
    model = diffusion.from_model(
        lambda x, t: np.asarray(x), diffusion.Clean(), de.noise.EDM()
    )
    with pytest.raises(TypeError, match=r"jax\.pure_callback"):
        jax.jit(model.denoise)(jnp.ones((2, 2)), 1.0)


def test_an_error_of_a_model_that_has_whole_times_is_its_own() -> None:
    def model(x, t):
        raise TypeError("an integer of my own")

    denoiser = diffusion.from_model(model, diffusion.Noise(), ALPHA_BAR, integer=True)
    with pytest.raises(TypeError, match=r"^an integer of my own$"):
        denoiser.denoise(jnp.ones((2, 2)), 1.0)
