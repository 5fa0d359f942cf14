"""A sweep's folder: what is read is what was written, or one error."""

import errno
import io
import json
import os
import threading
import tracemalloc
import zipfile
from pathlib import Path

import jax
import numpy as np
import pytest

import diffevo_jax as de
from diffevo_jax.pytree import folders
from diffevo_jax.pytree.folders import FolderError
from diffevo_jax.sweeps import identity
from diffevo_jax.sweeps.batches import Batching
from diffevo_jax.sweeps.folder import Folder
from diffevo_jax.sweeps.plan import make_plan

#: Ten runs in batches of four: the last one has two.
SEEDS, SIZE = 10, 4
#: Bytes that reading may take beside a few times the file: tables of Python itself.
SPARE = 2**19


@pytest.fixture(scope="module")
def plan():
    return make_plan(
        jax.random.key(0),
        de.DiffusionEvolution(2),
        de.problems.Function(lambda x: x[0], dim=2),
        axes=None,
        num_seeds=SEEDS,
        population_size=4,
        batching=Batching(batch_size=SIZE),
        stored=True,
    )


@pytest.fixture(scope="module")
def manifest(plan):
    return identity.manifest(plan)


@pytest.fixture
def store(plan, manifest, monkeypatch, tmp_path):
    """A folder with all batches of made-up numbers."""
    monkeypatch.setattr(identity, "manifest", lambda plan: manifest)
    made = Folder(tmp_path / "runs", plan)
    for number in range(3):
        made.write(number, numbers_of(plan, number))
    return made


def numbers_of(plan, number):
    rng, size = np.random.default_rng(number), plan.batches()[number].size
    return {
        name: rng.integers(0, 100, (size, *run.shape)).astype(run.dtype)
        for name, run in plan.run_shapes[0].items()
    }


def file_of(store, number=0):
    return store.path / f"batch-{number:06d}.npz"


def archived(**arrays):
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


def test_a_folder_of_before_the_renaming_says_so(tmp_path, plan):
    (tmp_path / "sweep.json").write_text(json.dumps({"strategy": "DiffusionEvolution"}))
    with pytest.raises(FolderError, match="of an earlier version of this library"):
        Folder(tmp_path, plan)


def test_what_is_read_is_what_was_written(store, plan):
    for number in range(3):
        found, wanted = store.read(number), numbers_of(plan, number)
        assert found.keys() == wanted.keys()
        for name, values in wanted.items():
            np.testing.assert_array_equal(found[name], values)
            assert found[name].dtype == values.dtype
    assert store.missing(5) == [3, 4]


# Batches.


def test_exchanged_and_copied_batches_are_refused(store):
    first, second, spare = file_of(store), file_of(store, 1), store.path / "spare"
    os.replace(first, spare)
    os.replace(second, first)
    os.replace(spare, second)
    with pytest.raises(FolderError, match=r"batch-000000.npz .* it is batch 1"):
        store.read(0)
    first.write_bytes(second.read_bytes())
    np.testing.assert_array_equal(store.read(0)["best"], numbers_of(store._plan, 0)["best"])
    with pytest.raises(FolderError, match=r"batch-000001.npz .* it is batch 0"):
        store.read(1)


def test_a_batch_of_another_sweep_is_refused(store, plan, manifest, monkeypatch, tmp_path):
    monkeypatch.setattr(identity, "manifest", lambda plan: manifest | {"key": [0, 1]})
    other = Folder(tmp_path / "other", plan)
    other.write(0, numbers_of(plan, 0))
    file_of(store).write_bytes(file_of(other).read_bytes())
    with pytest.raises(FolderError, match="it is of another sweep"):
        store.read(0)


def with_other_rows(arrays):
    return {name: values[:2] if values.ndim else values for name, values in arrays.items()}


OTHERS = {
    "fewer_rows": with_other_rows,
    "no_rows": lambda a: {n: v[:0] if v.ndim else v for n, v in a.items()},
    "an_array_less": lambda a: {n: v for n, v in a.items() if n != "best"},
    "an_array_more": lambda a: a | {"more": np.zeros(3)},
    "other_names": lambda a: {n.upper(): v for n, v in a.items()},
    "other_dtypes": lambda a: a | {"best": a["best"].astype(np.float64)},
    "other_byte_order": lambda a: a | {"best": a["best"].astype(">f4")},
    "other_shapes": lambda a: a | {"best": a["best"][:, None]},
    "other_numbers": lambda a: a | {"best": a["best"] + 1},
    "exchanged_arrays": lambda a: (
        a
        | {
            "history/best_fitness": a["history/mean_fitness"],
            "history/mean_fitness": a["history/best_fitness"],
        }
    ),
    "by_columns": lambda a: a | {"history/sigma": np.asfortranarray(a["history/sigma"])},
    "no_seal": lambda a: {n: v for n, v in a.items() if "/" in n or n == "best"},
    "objects": lambda a: a | {"best": np.array([print] * SIZE)},
    "texts": lambda a: a | {"best": np.array(["a"] * SIZE)},
}


@pytest.mark.parametrize("name", OTHERS)
def test_a_batch_of_other_arrays_is_refused(store, name):
    with np.load(file_of(store)) as arrays:
        file_of(store).write_bytes(archived(**OTHERS[name](dict(arrays))))
    with pytest.raises(FolderError, match=r"batch-000000.npz is damaged: .* remove it"):
        store.read(0)


def bomb_of_zeros(arrays):
    """Few bytes that unpack to 80 MB."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, values in arrays.items():
            many = np.zeros((20_000_000 if name == "best" else 1), values.dtype)
            with archive.open(f"{name}.npy", "w") as file:
                np.lib.format.write_array(file, many)
    return stream.getvalue()


def large_header(arrays):
    """An array that says it has 10^12 rows."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, values in arrays.items():
            with archive.open(f"{name}.npy", "w") as file:
                header = {"descr": "<f4", "fortran_order": False, "shape": (10**12,)}
                if name == "best":
                    np.lib.format.write_array_header_1_0(file, header)
                else:
                    np.lib.format.write_array(file, values)
    return stream.getvalue()


def many_members(arrays):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for number in range(20_000):
            archive.writestr(str(number), b"")
    return stream.getvalue()


def long_file(arrays):
    return archived(**arrays | {"best": np.zeros(5_000_000, np.float32)})


@pytest.mark.parametrize("make", [bomb_of_zeros, large_header, many_members, long_file])
def test_reading_takes_no_more_memory_than_a_batch_has(store, make):
    with np.load(file_of(store)) as arrays:
        file_of(store).write_bytes(make(dict(arrays)))
    tracemalloc.start()
    try:
        with pytest.raises(FolderError, match="is damaged"):
            store.read(0)
        assert tracemalloc.get_traced_memory()[1] < SPARE
    finally:
        tracemalloc.stop()


# The manifest.

MANIFESTS = {
    "nothing": b"",
    "a_list": b"[1, 2]",
    "a_number": b"3",
    "a_text": b'"sweep"',
    "no_json": b"sweep",
    "deeply_nested": b"[" * 50_000,
    "deeply_nested_below_a_name": b'{"key": ' + b'{"key": ' * 6000 + b"0" + b"}" * 6001,
    "no_text": b"\xff\xfe\x00",
    "zeros": bytes(100),
    "large": b" " * 10_000_000 + b"{}",
    "a_long_number": b'{"key": ' + b"9" * 10_000 + b"}",
}


@pytest.mark.parametrize("name", MANIFESTS)
def test_a_manifest_that_is_none_is_refused(store, plan, name):
    (store.path / "sweep.json").write_bytes(MANIFESTS[name])
    tracemalloc.start()
    try:
        with pytest.raises(FolderError, match=r"^folder: "):
            Folder(store.path, plan)
        assert tracemalloc.get_traced_memory()[1] < 4 * SPARE
    finally:
        tracemalloc.stop()


def test_a_manifest_must_have_the_names_and_values_of_the_sweep(store, plan, manifest):
    for found, told in (
        (manifest | {"more": 1}, "other names"),
        (
            {n: v for n, v in manifest.items() if n != "matmul_precision"},
            "matmul_precision",
        ),
        (manifest | {"x64": None, "key": [[]]}, "other x64, key"),
    ):
        (store.path / "sweep.json").write_text(json.dumps(found))
        with pytest.raises(FolderError, match=f"holds another sweep: other {told}|{told}$"):
            Folder(store.path, plan)


def test_a_folder_in_the_place_of_a_file_is_refused(store, plan):
    file_of(store).unlink()
    file_of(store).mkdir()
    with pytest.raises(FolderError, match="is damaged"):
        store.read(0)
    (store.path / "sweep.json").unlink()
    (store.path / "sweep.json").mkdir()
    with pytest.raises(FolderError, match="is damaged"):
        Folder(store.path, plan)


@pytest.mark.parametrize("error", [OSError(errno.EMFILE, "too many"), MemoryError()])
def test_what_the_machine_lacks_is_not_called_damage(store, plan, monkeypatch, error):
    def fails(*_, **__):
        raise error

    monkeypatch.setattr(Path, "open", fails)
    with pytest.raises(type(error)):
        store.read(0)
    with pytest.raises(type(error)):
        Folder(store.path, plan)


@pytest.mark.parametrize(
    ("path", "message"),
    [("", "folder: got '', want a path"), ("a\0b", "want a path"), (3, "folder: got 3")],
)
def test_a_folder_has_a_path(plan, path, message):
    with pytest.raises((TypeError, ValueError), match=message):
        Folder(path, plan)


def test_the_home_is_known(plan, store, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Folder("~/runs", plan).path == store.path


# Two at once.


def test_of_two_sweeps_that_start_at_once_one_has_the_folder(
    plan, manifest, monkeypatch, tmp_path
):
    """Both have looked before either has written."""
    monkeypatch.setattr(type(tmp_path), "exists", lambda path: False)
    monkeypatch.setattr(identity, "manifest", lambda plan: manifest)
    Folder(tmp_path, plan)
    monkeypatch.setattr(identity, "manifest", lambda plan: manifest | {"key": [0, 1]})
    with pytest.raises(FolderError, match="holds another sweep: other key"):
        Folder(tmp_path, plan)


@pytest.mark.parametrize("links", [True, False])
def test_of_many_writers_one_is_the_first(tmp_path, monkeypatch, links):
    def no_link(*names):
        raise PermissionError("no links here")

    if not links:
        monkeypatch.setattr(os, "link", no_link)
    for trial in range(10):
        path, barrier = tmp_path / f"{trial}.json", threading.Barrier(4)

        def write(number, path=path, barrier=barrier):
            barrier.wait()
            folders.write_new(path, str(number).encode() * 1000)

        threads = [threading.Thread(target=write, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        content = path.read_bytes()
        assert len(content) == 1000
        assert len(set(content)) == 1
    assert len(list(tmp_path.iterdir())) == 10  # and nothing unfinished


# Bytes that nobody wrote.


def damaged(rng, whole):
    """Bytes that are like a file, or like none."""
    content = bytearray(whole)
    match rng.integers(6):
        case 0:
            return rng.bytes(rng.integers(300))
        case 1:
            return bytes(content[: rng.integers(len(content))])
        case 2:  # a few bits
            for at in rng.integers(len(content), size=rng.integers(1, 5)):
                content[at] ^= 1 << rng.integers(8)
        case 3:  # one part in the place of another
            one, two = rng.integers(len(content), size=2)
            length = rng.integers(1, 100)
            content[one : one + length] = content[two : two + length]
        case 4:  # a length, a size or an offset
            at = rng.integers(len(content))
            content[at : at + 4] = rng.bytes(4)
        case _:
            at = rng.integers(len(content))
            content[at:at] = rng.bytes(rng.integers(1, 50))
    return bytes(content)


def structured(rng, depth=0):
    """A JSON value."""
    kind = rng.integers(7 if depth < 4 else 5)
    if kind < 5:
        values = (None, True, float(rng.normal()), int(rng.integers(-9, 10**12)), "a\0")
        return values[kind]
    parts = [structured(rng, depth + 1) for _ in range(rng.integers(4))]
    if kind == 5:
        return parts
    names = ("key", "x64", "settings", "versions", "")
    return {names[rng.integers(5)]: part for part in parts}


def check_bytes(store, plan, count, seed):
    rng = np.random.default_rng(seed)
    file, manifest = file_of(store), store.path / "sweep.json"
    batch, told = file.read_bytes(), manifest.read_bytes()
    wanted = identity.digest_of(b"", 0, store.read(0))
    there = sorted(os.listdir(store.path))
    accepted = 0
    tracemalloc.start()
    try:
        for number in range(count):
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
            if number % 2:
                if rng.integers(2):
                    content = json.dumps(structured(rng)).encode()
                else:
                    content = damaged(rng, told)
                manifest.write_bytes(content)
                try:
                    Folder(store.path, plan)
                    accepted += 1
                    assert json.loads(content) == json.loads(told)
                except FolderError:
                    pass
            else:
                file.write_bytes(damaged(rng, batch))
                try:
                    found = store.read(0)
                    accepted += 1
                    assert identity.digest_of(b"", 0, found) == wanted
                except FolderError:
                    pass
            assert tracemalloc.get_traced_memory()[1] - before < SPARE
    finally:
        tracemalloc.stop()
    assert sorted(os.listdir(store.path)) == there
    assert accepted < count / 10


def test_no_bytes_are_read_as_what_they_are_not(store, plan):
    check_bytes(store, plan, 500, seed=0)


@pytest.mark.slow
def test_no_bytes_are_read_as_what_they_are_not_20_000_times(store, plan):
    check_bytes(store, plan, 20_000, seed=1)
