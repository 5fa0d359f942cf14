"""The wheel: what is in it, what is not, and that it works where nothing else is."""

import os
import subprocess
import sys
import tomllib
import venv
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Made by the line of docs/releases.md; by the hatchling that is here, if it is."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "-w", str(folder), ROOT]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode and "No matching distribution" in done.stderr:
        pytest.skip("hatchling, which builds it, cannot be had here")
    assert done.returncode == 0, done.stderr
    (path,) = folder.glob("*.whl")
    return path


def test_it_is_named_by_the_version_and_is_for_all_platforms(wheel) -> None:
    assert wheel.name == f"diffevo_jax-{PROJECT['version']}-py3-none-any.whl"


def test_it_has_the_files_of_the_package_and_no_others(wheel) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    inside = {name for name in names if ".dist-info/" not in name}
    tracked = subprocess.run(
        ["git", "ls-files", "diffevo_jax"], cwd=ROOT, capture_output=True, text=True
    )
    if tracked.returncode:
        pytest.skip("no repository, so that nobody knows which files there should be")
    assert inside == set(tracked.stdout.split())
    assert "diffevo_jax/py.typed" in inside


def test_its_metadata_are_those_of_the_project(wheel) -> None:
    archive = zipfile.ZipFile(wheel)
    info = f"diffevo_jax-{PROJECT['version']}.dist-info"
    metadata = message_from_bytes(archive.read(f"{info}/METADATA"))
    assert metadata["Version"] == PROJECT["version"]
    assert metadata["Requires-Python"] == PROJECT["requires-python"]
    assert set(metadata.get_all("Provides-Extra")) == set(PROJECT["optional-dependencies"])
    assert f"{info}/licenses/LICENSE" in archive.namelist()
    assert "diffevo = " in archive.read(f"{info}/entry_points.txt").decode()


def test_its_command_works_without_the_source(wheel, tmp_path) -> None:
    """In an environment of its own, which borrows the dependencies of this one."""
    venv.create(tmp_path / "env", with_pip=False)
    (site,) = (tmp_path / "env").glob("lib/python*/site-packages")
    zipfile.ZipFile(wheel).extractall(site)
    borrowed = [path for path in sys.path if path.endswith("site-packages")]
    (site / "borrowed.pth").write_text("\n".join(borrowed))
    code = (
        "import diffevo_jax as de, sys\n"
        "print(de.__version__, de.__file__)\n"
        "from diffevo_jax import cli\n"
        "sys.exit(cli.main(['list']))"
    )
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [tmp_path / "env/bin/python", "-c", code],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    first, *listed = done.stdout.splitlines()
    version, place = first.split(" ", 1)
    assert version == PROJECT["version"]
    assert place.startswith(str(site))
    assert any("cartpole" in line.lower() for line in listed)
