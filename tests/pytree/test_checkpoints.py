"""Checkpoints: what was saved comes back bit for bit, or is refused by name."""

import resource
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from damages import damages

from diffevo_jax.pytree import files, folders, kept
from diffevo_jax.pytree.checkpoints import Checkpoints
from diffevo_jax.pytree.folders import FolderError, held

TREE = {
    "key": jax.random.split(jax.random.key(7), 3),
    "slow": jax.random.key(1, impl="rbg"),
    "small": jnp.array([1.5, -0.0], jnp.bfloat16),
    "odd": np.array([np.nan, -np.inf, 1e-45], np.float32),
    "many": (np.arange(6, dtype=np.int32).reshape(2, 3), np.array(True)),
    "none": None,
    "a/b c": np.zeros((0, 4), np.float32),
}
LIKE = jax.eval_shape(lambda: jax.tree.map(jnp.asarray, TREE))


def bits(tree):
    def of(leaf):
        is_key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        data = np.asarray(jax.random.key_data(leaf) if is_key else leaf)
        return str(leaf.dtype), data.shape, data.tobytes()

    return jax.tree.structure(tree), [of(leaf) for leaf in jax.tree.leaves(tree)]


@pytest.fixture
def checkpoints(tmp_path):
    return Checkpoints(tmp_path, "me")


def load(checkpoints, like=LIKE):
    return checkpoints.load(lambda number, notes: like)


def test_every_bit_comes_back(checkpoints):
    checkpoints.save(4, TREE, {"seconds": 1.5})
    found = load(checkpoints)
    assert (found.number, found.notes) == (4, {"seconds": 1.5})
    assert bits(found.tree) == bits(TREE)


def test_nothing_saved_is_nothing(checkpoints):
    assert load(checkpoints) is None


def test_the_last_two_are_kept(checkpoints, tmp_path):
    for number in range(5):
        checkpoints.save(number, TREE)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["checkpoint-000000003.npz", "checkpoint-000000004.npz"]


def test_numpy_alone_reads_it(checkpoints, tmp_path):
    checkpoints.save(0, {"state": {"x": np.ones(2, np.float32)}})
    assert np.load(tmp_path / "checkpoint-000000000.npz")["state.x"].tolist() == [1, 1]


def check_damage(checkpoints, path, count, seed):
    """Every flip of a bit and every truncation falls back on the one before, loudly."""
    whole = path.read_bytes()
    for content in damages(whole, count, seed):
        path.write_bytes(content)
        with pytest.warns(UserWarning, match=f"{path.name} is damaged: .* is taken"):
            assert load(checkpoints).number == 1
    path.write_bytes(whole)


def test_every_damage_is_found(checkpoints, tmp_path):
    checkpoints.save(1, TREE)
    checkpoints.save(2, TREE)
    check_damage(checkpoints, tmp_path / "checkpoint-000000002.npz", 250, 0)
    assert load(checkpoints).number == 2


@pytest.mark.slow
def test_every_single_bit_is_looked_at(checkpoints, tmp_path):
    checkpoints.save(1, {"x": np.ones(2, np.float32)})
    checkpoints.save(2, {"x": np.ones(2, np.float32)})
    path = tmp_path / "checkpoint-000000002.npz"
    whole = path.read_bytes()
    like = jax.eval_shape(lambda: {"x": np.ones(2, np.float32)})
    for at in range(8 * len(whole)):
        content = bytearray(whole)
        content[at // 8] ^= 1 << (at % 8)
        path.write_bytes(content)
        with pytest.warns(UserWarning, match="is damaged"):
            assert load(checkpoints, like).number == 1


def test_after_damage_the_damaged_one_goes(checkpoints, tmp_path):
    checkpoints.save(1, TREE)
    checkpoints.save(3, TREE)
    (tmp_path / "checkpoint-000000003.npz").write_bytes(b"")
    checkpoints.save(2, TREE)
    assert load(checkpoints).number == 2


def test_if_all_are_damaged_nothing_begins_anew(checkpoints, tmp_path):
    checkpoints.save(1, TREE)
    checkpoints.save(2, TREE)
    for path in tmp_path.iterdir():
        path.write_bytes(b"zip")
    with pytest.raises(FolderError, match=r"2\.npz is .*, and so are all .* begin anew"):
        load(checkpoints)  # and no warning: none before it is taken


@pytest.mark.parametrize("number", [1, 2])
def test_a_folder_of_the_name_of_a_checkpoint_is_said(checkpoints, tmp_path, number):
    checkpoints.save(1, TREE)
    checkpoints.save(2, TREE)
    path = tmp_path / f"checkpoint-00000000{number}.npz"
    path.unlink()
    path.mkdir()
    with pytest.raises(
        FolderError, match=rf"{number}\.npz is .* it is a folder; remove it"
    ):
        load(checkpoints)  # also of an older one, which could not be removed later


def test_a_lock_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "lock").mkdir()  # or that of another user
    with pytest.raises(FolderError, match="whose lock cannot be"), held(tmp_path):
        pass


def test_one_of_another_computation_is_refused(checkpoints, tmp_path):
    checkpoints.save(1, TREE)
    with pytest.raises(FolderError, match="has owner 'me', want 'you'"):
        load(Checkpoints(tmp_path, "you"))


def test_one_that_was_renamed_is_refused(checkpoints, tmp_path):
    checkpoints.save(1, TREE)
    (tmp_path / "checkpoint-000000001.npz").rename(tmp_path / "checkpoint-000000009.npz")
    with pytest.raises(FolderError, match="has number 1, want 9"):
        load(checkpoints)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"small": jax.ShapeDtypeStruct((3,), jnp.bfloat16)}, r"small.npy has \(2,\)"),
        ({"small": jax.ShapeDtypeStruct((2,), np.float16)}, "small.npy has"),
        ({"more": jax.ShapeDtypeStruct((), np.float32)}, "other arrays .*: more"),
        ({"none": jax.ShapeDtypeStruct((), np.float32)}, "other arrays .*: none"),
        ({"slow": jax.eval_shape(lambda: jax.random.key(0))}, "keys .*rbg.*, want"),
    ],
)
def test_other_arrays_are_refused_by_name(checkpoints, change, told):
    checkpoints.save(1, TREE)
    with pytest.raises(FolderError, match=told):
        load(checkpoints, LIKE | change)


def test_a_full_disk_leaves_the_one_before(checkpoints, tmp_path):
    """As of a disk: no file may grow beyond some bytes, and writing more raises."""
    checkpoints.save(1, TREE)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
        with pytest.raises(OSError, match="File too large"):
            checkpoints.save(2, TREE)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-000000001.npz"]
    assert load(checkpoints).number == 1


def test_it_is_on_the_disk_before_its_name_is(checkpoints, tmp_path, monkeypatch):
    done = []
    sync, replace = files.os.fsync, files.os.replace
    monkeypatch.setattr(files.os, "fsync", lambda fd: done.append("sync") or sync(fd))
    monkeypatch.setattr(
        files.os, "replace", lambda *paths: done.append("name") or replace(*paths)
    )
    checkpoints.save(1, TREE)
    assert done == ["sync", "name", "sync"]


def test_what_a_folder_is_of_is_on_the_disk_before_its_name_is(tmp_path, monkeypatch):
    done = []
    sync, link = folders.os.fsync, folders.os.link
    monkeypatch.setattr(folders.os, "fsync", lambda fd: done.append("sync") or sync(fd))
    monkeypatch.setattr(
        folders.os, "link", lambda *paths: done.append("name") or link(*paths)
    )
    folders.write_new(tmp_path / "run.json", b"{}")
    assert done == ["sync", "name"]
    assert (tmp_path / "run.json").read_bytes() == b"{}"


def test_a_checkpoint_that_fails_is_said_once(tmp_path, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("diffevo_jax.pytree.archives.write_sealed", full)
    folder = kept.Folder(tmp_path, {}, 1, "run")
    said = pytest.raises(UserWarning, match=r"step 1 was not written .*; there is none yet")
    with said as told, folder.at_work() as keeper:
        keeper.keep(1, lambda: ({}, {}))  # warnings are errors, and the end saves again
    assert isinstance(told.value.__context__, OSError)
    assert told.value.__context__.__context__ is None
