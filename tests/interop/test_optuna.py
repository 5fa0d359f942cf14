"""Optuna as the searcher over settings."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import optuna
import pytest

import diffevo_jax as de
from diffevo_jax.interop import optuna as bridge

KEY = jax.random.key(0)
SCALE = "problem.space.scale"
TRACED = []


def brittle(x):
    """Minus the squared length; fails outside of [-5, 5]."""
    TRACED.append(x)
    return jnp.where(jnp.max(jnp.abs(x)) > 5, jnp.nan, -jnp.sum(x**2))


TUNING = de.sweeps.Tuning(
    de.DiffusionEvolution(1),
    de.problems.Function(brittle, dim=64),
    {SCALE: (0.1, 10.0, "log"), "sampler.eta": (0.0, 1.0)},
    num_seeds=3,
    population_size=8,
)


def new_study(**options):
    sampler = optuna.samplers.TPESampler(seed=0)
    options = {"direction": "maximize", "sampler": sampler} | options
    return optuna.create_study(**options)


@pytest.fixture(scope="module")
def study():
    """Three batches of four trials, and one that is known to fail."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    made = new_study()
    made.enqueue_trial({SCALE: 10.0, "sampler.eta": 0.5})
    TRACED.clear()
    bridge.optimize(made, KEY, TUNING, num_batches=3, batch_size=4)
    return made


def test_all_batches_are_one_program(study):
    assert len(study.trials) == 12
    # jit traces the population once to know its shapes, and once to evaluate it.
    assert len(TRACED) <= 2


def test_a_trial_has_the_mean_of_its_scores(study):
    told = [trial for trial in study.trials if trial.value is not None]
    for trial in told:
        assert len(trial.user_attrs["scores"]) == 3
        assert trial.value == pytest.approx(np.mean(trial.user_attrs["scores"]))
    assert len(told) >= 6


def test_the_trials_of_a_batch_share_their_seeds_and_batches_do_not(study):
    # Where nobody fails the score is -s^2 |z|^2, of the same z whatever eta is.
    sound = [trial for trial in study.trials if trial.params[SCALE] < 1]
    lengths = np.array(
        [np.divide(t.user_attrs["scores"], t.params[SCALE] ** 2) for t in sound]
    )
    batches = [trial.number // 4 for trial in sound]
    same = np.equal.outer(batches, batches)
    assert same.sum() > len(sound)  # some share a batch
    assert not same.all()
    # Float32 of numbers around 64.
    alike = np.abs(lengths[:, None] - lengths[None]).max(axis=2) < 1e-3
    np.testing.assert_array_equal(alike, same)


def test_a_failed_run_is_a_failed_trial(study):
    assert study.trials[0].params[SCALE] == 10.0
    assert study.trials[0].state == optuna.trial.TrialState.FAIL
    assert not np.isfinite(study.trials[0].user_attrs["scores"]).all()
    assert study.best_params[SCALE] < 1.0


def test_ranges_and_scales_are_those_of_the_problem(study):
    distributions = study.best_trial.distributions
    assert distributions[SCALE] == optuna.distributions.FloatDistribution(
        0.1, 10.0, log=True
    )
    assert distributions["sampler.eta"] == optuna.distributions.FloatDistribution(0.0, 1.0)


def test_a_study_that_goes_on_sees_fresh_seeds():
    made = new_study()
    for _ in range(2):
        made.enqueue_trial({SCALE: 0.1, "sampler.eta": 0.5})
        bridge.optimize(made, KEY, TUNING, num_batches=1, batch_size=4)
    assert made.trials[0].params == made.trials[4].params
    assert made.trials[0].value != made.trials[4].value


def test_the_trials_of_a_batch_that_raises_have_failed(monkeypatch):
    def stop(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(bridge, "_scores", stop)
    made = new_study()
    with pytest.raises(KeyboardInterrupt):
        bridge.optimize(made, KEY, TUNING, num_batches=1, batch_size=2)
    assert {trial.state for trial in made.trials} == {optuna.trial.TrialState.FAIL}


@pytest.mark.parametrize("directions", [["minimize"], ["maximize", "maximize"]])
def test_a_study_maximises_one_value(directions):
    made = optuna.create_study(directions=directions)
    with pytest.raises(ValueError, match=r"study: got \w+imize"):
        bridge.optimize(made, KEY, TUNING, num_batches=1, batch_size=2)


def test_without_optuna_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ImportError, match=r"install the extra optuna"):
        bridge.optimize(None, KEY, TUNING, num_batches=1, batch_size=2)


STEPS = {SCALE: [0.1, 0.5, 1.0], "sampler.eta": [0.0, 1.0]}


SAMPLERS = {
    # Six settings; the batch in which the last of them is told is told to its end.
    "grid": (lambda s: s.GridSampler(STEPS, seed=0), 8),
    "random": (lambda s: s.RandomSampler(seed=0), 12),
    "tpe": (lambda s: s.TPESampler(seed=0, n_startup_trials=4), 12),
    "nsga": (lambda s: s.NSGAIISampler(seed=0, population_size=4), 12),
    "quasi_random": (lambda s: s.QMCSampler(seed=0), 12),
    "fixed": (lambda s: s.PartialFixedSampler({SCALE: 0.5}, s.RandomSampler(seed=0)), 12),
}


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_every_trial_of_any_sampler_is_told(name):
    made_by, trials = SAMPLERS[name]
    made = new_study(sampler=made_by(optuna.samplers))
    bridge.optimize(made, KEY, TUNING, num_batches=3, batch_size=4)
    assert len(made.trials) == trials
    assert all(trial.state.is_finished() for trial in made.trials)
    if name == "grid":
        assert len({tuple(trial.params.values()) for trial in made.trials}) == 6


def test_a_sampler_that_stops_the_study_loses_no_trial():
    class Stops(optuna.samplers.RandomSampler):
        def after_trial(self, study, trial, state, values):
            study.stop()

    made = new_study(sampler=Stops(seed=0))
    bridge.optimize(made, KEY, TUNING, num_batches=5, batch_size=3)
    assert [trial.state.is_finished() for trial in made.trials] == [True] * 3
    bridge.optimize(made, KEY, TUNING, num_batches=5, batch_size=3)  # and it can go on
    assert len(made.trials) == 6


def test_a_sampler_that_fails_leaves_no_trial_running():
    lacking = optuna.samplers.GridSampler({SCALE: [0.1, 0.5]}, seed=0)
    made = new_study(sampler=lacking)
    with pytest.raises(ValueError, match=r"sampler\.eta"):
        bridge.optimize(made, KEY, TUNING, num_batches=1, batch_size=3)
    assert {trial.state for trial in made.trials} == {optuna.trial.TrialState.FAIL}


# Distributions as a space

D = optuna.distributions
DISTRIBUTIONS = {
    "rate": D.FloatDistribution(1e-5, 1e-1, log=True),
    "momentum": D.FloatDistribution(-1.0, 1.0),
    "dropout": D.FloatDistribution(0.0, 0.5, step=0.1),
    "layers": D.IntDistribution(1, 9),
    "units": D.IntDistribution(8, 512, log=True),
    "heads": D.IntDistribution(2, 16, step=2),
    "kind": D.CategoricalDistribution(["adam", "sgd", None]),
    "one": D.CategoricalDistribution(["only"]),
    "fixed": D.IntDistribution(3, 3),
}


def test_what_a_space_of_distributions_decodes_is_in_each_of_them():
    space = bridge.from_optuna(DISTRIBUTIONS, start="uniform")
    rows = space.as_python(jax.jit(lambda: space.decode(space.sample(KEY, 300)))())
    for name, distribution in DISTRIBUTIONS.items():
        values = [row[name] for row in rows]
        for value in values:
            internal = distribution.to_internal_repr(value)
            assert distribution._contains(internal), (name, value)
        assert len(set(values)) == {"one": 1, "fixed": 1, "kind": 3, "dropout": 6}.get(
            name, len(set(values))
        )
    assert {row["heads"] for row in rows} == {2, 4, 6, 8, 10, 12, 14, 16}


def test_a_study_takes_the_solutions_of_its_own_space():
    made = new_study()
    space = bridge.from_optuna(DISTRIBUTIONS)
    (row,) = space.as_python(space.decode(jnp.zeros((1, space.dim))))
    made.enqueue_trial(row)
    trial = made.ask(DISTRIBUTIONS)
    assert trial.params == row


@pytest.mark.parametrize(
    ("distribution", "error", "message"),
    [
        ((0.0, 1.0), TypeError, r"distributions\['x'\]: got \(0\.0, 1\.0\), want a Float"),
        (D.IntDistribution(0, 2**40), ValueError, "'x': got high .* within 1048576"),
        (D.CategoricalDistribution([None]), TypeError, r"Fixed\.value: got None"),
    ],
)
def test_what_cannot_be_had_of_a_distribution_is_said(distribution, error, message):
    with pytest.raises(error, match=message):
        bridge.from_optuna({"x": distribution, "y": D.IntDistribution(0, 1)})
