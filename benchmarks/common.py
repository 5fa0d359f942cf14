"""What every benchmark shares: options, provenance, results, the check, tables."""

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import jax
import numpy as np

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
FIGURES = ROOT / "docs" / "figures"
PACKAGES = (
    "diffevo-jax",
    "jax",
    "jaxlib",
    "numpy",
    "gymnax",
    "evosax",
    "optuna",
    "ribs",
    "torch",
)
#: What the benchmarks write themselves; the rest decides whether the tree is dirty.
WRITTEN = ("benchmarks/results", "docs")
#: A ratio below this share of the stored one is a regression.
FALL = 0.75


def prepare_devices() -> None:
    """One host device a core; an accelerator's memory is shared with child processes.

    Must run before JAX computes anything.
    """
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    jax.config.update("jax_num_cpu_devices", os.cpu_count() or 1)


def arguments(
    description: str,
    *,
    seeds: int = 0,
    repetitions: int = 0,
    only: str = "",
    minutes: float = 0.0,
    shapes: int = 0,
) -> argparse.Namespace:
    """Options of a benchmark: of runs (seeds), of speed (repetitions), of long lives."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--quick", action="store_true", help="small sizes, few repetitions, not stored")
    add("--seed", type=int, default=42, help="the paper's seed is 42")
    if seeds:
        add("--seeds", type=int, default=seeds, help="independent runs")
    if repetitions:
        add("--repetitions", type=int, default=repetitions, help="of every measurement")
        add("--gpu", action="store_true", help="sizes of an accelerator; result NAME_gpu")
        add("--check", action="store_true", help="compare with the stored ratios only")
    if only:
        add("--only", nargs="*", default=[], help=f"{only}; keep the rest")
    if minutes:
        add("--minutes", type=float, default=minutes, help="with the same shapes")
    if shapes:
        add("--shapes", type=int, default=shapes, help="different ones after that")
    options = parser.parse_args()
    if options.quick and seeds:
        options.seeds = min(options.seeds, 4)
    if options.quick and repetitions:
        options.repetitions = min(options.repetitions, 2)
    if repetitions:
        check_backend(options.gpu)
    return options


def check_backend(gpu: bool) -> None:
    """Exit unless JAX computes where the result says that it does."""
    got = jax.default_backend()
    if gpu and got == "cpu":
        sys.exit("--gpu: got the backend 'cpu', want an accelerator that JAX can use")
    if not gpu and got != "cpu":
        sys.exit(f"got the backend {got!r}, want --gpu, or JAX_PLATFORMS=cpu")


def provenance() -> dict[str, Any]:
    """Where and with what a result was measured."""
    device = jax.devices()[0]
    excluded = [f":(exclude){path}" for path in WRITTEN]
    return {
        "commit": _git("rev-parse", "--short", "HEAD"),
        "dirty": bool(_git("status", "--porcelain", "--", ".", *excluded)),
        "device": f"{device.platform}: {device.device_kind}",
        "devices": jax.device_count(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "versions": {name: number for name in PACKAGES if (number := _version(name))},
    }


def inside_another() -> bool:
    """Whether this tree lies in a folder of another repository, whose commit git tells."""
    return bool(_git("rev-parse", "--show-prefix"))


def _git(*command: str) -> str:
    run = subprocess.run(["git", *command], cwd=ROOT, capture_output=True, text=True)
    return run.stdout.strip()


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def save(name: str, options: argparse.Namespace, rows: Any) -> None:
    """Compare with ``results/name.json``, then write it; quick runs do neither.

    With ``--check`` nothing is written, and a regression exits with status 1. A run with
    ``--gpu`` is ``name_gpu``.
    """
    if options.quick:
        return
    name += "_gpu" * getattr(options, "gpu", False)
    changes = compare(load(name), rows) if stored(name) else []
    if changes:
        print(f"\n{name}: ratios, stored and now\n{changes_table(changes)}")
    elif getattr(options, "check", False):
        print(f"\n{name}: no stored ratios to compare with")
    if getattr(options, "check", False):
        sys.exit(int(any(change["regression"] for change in changes)))
    RESULTS.mkdir(exist_ok=True)
    content = {"provenance": provenance(), "options": vars(options), "rows": rows}
    path(name).write_text(json.dumps(content, indent=1) + "\n")


def compare(before: Any, now: Any) -> list[dict[str, Any]]:
    """The ratio of every row that both have under the same ``what``."""
    old, new = ratios(before), ratios(now)
    return [
        {
            "what": what,
            "stored": old[what],
            "now": new[what],
            "change": new[what] / old[what] - 1.0,
            "regression": not new[what] >= FALL * old[what],  # so that NaN is one
        }
        for what in new
        if what in old
    ]


def ratios(rows: Any) -> dict[str, float]:
    """The ratio of ours to what was measured beside it, by ``what``."""
    if not isinstance(rows, list):
        return {}
    return {row["what"]: row["ratio"] for row in rows if {"what", "ratio"} <= row.keys()}


def changes_table(changes: Sequence[dict[str, Any]]) -> str:
    """The comparison as a table."""
    lines = [
        [
            change["what"],
            f"{change['stored']:.3g}",
            f"{change['now']:.3g}",
            f"{change['change']:+.0%}" + " REGRESSION" * change["regression"],
        ]
        for change in changes
    ]
    return table(["what", "stored ratio", "now", "change"], lines)


def path(name: str) -> Path:
    """The file of a result."""
    return RESULTS / f"{name}.json"


def stored(name: str) -> bool:
    """Whether there is such a result."""
    return path(name).exists()


def load(name: str) -> Any:
    """Rows of a stored result."""
    return json.loads(path(name).read_text())["rows"]


def summary(values: Any) -> dict[str, float]:
    """Mean, standard deviation over runs, half width of the 95 % interval of the mean.

    The interval is Student's: of three runs it is 2.2 times that of a normal one.
    """
    from scipy import stats  # here: processes whose memory is measured do without

    values = np.asarray(values, dtype=float)
    spread = float(values.std(ddof=1)) if values.size > 1 else 0.0
    width = float(stats.t.ppf(0.975, values.size - 1)) if values.size > 1 else 0.0
    return {
        "mean": float(values.mean()),
        "sd": spread,
        "interval": width * spread / float(np.sqrt(values.size)),
    }


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def times(row: dict[str, Any], name: str) -> str:
    """A median in milliseconds, and the seconds of the first call."""
    return f"{milliseconds(row[name])} ({row[f'{name}_first']:.1f} s)"


def milliseconds(seconds: float | None) -> str:
    """Three digits, or a dash where nothing was measured."""
    if seconds is None:
        return "-"
    value = 1e3 * seconds
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def beside_evosax(
    rows: Sequence[dict[str, Any]], header: str, cell: Callable[[dict[str, Any]], str]
) -> str:
    """The times of both sides, their ratio, and one more column."""
    lines = [
        [
            row["what"],
            times(row, "ours"),
            times(row, "evosax"),
            f"{row['ratio']:.1f}",
            cell(row),
        ]
        for row in rows
    ]
    sides = ["ours, ms (first call)", "evosax, ms (first call)"]
    return table(["what", *sides, "times faster", header], lines)
