"""Denoising losses: their minimum, their weights, their target."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffevo_jax import diffusion, noise

KEY = jax.random.key(0)
COUNT = 20_000
PARTS = {
    "EDM": diffusion.EDM(),
    "Noise": diffusion.Noise(),
    "Velocity": diffusion.Velocity(),
    "Flow": diffusion.Flow(),
    "Score": diffusion.Score(),
    "Clean": diffusion.Clean(),
}
#: A range in which no weight is so large that a mean of samples says nothing.
LEVELS = diffusion.ProcessLevels(noise.VE(sigma_min=0.3, sigma_max=3.0))
VARIANCE = 0.5


def shrinking(part, fault=0.0):
    """A network whose denoiser is that of N(0, VARIANCE), plus ``weight`` times its input.

    Its weight is (2,): the gradient at 0 asks whether more of the input, or more of it at
    low noise, would be better.
    """
    sigma_of = {
        diffusion.Flow: lambda c: c / (1 - c),
        diffusion.Score: lambda c: 2 * jnp.exp(c),
    }.get(type(part), lambda c: jnp.exp(4 * c))

    def apply(weights, scaled, c_noise, label):
        sigma = sigma_of(c_noise)[:, None]
        skip, out, scale, _ = part.coefficients(sigma)
        y = scaled / scale
        share = VARIANCE / (VARIANCE + sigma**2) + fault
        more = weights[0] + weights[1] / (1 + sigma)
        return (share * y - skip * y) / out + more * scaled

    return diffusion.Network(init=lambda key, shape: jnp.zeros(2), apply=apply)


@functools.cache
def gradients(name, fault=0.0):
    """Gradient of every sample's error at the weights 0, (COUNT, 2); sigma, rate, c_out."""
    part = PARTS[name]

    @jax.jit
    def each(clean, eps, sigma):
        def error(weights, x, e, s):
            return diffusion.sample_losses(
                weights,
                x[None],
                e[None],
                s[None],
                network=shrinking(part, fault),
                parameterisation=part,
            )[0]

        one = jax.vmap(jax.grad(error), in_axes=(None, 0, 0, 0))
        return one(jnp.zeros(2), clean, eps, sigma), part.coefficients(sigma).out

    sigma, rate = diffusion.Objective(LEVELS).draw(KEY, COUNT)
    found, out = each(*samples(), sigma)
    return np.asarray(found), sigma, rate, out


@functools.cache
def samples():
    """Clean points of that variance, and noise."""
    clean, eps = jax.random.normal(jax.random.key(1), (2, COUNT, 1))
    return np.sqrt(VARIANCE) * clean, eps


@pytest.mark.parametrize("weighting", diffusion.training.objectives.WEIGHTINGS)
@pytest.mark.parametrize("name", PARTS)
def test_the_posterior_mean_is_a_minimum_of_every_loss(name, weighting):
    found, *where = gradients(name)

    weight = diffusion.Objective(LEVELS, weighting).weight(*where)
    weighted = np.asarray(weight)[:, None] * found

    # 5 standard errors of the mean.
    assert (abs(weighted.mean(0)) < 5 * weighted.std(0) / np.sqrt(COUNT)).all()


@pytest.mark.parametrize("fault", [-0.1, 0.1])
def test_another_denoiser_is_not_a_minimum(fault):
    found = gradients("EDM", fault)[0]

    assert (abs(found.mean(0)) > 10 * found.std(0) / np.sqrt(COUNT)).all()


@pytest.mark.parametrize("name", ["EDM", "Noise", "Flow"])
def test_a_linear_network_reaches_the_minimum_in_closed_form(name):
    # given one noise level, at which the best share of y is known
    part, sigma = PARTS[name], 0.7
    network = diffusion.Network(
        init=lambda key, shape: jnp.zeros(()),
        apply=lambda weights, y, c_noise, label: weights * y,
    )
    clean, eps = samples()

    @jax.jit
    def loss(weights):
        errors = diffusion.sample_losses(
            weights,
            clean,
            eps,
            jnp.full(COUNT, sigma),
            network=network,
            parameterisation=part,
        )
        return errors.mean()

    # when the loss, a parabola, is seen at three weights
    down, here, up = (float(loss(weights)) for weights in (-1.0, 0.0, 1.0))
    best = 0.5 * (down - up) / (down - 2 * here + up)

    skip, out, scale, _ = part.coefficients(sigma)
    share = skip + out * best * scale
    want = VARIANCE / (VARIANCE + sigma**2)
    # 5 standard errors of a slope of that many points.
    assert float(share) == pytest.approx(want, abs=5 / np.sqrt(COUNT))


@jax.jit
def batch_gradient(clean, eps, sigma, sample_weight):
    """Gradient of the mean of a weighted batch at given noise."""

    def loss(weights):
        errors = diffusion.sample_losses(
            weights,
            clean,
            eps,
            sigma,
            network=shrinking(PARTS["EDM"]),
            parameterisation=PARTS["EDM"],
        )
        return jnp.sum(errors * sample_weight)

    return jax.grad(loss)(jnp.array([0.3, -0.2]))


def test_a_weight_of_two_is_a_sample_twice():
    # given three samples and their noise, of which the last is there twice, or weighs twice
    clean, eps = np.random.default_rng(0).normal(size=(2, 3, 1)).astype(np.float32)
    sigma, twice = np.float32([0.3, 1.0, 2.0]), np.array([0, 1, 2, 2])
    padded = np.array([0, 1, 2, 0])

    weighted = batch_gradient(
        clean[padded], eps[padded], sigma[padded], np.float32([1, 1, 2, 0])
    )
    doubled = batch_gradient(clean[twice], eps[twice], sigma[twice], np.ones(4, np.float32))

    np.testing.assert_allclose(weighted, doubled, rtol=1e-5)


@jax.jit
def denoising_loss(key=KEY, sample_weight=None, teacher=None):
    return diffusion.denoising_loss(
        jnp.array([0.3, -0.2]),
        key,
        jnp.linspace(-1, 1, 64)[:, None],
        network=shrinking(PARTS["EDM"]),
        parameterisation=PARTS["EDM"],
        objective=diffusion.Objective(LEVELS),
        sample_weight=sample_weight,
        teacher=teacher,
        trust=0.5,
    )


def test_weights_of_one_are_no_weights():
    ones = denoising_loss(sample_weight=jnp.ones(64))

    np.testing.assert_allclose(ones, denoising_loss(), rtol=1e-6)


def test_samples_without_weight_do_not_count():
    assert denoising_loss(sample_weight=jnp.zeros(64)) == 0.0


def test_the_key_draws_the_noise():
    assert denoising_loss() == denoising_loss()
    assert denoising_loss() != denoising_loss(jax.random.key(1))


def test_a_teacher_that_is_right_leaves_the_minimum_and_takes_the_noise():
    # given gradients of batches at the posterior mean, and a teacher that is there too
    part, trust = PARTS["EDM"], 0.75
    clean, eps = (array[:64] for array in samples())

    @jax.jit
    def gradient(teacher):
        loss = lambda weights: diffusion.sample_losses(
            weights,
            clean,
            eps,
            jnp.ones(64),
            network=shrinking(part),
            parameterisation=part,
            teacher=teacher,
            trust=trust,
        ).mean()
        return jax.grad(loss)(jnp.zeros(2))

    alone, taught = gradient(None), gradient(jnp.zeros(2))

    # then a quarter of the gradient is left
    np.testing.assert_allclose(taught, (1 - trust) * alone, rtol=1e-4)


def test_the_teacher_is_not_taught():
    gradient = jax.grad(lambda teacher: denoising_loss(teacher=teacher))

    assert gradient(jnp.array([0.1, 0.1])).tolist() == [0.0, 0.0]


@pytest.mark.parametrize("name", ["EDM", "Flow"])
def test_the_loss_of_images_is_a_mean_over_their_numbers(name):
    network = diffusion.Network(
        init=lambda key, shape: (),
        apply=lambda weights, y, c_noise, label: jnp.zeros_like(y),
    )
    clean, eps = jax.random.normal(KEY, (2, 4, 3, 2, 1))
    sigma = jnp.array([0.1, 0.5, 1.0, 2.0])

    losses = diffusion.sample_losses(
        (), clean, eps, sigma, network=network, parameterisation=PARTS[name]
    )

    target = PARTS[name].target(clean, eps, sigma[:, None, None, None])
    np.testing.assert_allclose(losses, np.mean(target**2, axis=(1, 2, 3)), rtol=1e-5)
