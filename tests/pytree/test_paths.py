"""Fields by name."""

import jax.numpy as jnp
import pytest

import diffevo_jax as de
from diffevo_jax.pytree import paths

STRATEGY = de.DiffusionEvolution(5)


def test_a_path_goes_through_components():
    assert paths.get(STRATEGY, "sampler.eta") == 1.0


def test_put_changes_one_field_and_no_other():
    changed = paths.put(STRATEGY, "shaping.temperature", 0.7)
    assert changed.denoiser.shaping.temperature == 0.7
    assert de.equal(paths.put(changed, "shaping", STRATEGY.denoiser.shaping), STRATEGY)


def test_it_goes_through_parameters_of_an_environment():
    problem = de.problems.Control("CartPole-v1").with_env_params()
    assert paths.put(problem, "env_params.gravity", 3.0).env_params.gravity == 3.0


@pytest.mark.parametrize(
    ("path", "closest"),
    [
        ("shaping.temprature", "shaping.temperature"),
        ("kernel.temperature", "shaping.temperature"),
        ("sampler.eta.x", None),
        ("kernl", "kernel"),
    ],
)
def test_an_unknown_path_names_the_closest(path, closest):
    with pytest.raises(ValueError, match="has no field") as caught:
        paths.get(STRATEGY, path)
    if closest is not None:
        assert f"closest: {closest}" in str(caught.value)


@pytest.mark.parametrize(
    ("path", "full"),
    [
        ("shaping.temperature", "denoiser.shaping.temperature"),
        ("temperature", "denoiser.shaping.temperature"),
        ("kernel", "denoiser.kernel"),
        ("denoiser.kernel.dimension", "denoiser.kernel.dimension"),
        ("num_generations", "num_generations"),
    ],
)
def test_an_ending_means_the_path_that_has_it(path, full):
    assert paths.resolve(STRATEGY, path) == full


def test_an_ending_of_several_paths_is_an_error_that_lists_them():
    kernel = de.kernels.SelfConditioned(de.kernels.Tempered())
    strategy = paths.put(STRATEGY, "kernel", kernel)
    wanted = r"'kernel' is ambiguous, .* denoiser\.kernel, denoiser\.kernel\.kernel"
    with pytest.raises(ValueError, match=wanted):
        paths.get(strategy, "kernel")


def test_an_exact_path_wins_over_an_ending():
    strategy = paths.put(STRATEGY, "sampler", de.DiffusionEvolution(3))
    assert paths.resolve(strategy, "denoiser") == "denoiser"


def test_the_shortest_ending_means_one_path_and_names_its_part():
    kernel = de.kernels.SelfConditioned(de.kernels.Tempered())
    strategy = paths.put(STRATEGY, "kernel", kernel)
    for path in paths.names(strategy):
        assert paths.resolve(strategy, paths.shortest(strategy, path)) == path
    assert paths.shortest(strategy, "kernel.dimension") == "kernel.dimension"
    assert paths.shortest(strategy, "denoiser.kernel") == "denoiser.kernel"


def test_a_field_with_one_more_axis_is_swept():
    strategy = paths.put(STRATEGY, "kernel", de.kernels.Tempered(jnp.ones(7)))
    assert paths.swept(strategy) == {"denoiser.kernel.dimension": 7}
    assert paths.swept(STRATEGY) == {}


def test_levels_of_a_grid_have_a_natural_axis():
    levels = de.noise.Levels(jnp.array([3.0, 2.0, 1.0, 0.5, 0.1]))
    assert paths.swept(de.replace(STRATEGY, grid=levels)) == {}


def test_an_ending_that_means_one_field_is_its_path():
    assert paths.resolve(STRATEGY, "temperature") == "denoiser.shaping.temperature"
    assert paths.get(STRATEGY, "kernel.dimension") == 2.0


def test_an_ending_that_means_several_lists_them():
    published = de.published.landscape("beale").strategy
    wanted = "denoiser.kernel.floor, denoiser.shaping.floor"
    with pytest.raises(ValueError, match=f"'floor' is ambiguous, want one of: {wanted}"):
        paths.get(published, "floor")


def test_whole_words_are_an_ending_and_no_less():
    with pytest.raises(ValueError, match="has no field 'erature'"):
        paths.get(STRATEGY, "erature")


def test_replace_takes_endings_too():
    changed = de.replace(STRATEGY, temperature=0.7, num_generations=3)
    assert changed.denoiser.shaping.temperature == 0.7
    assert changed.num_generations == 3


@pytest.mark.parametrize("first", ["temperature", "shaping"])
def test_replace_changes_a_part_before_its_own_fields(first):
    # given a new part and a number of it, in any order
    changes = {"temperature": 0.7, "shaping": de.shaping.Boltzmann()}
    ordered = {first: changes[first]} | changes
    # when / then both are there
    assert de.replace(STRATEGY, **ordered).denoiser.shaping.temperature == 0.7


def test_replace_changes_a_field_of_its_own_before_what_is_below():
    new = de.denoisers.GaussianFit(diagonal=True)
    changed = de.replace(STRATEGY, temperature=0.7, denoiser=new).denoiser
    assert (changed.diagonal, changed.shaping.temperature) == (True, 0.7)


def test_replace_may_name_a_field_that_only_the_new_part_has():
    changed = de.replace(STRATEGY, kappa=0.5, kernel=de.kernels.Gaussian())
    assert changed.denoiser.kernel.kappa == 0.5


def test_replace_refuses_two_names_of_one_field():
    names = {"temperature": 0.7, "shaping.temperature": 0.2}
    with pytest.raises(ValueError, match="are the same field"):
        de.replace(STRATEGY, **names)


def test_a_part_without_fields_is_named_like_any_other():
    assert paths.shortest(STRATEGY, "denoiser.support") == "support"


def test_a_key_of_a_dict_has_no_path_and_is_told_so() -> None:
    problem = de.problems.Control("cartpole", env_params={"mass": 1.0})
    for name in ("mass", "env_params.mass"):
        with pytest.raises(ValueError, match="'env_params' is a dict, whose keys have no"):
            de.replace(problem, **{name: 2.0})
