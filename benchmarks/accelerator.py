"""An accelerator in six minutes: everything that a larger device should change.

    python benchmarks/accelerator.py                              # all parts
    python benchmarks/accelerator.py --parts estimator,rollouts   # some of them
    python benchmarks/accelerator.py --quick                      # tiny sizes, on a CPU too

The parts, in order of their worth: the main job, the estimator, its kernel for a GPU,
rollouts, sweeps, the ladder of the rollouts, a training of a U-Net, and evosax beside the
main job, the estimator and rollouts. Nothing needs a network, or the package installed: a
source tree on PYTHONPATH will do.

The result is a JSON file, replaced after every case, so that a job that is cut off leaves
what it had. A case that fails is an error in the file, and the next one begins. A part has
its share of the time, and what earlier parts have left of theirs; a case that would take
longer, by what a smaller one took, is left out, and the file says so.

Programs are compiled first, and that is timed apart. ``seconds`` is the median of
``repeats`` calls after a first one, each until its result is there; a call of more than two
seconds is not repeated: then ``repeats`` is 0, and its only call is the number.
"""

import argparse
import json
import os
import subprocess
import time
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import accelerator_estimator
import accelerator_jobs
import accelerator_peer
import accelerator_rollouts
import common
import jax
from accelerator_cases import LONG, Case, Cases

import diffevo_jax as de
from diffevo_jax.pytree.records import plain, version_of

OUT = common.RESULTS / "accelerator.json"


class Part(NamedTuple):
    """Cases that share their time.

    Attributes:
        cases: makes them, quick ones or not, from a seed.
        share: of the time, by the shares of all parts that run.
    """

    cases: Callable[[bool, int], Cases]
    share: float


PARTS = {
    "main_job": Part(accelerator_jobs.main_jobs, 60),
    "estimator": Part(accelerator_estimator.cases, 70),
    "kernel": Part(accelerator_estimator.kernels, 60),
    "rollouts": Part(accelerator_rollouts.lanes, 80),
    "sweeps": Part(accelerator_jobs.sweeps, 36),
    "ladder": Part(accelerator_rollouts.ladders, 50),
    "unet": Part(accelerator_jobs.unets, 24),
    "evosax": Part(accelerator_peer.cases, 40),
}


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = ",".join(PARTS)
    add = parser.add_argument
    add("--quick", action="store_true", help="tiny sizes; stored only with --out")
    add("--seed", type=int, default=42)
    add("--minutes", type=float, default=6.0, help="for all parts together")
    add("--parts", default=names, help=f"some of {names}")
    add(
        "--out",
        type=Path,
        help=f"the result, {OUT.relative_to(common.ROOT)} if not --quick",
    )
    given = parser.parse_args()
    given.parts = given.parts.split(",")
    unknown = set(given.parts) - PARTS.keys()
    if unknown:
        parser.error(f"--parts: got {', '.join(sorted(unknown))}, want some of {names}")
    if given.out is None and not given.quick:
        given.out = OUT
    return given


def provenance() -> dict[str, Any]:
    """As of the other benchmarks where git is there; the card and its driver."""
    device = jax.devices()[0]
    found: dict[str, Any] = {"device": f"{device.platform}: {device.device_kind}"}
    try:
        found |= common.provenance()
    except OSError:  # no git
        found["commit"] = None
    if not found.get("commit") or common.inside_another():  # without its history
        found |= {"commit": None, "dirty": None}
    found["diffevo_jax"] = de.__version__
    for package in ("jax", "jaxlib", "jax-cuda13-plugin", "jax-cuda12-plugin", "flax"):
        found["versions"] = found.get("versions", {}) | {package: version_of(package)}
    query = "name,driver_version,memory.total,clocks.max.sm"
    command = ["nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader"]
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=20)
        found["nvidia_smi"] = {"query": query, "answer": run.stdout.strip().splitlines()}
    except (OSError, subprocess.TimeoutExpired) as error:
        found["nvidia_smi"] = str(error)
    return found


def foreseen(case: Case, rows: Iterable[dict[str, Any]]) -> float | None:
    """Seconds of a case, from those of the one before it; None if that has none."""
    if case.after is None:
        return 0.0
    for row in rows:
        if row["what"] == case.after:
            run = case.growth * row["seconds"]
            return float(row.get("compile", row["first"]) + run + min(run, LONG))
    return None


def measure(part: dict[str, Any], case: Case, end: float) -> None:
    """Put a row of the case into its part; or why there is none."""
    begin = time.perf_counter()
    expected = foreseen(case, part["rows"])
    if expected is None:
        part["left_out"].append({"what": case.what, "why": f"no {case.after}"})
    elif begin + expected > end:
        left = f"{expected:.1f} s foreseen, {end - begin:.1f} s left"
        part["left_out"].append({"what": case.what, "why": left})
    else:
        try:
            row = {"what": case.what, **case.measure()}
            part["rows"].append(row | {"wall": time.perf_counter() - begin})
        except Exception as error:  # whatever it is, the next case is measured
            part["errors"].append({"what": case.what, "error": _text(error)})


def _text(error: Exception) -> str:
    """The end of its traceback, which says where, and what it says itself."""
    where = "".join(traceback.format_tb(error.__traceback__)[-3:])
    return f"{type(error).__name__}: {str(error)[:1500]}\n{where[-1500:]}"


def beside(record: dict[str, Any]) -> None:
    """Ratios of the peer's times to ours of earlier parts, by the name of the case."""
    ours = {
        row["what"]: row["seconds"]
        for part in record["parts"].values()
        for row in part["rows"]
        if "beside" not in row
    }
    for row in record["parts"].get("evosax", {"rows": []})["rows"]:
        if row.get("beside") in ours:
            row["ours"] = ours[row["beside"]]
            row["ratio"] = row["seconds"] / row["ours"]


def save(record: dict[str, Any], out: Path | None) -> None:
    """Replace the file, so that at any time there is a whole one."""
    if out is None:
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    draft = out.with_name(out.name + ".part")
    draft.write_text(json.dumps(plain(record), indent=1, allow_nan=False) + "\n")
    os.replace(draft, out)


def tell(what: str, part: dict[str, Any]) -> str:
    """A line of what became of the case."""
    for kind in ("rows", "left_out", "errors"):
        for row in part[kind]:
            if row["what"] == what:
                if kind != "rows":
                    why = row.get("why", row.get("error", ""))
                    return f"{what}: {kind}: {why.splitlines()[0]}"
                names = ("seconds", "repeats", "compile", *part["rates"], "ratio")
                parts = (f"{name} {row[name]:.4g}" for name in names if name in row)
                return f"{what}: {', '.join(parts)}"
    return what


def run(given: argparse.Namespace, record: dict[str, Any]) -> None:
    """All parts; the record is saved after every case."""
    begin = time.perf_counter()
    chosen = {name: part for name, part in PARTS.items() if name in given.parts}
    unit = 60.0 * given.minutes / sum(part.share for part in chosen.values())
    end = begin
    for name, (make, share) in chosen.items():
        part: dict[str, Any] = {"rows": [], "errors": [], "left_out": [], "rates": ()}
        record["parts"][name], start = part, time.perf_counter()
        end += unit * share  # and what is left of the time before
        cases, part["rates"] = make(given.quick, given.seed)
        for case in cases:
            measure(part, case, end)
            beside(record)
            part["seconds"] = time.perf_counter() - start
            record["seconds"] = time.perf_counter() - begin
            save(record, given.out)
            print(f"{record['seconds']:6.1f} s  {tell(case.what, part)}", flush=True)
        save(record, given.out)


def main() -> None:
    given = options()
    about = {key: value for key, value in vars(given).items() if key != "out"}
    record = {"provenance": provenance(), "options": about, "parts": {}}
    save(record, given.out)
    run(given, record)
    failed = [e["what"] for part in record["parts"].values() for e in part["errors"]]
    print(f"failed: {', '.join(failed) or 'nothing'}")


if __name__ == "__main__":
    main()
