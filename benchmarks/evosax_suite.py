"""evosax's own tests and notebook, with our classes in the place of its own.

    git clone https://github.com/RobertTLange/evosax
    python benchmarks/evosax_suite.py evosax

Nothing of that checkout is changed. Its tests of population-based algorithms run with our
adapter registered under the name of its DiffusionEvolution, and once more around strategies
of other settings. The code cells of its notebook 05 run with the class imported from here;
the cells that draw a film are left out.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from common import RESULTS, provenance

#: Loaded by pytest before evosax's own conftest.
PLUGIN = """
import functools
import jax.numpy as jnp
import diffevo_jax as de
from diffevo_jax.interop import evosax as bridge
from evosax.algorithms.population_based import population_based_algorithms as known

known["DiffusionEvolution"] = bridge.DiffusionEvolution
settings = {
    "published": de.published.landscape("beale").strategy,
    "latent": de.DiffusionEvolution(
        128, de.denoisers.Population(de.kernels.RandomProjection(2))),
    "perplexity": de.DiffusionEvolution(128, de.denoisers.Population(
        de.kernels.SelfConditioned(de.kernels.Perplexity(4.0)),
        memory=de.denoisers.Archive())),
    "Heun": de.DiffusionEvolution(128 + 127, sampler=de.samplers.Heun()),
    "gaussian": de.DiffusionEvolution(128, de.denoisers.GaussianFit()),
}
for name, strategy in settings.items():
    known["ours " + name] = functools.partial(bridge.Algorithm, strategy=strategy)
"""
NOTEBOOK = "examples/05_diffusion_evolution.ipynb"
OLD = "from evosax.algorithms import DiffusionEvolution as ES"
NEW = "from diffevo_jax.interop.evosax import DiffusionEvolution as ES"


def suite(checkout: Path) -> dict[str, Any]:
    """Run the tests; passed and failed."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "our_adapter.py").write_text(PLUGIN)
        command = [sys.executable, "-m", "pytest", "-q", "-p", "our_adapter"]
        command += ["-p", "no:cacheprovider", "-k", "DiffusionEvolution or ours"]
        command += [str(checkout / "tests/test_algorithms/test_population_based.py")]
        path = os.pathsep.join([folder, os.environ.get("PYTHONPATH", "")])
        run = subprocess.run(
            command,
            env=os.environ | {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
        )
    print(run.stdout[-2000:], run.stderr[-2000:])
    counts = re.findall(r"(\d+) (passed|failed|error)", run.stdout)
    return {"passed": 0, "failed": 0} | {what: int(number) for number, what in counts}


def notebook(checkout: Path) -> dict[str, Any]:
    """Run the code cells of the notebook; the best and the mean cost at the end."""
    cells = json.loads((checkout / NOTEBOOK).read_text())["cells"]
    source = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    code = [cell for cell in source if not cell.startswith("%") and "mediapy" not in cell]
    if sum(OLD in cell for cell in code) != 1:
        raise ValueError(f"{NOTEBOOK}: want one line {OLD!r}")
    found: dict[str, Any] = {}
    space: dict[str, Any] = {}
    for cell in code:
        exec(compile(cell.replace(OLD, NEW), NOTEBOOK, "exec"), space)
        if "jax.lax.scan(" in cell:
            states, metrics = space["states"], space["metrics"]
            found[f"run {len(found) + 1}"] = {
                "generations": len(metrics["best_fitness"]),
                "best_cost": float(metrics["best_fitness"][-1]),
                "first_mean_cost": float(states.fitness[0].mean()),
                "last_mean_cost": float(states.fitness[-1].mean()),
            }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkout", type=Path, help="a clone of evosax")
    checkout = parser.parse_args().checkout
    git = ["git", "-C", str(checkout), "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(git, capture_output=True, text=True).stdout.strip()
    rows = {"evosax": commit, "tests": suite(checkout), "notebook": notebook(checkout)}
    print(json.dumps(rows, indent=1))
    content = {"provenance": provenance(), "rows": rows}
    (RESULTS / "evosax_suite.json").write_text(json.dumps(content, indent=1) + "\n")
    sys.exit(int(rows["tests"]["failed"] > 0))


if __name__ == "__main__":
    main()
