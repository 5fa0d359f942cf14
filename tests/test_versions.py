"""Versions of packages, installed or not."""

import importlib.metadata
import subprocess
import sys

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
