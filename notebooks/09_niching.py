# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
# ---

# %% [markdown]
# # Several different solutions
#
# [![Open in Colab][badge]][colab]
#
# Often one optimum is not enough: the second best may be cheaper, safer or more robust.
# Then two things are needed: a run that keeps different solutions, and a list of those
# that it has kept.
#
# [badge]: https://colab.research.google.com/assets/colab-badge.svg
# [colab]: https://colab.research.google.com/github/diffevo-jax/diffevo_jax/blob/main/notebooks/09_niching.ipynb

# %% tags=["install"]
# %matplotlib inline
import os
import subprocess
import sys
from importlib.metadata import version

if "google.colab" in sys.modules:  # install the library, and leave Colab's JAX alone
    repository = "git+https://github.com/diffevo-jax/diffevo_jax"
    library = f"diffevo-jax[viz] @ {os.environ.get('DIFFEVO_WHEEL', repository)}"
    jax_as_it_is = [f"{name}=={version(name)}" for name in ("jax", "jaxlib")]
    install = [sys.executable, "-m", "pip", "install", "-q", library, *jax_as_it_is]
    subprocess.run(install, check=True)

import matplotlib.pyplot as plt

plt.rcParams.update({"figure.dpi": 72, "figure.constrained_layout.use": True})
plt.rcParams.update({"axes.spines.top": False, "axes.spines.right": False})
plt.rcParams.update({"legend.frameon": False})
FAST = os.environ.get("DIFFEVO_FAST") == "1"  # smaller sizes, for tests

# %%
import jax
import jax.numpy as jnp
import numpy as np
from scipy.stats import qmc

import diffevo_jax as de
from diffevo_jax import plots
from diffevo_jax.problems import landscapes

ORANGE, BLUE, INK = "#D55E00", "#0072B2", "#222222"

# %% [markdown]
# ## A run that keeps them
#
# The default is made to find one good solution, and how many more it keeps is chance.
# `for_several` is a setting that keeps several: every individual has about thirty
# effective neighbours, selection is mild, and guidance is strong. Both have the same
# number of evaluations.
#
# `de.solutions` then lists the best individual of every peak. It evaluates points between
# two solutions. If one of them is worse than both, there is a valley, and the solutions
# are different.


# %%
def fitness(x):
    return -landscapes.himmelblau(x)


space = de.problems.Space(jnp.zeros(2), lower=-6.0, upper=6.0)
problem = de.problems.Function(fitness, space=space)
SIZE, GENERATIONS = (128, 25) if FAST else (256, 50)

strategies = {
    "default": de.DiffusionEvolution(GENERATIONS),
    "for several": de.DiffusionEvolution.for_several(GENERATIONS, SIZE),
}
key, found = jax.random.key(0), {}
for name, strategy in strategies.items():
    result = de.evolve(key, strategy, problem, population_size=SIZE)
    found[name] = de.solutions(problem, result, key=key, num_evaluations=500)
    print(f"{name}: {found[name]}\n")
assert all(len(listed) >= 1 for listed in found.values())

# %% [markdown]
# A picture of both. The darker, the fitter: the greys are quantiles of the fitness over
# the box. The numbers count the individuals that stand for a solution.

# %%
draws = space.sample(jax.random.key(1), 4000)
values = jax.vmap(fitness)(space.decode(draws))
levels = np.unique(np.quantile(values, np.linspace(0, 1, 13)))
levels[-1] = (
    max(levels[-1], *(float(listed.fitness.max()) for listed in found.values())) + 1e-6
)
figure, axes = plt.subplots(1, 2, figsize=(9, 4.4))
for ax, (name, listed) in zip(axes, found.items(), strict=True):
    plots.landscape(problem, ax=ax, levels=levels)
    ax.plot(*listed.solutions.T, "o", color=ORANGE, mec="white", ms=9)
    for place, count in zip(listed.solutions, listed.count, strict=True):
        ax.annotate(count, place, xytext=(7, 5), textcoords="offset points")
    ax.set(title=f"{name}: {len(listed)} solutions")
assert all((listed.count >= 0).all() for listed in found.values())

# %% [markdown]
# ## Is that luck?
#
# One run says little. This counts the listed solutions of several runs:

# %%
RUNS = 2 if FAST else 8
keys = jax.random.split(jax.random.key(2), RUNS)


def number_of_solutions(strategy):
    """Of each run."""
    run = lambda key: de.evolve(key, strategy, problem, population_size=SIZE)
    results = jax.vmap(run)(keys)
    each = [jax.tree.map(lambda leaf, i=i: leaf[i], results) for i in range(RUNS)]
    return [len(de.solutions(problem, one, key=key, num_evaluations=500)) for one in each]


counts = {name: number_of_solutions(strategy) for name, strategy in strategies.items()}
figure, ax = plt.subplots(figsize=(5, 2.6))
most = max(map(max, counts.values()))
heights = [np.bincount(of_runs, minlength=most + 1) for of_runs in counts.values()]
for offset, name, height, color in zip(
    (-0.2, 0.2), counts, heights, (BLUE, ORANGE), strict=True
):
    ax.bar(np.arange(most + 1) + offset, height, 0.4, label=name, color=color)
ax.set(xlabel="different solutions", ylabel="runs")
ax.legend()
for name, of_runs in counts.items():
    print(f"{name}: {np.mean(of_runs):.2f} solutions a run")
assert min(map(min, counts.values())) >= 1

# %% [markdown]
# ## Niches
#
# In two or three dimensions there is a more thorough way. It has an exact kernel, and its
# first noise level is below the distance of two peaks, so that an individual hardly hears
# those across a valley. A local shaping compares an individual with its neighbours, so
# that low peaks count as much as high ones. A start that is evenly spread has individuals
# in all parts of the box.
#
# The list of this run is the start of a second one. It adds a little noise to the listed
# solutions, and refines them at a lower noise level.


# %%
def niches(generations, start, stop):
    population = de.denoisers.Population(
        de.kernels.Gaussian(), de.shaping.Local(0.3), guidance=0.0
    )
    return de.DiffusionEvolution(generations, population, grid=de.noise.VE(stop, start))


def listed_by(strategy, population, within):
    result = de.evolve(key, strategy, problem, population=population)
    return de.solutions(
        problem, result, key=key, num_evaluations=EVALUATIONS, within=within
    )


MANY, EVALUATIONS = (128, 600) if FAST else (512, 6000)
even = jnp.asarray(4 * qmc.Sobol(2, seed=0).random(MANY) - 2, jnp.float32)
rough = listed_by(niches(20, 0.2, 0.01), even, within=0.5)
rows = np.arange(MANY) % len(rough)
noise = 0.1 * np.random.default_rng(0).normal(size=(MANY, 2))
around = space.repair(jnp.asarray(rough.points[rows] + noise, jnp.float32))
fine = listed_by(niches(12, 0.03, 0.003), around, within=0.5)
print(fine)

figure, ax = plt.subplots(figsize=(4.4, 4.4))
levels[-1] = max(levels[-1], float(fine.fitness.max()) + 1e-6)
plots.landscape(problem, ax=ax, levels=levels)
ax.plot(*fine.solutions.T, "o", color=ORANGE, mec="white", ms=7)
assert len(fine) >= 1
assert fine.fitness.max() >= np.quantile(values, 0.99)

# %% [markdown]
# ## Many dimensions
#
# Above three dimensions space is too large for an even start. `for_several` measures
# distances along the two axes in which the better individuals differ most. The function
# here is a sum over four pairs of numbers, of which the first counts ten times as much.
# In the picture a line is a solution, and its height on an axis is one of its numbers.

# %%
DIM = 8


def summed(x):
    return fitness(x[:2]) + 0.1 * sum(
        fitness(x[2 * k : 2 * k + 2]) for k in range(1, DIM // 2)
    )


problem_8 = de.problems.Function(
    summed, space=de.problems.Space(jnp.zeros(DIM), lower=-6.0, upper=6.0)
)
strategy = de.DiffusionEvolution.for_several(GENERATIONS, SIZE)
result = de.evolve(key, strategy, problem_8, population_size=SIZE)
apart = de.solutions(problem_8, result, key=key, num_evaluations=EVALUATIONS // 3)
print(f"{len(apart)} solutions in {DIM} dimensions")
assert len(apart) >= 1
plots.parallel_coordinates(apart)

# %% [markdown]
# ## Where to go next
#
# - Which setting for how many peaks and dimensions, measured on the problems of the CEC
#   2013 competition, and lists under noise:
#   [different_solutions.md](https://github.com/diffevo-jax/diffevo_jax/blob/main/docs/different_solutions.md).
# - Solutions that differ in what they do, and not in their numbers:
#   [quality_diversity.md](https://github.com/diffevo-jax/diffevo_jax/blob/main/docs/quality_diversity.md).
