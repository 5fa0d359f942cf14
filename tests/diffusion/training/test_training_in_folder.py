"""A training in a folder: killed and cut, it ends with the bits of one that was not."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import training_in_folder
from forks import is_gone, until
from training_in_folder import DATA, STEPS, train

from diffevo_jax import diffusion
from diffevo_jax.diffusion.training import trainer
from diffevo_jax.pytree import kept, signals
from diffevo_jax.pytree.checkpoints import Checkpoints
from diffevo_jax.pytree.folders import FolderError, held

KINDS = ["denoiser", "gan"]


@pytest.fixture(scope="module")
def whole():
    """Trainings that nothing interrupts, by kind and number of steps."""
    known = {}

    def get(kind, steps):
        if (kind, steps) not in known:
            known[kind, steps] = train(kind, steps)
        return known[kind, steps]

    return get


def check_same(got, want):
    chex.assert_trees_all_equal(got, want)
    assert jax.tree.structure(got) == jax.tree.structure(want)


def kill(forks, kind, folder, at):
    """Start a training, kill it so long after it has saved anew; whether it was."""
    before, log = set(folder.glob("*.npz")), folder.with_suffix(".log")
    pid = forks.start("training_in_folder:main", log, kind=kind, folder=str(folder))
    until(lambda: is_gone(pid) or not set(folder.glob("*.npz")) <= before)
    time.sleep(at)
    os.kill(pid, signal.SIGKILL)
    return forks.code(pid) == -9


def kill_at_its_start(kind, folder, at):
    """The same so long after the start: also while Python imports what it needs."""
    command = [sys.executable, training_in_folder.__file__, kind, str(folder)]
    process = subprocess.Popen(command)
    time.sleep(at)
    process.kill()
    return process.wait() == -9


def test_a_killed_training_goes_on_with_the_same_bits(forks, tmp_path, whole):
    # given one that was killed while it trained and saved
    at = np.random.default_rng(0).uniform(0.0, 0.3)
    assert kill(forks, "denoiser", tmp_path, at)

    # when it is begun again, and again at its end
    heard = []
    both = [
        train("denoiser", folder=tmp_path, callback=lambda *news: heard.append(news))
        for _ in range(2)
    ]

    # then it went on, and all is as if nothing had happened, the losses before it too
    assert 0 < len(heard) < STEPS // trainer.CHUNK + 1
    for result in both:
        check_same(result, whole("denoiser", STEPS))
    assert both[0].losses.shape == (STEPS,)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_trainings_that_are_killed_20_times_end_with_the_same_bits(
    forks, tmp_path, whole, kind
):
    rng, killed, folder = np.random.default_rng(1), 0, tmp_path / "0"
    folders = [folder]
    while killed < 20:
        folder.mkdir(exist_ok=True)
        at = rng.uniform(0.0, 2.0)
        early = killed % 4 == 0  # while it imports, traces, reads, has not written yet
        if kill_at_its_start(kind, folder, at) if early else kill(forks, kind, folder, at):
            killed += 1
        else:
            folder = tmp_path / str(len(folders))
            folders.append(folder)

    for folder in folders:
        check_same(train(kind, folder=folder), whole(kind, STEPS))


@pytest.mark.parametrize("kind", KINDS)
def test_how_it_is_cut_decides_nothing(tmp_path, whole, kind):
    # given parts of 7 and 30 steps, and one that ends where it likes
    stop = {"gan": lambda at: {"steps": at}, "denoiser": lambda at: {"stop_at": at}}[kind]
    train(kind, **{"steps": 300} | stop(25), folder=tmp_path, every=7)
    assert numbers(tmp_path) == [21, 25]
    train(kind, **{"steps": 300} | stop(70), folder=tmp_path, every=30)
    assert numbers(tmp_path) == [60, 70]

    check_same(train(kind, 300, folder=tmp_path), whole(kind, 300))
    assert numbers(tmp_path)[-1] == 300


def numbers(folder: Path) -> list[int]:
    return sorted(int(path.stem.split("-")[1]) for path in folder.glob("*.npz"))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.usefixtures("signals_as_before")
def test_a_scheduler_that_ends_it_is_answered(tmp_path, whole, kind, monkeypatch):
    # given SIGTERM after the first chunk, where no checkpoint is due
    ended, keep = [], kept.Keeper.keep

    def keep_and_be_told(*content):
        keep(*content)
        signal.raise_signal(signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(signals, "_as_ever", lambda number, *_: ended.append(number))
        patch.setattr(kept.Keeper, "keep", keep_and_be_told)
        with pytest.raises(KeyboardInterrupt):
            train(kind, 300, folder=tmp_path, every=100_000)

    # then what there is is saved, the process ends by the signal, and the rest comes later
    assert ended == [signal.SIGTERM]
    assert len(numbers(tmp_path)) == 1
    check_same(train(kind, 300, folder=tmp_path), whole(kind, 300))


def test_whoever_is_interrupted_saves_the_last_chunk(tmp_path, whole):
    def interrupt(step, _):
        if step == 60:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        # which would save after 40, and after 60 because it ends
        train("denoiser", 300, folder=tmp_path, every=20, callback=interrupt)

    assert numbers(tmp_path) == [40, 60]
    check_same(train("denoiser", 300, folder=tmp_path), whole("denoiser", 300))


@pytest.mark.slow
def test_labels_weights_and_an_optimizer_of_one_s_own_are_kept(tmp_path):
    given = {
        "network": diffusion.MLP((4,), 2, 4),
        "labels": np.arange(64) % 2,
        "sample_weight": np.arange(64.0),
        "optimizer": optax.inject_hyperparams(optax.adam)(1e-3),
    }
    want = train("denoiser", 20, **given)

    train("denoiser", 20, **given, folder=tmp_path, stop_at=9)

    check_same(train("denoiser", 20, **given, folder=tmp_path), want)


def test_keys_of_another_kind_and_weights_of_half_precision_are_kept(tmp_path):
    half = diffusion.Network(
        lambda key, shape: (jnp.zeros((2, 2), jnp.bfloat16),),
        lambda weights, y, c_noise, label: y @ weights[0].astype(y.dtype),
    )
    given = {"network": half, "key": jax.random.key(3, impl="rbg")}
    want = train("denoiser", 20, **given)

    train("denoiser", 20, **given, folder=tmp_path, stop_at=9)
    got = train("denoiser", 20, **given, folder=tmp_path)

    assert got.state.weights[0].dtype == jnp.bfloat16
    check_same(got, want)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"learning_rate": 0.01}, r"another training: recipe.learning_rate is 0.00\d+ th"),
        ({"steps": 30}, "recipe.num_steps is 20.0 there and 30.0 here"),
        ({"parameterisation": diffusion.Noise()}, "parameterisation.class is EDM there"),
        ({"optimizer": optax.sgd(0.1)}, "recipe.optimizer is None there"),
        ({"network": diffusion.MLP((5,), embedding=4)}, r"network.hidden is \[4\] there"),
        ({"data": -DATA}, r"data is float32\[64, 2\] \w+ there and float32\[64, 2\]"),
        ({"data": DATA[:60]}, r"data is .* there and float32\[60, 2\]"),
        ({"sample_weight": np.arange(64)}, "sample_weight is None there"),
        ({"key": jax.random.key(1)}, r"key is \[0, 0\] there and \[0, 1\] here"),
        ({"kind": "gan"}, "recipe.class is Recipe there and GANRecipe here"),
    ],
)
def test_another_training_is_refused_by_name(folder, change, told):
    with pytest.raises(FolderError, match=told):
        train(**{"kind": "denoiser", "steps": 20, "folder": folder} | change)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Of a training of 20 steps."""
    path = tmp_path_factory.mktemp("training")
    train("denoiser", 20, folder=path)
    return path


def test_other_code_is_refused(tmp_path):
    def network(factor):
        return diffusion.Network(
            lambda key, shape: jnp.zeros((2, 2)),
            lambda weights, y, c_noise, label: factor * y @ weights,
        )

    train("denoiser", 20, network=network(1.0), folder=tmp_path, stop_at=5)
    with pytest.raises(FolderError, match="the code of a function that it calls"):
        train("denoiser", 20, network=network(2.0), folder=tmp_path)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"stop_at": 19}, "stop_at: got 19, want at least the 20 steps done"),
        ({"folder": None, "every": 3}, "every: got it without folder, want a folder too"),
        ({"every": 0}, "every: got 0, want an int >= 1"),
        ({"state": True}, "state: got one and a folder, .* want one of them"),
    ],
)
def test_what_cannot_be_meant_is_refused(folder, whole, change, told):
    if "state" in change:
        change = {"state": whole("denoiser", 300).state}
    with pytest.raises(ValueError, match=told):
        train("denoiser", **{"steps": 20, "folder": folder} | change)


def test_a_gan_with_fewer_steps_than_are_done_is_refused(tmp_path):
    train("gan", 12, folder=tmp_path)
    with pytest.raises(ValueError, match="num_steps: got 11, want at least the 12 steps"):
        train("gan", 11, folder=tmp_path)


@pytest.mark.parametrize("name", ["every", "state"])
def test_what_a_gan_cannot_mean_is_refused(tmp_path, name):
    given = {"every": {"every": 3}, "state": {"state": True, "folder": tmp_path}}[name]
    if name == "state":
        given["state"] = train("gan", 5).state
    with pytest.raises(ValueError, match=f"{name}: got "):
        train("gan", 5, **given)


def test_a_damaged_checkpoint_is_said_and_the_one_before_taken(tmp_path, whole):
    train("denoiser", 300, folder=tmp_path, every=50, stop_at=150)
    (tmp_path / "checkpoint-000000150.npz").write_bytes(b"")

    with pytest.warns(UserWarning, match="000000150.npz is damaged"):
        result = train("denoiser", 300, folder=tmp_path)

    check_same(result, whole("denoiser", 300))


def test_a_full_disk_ends_no_training(tmp_path, whole, monkeypatch):
    # given a disk that is full after 100 steps
    save = Checkpoints.save

    def full(self, number, *content):
        if number > 100:
            raise OSError(errno.ENOSPC, "No space left on device")
        save(self, number, *content)

    monkeypatch.setattr(Checkpoints, "save", full)

    with pytest.warns(UserWarning, match=r"after step 150 .* left .* is of step 100"):
        result = train("denoiser", 150, folder=tmp_path, every=50)

    check_same(result, whole("denoiser", 150))
    assert numbers(tmp_path) == [50, 100]


def test_a_folder_in_use_is_refused(folder):
    with held(folder), pytest.raises(FolderError, match="is in use"):
        train("denoiser", 20, folder=folder)


def test_checkpoints_of_something_else_are_refused(tmp_path):
    train("denoiser", 20, folder=tmp_path)
    (tmp_path / "training.json").rename(tmp_path / "run.json")
    with pytest.raises(FolderError, match=r"has checkpoints and no training\.json"):
        train("denoiser", 20, folder=tmp_path)


def test_a_training_that_diverges_does_so_again(tmp_path):
    """Its checkpoints are of before; what has diverged is not saved."""
    for _ in range(2):
        with pytest.raises(FloatingPointError, match="not finite at step"):
            train("denoiser", 20, learning_rate=1e38, folder=tmp_path, every=1)
    assert 0 < max(numbers(tmp_path)) < 20


def test_the_manifest_says_what_it_is(folder):
    said = json.loads((folder / "training.json").read_text())
    assert said["network"] == {
        "class": "MLP",
        "hidden": [4],
        "num_classes": 0,
        "embedding": 4,
    }
    assert said["recipe"]["batch_size"] == 8
    assert {"jax", "jaxlib", "diffevo-jax"} <= said["versions"].keys()
