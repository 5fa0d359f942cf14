"""How many levels and rounds, and which grids are too coarse for a sampler."""

import jax
import numpy as np
import pytest

import diffevo_jax as de
from diffevo_jax import noise, samplers

#: Older releases of JAX have it in another place.
ENABLE_X64 = jax.enable_x64 if hasattr(jax, "enable_x64") else jax.experimental.enable_x64
#: With 18 levels, of Karras et al., 2022, table 1.
PUBLISHED = noise.EDM(0.002, 80.0)


@pytest.fixture
def float64():
    with ENABLE_X64(True):
        yield


# Levels of a grid for so many rounds


@pytest.mark.parametrize(
    "sampler", [samplers.DDIM(), samplers.Heun(), samplers.PredictorCorrector(3)]
)
@pytest.mark.parametrize("levels", [1, 2, 7, 10**20])  # found by halving, not by counting
def test_levels_and_rounds_are_inverse(sampler, levels):
    assert samplers.num_levels(sampler, sampler.num_rounds(levels)) == levels


def test_rounds_after_which_a_sampler_cannot_end_are_an_error_with_the_closest():
    with pytest.raises(ValueError, match="num_generations: got 4, want 3 or 5 with Heun"):
        samplers.num_levels(samplers.Heun(), 4)


# Grids that are too coarse


@pytest.mark.parametrize(
    ("sampler", "ratio"),
    [
        (samplers.EDM(), 4.0),
        (samplers.EulerMaruyama(rate=1.0), 2.0),
        (samplers.EulerMaruyama(rate=0.5), 3.0),
    ],
)
def test_a_sampler_warns_of_a_grid_on_which_it_overshoots(sampler, ratio):
    name = type(sampler).__name__
    message = rf"{name} overshoots .* factor of more than {ratio:g} .* at step 1\. Take"

    with pytest.warns(UserWarning, match=message):
        samplers.check_grid(sampler, noise.Levels([5.0, 4.0, 3.9 / ratio]), 3)


@pytest.mark.parametrize(
    ("sampler", "ratio"),
    [
        (samplers.EDM(), 3.9),
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
    samplers.check_grid(sampler, noise.Levels([4.0, 4.0 / ratio]), 2)
    samplers.check_grid(sampler, noise.Levels([4.0]), 1)


def test_of_numbers_that_are_traced_nothing_is_said():
    def run(sampler, values):
        samplers.check_grid(sampler, noise.Levels(values), 2)
        return values

    jax.jit(run)(samplers.EulerMaruyama(), np.array([4.0, 0.1]))


@pytest.mark.parametrize(("rate", "beyond"), [(1.0, 2.0), (0.5, 3.0)])
def test_euler_maruyama_goes_beyond_the_clean_point_where_it_warns(rate, beyond):
    step = lambda ratio: samplers.euler_maruyama_step(1.0, 0.0, ratio, 1.0, rate, 0.0)

    assert float(step(0.95 * beyond)) > 0 > float(step(1.05 * beyond))


def test_edm_warns_of_the_default_grid_of_ten_generations_but_not_of_its_own():
    samplers.check_grid(samplers.EDM(), PUBLISHED, 18)

    with pytest.warns(UserWarning, match=r"EDM overshoots .* by 5\.67 at step 0"):
        samplers.check_grid(samplers.EDM(), noise.Cosine(), 10)


@pytest.mark.parametrize("changes_at", [1.0, 0.7, 0.3, 0.0])
@pytest.mark.usefixtures("float64")
def test_where_edm_warns_its_correction_is_worse_than_none_however_answers_change(
    changes_at,
):
    # The answer jumps from 0 to 1 after that part of the fall of sigma from R to 1.
    def errors(ratio):
        level = 1 + changes_at * (ratio - 1)
        y = ratio  # at noise level R with the answer 0: dy / dsigma = (y - D) / sigma
        exact = y / ratio + (1 - 1 / level)
        arrived = samplers.ddim_step(y, 0.0, ratio, 1.0, 0.0, 0.0)
        corrected = samplers.heun_correction(arrived, 0.0, 1.0, 1 / ratio)
        return abs(float(corrected) - exact), abs(float(arrived) - exact)

    with_correction, without = errors(4.01)
    assert with_correction > without
    if changes_at == 1.0:  # the bound is sharp
        with_correction, without = errors(3.99)
        assert with_correction < without


def deviation_at_the_end(sigmas: np.ndarray, deviation: float) -> float:
    """Of the points that EDM draws of N(0, deviation²), in units of the exact one."""
    linear = lambda y, sigma: y * deviation**2 / (deviation**2 + sigma**2)
    start = np.hypot(deviation, sigmas[0]) * np.ones((1, 1))
    drawn = de.sample(
        jax.random.key(0),
        linear,
        noise.Levels(sigmas),
        samplers.EDM(),
        (1, 1),
        num_levels=len(sigmas),
        start=start,
        final_denoise=False,
    )
    return float(drawn[0, 0]) / np.hypot(deviation, sigmas[-1])


@pytest.mark.usefixtures("float64")
def test_in_the_longest_steps_of_its_own_grid_edm_is_right_for_data_as_published():
    # sigma_data is 0.5: sigma falls by 2.6, 3.1 and 3.8 where it is far smaller
    sigmas = np.asarray(PUBLISHED.sigmas(18))

    np.testing.assert_allclose(deviation_at_the_end(sigmas[-4:], 0.5), 1.0, atol=1e-4)


@pytest.mark.usefixtures("float64")
def test_where_edm_warns_converged_data_come_out_too_wide():
    sigmas = np.asarray(noise.Cosine().sigmas(10))

    with pytest.warns(UserWarning, match="EDM overshoots"):
        wide = deviation_at_the_end(sigmas, float(sigmas[-1]))

    assert wide > 1.4
