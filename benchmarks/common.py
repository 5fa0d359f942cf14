"""What every benchmark shares: provenance, intervals, files, the README's tables."""

import argparse
import json
import os
import platform
import subprocess
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import numpy as np

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
FIGURES = ROOT / "docs" / "figures"
PACKAGES = ("diffevo-jax", "jax", "jaxlib", "numpy", "gymnax")


def arguments(description: str, *, seeds: int, only: str = "") -> argparse.Namespace:
    """Options that every benchmark takes."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="few seeds, small sizes")
    parser.add_argument("--seeds", type=int, default=seeds, help="independent runs")
    parser.add_argument("--seed", type=int, default=42, help="the paper's seed is 42")
    if only:
        parser.add_argument("--only", nargs="*", default=[], help=f"{only}; keep the rest")
    options = parser.parse_args()
    if options.quick:
        options.seeds = min(options.seeds, 4)
    return options


def provenance() -> dict[str, Any]:
    """Where and with what a result was measured."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True
    ).stdout.strip()
    device = jax.devices()[0]
    return {
        "commit": commit,
        "device": f"{device.platform}: {device.device_kind}",
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in PACKAGES},
    }


def save(name: str, options: argparse.Namespace, rows: Any) -> None:
    """Write ``results/name.json``; quick runs are not kept."""
    if options.quick:
        return
    RESULTS.mkdir(exist_ok=True)
    content = {"provenance": provenance(), "options": vars(options), "rows": rows}
    (RESULTS / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n")


def load(name: str) -> Any:
    """Rows of a stored result."""
    return json.loads((RESULTS / f"{name}.json").read_text())["rows"]


def summary(values: Any) -> dict[str, float]:
    """Mean, standard deviation over runs, half width of the 95 % interval of the mean."""
    values = np.asarray(values, dtype=float)
    spread = float(values.std(ddof=1)) if values.size > 1 else 0.0
    return {
        "mean": float(values.mean()),
        "sd": spread,
        "interval": 1.96 * spread / float(np.sqrt(values.size)),
    }


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
