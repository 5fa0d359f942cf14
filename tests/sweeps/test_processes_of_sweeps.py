"""Sweeps in processes of their own: on several devices, and after a stop."""

import subprocess
import sys

import jax
import pytest

import diffevo_jax as de

CODE = """
import jax
jax.config.update("jax_num_cpu_devices", 2)
import numpy as np, diffevo_jax as de
problem, key = de.problems.Landscape("beale"), jax.random.key(0)
for mode in ("vmap", "map"):
    one, two = (
        de.sweep(key, de.DiffusionEvolution(2), problem, population_size=8, num_seeds=3,
                 axes={"sampler.eta": [0.5]}, mode=mode, devices=devices)
        for devices in (None, jax.devices())
    )
    assert not two.missing.any()
    np.testing.assert_allclose(one.final_mean, two.final_mean, atol=1e-4)
"""


@pytest.mark.slow
def test_two_devices_share_an_odd_number_of_runs() -> None:
    run = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


STOPPED = """
import sys, jax, diffevo_jax as de
de.sweep(jax.random.key(0), de.DiffusionEvolution(2), de.problems.Landscape("beale"),
         population_size=8, num_seeds=2, batch_size=1, folder=sys.argv[1], shard=(0, 2))
"""


@pytest.mark.slow
def test_another_process_goes_on_with_a_sweep(tmp_path) -> None:
    command = [sys.executable, "-c", STOPPED, str(tmp_path)]
    subprocess.run(command, check=True, capture_output=True)
    first = (tmp_path / "batch-000000.npz").stat().st_mtime_ns
    result = de.sweep(
        jax.random.key(0),
        de.DiffusionEvolution(2),
        de.problems.Landscape("beale"),
        population_size=8,
        num_seeds=2,
        batch_size=1,
        folder=tmp_path,
    )
    assert not result.missing.any()
    assert (tmp_path / "batch-000000.npz").stat().st_mtime_ns == first
