"""Files are written whole or not at all, and that they cannot be is known before."""

import contextlib
import os
import stat
import tempfile
from pathlib import Path

import pytest

from diffevo_jax.pytree.files import check_writable, written_whole


class FullDisk(OSError):
    pass


def test_a_file_takes_the_place_of_the_one_before(tmp_path) -> None:
    path = tmp_path / "out.json"
    path.write_text("before")
    path.chmod(0o640)
    with written_whole(path) as unfinished:
        unfinished.write_text("after")
        assert path.read_text() == "before"
    assert path.read_text() == "after"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_takes_the_place_of_the_one_before(tmp_path) -> None:
    path = tmp_path / "out.zarr"
    for content in ("before", "after"):
        with written_whole(path) as unfinished:
            unfinished.mkdir()
            (unfinished / content).touch()
    assert [inner.name for inner in path.iterdir()] == ["after"]
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [FullDisk, KeyboardInterrupt])
@pytest.mark.parametrize("folder", [False, True])
@pytest.mark.parametrize("there", [False, True])
def test_what_fails_leaves_all_as_it_was(tmp_path, error, folder, there) -> None:
    path = tmp_path / "out"
    inside = path / "data" if folder else path
    if there:
        inside.parent.mkdir(exist_ok=True)
        inside.write_text("before")

    def write() -> None:
        with written_whole(path) as unfinished:
            half = unfinished / "data" if folder else unfinished
            half.parent.mkdir(exist_ok=True)
            half.write_text("half")
            raise error

    with pytest.raises(error):
        write()
    assert list(tmp_path.iterdir()) == [path] * there
    if there:
        assert inside.read_text() == "before"


@pytest.mark.parametrize("name", ["out", "replaced"])
@pytest.mark.parametrize("error", [FullDisk, KeyboardInterrupt])
def test_a_folder_that_cannot_be_put_in_place_leaves_the_old_one(
    tmp_path, monkeypatch, error, name
) -> None:
    path = tmp_path / name
    path.mkdir()
    (path / "data").write_text("before")

    def fails(*_: object) -> None:
        raise error

    def write() -> None:
        with written_whole(path) as unfinished:
            unfinished.mkdir()
            monkeypatch.setattr(os, "replace", fails)

    with pytest.raises(error):
        write()
    assert list(tmp_path.iterdir()) == [path]
    assert (path / "data").read_text() == "before"


def test_a_folder_is_kept_if_nothing_was_written(tmp_path) -> None:
    path = tmp_path / "replaced"
    path.mkdir()
    with pytest.raises(FileNotFoundError), written_whole(path):
        pass
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_in_memory_is_no_device(tmp_path, monkeypatch) -> None:
    # given a file below /dev, as those in /dev/shm are
    shared = Path("/dev/shm")
    if not os.access(shared, os.W_OK):
        pytest.skip("no shared memory here")
    with tempfile.TemporaryDirectory(dir=shared) as folder:
        path = Path(folder) / "out"
        path.write_text("before")
        with contextlib.suppress(FullDisk), written_whole(path) as unfinished:
            unfinished.write_text("half")
            raise FullDisk
        assert path.read_text() == "before"


def test_a_link_is_followed(tmp_path) -> None:
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "target")
    with written_whole(link) as unfinished:
        unfinished.write_text("all")
    assert link.is_symlink()
    assert (tmp_path / "target").read_text() == "all"


def test_a_device_is_written_to_and_not_replaced() -> None:
    check_writable("--json", Path(os.devnull))
    with written_whole(os.devnull) as unfinished:
        unfinished.write_text("nothing")
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)


@pytest.mark.parametrize(
    ("path", "folder", "why"),
    [
        ("no/such/folder.nc", False, "No such file"),
        ("file/out.nc", False, "Not a directory"),
        (f"{'x' * 300}.nc", False, "File name too long"),
        ("a\0b.nc", False, "null"),
        ("folder", False, "it is a folder"),
        ("file", True, "it is a file"),
        ("", False, "it is a folder"),
    ],
)
def test_what_cannot_be_written_is_found_out_by_trying(tmp_path, path, folder, why) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    before = sorted(tmp_path.iterdir())
    with pytest.raises(ValueError, match=f"--out: got .*which cannot be written: .*{why}"):
        check_writable("--out", tmp_path / path, folder=folder)
    assert sorted(tmp_path.iterdir()) == before


def test_trying_leaves_nothing(tmp_path) -> None:
    path = tmp_path / "out.json"
    check_writable("--json", path)
    assert list(tmp_path.iterdir()) == []
    path.write_text("before")
    check_writable("--json", path)
    assert path.read_text() == "before"
