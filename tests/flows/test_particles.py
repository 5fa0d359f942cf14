"""Wasserstein gradient flow on known targets, against closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from diffevo_jax import flows
from diffevo_jax.denoisers import oracles
from diffevo_jax.flows import divergences

KEY = jax.random.key(0)
smoothed_kl = jax.jit(flows.smoothed_kl, static_argnames="num_samples")
ANGLES = 2 * np.pi * np.arange(8) / 8
RING = 2.0 * np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1)
GRID = np.stack(np.meshgrid(*[np.linspace(-2, 2, 5)] * 2), axis=-1).reshape(-1, 2)
WIDTH = 0.2


def normal(size: int, dim: int) -> jax.Array:
    """Points with mean exactly 0 and covariance exactly 1."""
    points = jax.random.normal(KEY, (size, dim))
    points = points - points.mean(axis=0)
    root = jnp.linalg.cholesky(points.T @ points / size)
    return jnp.linalg.solve(root, points.T).T


def test_a_gaussian_flows_as_its_moments_do() -> None:
    # given a target N(m, S) of different variances, and a start of N(0, I)
    mean, variance = jnp.array([1.0, -0.5]), jnp.array([0.5, 2.0])
    target = oracles.gaussian_mixture(mean[None], variance[None])
    time, steps = 0.6, 200
    end = jax.jit(
        lambda start: (
            flows.particle_flow(
                KEY,
                flows.GaussianRatio(target),
                start,
                num_steps=steps,
                step_size=time / steps,
            ).particles
        )
    )(normal(128, 2))
    # then d mean / dt = -(mean - m) / S and d v / dt = 2 (1 - v / S)
    np.testing.assert_allclose(
        end.mean(axis=0), mean * (1 - jnp.exp(-time / variance)), atol=0.01
    )
    # Euler's method: of first order, with a step of 0.003
    wanted = variance + (1 - variance) * jnp.exp(-2 * time / variance)
    np.testing.assert_allclose(end.var(axis=0), wanted, rtol=0.01)


def test_a_sample_of_the_target_stays() -> None:
    # given q = p = N(0, I), of which the moments are those of a sample
    ratio = flows.GaussianRatio(oracles.gaussian_mixture([[0.0, 0.0]], 1.0))

    def drift(key):
        x = jax.random.normal(key, (1024, 2))
        gradient = ratio.estimate(key, (), x, 0.1)[1]
        return jnp.sum(gradient * x) / jnp.sum(x**2)

    drifts = np.asarray(jax.jit(jax.vmap(drift))(jax.random.split(KEY, 32)), float)
    assert abs(drifts.mean()) < 3 * drifts.std(ddof=1) / np.sqrt(32)


def test_the_density_of_particles_is_solved_for() -> None:
    # given a flow from N(0, 1) to N(0, v) in two dimensions, known at any time
    v, step, count = 0.5, 0.01, 30
    target, start = (oracles.gaussian_mixture([[0.0, 0.0]], one) for one in (v, 1.0))
    ratio = flows.ExactRatio(target, start, radius=5.0, cells=64)
    x = jnp.array([[0.5, -0.3], [1.2, 0.4], [-1.0, -1.0]])

    @jax.jit
    def later():
        state = ratio.init(KEY, x)
        first = ratio.divergence(state)
        advance = lambda _, state: ratio.estimate(KEY, state, x, step)[2]
        state = jax.lax.fori_loop(0, count, advance, state)
        return first, ratio.divergence(state), *ratio.estimate(KEY, state, x, step)[:2]

    variance = v + (1 - v) * np.exp(-2 * step * count / v)
    first, last, log_ratio, gradient = later()
    # then its cells of a fifth of a deviation are second order: (0.16 / 0.7)^2 / 12
    np.testing.assert_allclose(gradient, (1 / variance - 1 / v) * x, atol=0.01)
    wanted = np.log(variance / v) + 0.5 * (x**2).sum(1) * (1 / variance - 1 / v)
    np.testing.assert_allclose(log_ratio, wanted, atol=0.01)
    for got, q in ((first, 1.0), (last, variance)):
        np.testing.assert_allclose(got, q / v - 1 - np.log(q / v), rtol=0.02)


@pytest.mark.slow
def test_with_the_exact_ratio_particles_become_a_sample_of_a_mixture() -> None:
    # given four modes
    target = oracles.gaussian_mixture(1.5 * RING[::2] / 2, 0.3**2)
    start = oracles.gaussian_mixture([[0.0, 0.0]], 1.0)
    ratio = flows.ExactRatio(target, start, radius=4.0, cells=80)

    @jax.jit
    def run(points):
        options = {"num_steps": 120, "step_size": 0.01}
        end = flows.particle_flow(KEY, ratio, points, **options).particles
        later = lambda q, _: (ratio.estimate(KEY, q, points, 0.01)[2], ratio.divergence(q))
        falling = jax.lax.scan(later, ratio.init(KEY, points), length=120)[1]
        return falling, flows.smoothed_kl(KEY, end, target, WIDTH, 512)

    divergence, end = run(start.sample(KEY, 512))
    # then the divergence of their density falls to nothing, but for rounding
    assert float(jnp.diff(divergence).max()) < 1e-6
    assert divergence[0] > 1.0
    assert abs(divergence[-1]) < 1e-4
    # and theirs ends at that of as many independent samples, for luck of the start
    drawn = [target.sample(key, 512) for key in jax.random.split(KEY, 4)]
    samples = [float(smoothed_kl(KEY, one, target, WIDTH, 512)) for one in drawn]
    assert end < 1.2 * max(samples)


def test_the_divergence_through_a_kernel_is_that_of_wider_gaussians() -> None:
    target = oracles.gaussian_mixture([[0.5, 0.0]], 0.7)
    got = smoothed_kl(KEY, normal(1024, 2), target, 0.8)
    q, p = 1 + 0.8**2, 0.7 + 0.8**2
    wanted = (q / p - 1 - np.log(q / p)) + 0.5**2 / (2 * p)
    # the mean of 1,024 numbers of deviation 0.4, three standard errors of it
    np.testing.assert_allclose(got, wanted, atol=0.04)


@pytest.mark.parametrize(
    ("means", "deviation", "spread"),
    [
        pytest.param(RING, 0.15, 1.0, id="ring"),
        pytest.param(GRID, 0.1, 1.5, id="grid", marks=pytest.mark.slow),
    ],
)
def test_particles_find_all_modes_and_the_divergence_only_falls(
    means: np.ndarray, deviation: float, spread: float
) -> None:
    target = oracles.gaussian_mixture(means, deviation**2)
    start = spread * jax.random.normal(KEY, (512, 2))

    @jax.jit
    def run(start):
        ratio = flows.SmoothedRatio(target, WIDTH)
        done = flows.particle_flow(
            KEY, ratio, start, num_steps=100, step_size=0.5 * WIDTH**2
        )
        kl = lambda points: flows.smoothed_kl(KEY, points, target, WIDTH, 512)
        drawn = target.sample(jax.random.key(1), 512)
        populations = jnp.stack([*done.path[::10], done.particles, drawn])
        return done.particles, jax.lax.map(kl, populations)

    end, (*along, samples) = run(start)
    divergence = jnp.stack(along)
    # then the divergence falls, to the error of a mean over 512 points drawn alike
    assert float(jnp.diff(divergence).max()) < 2e-3
    # and ends below that of as many independent samples of the target, but for what the
    # start has too much at some modes: nobody crosses between them
    nearest = jnp.argmin(jnp.linalg.norm(start[:, None] - target.means, axis=-1), axis=1)
    share = jnp.bincount(nearest, length=len(means)) / len(start)
    uneven = jnp.sum(share * jnp.log(share * len(means)))
    assert divergence[-1] < uneven + samples
    # with a fifth of its share at least at every mode
    distance = jnp.linalg.norm(end[:, None] - target.means, axis=-1)
    kept = (distance < 3 * deviation).sum(axis=0) >= len(end) / len(means) / 5
    assert int(kept.sum()) == len(means)


@pytest.mark.slow
def test_a_learned_ratio_takes_particles_to_samples() -> None:
    target = oracles.gaussian_mixture([[1.5, 0.0]], 0.25)
    judge = flows.Discriminator(hidden=(16,), num_steps=3, learning_rate=1e-2)
    ratio = flows.LearnedRatio(target, judge, 0.3)
    run = jax.jit(
        lambda start: flows.particle_flow(KEY, ratio, start, num_steps=150, step_size=0.05)
    )
    start = normal(256, 2)
    end = run(start).particles
    kl = [smoothed_kl(KEY, points, target, 0.3) for points in (start, end)]
    assert kl[1] < 0.1 * kl[0]


@pytest.mark.slow
def test_a_failed_discriminator_moves_no_particle() -> None:
    target = oracles.gaussian_mixture([[1.5, 0.0]], 0.25)
    wild = flows.Discriminator(hidden=(4,), num_steps=2, optimizer=optax.sgd(1e20))
    ratio = flows.LearnedRatio(target, wild, 0.3)
    start = normal(16, 2)
    done = flows.particle_flow(KEY, ratio, start, num_steps=2, step_size=0.1)
    np.testing.assert_array_equal(done.particles, start)
    assert int(done.ratio_state.num_diverged) == 2


def test_a_flow_that_there_is_not_is_refused() -> None:
    line, plane = (oracles.gaussian_mixture(jnp.zeros((1, dim)), 1.0) for dim in (1, 2))
    for ratio, divergence, message in (
        (flows.ExactRatio(plane, line, 4.0), None, r"ExactRatio\.start: got 1 dim"),
        (flows.ExactRatio(plane, plane, 4.0, cells=1), None, r"cells: got 1, want an int"),
        (flows.SmoothedRatio(plane, 0.0), None, r"width: got 0\.0, want a number > 0"),
        (
            flows.ExactRatio(plane, plane, 4.0),
            divergences.ForwardKL(),
            "divergence: got ForwardKL, want ReverseKL",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            flows.particle_flow(
                KEY,
                ratio,
                jnp.zeros((4, 2)),
                num_steps=1,
                step_size=0.1,
                divergence=divergence,
            )
