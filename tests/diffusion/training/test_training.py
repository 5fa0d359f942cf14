"""Training: bits, averages, divergence, and what is refused."""

import dataclasses
from unittest import mock

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import diffevo_jax as de
from diffevo_jax import diffusion
from diffevo_jax.diffusion.training import loop, losses, trainer

KEY = jax.random.key(0)
DRAWN = np.random.default_rng(0).normal(size=(64, 2))
DATA = np.float32((DRAWN - DRAWN.mean()) / DRAWN.std())
#: A network that compiles fast: linear, with labels 0 and 1, and 2 for none.
LINEAR = diffusion.Network(
    init=lambda key, shape: {
        "matrix": 0.1 * jax.random.normal(key, (2, 2)),
        "label": jnp.zeros((3, 2)),
    },
    apply=lambda weights, y, c_noise, label: (
        y @ weights["matrix"] + (0.0 if label is None else weights["label"][label])
    ),
    null_label=2,
)


SETTINGS = {field.name for field in dataclasses.fields(diffusion.Recipe)}


def train(key=KEY, data=DATA, network=LINEAR, **changes):
    """A short training; settings of the recipe and arguments of ``train`` alike."""
    given = {"num_steps": 40, "batch_size": 16} | changes
    recipe = diffusion.Recipe(**{name: given.pop(name) for name in SETTINGS & set(given)})
    return diffusion.train(key, data, network, recipe, **given)


@pytest.fixture(scope="module")
def trained():
    return train()


def test_a_resumed_training_has_the_bits_of_one_that_was_not_stopped(trained):
    stopped = train(stop_at=17)

    resumed = train(state=stopped.state)

    assert int(stopped.state.step) == 17
    chex.assert_trees_all_equal(resumed.state, trained.state)
    chex.assert_trees_all_equal(resumed.denoiser, trained.denoiser)
    assert np.array_equal(np.concatenate([stopped.losses, resumed.losses]), trained.losses)


def test_the_key_decides(trained):
    chex.assert_trees_all_equal(train(), trained)
    assert not de.equal(train(jax.random.key(1)).denoiser, trained.denoiser)


def test_numbers_do_not_compile_a_new_program(trained):
    start, run = trainer._programs()
    before = run._cache_size(), start._cache_size()

    train(num_steps=50, learning_rate=0.1, ema=0.9, label_dropout=0.5)

    assert (run._cache_size(), start._cache_size()) == before


def test_the_callback_hears_of_every_chunk():
    heard = []

    result = train(num_steps=600, callback=lambda *news: heard.append(news))

    assert [step for step, _ in heard] == [250, 500, 600]
    assert heard[2][1] == pytest.approx(float(result.losses[500:].mean()))
    assert result.losses.shape == result.baselines.shape == (600,)
    chex.assert_tree_all_finite(result.losses)


def test_every_step_has_its_own_samples_and_noise(trained):
    assert len(np.unique(trained.baselines)) == 40


def recipe(**changes):
    given = {"num_steps": 40, "batch_size": 16} | changes
    return de.pytree.strong(diffusion.Recipe(**given).completed())


def one_step(key, setting, state, data=DATA):
    run = trainer._programs()[1]
    data, count = jnp.asarray(data), jnp.int32(1)
    return run(key, LINEAR, setting, state, data, count, length=trainer.CHUNK)[0]


def test_averaged_weights_forget_the_first_ones():
    # given the weights after every step
    setting = recipe(ema=0.5)
    state = diffusion.init_training(KEY, LINEAR, setting, (2,))
    want = np.asarray(state.weights["matrix"])

    for step in range(1, 13):
        state = one_step(KEY, setting, state)
        decay = min(0.5, (1 + step) / (10 + step))
        want = decay * want + (1 - decay) * np.asarray(state.weights["matrix"])

    # Rounding of 12 sums.
    np.testing.assert_allclose(state.average["matrix"], want, atol=1e-6)
    assert not np.allclose(state.average["matrix"], state.weights["matrix"], atol=1e-5)


@pytest.mark.slow
def test_an_optimizer_of_one_s_own_moves_and_a_teacher_takes_its_share():
    # given plain descent, whose teacher is at first the student itself
    setting = recipe(optimizer=optax.sgd(0.1))
    state = diffusion.init_training(KEY, LINEAR, setting, (2,))

    alone = one_step(KEY, setting, state)
    taught = one_step(KEY, de.replace(setting, trust=jnp.array(0.75)), state)

    # then three quarters of the gradient are gone
    change = alone.weights["matrix"] - state.weights["matrix"]
    assert (change != 0).all()
    np.testing.assert_allclose(
        taught.weights["matrix"] - state.weights["matrix"], 0.25 * change, atol=1e-6
    )


def test_a_state_that_diverged_stays_as_it_was():
    # given data of which a step makes infinity
    setting = recipe()
    state = diffusion.init_training(KEY, LINEAR, setting, (2,))

    broken = one_step(KEY, setting, state, np.full_like(DATA, np.inf))
    later = one_step(KEY, setting, broken)

    assert int(broken.diverged_at) == int(later.diverged_at) == 0
    chex.assert_trees_all_equal(later.weights, state.weights)


def test_trainings_can_be_mapped():
    setting, keys = recipe(), jax.random.split(KEY, 2)

    @jax.jit
    def many(keys):
        def one(key):
            state = diffusion.init_training(key, LINEAR, setting, (2,))
            return diffusion.train_steps(key, LINEAR, setting, state, DATA, 40, length=40)

        return jax.vmap(one)(keys)

    state, losses, _ = many(keys)

    # The same draws in another program: rounding of 40 steps.
    for i, key in enumerate(keys):
        alone = train(key)
        np.testing.assert_allclose(losses[i], alone.losses, atol=1e-4)
        np.testing.assert_allclose(
            state.average["matrix"][i], alone.state.average["matrix"], atol=1e-4
        )


def test_samples_are_drawn_as_often_as_they_weigh():
    weight = jnp.array([0.0, 1.0, 0.0, 3.0, 0.0])

    index = loop._draw(KEY, 10_000, 5, jnp.cumsum(weight))

    counts = np.bincount(index, minlength=5)
    assert counts[[0, 2, 4]].tolist() == [0, 0, 0]
    # 5 standard errors.
    assert counts[1] / 10_000 == pytest.approx(0.25, abs=5 * np.sqrt(0.19 / 10_000))


@pytest.mark.parametrize(("place", "want"), [(0.0, 1), (0.3, 3), (1.0, 3)])
def test_no_sample_without_weight_is_drawn_at_the_edges(place, want):
    # Random numbers in [0, 1) may be 0, and rounding may make 1 of their product.
    with mock.patch.object(jax.random, "uniform", return_value=jnp.array([place])):
        index = loop._draw(KEY, 1, 5, jnp.array([0.0, 1.0, 1.0, 4.0, 4.0]))

    assert index.tolist() == [want]


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_a_share_of_labels_is_hidden(share):
    setting = recipe(label_dropout=share, batch_size=10_000)

    hidden = loop._drop_labels(KEY, LINEAR, setting, jnp.zeros(10_000, int)) == 2

    # 5 standard errors, and exact at both ends.
    assert float(hidden.mean()) == pytest.approx(
        share, abs=5 * np.sqrt(share * (1 - share)) / 100
    )


def train_clouds(**changes):
    """On a cloud for each of two labels, and a third one without weight."""
    centres = np.array([[-1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])
    return train(
        data=np.concatenate([0.2 * DATA + centre for centre in centres]),
        labels=np.repeat([0, 1, 1], 64),
        sample_weight=np.repeat([2.0, 2.0, 0.0], 64),
        num_steps=500,
        learning_rate=0.05,
        **changes,
    )


@pytest.fixture(scope="module")
def clouds():
    return train_clouds()


def test_hidden_labels_teach_nothing_about_labels():
    weights = train_clouds(label_dropout=1.0).state.weights["label"]

    assert not weights[:2].any()  # as drawn
    assert weights[2].all()


def test_the_loss_falls(clouds):
    relative = np.asarray(clouds.losses / clouds.baselines)

    assert relative[-50:].mean() < 0.8 * relative[:50].mean()


def test_labels_are_learned(clouds):
    clean = clouds.denoise(jnp.zeros((2, 2)), 3.0, jnp.array([0, 1]))

    # Centres of both clouds; a linear network is not quite there.
    np.testing.assert_allclose(clean, [[-1.0, -1.0], [1.0, 1.0]], atol=0.2)


def test_what_has_no_weight_is_not_seen(clouds):
    # given the direction in which only the third cloud is away from the others
    clean = clouds.denoise(jnp.array([[-1.0, 1.0]]), 1.0)

    # Seen, it would be the answer.
    assert abs(clean).max() < 0.2


def test_without_a_label_the_answer_is_between_and_guidance_goes_beyond(clouds):
    y = jnp.zeros((2, 2))
    ask = lambda *given: clouds.denoise(y, 3.0, *given)

    given = ask(jnp.array([1, 1]))

    assert (abs(ask()) < 0.2).all()
    assert (ask(jnp.array([1, 1]), 1.0) > given + 0.5).all()


def test_the_default_optimizer_warms_up_and_comes_to_rest():
    optimizer = diffusion.default_optimizer(0.5, 100)

    @jax.jit
    def run():
        def step(state, _):
            change, state = optimizer.update(jnp.ones(1), state, jnp.ones(1))
            return state, change[0]

        return jax.lax.scan(step, optimizer.init(jnp.ones(1)), None, length=120)[1]

    change = -np.asarray(run())

    # A constant gradient makes Adam's steps as large as the learning rate.
    np.testing.assert_allclose(change[[0, 4]], [0.1, 0.5], rtol=0.01)
    assert change[50] == pytest.approx(0.25, rel=0.01)
    np.testing.assert_allclose(change[100:], 0.0, atol=1e-6)


def test_a_loss_that_is_not_finite_is_an_error():
    with pytest.raises(FloatingPointError, match="not finite at step "):
        train(learning_rate=1e38)


@pytest.mark.parametrize("steps", [40, 8])
def test_a_training_that_ends_worse_than_nothing_is_an_error_however_it_is_cut(steps):
    # given steps that are far too long
    settings, state = {"learning_rate": 300.0}, None
    for stop_at in range(steps, 40, steps):
        state = train(stop_at=stop_at, state=state, **settings).state

    with pytest.raises(FloatingPointError, match="times above that of the answer 0"):
        train(state=state, **settings)


def test_a_training_that_recovers_may_be_stopped_while_it_is_bad():
    settings = {"learning_rate": 10.0, "num_steps": 600}

    bad = train(stop_at=60, **settings)
    good = train(state=bad.state, **settings)

    ratio = lambda result: float(result.losses[-20:].mean() / result.baselines[-20:].mean())
    assert ratio(bad) > 2 * losses.DIVERGED
    assert ratio(good) < losses.DIVERGED


def test_weights_of_half_precision_are_trained_and_averaged_in_full():
    half = diffusion.Network(
        init=lambda key, shape: LINEAR.init(key, shape)["matrix"].astype(jnp.bfloat16),
        apply=lambda weights, y, c_noise, label: y.astype(weights.dtype) @ weights,
    )

    result, full = (train(network=each, learning_rate=0.05) for each in (half, LINEAR))

    average = result.state.average
    assert (result.state.weights.dtype, average.dtype) == (jnp.bfloat16, jnp.float32)
    # Forty steps of Adam, rounded to 8 bits; they have gone up to 0.18.
    want = full.state.average["matrix"]
    np.testing.assert_allclose(average, want, atol=0.02)
    moved = want - diffusion.init_training(KEY, LINEAR, recipe(), (2,)).weights["matrix"]
    assert abs(moved).max() > 0.1


def test_a_state_of_another_training_is_an_error(trained):
    with pytest.raises(TypeError, match=r"state: got Trained.*, want a TrainState"):
        train(state=trained)
    with pytest.raises(ValueError, match="state: its optimizer_state are not"):
        train(state=trained.state, optimizer=optax.sgd(0.1))
    with pytest.raises(ValueError, match="state: its weights are not"):
        train(state=trained.state, network=diffusion.MLP((8,)))


class Plain:
    """What a network predicts, but no pytree."""

    sigma_data = 1.0
    coefficients = target = objective = diffusion.EDM.coefficients


IMAGES = np.random.default_rng(0).normal(size=(8, 5, 5, 1))
EMPTY = diffusion.Network(
    init=lambda key, shape: (), apply=lambda weights, y, c_noise, label: y
)
WHOLE = diffusion.Network(
    init=lambda key, shape: jnp.zeros(1, int),
    apply=lambda weights, y, c_noise, label: y * weights,
)
WRONG_SHAPE = diffusion.Network(
    init=lambda key, shape: jnp.zeros(1),
    apply=lambda weights, y, c_noise, label: y[:, :1],
)


def test_a_recipe_that_is_none_is_an_error():
    with pytest.raises(TypeError, match=r"recipe: got EDM.*, want a Recipe"):
        diffusion.train(KEY, DATA, LINEAR, diffusion.EDM())


@pytest.mark.slow
def test_the_defaults_train_a_network_on_points():
    short = diffusion.Recipe(num_steps=1)

    result = diffusion.train(KEY, DATA, recipe=short)

    assert result.denoiser.network.hidden == diffusion.MLP().hidden
    assert result.denoiser.parameterisation.sigma_data == 1.0


def test_what_is_trained_prints_in_a_line(trained):
    assert repr(trained.denoiser).endswith(
        "parameterisation=EDM(sigma_data=1.0), weights={'label': f32[3,2], "
        "'matrix': f32[2,2]}, shape=(2,))"
    )
    assert "weights=<1,234 numbers>" in repr(
        de.replace(trained.denoiser, weights=[jnp.ones(1230), *jnp.ones(4)])
    )


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        (
            {"data": DATA.ravel()},
            ValueError,
            r"data: got shape \(128,\), want \(N, \.\.\.\)",
        ),
        ({"data": np.where(DATA > 2, np.nan, DATA)}, ValueError, "data: got NaN"),
        ({"data": 3 * DATA}, ValueError, "data: got a standard deviation of 3"),
        ({"data": DATA / 2}, ValueError, "data: got a standard deviation of 0.5"),
        ({"data": DATA + 3}, ValueError, r"data: got a mean of 3, want"),
        ({"data": IMAGES, "network": diffusion.UNet()}, ValueError, "divisible by 2"),
        ({"network": WRONG_SHAPE}, ValueError, r"network: got outputs of shape \(1,\)"),
        ({"network": EMPTY}, ValueError, "network: got one without weights"),
        ({"network": WHOLE}, TypeError, "network: got weights of int32"),
        ({"data": DATA + 0j}, TypeError, "data: got c64.*want an array of real"),
        ({"network": "mlp"}, TypeError, "network: got 'mlp', want a NetworkLike"),
        (
            {"parameterisation": "eps"},
            TypeError,
            "parameterisation: got 'eps', want .* EDM",
        ),
        ({"parameterisation": diffusion.EDM}, TypeError, "parameterisation: got <class"),
        ({"objective": "ddpm"}, TypeError, "objective: got 'ddpm', want .* Objective"),
        (
            {"parameterisation": Plain()},
            TypeError,
            "parameterisation: got .* want a pytree",
        ),
        ({"optimizer": "adam"}, TypeError, "optimizer: got 'adam', want .* optax"),
        ({"parameterisation": diffusion.EDM(-1.0)}, ValueError, r"EDM\.sigma_data: got -1"),
        ({"num_steps": 0}, ValueError, "num_steps: got 0"),
        ({"num_steps": 2.5}, ValueError, "num_steps: got 2.5, want a whole number"),
        ({"batch_size": 0}, ValueError, "batch_size: got 0"),
        ({"ema": 1.0}, ValueError, r"Recipe\.ema: got 1.0"),
        ({"trust": 1.0}, ValueError, "trust: got 1.0"),
        ({"learning_rate": 0.0}, ValueError, r"Recipe\.learning_rate: got 0.0"),
        (
            {"learning_rate": 1.0, "optimizer": optax.sgd(0.1)},
            ValueError,
            "learning_rate: got one",
        ),
        ({"stop_at": 0}, ValueError, "stop_at: got 0, want more than the 0 steps done"),
        ({"stop_at": 41}, ValueError, "stop_at: got 41"),
        ({"stop_at": 3.0}, TypeError, "stop_at: got 3.0"),
        ({"sample_weight": np.ones(3)}, ValueError, r"sample_weight: got shape \(3,\)"),
        ({"sample_weight": np.zeros(64)}, ValueError, "sample_weight: want finite"),
        ({"sample_weight": -np.ones(64)}, ValueError, "sample_weight: want finite"),
        ({"labels": np.zeros(3, int)}, ValueError, r"labels: got shape \(3,\)"),
        (
            {"network": diffusion.MLP((8,), 2), "labels": [5] * 64},
            ValueError,
            "label: got 5 to 5",
        ),
        (
            {"network": diffusion.MLP((8,), 2), "labels": [1, 2] * 32},
            ValueError,
            "labels: got 1 to 2, want the classes 0 to 1.* take labels - 1",
        ),
        ({"key": jax.random.PRNGKey(0)}, TypeError, "key: got an array of uint32"),
    ],
)
def test_an_error_names_what_is_wrong(changes, kind, message):
    with pytest.raises(kind, match=message):
        train(**changes)
