"""Names of what a sweep changes: endings of paths, and how tables call them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import diffevo_jax as de
from diffevo_jax.sweeps import fields, settings

STRATEGY = de.DiffusionEvolution(3)
BEALE = fields.Whole(STRATEGY, de.problems.Landscape("beale"), 8)
CARTPOLE = fields.Whole(STRATEGY, de.problems.Control("CartPole-v1"), 8)
NESTED = de.replace(STRATEGY, kernel=de.kernels.SelfConditioned(de.kernels.Perplexity(5.0)))


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("shaping.temperature", "strategy.denoiser.shaping.temperature"),
        ("denoiser.shaping.temperature", "strategy.denoiser.shaping.temperature"),
        ("strategy.shaping.temperature", "strategy.denoiser.shaping.temperature"),
        ("strategy.denoiser.kernel", "strategy.denoiser.kernel"),
        ("kernel", "strategy.denoiser.kernel"),
        ("num_generations", "strategy.num_generations"),
        ("scale", "problem.scale"),
        ("problem.scale", "problem.scale"),
        ("population_size", "population_size"),
        ("strategy", "strategy"),
        # Both have a temperature: the strategy comes first, unless the problem is named.
        ("temperature", "strategy.denoiser.shaping.temperature"),
        ("problem.temperature", "problem.temperature"),
    ],
)
def test_a_name_is_any_ending_of_a_path(name, path):
    assert fields.full_path(BEALE, name) == path


@pytest.mark.parametrize(
    "name", ["gravity", "env_params.gravity", "problem.env_params.gravity"]
)
def test_parameters_of_an_environment_become_fields_if_a_name_means_one(name):
    whole = fields.with_environment(CARTPOLE, [name])
    assert fields.full_path(whole, name) == "problem.env_params.gravity"
    assert fields.with_environment(CARTPOLE, ["scale", "eta"]) is CARTPOLE


def test_an_ambiguous_name_is_an_error_that_lists_what_it_may_mean():
    whole = fields.Whole(NESTED, BEALE.problem, 8)
    wanted = "'kernel' is ambiguous, want one of: denoiser.kernel, denoiser.kernel.kernel"
    with pytest.raises(ValueError, match=wanted):
        fields.full_path(whole, "kernel")
    with pytest.raises(ValueError, match=f"axes: {wanted}"):
        settings.settings_of(NESTED, BEALE.problem, 8, {"kernel": [de.kernels.Gaussian()]})
    assert fields.full_path(whole, "denoiser.kernel") == "strategy.denoiser.kernel"


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("temperature", "shaping.temperature"),
        ("strategy.denoiser.shaping.temperature", "shaping.temperature"),
        ("denoiser.kernel", "kernel"),
        ("eta", "sampler.eta"),
        ("scale", "problem.scale"),
        ("num_generations", "num_generations"),
        ("strategy", "strategy"),
    ],
)
def test_a_table_calls_a_field_by_its_part_however_it_was_named(name, label):
    assert fields.label(BEALE, fields.full_path(BEALE, name)) == label


def test_settings_have_these_labels_and_the_values_in_place():
    sampler = de.samplers.DDIM(jnp.array([0.0, 0.5]))
    found = settings.settings_of(
        de.replace(STRATEGY, sampler=sampler), BEALE.problem, 8, {"temperature": [0.1]}
    )
    assert [setting.values for setting in found] == [
        {"sampler.eta": 0.0, "shaping.temperature": 0.1},
        {"sampler.eta": 0.5, "shaping.temperature": 0.1},
    ]
    assert found[0].strategy.denoiser.shaping.temperature == 0.1


def test_a_field_that_strategies_have_in_different_places_is_one_axis():
    values = {"ours": STRATEGY, "flow": de.MonoFlow(3)}
    axes = {"strategy": values, "shaping.temperature": [0.1, 0.2]}
    ours, _, flow, _ = settings.settings_of(STRATEGY, BEALE.problem, 8, axes)
    assert ours.strategy.denoiser.shaping.temperature == 0.1
    assert flow.strategy.shaping.temperature == 0.1
    assert flow.values == {"strategy": "flow", "shaping.temperature": 0.1}


@pytest.mark.slow
def test_strategies_of_different_kinds_are_values_of_an_axis():
    values = {"ours": STRATEGY, "flow": de.MonoFlow(3)}
    swept = de.sweep(
        jax.random.key(0),
        STRATEGY,
        BEALE.problem,
        axes={"strategy": values},
        population_size=8,
    )
    assert swept.strategy.values.tolist() == ["ours", "flow"]
    assert np.isfinite(swept.final_mean).all()


def test_a_key_of_a_dict_is_no_field_and_is_told_so():
    problem = de.problems.Control("cartpole", env_params={"mass": 1.0})
    whole = fields.Whole(de.DiffusionEvolution(5), problem, 16)
    with pytest.raises(ValueError, match=r"'problem\.env_params' is a dict, whose keys"):
        fields.full_path(whole, "env_params.mass")
