"""Sweeps on several devices of one CPU, in a process of its own."""

import subprocess
import sys

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


def test_two_devices_share_an_odd_number_of_runs() -> None:
    run = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
