"""A run to kill: ``python killed_run.py FOLDER 4``; says what all its bits come to."""

import hashlib
import sys

import jax
import light_evaluators as light
import numpy as np

import diffevo_jax as de
from diffevo_jax.problems import external


def bits_of(result: de.Result) -> str:
    """A digest of all numbers."""
    digest = hashlib.sha256()
    for leaf in jax.tree.leaves(result):
        digest.update(np.ascontiguousarray(leaf).tobytes())
    return digest.hexdigest()


def run(evaluate, generations: int, folder: str | None = None) -> str:
    """So many generations under noise, with a constraint, rejects, a final evaluation."""
    inner = de.problems.External(
        evaluate,
        de.problems.Space(np.zeros(2)),
        noisy=True,
        reject=lambda solutions: solutions[:, 0] > 1.0,
        measures={"half": np.zeros(2)},
    )
    low = de.problems.Constraint(lambda x, measures: measures["half"][1] - 0.5)
    problem = de.problems.Constrained(inner, (low,))
    strategy = de.DiffusionEvolution(generations)
    options = {"population_size": 8, "final": 16, "folder": folder}
    return bits_of(de.run(jax.random.key(3), strategy, problem, **options))


if __name__ == "__main__":
    with external.each(light.counted, workers=2) as of_all:
        print(run(of_all, int(sys.argv[2]), sys.argv[1]))
