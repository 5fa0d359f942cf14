"""How near the main job and the estimator come to what the machine can do.

    python benchmarks/roofline.py

Work is counted from the formulas (``counts.py``) and beside it by XLA. Limits are measured
(``limits.py``): a large float32 matrix product, chained multiply-adds on an array in the
cache, a triad through main memory, and the time of a sine, cosine or exponential. Limits
and work are measured in processes that see one core, then all.

* rollouts: 8,192 policies that solve CartPole, a step of a lane being the unit; over all
  cores with ``de.spread``. Their limit is that of multiply-adds: nothing is a matrix
  product.
* estimator: ``tell`` and ``ask`` with the plain kernel. Their limit is the matrix product.

``ratio`` is the share of that limit which the counted flops reach. The share of the
bandwidth goes by the smallest number of bytes. The share of the time in functions is what
sines, cosines and exponentials take at their measured speed, on every core, as often as XLA
computes them: it repeats the sine and the cosine of a step.
"""

import os
from typing import Any

import counts
import estimator
import jax
import limits
import rollouts
from common import arguments, milliseconds, prepare_devices, save, table
from timing import child, median

import diffevo_jax as de

SHAPES = ((4096, 2), (4096, 58))
LANES = 8192
PROGRAM = """
import os
if {cores}:
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:{cores}])
import json, jax
if {cores}:
    jax.config.update("jax_num_cpu_devices", {cores})
import roofline
print(json.dumps(roofline.measure({quick}, {repetitions})))
"""


def measure(quick: bool, repetitions: int) -> list[dict[str, Any]]:
    """The limits of this process, and the work in it."""
    limit = limits.measure(quick)
    rows = [{"kind": "limits", **limit}, rollout(256 if quick else LANES, repetitions)]
    for size, dim in ((512, 2),) if quick else SHAPES:
        rows.append(estimate(size, dim, repetitions))
    for row in rows[1:]:
        rate = row["units"] / row["seconds"]
        spent = sum(limit[name] for name in row["functions_are"])
        calls = max(row["functions"], row["xla_functions"]) / len(row["functions_are"])
        row["ratio"] = rate * row["flops"] / limit[row["limit"]]
        row["share_of_bandwidth"] = rate * row["bytes"] / limit["bandwidth"]
        row["share_in_functions"] = rate * calls * spent / jax.local_device_count()
    return rows


def rollout(lanes: int, repetitions: int) -> dict[str, Any]:
    """The rollouts of policies that solve CartPole, over the devices of the process."""
    devices, key = jax.local_device_count(), jax.random.key(42)
    case = rollouts.Case("CartPole-v1", lanes, True)
    problem, weights = rollouts.population(case, key)
    start = problem.init(key)
    parts = jax.tree.map(lambda w: w.reshape(devices, -1, *w.shape[1:]), weights)
    keys = jax.random.split(key, devices)
    play = de.spread(lambda key, weights: problem.evaluate(key, start, weights)[0].measures)
    spent = median(lambda: play(keys, parts), repetitions)
    return {
        "kind": "work",
        "what": f"a step of {case.what}",
        "units": int(play(keys, parts).length.sum()),
        "seconds": spent,
        "limit": "multiply_add",
        "functions_are": ("sin", "cos"),
        **described(counts.cartpole_step(), counts.xla_cartpole_step(1024)),
    }


def estimate(size: int, dim: int, repetitions: int) -> dict[str, Any]:
    """One ``tell`` and ``ask``."""
    one = estimator.our_round(size, dim)
    return {
        "kind": "work",
        "what": f"estimator, N = {size:,}, D = {dim}",
        "units": 1,
        "seconds": median(one.run, repetitions),
        "limit": "matmul",
        "functions_are": ("exp",),
        **described(counts.estimate(size, dim), counts.xla(one.compile())),
    }


def described(formula: counts.Count, xla: counts.Count) -> dict[str, float]:
    """Both counts of one unit of work."""
    return formula._asdict() | {f"xla_{name}": n for name, n in xla._asdict().items()}


def main() -> None:
    prepare_devices()
    options = arguments(__doc__ or "", repetitions=11)
    rows = []
    for name, cores in processes(options.gpu).items():
        numbers = {"quick": options.quick, "repetitions": options.repetitions}
        for row in child(PROGRAM.format(cores=cores, **numbers)):
            what = f"{row.get('what', 'limits')}, {name}"
            rows.append(row | {"what": what, "cores": cores})
    print(report(rows))
    save("roofline", options, rows)


def processes(gpu: bool) -> dict[str, int]:
    """Numbers of cores to measure with; 0 leaves the process as it is."""
    everything = os.cpu_count() or 1
    if gpu:
        return {"the accelerator": 0}
    if not hasattr(os, "sched_setaffinity"):
        return {"all cores": 0}
    return {"one core": 1} | ({f"{everything} cores": everything} if everything > 1 else {})


def report(rows: list[dict[str, Any]]) -> str:
    """The limits, then the work, as the page's tables."""
    giga = lambda value: f"{value / 1e9:,.0f}"
    limit_lines = [
        [row["what"].removeprefix("limits, ")]
        + [giga(row[name]) for name in ("matmul", "multiply_add", "bandwidth")]
        + [f"{1e9 * row[name]:.2f}" for name in limits.FUNCTIONS]
        for row in rows
        if row["kind"] == "limits"
    ]
    work_lines = [
        [
            row["what"],
            f"{row['flops']:,.0f} ({row['xla_flops']:,.0f})",
            f"{row['functions']:,.0f} ({row['xla_functions']:,.0f})",
            milliseconds(row["seconds"]),
            giga(row["units"] * row["flops"] / row["seconds"]),
            f"{row['ratio']:.0%}",
            f"{row['share_of_bandwidth']:.0%}",
            f"{row['share_in_functions']:.0%}",
        ]
        for row in rows
        if row["kind"] == "work"
    ]
    limit_header = ["limits", "matrix product, Gflop/s", "multiply-adds, Gflop/s"]
    limit_header += ["memory, GB/s", *(f"{name}, ns" for name in limits.FUNCTIONS)]
    work_header = ["work", "flops (XLA's count)", "functions (XLA's)", "ms", "Gflop/s"]
    work_header += ["of the limit", "of the bandwidth", "of the time in functions"]
    return table(limit_header, limit_lines) + "\n\n" + table(work_header, work_lines)


if __name__ == "__main__":
    main()
