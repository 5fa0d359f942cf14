"""The main job beside evosax: whole evolutions of CartPole controllers.

    python benchmarks/main_job.py

CartPole-v1 at the published protocol: 58 weights, population 256, 10 generations, one
episode each, latent kernel. Both sides are one compiled program that returns the history
of the run, or of 32 independent ones. evosax runs its own DiffusionEvolution and its
GymnaxProblem in one ``lax.scan`` under a plain ``jit(vmap)``, on one device. Ours runs on
one device, and with ``de.spread`` over all devices of the host, in the last row evosax too;
apart from both with ``fast_trigonometry``, whose episodes are not gymnax's to the last
digit. Repetitions alternate; first calls, compiling included, are timed apart; what is
compared is the ratio of medians.

The last column compares with the published PyTorch code, which takes about 100 seconds a
run on a two-core machine, one run after the other. That number is a reference: the code
is not run here, since its licence allows academic use only.
"""

import functools
from typing import Any

import jax
import peer
from common import arguments, beside_evosax, prepare_devices, save
from timing import Call, alternate, rename

import diffevo_jax as de

#: Seconds of one run of the published PyTorch code; see above.
PUBLISHED = 100.0


def our_run(key: jax.Array, fast: bool = False) -> de.Info:
    """One evolution by diffevo_jax: its history."""
    strategy, problem, size = de.published.control("CartPole-v1")
    if fast:
        problem = de.replace(problem, fast_trigonometry=True)
    return de.evolve(key, strategy, problem, population_size=size, final=0).history


def measure(runs: int, seed: int, repetitions: int) -> list[dict[str, Any]]:
    """So many whole evolutions in one program, on one device and on all."""
    devices, their_run = jax.local_device_count(), peer.evolution()
    our_fast_run = functools.partial(our_run, fast=True)
    keys = jax.random.split(jax.random.key(seed), runs)
    if runs == 1:
        each, argument = jax.jit, keys[0]
    else:
        each, argument = (lambda run: jax.jit(jax.vmap(run))), keys
    ours, fast, theirs = map(each, (our_run, our_fast_run, their_run))
    calls: dict[str, Call] = {
        "ours": lambda: ours(argument),
        "fast": lambda: fast(argument),
        "evosax": lambda: theirs(argument),
    }
    spread = devices > 1 and runs % devices == 0
    if spread:
        everywhere, fast_everywhere, their_everywhere = map(
            de.spread, (our_run, our_fast_run, their_run)
        )
        calls["spread"] = lambda: everywhere(keys)
        calls["fast_spread"] = lambda: fast_everywhere(keys)
        calls["evosax_spread"] = lambda: their_everywhere(keys)
    measured = alternate(calls, repetitions)
    what = f"evolution, {runs:,} run{'s' * (runs > 1)}"
    over = f"{what}, ours over {devices} devices"
    rows = [
        (what, 1, "ours", "evosax"),
        (f"{what}, fast trigonometry", 1, "fast", "evosax"),
    ]
    if spread:
        both = f"{what}, both over {devices} devices"
        rows += [
            (over, devices, "spread", "evosax"),
            (f"{over}, fast trigonometry", devices, "fast_spread", "evosax"),
            (both, devices, "spread", "evosax_spread"),
        ]
    return [
        describe(title, runs, used, rename(measured, *names))
        for title, used, *names in rows
    ]


def describe(what: str, runs: int, devices: int, row: dict[str, float]) -> dict[str, Any]:
    """A row, with the reference number for so many runs."""
    reference = runs * PUBLISHED
    published = {"published": reference, "published_ratio": reference / row["ours"]}
    return {"what": what, "runs": runs, "devices": devices, **row, **published}


def main() -> None:
    prepare_devices()
    options = arguments(__doc__ or "", repetitions=11)
    sizes = (1, 32, 1024) if options.gpu else (1, 32)
    rows = []
    for runs in (1, 4) if options.quick else sizes:
        rows += measure(runs, options.seed, options.repetitions)
    print(report(rows))
    save("main_job", options, rows)


def report(rows: list[dict[str, Any]]) -> str:
    """The rows as the table of a document."""
    cell = lambda row: f"{row['published_ratio']:,.0f}"
    return beside_evosax(rows, f"times faster than {PUBLISHED:.0f} s a run", cell)


if __name__ == "__main__":
    main()
