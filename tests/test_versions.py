"""Versions of packages, installed or not."""

import importlib.metadata
import subprocess
import sys

import lower_bounds

from diffevo_jax.pytree.records import UNKNOWN, version_of


def test_the_version_of_an_installed_package_is_that_of_its_metadata() -> None:
    assert version_of("jax") == importlib.metadata.version("jax")


def test_a_source_tree_that_is_not_installed_can_be_imported() -> None:
    code = (
        "import importlib.metadata as m\n"
        "def found(name): raise m.PackageNotFoundError(name)\n"
        "m.version = found\n"
        "import diffevo_jax\n"
        "print(diffevo_jax.__version__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == UNKNOWN


def test_the_oldest_versions_are_the_lower_bounds() -> None:
    # given bounds, an exception, a marker and a name without any
    project = {
        "dependencies": ["jax>=0.6.1", "optax>=0.2.5,!=0.2.7", "six"],
        "optional-dependencies": {"viz": ["matplotlib>=3.8"], "dev": ["own[viz]", "mypy"]},
    }
    wanted = ["jax==0.6.1", "optax==0.2.5", "matplotlib==3.8"]
    assert lower_bounds.oldest(project) == wanted
