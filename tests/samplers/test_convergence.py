"""Samplers against theory, in float64: orders of convergence, and the variance at the end.

Clean points are Gaussian mixtures, whose denoiser is exact: a sampler has no error but its
own. On a single Gaussian of mean 0 and variance v the denoiser is linear, ``x0_hat = a y``
with ``a = v / (v + s²)``, every step is a linear map of point, memory and fresh noise, and
the covariance of point and memory follows from the maps alone: nothing is sampled.
"""

import functools
import itertools
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from often import often

import diffevo_jax as de
from diffevo_jax import noise, samplers
from diffevo_jax.denoisers import oracles

#: Older releases of JAX have it in another place.
ENABLE_X64 = jax.enable_x64 if hasattr(jax, "enable_x64") else jax.experimental.enable_x64
HIGH, LOW = 20.0, 0.05
STEPS = (64, 128, 256, 512)
#: Variances of clean points: below, near and above that of the noise for most of a grid.
VARIANCES = np.array([0.01, 1.0, 9.0])


@pytest.fixture(autouse=True)
def float64():
    with ENABLE_X64(True):
        yield


def power(rho: float, n: int, high: float = HIGH, low: float = LOW) -> np.ndarray:
    """n levels that are uniform in sigma^(1 / rho)."""
    return np.linspace(high ** (1 / rho), low ** (1 / rho), n) ** rho


GRIDS = {
    "geometric": lambda n: np.geomspace(HIGH, LOW, n),
    "edm": lambda n: power(7.0, n),
    "square roots": lambda n: power(2.0, n),
    "angles": lambda n: np.tan(np.linspace(np.arctan(HIGH), np.arctan(LOW), n)),
}


def padded(levels: np.ndarray, length: int) -> np.ndarray:
    """Repeat the last level, where nothing moves: grids of all lengths share a program."""
    return np.pad(levels, (0, length - len(levels)), mode="edge")


def slope(errors: np.ndarray) -> float:
    """Order of convergence: minus the slope of log error over log steps."""
    return -np.polyfit(np.log(STEPS), np.log(errors), 1)[0]


# Order, on mixtures


@functools.cache
def problem(dim: int, count: int) -> tuple[oracles.GaussianMixture, np.ndarray]:
    """A mixture, and 96 points at the first level."""
    key_mixture, key_start = jax.random.split(jax.random.key(dim))
    mixture = oracles.random_mixture(key_mixture, count, dim)
    clean = mixture.sample(key_start, 96)
    eps = np.random.default_rng(dim).normal(size=(96, dim))
    return mixture, np.asarray(clean) + HIGH * eps


def sample(sampler, mixture, sigmas, start):
    return de.sample(
        jax.random.key(0),
        mixture.denoise,
        noise.Levels(sigmas),
        sampler,
        start.shape,
        num_levels=len(sigmas),
        start=start,
        final_denoise=False,
    )


#: One program for all the grids of a length: (sampler, mixture, (G, T), (N, D)).
ENDS = jax.jit(
    jax.vmap(sample, in_axes=(None, None, 0, None)), compiler_options=de.compiler_options()
)


@jax.jit
def flow(mixture, start):
    """The probability flow by Runge and Kutta's method of fourth order in log sigma."""
    slope_of = lambda y, t: y - mixture.denoise(y, jnp.exp(t))
    times, step = jnp.linspace(np.log(HIGH), np.log(LOW), 1025, retstep=True)

    def advance(y, t):
        a = slope_of(y, t)
        b = slope_of(y + step / 2 * a, t + step / 2)
        c = slope_of(y + step / 2 * b, t + step / 2)
        d = slope_of(y + step * c, t + step)
        return y + step / 6 * (a + 2 * b + 2 * c + d), None

    return jax.lax.scan(advance, start, times[:-1])[0]


def median_errors(sampler, dim: int, count: int, names, steps) -> np.ndarray:
    """Median error over the starts, (grids, numbers of steps)."""
    mixture, start = problem(dim, count)
    grids = [padded(GRIDS[name](n + 1), STEPS[-1] + 1) for name in names for n in steps]
    ends = ENDS(sampler, mixture, np.stack(grids), start)
    distance = jnp.linalg.norm(ends - flow(mixture, start), axis=-1)
    return np.asarray(jnp.median(distance, axis=1)).reshape(len(names), len(steps))


def orders(sampler, dim: int, count: int, names: tuple[str, ...]) -> list[float]:
    """Fitted order on each grid, of the median error over the starts."""
    return [slope(row) for row in median_errors(sampler, dim, count, names, STEPS)]


DETERMINISTIC = {
    "DDIM": (samplers.DDIM(eta=0.0), 1),
    "EulerMaruyama": (samplers.EulerMaruyama(rate=0.0), 1),
    "Heun": (samplers.Heun(), 2),
    "EDM": (samplers.EDM(), 2),
    "DPMSolver2M": (samplers.DPMSolver2M(), 2),
}


@pytest.mark.parametrize("name", often(3, DETERMINISTIC))
@pytest.mark.parametrize(
    ("dim", "count"),
    [
        pytest.param(2, 2, marks=pytest.mark.slow),
        (8, 5),  # the programs of the tests below
        pytest.param(50, 20, marks=pytest.mark.slow),
    ],
)
def test_a_deterministic_sampler_has_its_order(name, dim, count):
    sampler, order = DETERMINISTIC[name]

    fitted = orders(sampler, dim, count, ("geometric", "edm"))

    # Errors of the next order bend the line, by less than 0.1 from 64 steps on.
    np.testing.assert_allclose(fitted, order, atol=0.1)


@pytest.mark.parametrize(("name", "answers"), [("Heun", 2), ("EDM", 2), ("DPMSolver2M", 1)])
def test_second_order_beats_first_at_equal_evaluations(name, answers):
    names, budgets = ("geometric", "edm"), np.array([64, 128, 256, 512])
    first = median_errors(DETERMINISTIC["DDIM"][0], 8, 5, names, budgets)

    second = median_errors(DETERMINISTIC[name][0], 8, 5, names, budgets // answers)

    # By a factor that doubles with the evaluations, as orders 1 and 2 say.
    gain = first / second
    assert gain.min() > 3
    np.testing.assert_allclose(gain[:, 1:] / gain[:, :-1], 2, rtol=0.25)


@pytest.mark.parametrize("name", ["DDIM", "Heun"])
def test_grids_with_the_same_ends_lead_to_the_same_points(name):
    # given the ends on four grids, and from half as many steps an estimate of their errors
    sampler, order = DETERMINISTIC[name]
    mixture, start = problem(8, 5)
    lengths = (STEPS[-2] + 1, STEPS[-1] + 1)
    grids = [padded(grid(n), STEPS[-1] + 1) for grid in GRIDS.values() for n in lengths]
    ends = np.asarray(ENDS(sampler, mixture, np.stack(grids), start))
    short, long = ends[0::2], ends[1::2]
    errors = np.linalg.norm(short - long, axis=-1) / (2**order - 1)

    # then they are small beside the narrowest component, 0.15, and two grids differ by no
    # more than the errors of both. Errors of the next order move an estimate by 3 %.
    between = np.linalg.norm(long[:, None] - long, axis=-1)
    assert errors.max() < 0.015
    assert (between <= 1.1 * (errors[:, None] + errors)).all()


# Variance, on a Gaussian


def gaussian(sampler, sigmas, v, excess):
    """Variance of the points after every answer, ``(A, len(v))``.

    The points start with ``excess`` times the variance that they should have.
    """
    answers = (sampler.num_rounds(len(sigmas)) - 1) * sampler.answers_per_evaluation
    still = jnp.zeros((1, 1))

    def one(v):
        mean, restore = ravel_pytree((still, sampler.init(still)))

        def answer(state, eps, k):
            y, memory = restore(state)
            key = jax.random.key(0)
            with mock.patch.object(jax.random, "normal", return_value=eps):
                y, sigma, memory = sampler.query(key, y, memory, sigmas, k)
                clean = v / (v + sigma**2) * y
                y, _, memory = sampler.update(key, y, memory, clean, sigmas, k)
            return ravel_pytree((y, memory))[0]

        def step(carry, k):
            mean, covariance = carry
            of_state, of_noise = jax.jacfwd(answer, argnums=(0, 1))(mean, still, k)
            fresh = of_noise.reshape(-1)
            covariance = of_state @ covariance @ of_state.T + jnp.outer(fresh, fresh)
            return (answer(mean, still, k), covariance), covariance[0, 0]

        start = jnp.zeros((len(mean), len(mean)))
        start = start.at[0, 0].set(excess * (v + sigmas[0] ** 2))
        return jax.lax.scan(step, (mean, start), jnp.arange(answers))[1]

    return jax.vmap(one, out_axes=1)(v)


GAUSSIAN = jax.jit(gaussian, compiler_options=de.compiler_options(quick=True))


def variances(sampler, sigmas, v=VARIANCES, excess=1.0) -> np.ndarray:
    """Variance of the points at every level after the first, ``(len(sigmas) - 1, V)``."""
    every = np.asarray(GAUSSIAN(sampler, sigmas, v, excess))
    answers = len(every) // (len(sigmas) - 1)
    return every[answers - 1 :: answers]


def paper_ddim(sigmas, v, eta):
    """Song, Meng, Ermon, 2020, eqs. 12 and 16, in their coordinates."""
    now, out = v + sigmas[0] ** 2, []
    for s, s_next in itertools.pairwise(sigmas):
        alpha, alpha_next = 1 / (1 + s**2), 1 / (1 + s_next**2)
        tau = eta * np.sqrt((1 - alpha_next) / (1 - alpha) * (1 - alpha / alpha_next))
        clean = v / (v + s**2) / np.sqrt(alpha)  # x0_hat, in units of x
        eps = (1 - np.sqrt(alpha) * clean) / np.sqrt(1 - alpha)
        kept = np.sqrt(alpha_next) * clean + np.sqrt(1 - alpha_next - tau**2) * eps
        now = (kept**2 * alpha * now + tau**2) / alpha_next
        out.append(now)
    return out


def paper_ddpm(sigmas, v, sigma_data):
    """Ho et al., 2020, algorithm 2, with the variance of section 3.2 for 0 or 1."""
    now, out = v + sigmas[0] ** 2, []
    for s, s_next in itertools.pairwise(sigmas):
        bar, bar_next = 1 / (1 + s**2), 1 / (1 + s_next**2)
        alpha = bar / bar_next
        beta = 1 - alpha
        tau2 = beta if sigma_data else (1 - bar_next) / (1 - bar) * beta
        eps = (1 - v / (v + s**2)) / np.sqrt(1 - bar) / np.sqrt(1 + s**2)
        kept = (1 / np.sqrt(1 + s**2) - beta / np.sqrt(1 - bar) * eps) / np.sqrt(alpha)
        now = (kept**2 * now + tau2) / bar_next
        out.append(now)
    return out


def paper_euler_maruyama(sigmas, v, rate):
    """Karras et al., 2022, eq. 6, with the time sigma and beta = rate / sigma."""
    now, out = v + sigmas[0] ** 2, []
    for s, s_next in itertools.pairwise(sigmas):
        step, score = s - s_next, -1 / (v + s**2)  # score in units of y
        kept = 1 + step * s * score + rate / s * step * s**2 * score
        now = kept**2 * now + 2 * rate / s * step * s**2
        out.append(now)
    return out


def paper_sde_dpm_solver(sigmas, v):
    """Lu et al., 2022, the stochastic second-order multistep solver, in log-SNR."""
    lam, pair, out = -np.log(sigmas), np.zeros((2, 2, len(v))), []
    pair[0, 0] = v + sigmas[0] ** 2  # covariance of the point and the one before
    for i, (s, s_next) in enumerate(itertools.pairwise(sigmas)):
        h = lam[i + 1] - lam[i]
        r = (lam[i] - lam[i - 1]) / h if i else np.inf
        fresh = 1 - np.exp(-2 * h)
        a, before = v / (v + s**2), v / (v + sigmas[max(i - 1, 0)] ** 2)
        kept = s_next / s * np.exp(-h) + fresh * (1 + 1 / (2 * r)) * a
        old = -fresh / (2 * r) * before
        now = kept**2 * pair[0, 0] + 2 * kept * old * pair[0, 1] + old**2 * pair[1, 1]
        now = now + s_next**2 * fresh
        crossed = kept * pair[0, 0] + old * pair[0, 1]
        pair = np.array([[now, crossed], [crossed, pair[0, 0]]])
        out.append(now)
    return out


def paper_langevin(now, s, v, step, count):
    """Song and Ermon, 2019, algorithm 1, with alpha = 2 step s^2."""
    for _ in range(count):
        now = (1 - step * s**2 / (v + s**2)) ** 2 * now + 2 * step * s**2
    return now


def paper_annealed_langevin(sigmas, v, step, count):
    now, out = v + sigmas[0] ** 2, []
    for s in sigmas[:-1]:
        now = paper_langevin(now, s, v, step, count)
        out.append(now)
    return out


def paper_predictor_corrector(sigmas, v, step, count):
    """Song et al., 2020: ancestral sampling (appendix F), and correctors (algorithm 4)."""
    now, out = v + sigmas[0] ** 2, []
    for s, s_next in itertools.pairwise(sigmas):
        fall = s**2 - s_next**2
        now = (1 - fall / (v + s**2)) ** 2 * now + s_next**2 * fall / s**2
        now = paper_langevin(now, s_next, v, step, count)
        out.append(now)
    return out


def paper_edm(sigmas, v, churn, low, high, scale):
    """Karras et al., 2022, algorithm 2: churn, then Heun. None at both ends of the grid."""
    now, out = v + sigmas[0] ** 2, []
    for i, (s, s_next) in enumerate(itertools.pairwise(sigmas)):
        gamma = min(churn / len(sigmas), np.sqrt(2) - 1) if i and low <= s <= high else 0
        raised = s * (1 + gamma)
        now = now + (raised**2 - s**2) * scale**2
        if i:
            out.append(now)  # the library churns on arrival
        slope = raised / (v + raised**2)
        arrived = 1 + (s_next - raised) * slope
        slope_next = s_next / (v + s_next**2) * arrived
        now = (1 + (s_next - raised) * (slope + slope_next) / 2) ** 2 * now
    return [*out, now]


def paper_consistency(sigmas, v):
    """Song et al., 2023, algorithm 1."""
    now, out = v + sigmas[0] ** 2, []
    for s, s_next in itertools.pairwise(sigmas):
        now = (v / (v + s**2)) ** 2 * now + s_next**2
        out.append(now)
    return out


STOCHASTIC = {
    "DDIM(0.3)": (samplers.DDIM(eta=0.3), paper_ddim, (0.3,)),
    "DDIM(1)": (samplers.DDIM(eta=1.0), paper_ddim, (1.0,)),
    "Ancestral(0)": (samplers.Ancestral(0.0), paper_ddpm, (0,)),
    "Ancestral(1)": (samplers.Ancestral(1.0), paper_ddpm, (1,)),
    "EulerMaruyama": (samplers.EulerMaruyama(rate=1.0), paper_euler_maruyama, (1.0,)),
    "DPMSolver2M": (samplers.DPMSolver2M(eta=1.0), paper_sde_dpm_solver, ()),
    "PredictorCorrector": (
        samplers.PredictorCorrector(num_corrections=2, step=0.1),
        paper_predictor_corrector,
        (0.1, 2),
    ),
    "AnnealedLangevin": (
        samplers.AnnealedLangevin(num_steps=3, step=0.4),
        paper_annealed_langevin,
        (0.4, 3),
    ),
    "EDM": (samplers.EDM(10.0, 0.2, 4.0, 1.1), paper_edm, (10.0, 0.2, 4.0, 1.1)),
    "Consistency": (samplers.Consistency(), paper_consistency, ()),
}


@pytest.mark.parametrize("grid", ["geometric", "edm"])
@pytest.mark.parametrize("name", STOCHASTIC)
def test_the_variance_at_every_level_is_that_of_the_published_sampler(name, grid):
    sampler, paper, arguments = STOCHASTIC[name]
    sigmas = GRIDS[grid](41)

    got = variances(sampler, sigmas)

    # Float64 rounding of 40 steps.
    want = paper(sigmas, VARIANCES, *arguments)
    np.testing.assert_allclose(got, want, rtol=1e-10)


WEAK = {
    "DDIM": (samplers.DDIM(eta=1.0), 1),
    "Ancestral": (samplers.Ancestral(sigma_data=0.5), 1),
    "EulerMaruyama": (samplers.EulerMaruyama(rate=1.0), 1),
    "DPMSolver2M": (samplers.DPMSolver2M(eta=1.0), 2),
    "Heun": (samplers.Heun(eta=1.0), 2),
    "EDM": (samplers.EDM(churn=5.0), 2),
}


@pytest.mark.parametrize("name", often(2, WEAK))
def test_the_variance_at_the_end_converges_with_the_weak_order(name):
    # Fresh noise does not depend on the point. Answers then feel the noise of a step one
    # step late (2M) or at its end (Heun), which is of second order in distribution.
    sampler, order = WEAK[name]
    v = np.array([1.0, 9.0])

    ends = [variances(sampler, GRIDS["geometric"](n + 1), v)[-1] for n in STEPS]

    errors = np.abs(np.array(ends) - (v + LOW**2))
    np.testing.assert_allclose([slope(row) for row in errors.T], order, atol=0.1)


@pytest.mark.parametrize("eta", [0.3, 1.0])
def test_in_the_limit_eta_squared_is_the_rate_of_the_stochastic_equation(eta):
    # given points of too great a variance, which noise repairs at a rate
    ends = lambda sampler, n: variances(
        sampler, GRIDS["geometric"](n + 1), np.array([1.0]), excess=4.0
    )[-1, 0]

    apart = [
        abs(ends(samplers.DDIM(eta), n) - ends(samplers.EulerMaruyama(eta**2), n))
        for n in STEPS
    ]

    # then the two differ by their errors, which are of first order
    assert apart[-1] < 0.02
    np.testing.assert_allclose(slope(apart), 1.0, atol=0.1)


def test_ancestral_sampling_is_exact_for_data_of_its_deviation():
    sigmas, v = np.array([30.0, 5.0, 0.3, 0.01]), np.array([0.5, 2.0]) ** 2
    want = v[:, None] + sigmas[1:] ** 2

    got = [variances(samplers.Ancestral(s), sigmas, v)[:, i] for i, s in enumerate(v**0.5)]

    np.testing.assert_allclose(got, want, rtol=1e-10)  # rounding in float64


@pytest.mark.parametrize(
    ("sigma_data", "want"), [(0.0, [-4.5, -5.2]), (1.0, [-2.7, 0.7]), (3.0, [0.5, 2.9])]
)
def test_how_much_variance_a_hundred_steps_cost_in_a_wide_and_a_narrow_direction(
    sigma_data, want
):
    # given the cosine schedule of Nichol and Dhariwal, 2021, eq. 17
    alpha_bars = np.cos((np.arange(101) / 100 + 0.008) / 1.008 * np.pi / 2) ** 2
    betas = np.minimum(1 - alpha_bars[1:] / alpha_bars[:-1], 0.999)
    sigmas = np.sqrt(1 / np.cumprod(1 - betas) - 1)[::-1]
    v = np.array([7.0, 0.557])

    end = variances(samplers.Ancestral(sigma_data), sigmas, v)[-1]

    # in percent; docs/diffusion.md rounds them
    cost = 100 * (end / (v + sigmas[-1] ** 2) - 1)
    np.testing.assert_allclose(cost, want, atol=0.06)


def test_noise_repairs_what_the_flow_keeps():
    # given points of four times the variance that they should have, and a long grid
    v, sigmas, rates = np.array([1.0]), GRIDS["geometric"](4097), [0.0, 0.5, 1.0, 2.0]
    ends = [
        variances(samplers.EulerMaruyama(rate), sigmas, v, excess=4.0)[-1, 0]
        for rate in rates
    ]
    share = (1 + LOW**2) / (1 + HIGH**2)

    excess = np.array(ends) / (1 + LOW**2) - 1

    # then the excess falls by the ratio of the variances to the power of the rate, to the
    # error of so many steps; the flow keeps all of it
    assert (np.diff(np.abs(excess)) < 0).all()
    np.testing.assert_allclose(excess, 3 * share ** np.array(rates), atol=5e-3)


def test_consistency_sampling_halves_the_variance_if_a_denoiser_answers():
    # A consistency function keeps the spread of the clean points; a posterior mean shrinks
    # it by v / (v + s²), and fresh noise gives back s² of the 2 s² that are lost.
    sigmas = GRIDS["geometric"](4097)

    end = variances(samplers.Consistency(), sigmas, np.array([9.0]))[-1]

    np.testing.assert_allclose(end, 4.5, rtol=0.01)


@pytest.mark.parametrize(
    "sampler",
    [
        samplers.DDIM(eta=0.3),
        samplers.DDIM(eta=1.0),
        samplers.DPMSolver2M(eta=1.0),
        samplers.GHFilter(g=0.5, h=0.2, eta=1.0),
        samplers.Heun(eta=1.0),
        samplers.EDM(churn=40.0),
        samplers.Consistency(),
    ],
)
def test_if_the_clean_point_is_known_huge_steps_are_exact(sampler):
    sigmas = np.array([1e4, 3.0, 1.0, 0.01])

    got = variances(sampler, sigmas, v=np.zeros(1))[-1, 0]

    np.testing.assert_allclose(got, 1e-4, rtol=1e-10)


@pytest.mark.parametrize(
    ("sampler", "ratio"),
    [
        # (1 - 2 (1 - r))² / r² + 2 (1 - r) / r² for the last step of r = 1 / 100.
        (samplers.EulerMaruyama(rate=1.0), (0.98**2 + 1.98) * 1e4),
        # A correction turns a variance of 1 into 1 + step².
        (samplers.PredictorCorrector(step=0.1), 1.01),
        # Points keep the noise of the level before.
        (samplers.AnnealedLangevin(step=1.0), 2e4),
    ],
)
def test_the_plain_steps_are_not(sampler, ratio):
    sigmas = np.array([1.0, 0.01])

    got = variances(sampler, sigmas, v=np.zeros(1))[-1, 0]

    np.testing.assert_allclose(got / 1e-4, ratio, rtol=1e-10)
