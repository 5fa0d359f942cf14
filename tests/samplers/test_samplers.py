"""Samplers against their own formulas, and each other where one contains another.

Orders of convergence and variances are in ``test_convergence.py``.
"""

import functools
import itertools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from diffevo_jax import compilation, noise, samplers
from diffevo_jax.pytree import validation

#: Older releases of JAX have it in another place.
ENABLE_X64 = jax.enable_x64 if hasattr(jax, "enable_x64") else jax.experimental.enable_x64

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


def normal(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


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

    chex.assert_trees_all_equal_shapes_and_dtypes(after[0], y)
    chex.assert_trees_all_equal_shapes_and_dtypes(after[2], memory)


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
    sigmas = np.asarray(noise.Cosine().sigmas(10))
    alphas = 1 / (1 + sigmas**2)
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
    y, clean = normal(0, 2, 6, 2)
    arguments = (clean, np.array([3.0, 2.0], np.float32), np.int32(0))
    sampler = samplers.DPMSolver2M()

    moved = UPDATE(sampler, KEY, y, sampler.init(y), *arguments)[0]

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
