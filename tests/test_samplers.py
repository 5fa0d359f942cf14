"""Samplers, against the published equations in the variance-preserving coordinates.

There, with alpha the signal rate of a level and alpha' that of the next (cleaner) one,

    x' = sqrt(alpha') x0 + sqrt(1 - alpha' - s²) eps + s w,
    eps = (x - sqrt(alpha) x0) / sqrt(1 - alpha),
    s = eta sqrt((1 - alpha') / (1 - alpha) (1 - alpha / alpha')).

The library's y is x / sqrt(alpha). Other samplers are held against their own formulas, and
against each other where one contains another. Orders of convergence and variances are in
``test_convergence.py``.
"""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from diffevo_jax import compilation, noise, samplers
from diffevo_jax.pytree import validation

#: Older releases of JAX have it in another place.
ENABLE_X64 = jax.enable_x64 if hasattr(jax, "enable_x64") else jax.experimental.enable_x64

GRIDS = {"cosine": noise.Cosine(), "linear": noise.Linear(), "ddpm": noise.DDPM()}
SIGMAS = jax.jit(lambda grid, n: grid.sigmas(n), static_argnums=1)
STEP = jax.jit(samplers.ddim_step)
STEPS = jax.jit(jax.vmap(samplers.ddim_step, in_axes=(0, 0, 0, 0, None, 0)))
UPDATE = jax.jit(
    lambda sampler, *arguments: sampler.update(*arguments),
    compiler_options=compilation.compiler_options(quick=True),
)
KEY = jax.random.key(0)


@pytest.fixture
def float64():
    with ENABLE_X64(True):
        yield


def paper_step(x, clean, alpha, alpha_next, eta, w):
    """One published step in float64."""
    s = eta * np.sqrt((1 - alpha_next) / (1 - alpha) * (1 - alpha / alpha_next))
    eps = (x - np.sqrt(alpha) * clean) / np.sqrt(1 - alpha)
    kept = np.sqrt(np.maximum(1 - alpha_next - s**2, 0.0))
    return np.sqrt(alpha_next) * clean + kept * eps + s * w


def levels(name: str, n: int) -> np.ndarray:
    """The noise levels of a grid as the float64 numbers that they are."""
    return np.asarray(SIGMAS(GRIDS[name], n), np.float64)


def normal(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


# The step


@pytest.mark.parametrize("name", GRIDS)
@pytest.mark.parametrize("eta", [0.0, 0.1, 0.9, 1.0])
def test_a_step_is_the_papers_at_every_level(name, eta):
    sigmas = levels(name, 10)
    alpha = 1 / (1 + sigmas**2)
    x, clean, w = np.random.default_rng(0).normal(size=(3, 9, 8, 2))
    a, a_next = alpha[:-1, None, None], alpha[1:, None, None]

    y = x / np.sqrt(a)
    moved = STEPS(*map(np.float32, (y, clean, sigmas[:-1], sigmas[1:], eta, w)))

    # The points are of order 3: a few float32 roundings.
    got = np.asarray(moved, np.float64) * np.sqrt(a_next)
    want = paper_step(x, clean, a, a_next, eta, w)
    np.testing.assert_allclose(got, want, atol=1e-5)


@pytest.mark.parametrize("name", GRIDS)
def test_with_eta_one_a_step_is_the_posterior_of_ddpm(name):
    sigmas = levels(name, 10)
    alpha = 1 / (1 + sigmas**2)
    a, a_next = alpha[:-1], alpha[1:]
    x, clean = 0.7, -0.4

    step = lambda w: (
        np.asarray(
            STEPS(
                *map(
                    np.float32, (x / np.sqrt(a), np.full(9, clean), sigmas[:-1], sigmas[1:])
                ),
                1.0,
                np.full(9, w, np.float32),
            ),
            np.float64,
        )
        * np.sqrt(a_next)
    )

    # Ho et al., 2020, eq. 7, with beta = 1 - a / a' of one step.
    beta = 1 - a / a_next
    mean = np.sqrt(a_next) * beta / (1 - a) * clean
    mean += np.sqrt(a / a_next) * (1 - a_next) / (1 - a) * x
    deviation = np.sqrt((1 - a_next) / (1 - a) * beta)
    np.testing.assert_allclose(step(0.0), mean, atol=1e-5)
    np.testing.assert_allclose(step(1.0) - step(0.0), deviation, atol=1e-5)


def test_with_eta_zero_noise_has_no_part():
    y, clean, w = normal(0, 3, 8, 2)

    moved = [STEP(y, clean, 2.0, 0.5, 0.0, noise) for noise in (w, 100 * w)]

    assert np.array_equal(*moved)


def test_with_eta_zero_a_step_is_eulers_on_the_probability_flow():
    y, clean = normal(1, 2, 8, 2)

    moved = STEP(y, clean, 2.0, 0.5, 0.0, np.zeros((8, 2), np.float32))

    slope = (y - clean) / 2.0  # dy / dsigma
    np.testing.assert_allclose(moved, y + (0.5 - 2.0) * slope, atol=1e-6)


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_a_step_to_the_same_level_stays(eta):
    y, clean, w = normal(2, 3, 8, 2)

    stayed = STEP(y, clean, 0.8, 0.8, eta, w)

    np.testing.assert_allclose(stayed, y, atol=1e-6)


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_a_step_to_no_noise_is_the_clean_point(eta):
    y, clean, w = normal(3, 3, 8, 2)

    assert np.array_equal(STEP(y, clean, 0.8, 0.0, eta, w), clean)


@pytest.mark.parametrize("eta", [0.0, 0.3, 1.0])
def test_for_a_constant_denoiser_a_huge_step_is_exact(eta):
    # y = clean + sigma eps stays of that form at the next level: mean and variance.
    count, clean = 100_000, np.full(100_000, 5.0, np.float32)
    eps, w = normal(4, 2, count)

    moved = np.asarray(
        STEP(clean + np.float32(1000) * eps, clean, 1000.0, 0.5, eta, w), np.float64
    )

    error = 5 / np.sqrt(count)  # standard errors
    np.testing.assert_allclose(moved.mean(), 5.0, atol=0.5 * error)
    np.testing.assert_allclose(moved.var(), 0.25, rtol=error * np.sqrt(2))


@pytest.mark.parametrize("name", GRIDS)
@pytest.mark.parametrize("n", [2, 25, 1000])
def test_kept_and_fresh_noise_add_up_at_every_level(name, n):
    sigmas = levels(name, n)
    high, low = sigmas[:-1].astype(np.float32), sigmas[1:].astype(np.float32)
    zeros, ones = np.zeros(n - 1, np.float32), np.ones(n - 1, np.float32)

    for eta in (0.0, 0.1, 0.999, 1.0):
        kept = np.asarray(STEPS(high, zeros, high, low, eta, zeros), np.float64)
        fresh = np.asarray(STEPS(zeros, zeros, high, low, eta, ones), np.float64)

        # NaN would be a negative radicand; otherwise float32 rounding.
        np.testing.assert_allclose(kept**2 + fresh**2, sigmas[1:] ** 2, rtol=2e-6)


def test_levels_that_rise_do_not_give_nan():
    y, clean, w = normal(5, 3, 8, 2)

    for eta in (0.0, 1.0):
        assert np.isfinite(STEP(y, clean, 0.5, 0.6, eta, w)).all()


def test_eta_can_be_swept():
    y, clean, w = normal(6, 3, 4, 2)
    etas = np.array([0.0, 0.4, 1.0], np.float32)

    swept = jax.vmap(samplers.ddim_step, in_axes=(None,) * 4 + (0, None))(
        y, clean, 2.0, 0.5, etas, w
    )

    alone = [STEP(y, clean, 2.0, 0.5, eta, w) for eta in etas]
    np.testing.assert_allclose(swept, np.stack(alone), atol=1e-6)


# The sampler


def test_ddim_asks_where_the_point_is():
    y, sigmas = np.ones((3, 2), np.float32), np.array([3.0, 2.0, 1.0], np.float32)
    sampler = samplers.DDIM()

    query, sigma, memory = sampler.query(
        jax.random.key(0), y, sampler.init(y), sigmas, np.int32(1)
    )

    assert np.array_equal(query, y)
    assert (float(sigma), memory) == (2.0, ())


def test_ddim_takes_one_round_a_level():
    assert [samplers.DDIM().num_rounds(levels) for levels in (1, 2, 25)] == [1, 2, 25]


def test_an_update_reaches_the_next_level():
    y, clean = normal(7, 2, 3, 2)
    sigmas = np.array([3.0, 2.0, 1.0], np.float32)

    moved, sigma, memory = UPDATE(
        samplers.DDIM(eta=0.0), jax.random.key(0), y, (), clean, sigmas, np.int32(1)
    )

    assert (float(sigma), memory) == (1.0, ())
    np.testing.assert_allclose(moved, STEP(y, clean, 2.0, 1.0, 0.0, y), atol=1e-6)


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_at_the_last_level_nothing_moves(eta):
    y, clean = normal(8, 2, 3, 2)

    stayed, sigma, _ = UPDATE(
        samplers.DDIM(eta),
        jax.random.key(0),
        y,
        (),
        clean,
        np.array([3.0, 2.0], np.float32),
        np.int32(1),
    )

    assert float(sigma) == 2.0
    np.testing.assert_allclose(stayed, y, atol=1e-6)


@pytest.mark.parametrize(("eta", "same"), [(0.0, True), (0.5, False)])
def test_the_key_matters_only_with_fresh_noise(eta, same):
    y, clean = normal(9, 2, 3, 2)
    update = lambda seed: UPDATE(
        samplers.DDIM(eta),
        jax.random.key(seed),
        y,
        (),
        clean,
        np.array([3.0, 2.0], np.float32),
        np.int32(0),
    )[0]

    assert np.array_equal(update(1), update(2)) is same
    assert np.array_equal(update(1), update(1))


@pytest.mark.parametrize("eta", [-0.1, 1.01])
def test_eta_is_a_share(eta):
    with pytest.raises(ValueError, match=r"DDIM\.eta: got .* want .*>= 0 and <= 1"):
        validation.validate(samplers.DDIM(eta))


# All samplers

#: Every sampler once, and frozen where it can be; with the levels that its answers are
#: asked for, on a grid of three, and the evaluations for grids of 1, 2 and 5.
ALL = {
    "DDIM": (samplers.DDIM(), [0, 1, 2], [1, 2, 5]),
    "Ancestral": (samplers.Ancestral(), [0, 1, 2], [1, 2, 5]),
    "Consistency": (samplers.Consistency(), [0, 1, 2], [1, 2, 5]),
    "EulerMaruyama": (samplers.EulerMaruyama(), [0, 1, 2], [1, 2, 5]),
    "Optax": (samplers.Optax(optax.sgd(0.1)), [0, 1, 2], [1, 2, 5]),
    "DPMSolver2M": (samplers.DPMSolver2M(), [0, 1, 2], [1, 2, 5]),
    "GHFilter": (samplers.GHFilter(), [0, 1, 2], [1, 2, 5]),
    "Heun": (samplers.Heun(), [0, 1, 1, 2, 2], [1, 3, 9]),
    "Heun, frozen": (samplers.Heun(frozen=True), [0, 1, 1, 2, 2, 2], [1, 2, 5]),
    "EDM": (samplers.EDM(), [0, 1, 1, 2, 2], [1, 3, 9]),
    "PredictorCorrector": (
        samplers.PredictorCorrector(num_corrections=2),
        [0, 1, 1, 1, 2, 2, 2],
        [1, 4, 13],
    ),
    "PredictorCorrector, frozen": (
        samplers.PredictorCorrector(num_corrections=2, frozen=True),
        [0, 1, 1, 1, 2, 2, 2, 2, 2],
        [1, 2, 5],
    ),
    "AnnealedLangevin": (
        samplers.AnnealedLangevin(num_steps=3),
        [0, 0, 0, 1, 1, 1, 2],
        [1, 4, 13],
    ),
    "AnnealedLangevin, frozen": (
        samplers.AnnealedLangevin(num_steps=3, frozen=True),
        [0, 0, 0, 1, 1, 1, 2, 2, 2],
        [1, 2, 5],
    ),
}


def toy(y, sigma):
    """A denoiser that is no Gaussian's."""
    return jnp.tanh(2 * y) / (1 + 0.3 * sigma)


@functools.partial(jax.jit, compiler_options=compilation.compiler_options(quick=True))
def walk(sampler, y, sigmas):
    """What a sampler asks, and where it is, over all answers of a grid; of the toy."""
    answers = sampler.num_rounds(len(sigmas)) * sampler.answers_per_evaluation

    def step(carry, k):
        y, memory = carry
        key = jax.random.fold_in(KEY, k)
        asked, level, memory = sampler.query(key, y, memory, sigmas, k)
        clean = toy(asked, level)
        y, reached, memory = sampler.update(key, asked, memory, clean, sigmas, k)
        return (y, memory), (asked, level, y, reached)

    return jax.lax.scan(step, (y, sampler.init(y)), jnp.arange(answers))[1]


def end(sampler, y, sigmas):
    """The point at the last level, before it moves there."""
    last = (sampler.num_rounds(len(sigmas)) - 1) * sampler.answers_per_evaluation
    return np.asarray(walk(sampler, y, sigmas)[0][last])


def start(seed: int, sigma: float) -> np.ndarray:
    return sigma * np.random.default_rng(seed).normal(size=(6, 2))


def test_every_sampler_is_listed():
    public = {name for name in vars(samplers) if hasattr(getattr(samplers, name), "query")}

    assert {type(sampler).__name__ for sampler, *_ in ALL.values()} == public


@pytest.mark.parametrize("name", ALL)
def test_a_sampler_asks_for_the_levels_of_the_grid(name):
    sampler, levels, _ = ALL[name]
    sigmas = np.array([3.0, 2.0, 1.0], np.float32)

    _, asked, *_ = walk(sampler, normal(0, 6, 2), sigmas)

    assert np.array_equal(asked, sigmas[levels])


@pytest.mark.parametrize("name", ALL)
def test_a_sampler_says_how_many_evaluations_it_needs(name):
    sampler, _, rounds = ALL[name]

    assert [sampler.num_rounds(levels) for levels in (1, 2, 5)] == rounds


@pytest.mark.parametrize("name", ALL)
def test_a_sampler_reaches_the_last_level_with_its_last_evaluation(name):
    sampler, levels, _ = ALL[name]

    first = (sampler.num_rounds(3) - 1) * sampler.answers_per_evaluation

    assert levels[first] == 2
    assert len(levels) == first + sampler.answers_per_evaluation


@pytest.mark.parametrize("name", [*ALL, "EDM with churn"])
def test_a_sampler_asks_where_its_point_is(name):
    # Only then is an individual evaluated where it lives.
    sampler = samplers.EDM(churn=4.0) if name not in ALL else ALL[name][0]
    sigmas = np.array([3.0, 2.0, 1.0], np.float32)

    asked, level, y, reached = walk(sampler, normal(0, 6, 2), sigmas)

    assert np.array_equal(asked[1:], y[:-1])
    assert np.array_equal(level[1:], reached[:-1])


@pytest.mark.parametrize("name", ["Heun", "PredictorCorrector", "AnnealedLangevin"])
def test_frozen_or_not_the_answers_are_used_alike(name):
    sigmas = np.array([3.0, 2.0, 1.0], np.float32)

    asked, *_ = walk(ALL[name][0], normal(0, 6, 2), sigmas)
    frozen, *_ = walk(ALL[f"{name}, frozen"][0], normal(0, 6, 2), sigmas)

    # Programs of other lengths: float32 rounding.
    np.testing.assert_allclose(frozen[: len(asked)], asked, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ALL)
def test_an_update_keeps_types(name):
    sampler, y = ALL[name][0], normal(0, 6, 2)
    sigmas, memory = np.array([3.0, 2.0], np.float32), ALL[name][0].init(normal(0, 6, 2))

    after = jax.eval_shape(sampler.update, KEY, y, memory, y, sigmas, np.int32(0))

    kinds = lambda tree: jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), tree)
    assert kinds(after[0]) == ((6, 2), np.float32)
    assert kinds(after[2]) == kinds(memory)


@pytest.mark.parametrize(
    "sampler",
    [
        samplers.DDIM(eta=0.0),
        samplers.EulerMaruyama(rate=0.0),
        samplers.Heun(),
        samplers.DPMSolver2M(),
        samplers.GHFilter(g=0.5, h=0.3, eta=0.0),
        pytest.param(samplers.EDM(), id="EDM"),
    ],
)
@pytest.mark.usefixtures("float64")
def test_for_a_constant_denoiser_a_huge_step_keeps_the_noise_of_a_point(sampler):
    # given the grid whose first step is the longest, by a factor of 3500
    sigmas, clean = np.asarray(noise.Linear().sigmas(10)), np.full((6, 2), 5.0)
    eps, memory = start(0, 1.0), sampler.init(clean)
    y = clean + sigmas[0] * eps

    for k in range(sampler.num_rounds(10) - 1):
        y, _, memory = UPDATE(sampler, KEY, y, memory, clean, sigmas, k)

    # Float64 rounding of points of 1e4.
    np.testing.assert_allclose(y, clean + sigmas[-1] * eps, atol=1e-10)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: samplers.Ancestral(-0.5), r"Ancestral\.sigma_data: .* >= 0"),
        (lambda: samplers.EulerMaruyama(rate=-1.0), r"EulerMaruyama\.rate: .* >= 0"),
        (lambda: samplers.Optax(optax.sgd(1.0), eta=2.0), r"Optax\.eta: .* <= 1"),
        (lambda: samplers.DPMSolver2M(trust=1.1), r"DPMSolver2M\.trust: .* <= 1"),
        (lambda: samplers.GHFilter(g=-0.1), r"GHFilter\.g: .* >= 0"),
        (lambda: samplers.Heun(eta=1.1), r"Heun\.eta: .* <= 1"),
        (lambda: samplers.EDM(churn=-1.0), r"EDM\.churn: .* >= 0"),
        (lambda: samplers.EDM(noise_scale=0.0), r"EDM\.noise_scale: .* > 0"),
        (lambda: samplers.PredictorCorrector(step=0.0), r"\.step: .* > 0 and <= 1"),
        (lambda: samplers.PredictorCorrector(num_corrections=0), "num_corrections: .* 1"),
        (lambda: samplers.AnnealedLangevin(step=1.5), r"\.step: .* > 0 and <= 1"),
        (lambda: samplers.AnnealedLangevin(num_steps=0), "num_steps: .* 1"),
    ],
)
def test_a_number_out_of_its_range_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        validation.validate(make())


# What contains what


@pytest.mark.usefixtures("float64")
def test_without_noise_the_path_of_ddim_is_the_papers():
    sigmas, alphas = levels("cosine", 10), 1 / (1 + levels("cosine", 10) ** 2)
    y = start(1, sigmas[0])

    x = y * np.sqrt(alphas[0])
    for s, alpha, alpha_next in zip(sigmas, alphas, alphas[1:], strict=False):
        x = paper_step(x, np.asarray(toy(x / np.sqrt(alpha), s)), alpha, alpha_next, 0.0, 0)

    got = end(samplers.DDIM(eta=0.0), y, sigmas) * np.sqrt(alphas[-1])
    np.testing.assert_allclose(got, x, atol=1e-10)


@pytest.mark.usefixtures("float64")
def test_without_noise_ddim_is_eulers_method_of_flow_matching():
    # x_t = (1 - t) x0 + t eps moves with eps_hat - x0_hat; y is x_t / (1 - t).
    times = np.linspace(0.98, 0.02, 12)
    sigmas = times / (1 - times)
    y = start(2, sigmas[0])

    x = (1 - times[0]) * y
    for t, t_next in itertools.pairwise(times):
        clean = np.asarray(toy(x / (1 - t), t / (1 - t)))
        x = x + (t_next - t) * ((x - (1 - t) * clean) / t - clean)

    got = end(samplers.DDIM(eta=0.0), y, sigmas) * (1 - times[-1])
    np.testing.assert_allclose(got, x, atol=1e-10)


@pytest.mark.parametrize(
    ("sampler", "same"),
    [
        (samplers.EulerMaruyama(rate=0.0), samplers.DDIM(eta=0.0)),
        (samplers.GHFilter(g=1.0, h=0.0, eta=0.4), samplers.DDIM(eta=0.4)),
        (samplers.DPMSolver2M(eta=0.4, trust=0.0), samplers.DDIM(eta=0.4)),
    ],
)
@pytest.mark.usefixtures("float64")
def test_a_sampler_contains_ddim(sampler, same):
    sigmas = np.geomspace(20.0, 0.1, 8)
    y = start(3, 20.0)

    np.testing.assert_allclose(end(sampler, y, sigmas), end(same, y, sigmas), rtol=1e-10)


@pytest.mark.usefixtures("float64")
def test_ancestral_sampling_that_knows_the_clean_point_is_ddim():
    y, clean, eps = start(3, 20.0), start(4, 1.0), start(5, 1.0)

    got = samplers.ancestral_step(y, clean, 20.0, 3.0, 0.0, eps)

    want = samplers.ddim_step(y, clean, 20.0, 3.0, 1.0, eps)
    np.testing.assert_allclose(got, want, rtol=1e-10)


@pytest.mark.usefixtures("float64")
def test_the_last_ancestral_step_adds_no_noise():
    y, clean, eps = start(3, 1.0), start(4, 1.0), start(5, 1.0)

    np.testing.assert_array_equal(
        samplers.ancestral_step(y, clean, 1.0, 0.0, 1.0, eps), clean
    )


@pytest.mark.parametrize("eta", [0.0, 0.6])
@pytest.mark.usefixtures("float64")
def test_gradient_descent_with_the_right_rate_is_ddim(eta):
    # kept is sigma' / sigma with eta 0: then the rate is sigma (sigma - sigma').
    sigmas, y, clean = np.array([3.0, 1.2]), start(4, 3.0), start(5, 1.0)
    kept = np.sqrt(1.2**2 - (eta * 1.2 / 3.0) ** 2 * (3.0**2 - 1.2**2)) / 3.0
    descent = samplers.Optax(optax.sgd(3.0**2 * (1 - kept)), eta=eta)

    moved, sigma, _ = UPDATE(descent, KEY, y, descent.init(y), clean, sigmas, 0)

    want, *_ = UPDATE(samplers.DDIM(eta), KEY, y, (), clean, sigmas, 0)
    assert float(sigma) == 1.2
    np.testing.assert_allclose(moved, want, rtol=1e-10)


@pytest.mark.usefixtures("float64")
def test_an_optimiser_keeps_its_state():
    # Momentum of 1/2, by hand.
    sigmas, clean = np.array([3.0, 2.0, 1.0, 0.5]), start(6, 1.0)
    y = want = start(7, 3.0)
    sampler = samplers.Optax(optax.sgd(0.1, momentum=0.5))
    memory, momentum = sampler.init(y), 0.0

    for k in range(3):
        y, _, memory = UPDATE(sampler, KEY, y, memory, clean, sigmas, k)
        momentum = 0.5 * momentum + (want - clean) / sigmas[k] ** 2
        want = want - 0.1 * momentum

    np.testing.assert_allclose(y, want, rtol=1e-10)


def test_consistency_forgets_the_point():
    y, other, clean = normal(0, 3, 6, 2)
    sigmas = np.array([3.0, 2.0], np.float32)

    moved = [
        UPDATE(samplers.Consistency(), KEY, point, (), clean, sigmas, np.int32(0))[0]
        for point in (y, other)
    ]

    assert np.array_equal(*moved)


# Answers of several generations


def filtered(sampler, answers):
    """Estimates of a filter over given answers."""
    sigmas, y = np.geomspace(9.0, 0.1, len(answers)), start(8, 9.0)
    memory, estimates = sampler.init(y), []
    for k, clean in enumerate(answers):
        y, _, memory = UPDATE(sampler, KEY, y, memory, clean, sigmas, k)
        estimates.append(memory[0])
    return np.stack(estimates)


@pytest.mark.usefixtures("float64")
def test_the_filter_is_its_formula():
    answers, g, h = np.random.default_rng(9).normal(size=(7, 6, 2)), 0.6, 0.3

    estimate, trend, want = answers[0], 0.0, [answers[0]]
    for clean in answers[1:]:
        residual = clean - (estimate + trend)
        estimate, trend = estimate + trend + g * residual, trend + h * residual
        want.append(estimate)

    got = filtered(samplers.GHFilter(g=g, h=h), answers)
    np.testing.assert_allclose(got, want, rtol=1e-10, atol=1e-12)


@pytest.mark.usefixtures("float64")
def test_without_trend_the_filter_is_a_moving_average():
    answers, g = np.random.default_rng(10).normal(size=(7, 6, 2)), 0.3
    shares = g * (1 - g) ** np.arange(6, -1, -1)
    shares[0] /= g  # the first answer stands for all before

    got = filtered(samplers.GHFilter(g=g, h=0.0), answers)[-1]

    np.testing.assert_allclose(got, np.tensordot(shares, answers, 1), rtol=1e-10)


@pytest.mark.usefixtures("float64")
def test_with_trend_the_filter_catches_up_with_a_steady_drift():
    answers = np.arange(40.0)[:, None, None] * np.ones((6, 2))

    behind = answers - filtered(samplers.GHFilter(g=0.7, h=0.3), answers)

    # Errors shrink by sqrt(1 - g) = 0.55 a step or faster; 1 - g without trend stays.
    assert np.abs(behind[-1]).max() < 1e-6
    left = answers - filtered(samplers.GHFilter(g=0.7, h=0.0), answers)
    np.testing.assert_allclose(left[-1], 0.3 / 0.7, rtol=1e-6)


@pytest.mark.usefixtures("float64")
def test_answers_that_are_linear_in_log_sigma_are_extrapolated_to_the_middle_of_a_step():
    answer = lambda sigma: 0.3 + 0.7 * np.log(sigma)

    ahead = samplers.extrapolate(answer(4.0), answer(6.0), 6.0, 4.0, 3.0, 1.0)

    np.testing.assert_allclose(ahead, answer(np.sqrt(4.0 * 3.0)), rtol=1e-12)


@pytest.mark.usefixtures("float64")
def test_after_a_short_step_a_long_one_is_not_extrapolated_further_than_the_last_change():
    ahead = samplers.extrapolate(1.0, 0.6, 4.1, 4.0, 0.001, 0.5)

    np.testing.assert_allclose(ahead, 1.0 + 0.5 * 0.4, rtol=1e-12)


@pytest.mark.parametrize("previous", [0.0, 7.0])
def test_between_equal_levels_nothing_is_extrapolated(previous):
    assert float(samplers.extrapolate(1.0, previous, 4.0, 4.0, 2.0, 1.0)) == 1.0


def test_the_first_step_has_nothing_to_extrapolate():
    y, memory, clean = normal(0, 3, 6, 2)
    arguments = (clean, np.array([3.0, 2.0], np.float32), np.int32(0))

    moved = UPDATE(samplers.DPMSolver2M(), KEY, y, memory, *arguments)[0]

    want = UPDATE(samplers.DDIM(eta=0.0), KEY, y, (), *arguments)[0]
    np.testing.assert_allclose(moved, want, rtol=1e-6)  # float32


# Answers at both ends of a step


@pytest.mark.parametrize("eta", [0.0, 0.7])
@pytest.mark.usefixtures("float64")
def test_heun_steps_from_the_start_with_the_mean_of_both_answers(eta):
    sigmas, y = np.array([3.0, 1.2]), start(11, 3.0)
    clean, clean_next = start(12, 1.0), start(13, 1.0)
    sampler = samplers.Heun(eta)

    arrived, _, memory = UPDATE(sampler, KEY, y, sampler.init(y), clean, sigmas, 0)
    other = jax.random.key(1)  # no fresh noise with the second answer
    corrected, *_ = UPDATE(sampler, other, arrived, memory, clean_next, sigmas, 1)

    mean = (clean + clean_next) / 2
    want, *_ = UPDATE(samplers.DDIM(eta), KEY, y, (), mean, sigmas, 0)
    np.testing.assert_allclose(corrected, want, rtol=1e-10)


@pytest.mark.usefixtures("float64")
def test_without_churn_edm_is_heuns_method_in_sigma():
    # Karras et al., 2022, algorithm 1 with sigma(t) = t and s(t) = 1.
    sigmas = np.asarray(noise.EDM(0.1, 20.0).sigmas(9))
    y = want = start(14, 20.0)

    for s, s_next in itertools.pairwise(sigmas):
        slope = (want - np.asarray(toy(want, s))) / s
        arrived = want + (s_next - s) * slope
        slope_next = (arrived - np.asarray(toy(arrived, s_next))) / s_next
        want = want + (s_next - s) * (slope + slope_next) / 2

    np.testing.assert_allclose(end(samplers.EDM(), y, sigmas), want, rtol=1e-10)


@pytest.mark.parametrize(
    ("churn", "gamma"), [(0.0, 0.0), (0.8, 0.1), (1e3, np.sqrt(2.0) - 1.0)]
)
@pytest.mark.usefixtures("float64")
def test_churn_raises_levels_inside_its_bounds_but_neither_the_first_nor_the_last(
    churn, gamma
):
    # Levels 2, 3 and 4 are inside, bounds included.
    sigmas = np.array([9.0, 6.0, 4.0, 3.0, 2.0, 1.0, 0.7, 0.5])
    sampler = samplers.EDM(churn, churn_min=2.0, churn_max=4.0)
    wide = samplers.EDM(churn)

    asked, wide_asked = (walk(s, start(15, 9.0), sigmas)[1] for s in (sampler, wide))

    # Every other answer is asked for at the start of a step.
    inside = np.array([0, 0, 1, 1, 1, 0, 0, 0])
    np.testing.assert_allclose(asked[0::2], sigmas * (1 + gamma * inside), rtol=1e-12)
    everywhere = np.array([0, 1, 1, 1, 1, 1, 1, 0])
    np.testing.assert_allclose(wide_asked[0::2], sigmas * (1 + gamma * everywhere))
    np.testing.assert_allclose(asked[1::2], sigmas[1:], rtol=1e-12)


# Grids that are too coarse


@pytest.mark.parametrize(
    ("sampler", "ratio"),
    [
        (samplers.EDM(), 3.0),
        (samplers.EulerMaruyama(rate=1.0), 2.0),
        (samplers.EulerMaruyama(rate=0.5), 3.0),
    ],
)
def test_a_sampler_warns_of_a_grid_on_which_it_overshoots(sampler, ratio):
    name = type(sampler).__name__
    message = rf"{name} overshoots .* factor of more than {ratio:g} .* at step 1\. Take"

    with pytest.warns(UserWarning, match=message):
        validation.check_grid(sampler, noise.Levels([5.0, 4.0, 3.9 / ratio]), 3)


@pytest.mark.parametrize(
    ("sampler", "ratio"),
    [
        (samplers.EDM(), 2.9),
        (samplers.EulerMaruyama(rate=1.0), 1.9),
        (samplers.EulerMaruyama(rate=0.0), 1e4),
        (samplers.DDIM(), 1e4),
        (samplers.Heun(), 1e4),
        (samplers.DPMSolver2M(), 1e4),
        (samplers.PredictorCorrector(), 1e4),
    ],
)
def test_of_a_grid_that_is_fine_enough_nothing_is_said(sampler, ratio):
    # Warnings are errors in these tests.
    validation.check_grid(sampler, noise.Levels([4.0, 4.0 / ratio]), 2)
    validation.check_grid(sampler, noise.Levels([4.0]), 1)


def test_of_numbers_that_are_traced_nothing_is_said():
    def run(sampler, values):
        validation.check_grid(sampler, noise.Levels(values), 2)
        return values

    jax.jit(run)(samplers.EulerMaruyama(), np.array([4.0, 0.1]))


@pytest.mark.parametrize(("rate", "beyond"), [(1.0, 2.0), (0.5, 3.0)])
def test_euler_maruyama_goes_beyond_the_clean_point_where_it_warns(rate, beyond):
    step = lambda ratio: samplers.euler_maruyama_step(1.0, 0.0, ratio, 1.0, rate, 0.0)

    assert float(step(0.95 * beyond)) > 0 > float(step(1.05 * beyond))
