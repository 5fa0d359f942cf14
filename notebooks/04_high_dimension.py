# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
# ---

# %% [markdown]
# # High dimension
#
# [![Open in Colab][badge]][colab]
#
# In Diffusion Evolution each individual moves towards its answer, a weighted mean of the
# population (`02_diffusion_evolution` derives it). In many dimensions all individuals are
# far apart, and an individual has nearly all the weight in its own answer. Then hardly
# anything is selected. This notebook shows the effect, derives it, and shows what the
# library does instead.
#
# [badge]: https://colab.research.google.com/assets/colab-badge.svg
# [colab]: https://colab.research.google.com/github/diffevo-jax/diffevo_jax/blob/main/notebooks/04_high_dimension.ipynb

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

import diffevo_jax as de

ORANGE, BLUE, GREEN, INK = "#D55E00", "#0072B2", "#009E73", "#222222"
SIZE, GENERATIONS, RUNS = (64, 15, 2) if FAST else (256, 30, 2)
DIMS = (2, 32) if FAST else (2, 8, 32)

# %% [markdown]
# ## A function for any dimension
#
# It has two peaks, at all ones and at all minus ones. Fitness is a mean over coordinates,
# so that its values are comparable between dimensions. Those of random points vary less
# where there are more coordinates.


# %%
def fitness(x):
    return -jnp.minimum(((x - 1) ** 2).mean(), ((x + 1) ** 2).mean())


def problem(dim):
    return de.problems.Function(fitness, dim=dim)


key = jax.random.key(0)
keys = jax.random.split(key, RUNS)


def evolve(strategy):
    """Some runs at once, in each dimension."""
    run = lambda key, dim: de.evolve(key, strategy, problem(dim), population_size=SIZE)
    return [jax.jit(jax.vmap(lambda key, dim=dim: run(key, dim)))(keys) for dim in DIMS]


values = np.stack([jax.vmap(fitness)(problem(d).space.sample(key, 1000)) for d in DIMS])
print("deviation of the fitness of random points:", values.std(axis=1).round(2))
assert np.isfinite(values).all()

# %% [markdown]
# ## Everybody alone
#
# How near is an individual to itself, and to another? The noisy view of individual $i$
# at unit scale is $y_i = x_i \sqrt{1 + \sigma^2}$. From $x_i$ it differs by this factor,
# and from $x_j$ by all of their difference, whose square is about $2D$. So in the
# exponent of Bayes' rule the advantage of $i$ over $j$ is about
#
# $$\frac{|y_i - x_j|^2 - |y_i - x_i|^2}{2\sigma^2}
# \approx \frac{D \sqrt{1 + \sigma^2}}{\sigma^2},$$
#
# which grows with $D$: at $\sigma = 2$ and $D = 128$ it is about 72. Fitness is worth far
# less: with the default shaping an individual that is three deviations above the mean has
# an advantage of 12. The weight of an individual in its own answer, in the mean over the
# population, is in the history of each run. The left picture is Bayes' rule as it is; the
# kernel of the right one is explained below.

# %%
exact = de.DiffusionEvolution(
    GENERATIONS, de.denoisers.Population(de.kernels.Gaussian(), guidance=0.0)
)
tempered = de.replace(exact, kernel=de.kernels.Tempered())
runs = {"exact": evolve(exact), "tempered": evolve(tempered)}
figure, axes = plt.subplots(1, 2, figsize=(9, 3), sharey=True)
for ax, (name, in_each) in zip(axes, runs.items(), strict=True):
    for dim, dashes, one in zip(DIMS, ("-", "--", "-."), in_each, strict=False):
        alone = one.history.self_weight.mean(axis=0)
        ax.plot(one.history.sigma[0], alone, ls=dashes, lw=2, label=f"D = {dim}")
    ax.set(xscale="log", xlabel="noise level σ", title=f"{name} kernel")
    ax.invert_xaxis()
axes[0].set(ylabel="weight in the own answer")
axes[0].legend()
own = {name: [one.history.self_weight.mean() for one in runs[name]] for name in runs}
assert own["exact"][-1] > own["exact"][0]
assert own["exact"][-1] > own["tempered"][-1]

# %% [markdown]
# ## Wider neighbourhoods
#
# Four settings have the same number of evaluations:
#
# - *exact* is Bayes' rule as it is.
# - *tempered* divides squared distances by $D / 2$ where $D$ is above 2. It selects in all
#   these dimensions. But its neighbourhood has both peaks in it, and above two dimensions
#   the population ends at one of them.
# - *default* is the tempered kernel with guidance: an answer goes further, away from the
#   answer in which all have equal fitness.
# - *several* is `for_several`. It measures distances along the two axes in which the
#   better individuals differ most, and has more guidance. The peaks lie apart along a
#   single direction, and it keeps both.

# %%
several = de.DiffusionEvolution.for_several(GENERATIONS, SIZE)
runs |= {"default": evolve(de.DiffusionEvolution(GENERATIONS)), "several": evolve(several)}


def number_kept(results, dim):
    """Mean number of solutions for which a tenth of the individuals stands."""
    counts = []
    for i in range(RUNS):
        one = jax.tree.map(lambda leaf: leaf[i], results)  # noqa: B023
        found = de.solutions(problem(dim), one, key=key, num_evaluations=200)
        counts.append((found.count >= SIZE / 10).sum())
    return np.mean(counts)


gained, kept = {}, {}
for name, in_each in runs.items():
    gained[name] = np.array([one.fitness.mean() for one in in_each])
    kept[name] = [number_kept(one, dim) for one, dim in zip(in_each, DIMS, strict=True)]

figure, axes = plt.subplots(1, 2, figsize=(10, 3.4))
for name, color, dashes, width in zip(
    runs, (INK, BLUE, ORANGE, GREEN), (":", "-", "--", "-"), (2, 6, 3, 1.5), strict=True
):
    looks = {"color": color, "ls": dashes, "lw": width, "marker": "o", "ms": 4 + width}
    axes[0].plot(DIMS, gained[name], **looks)
    axes[1].plot(DIMS, kept[name], label=name, **looks)
axes[1].plot([], [], color="0.7", label="random points")
axes[0].plot(DIMS, values.mean(axis=1), color="0.7")
axes[0].set(ylabel="mean fitness at the end")
axes[1].set(ylabel="solutions kept", yticks=range(int(np.max([*kept.values()])) + 2))
for ax in axes:
    ax.set(xscale="log", xlabel="dimensions", xticks=DIMS, xticklabels=DIMS)
    ax.minorticks_off()
figure.legend(loc="outside right upper")
print({name: np.round(each, 2).tolist() for name, each in kept.items()})
assert gained["default"][-1] > gained["exact"][-1]
assert (gained["default"] > values.mean(axis=1)).all()

# %% [markdown]
# ## A policy of many weights
#
# A large policy need not evolve in as many dimensions as it has weights. In a
# `LowRankPolicy` all individuals share a base network, and each has a small change of
# every matrix, $W_i = W_0 + u\, L\, C_i R^\top$. The factors $L$ and $R$ are frozen, and
# the number $u$ sets the scale: only the core $C_i$ evolves.

# %%
WIDTH = 32 if FAST else 128
network = de.problems.MLP((WIDTH, WIDTH))
policy = de.problems.LowRankPolicy(network, rank=8)
control = de.problems.Control("CartPole-v1", policy=policy, max_steps=200)
result = de.evolve(key, de.DiffusionEvolution(6), control, population_size=64)
dense = de.problems.control.dense_weights(control, result.best_solution)
num_weights = sum(leaf.size for leaf in jax.tree.leaves(dense))
print(f"{control.space.dim} numbers evolve, of {num_weights} weights")
print("mean return of each generation:", result.history.mean_fitness.round(0))
assert result.history.mean_fitness[-1] > result.history.mean_fitness[0]

# %% [markdown]
# ## Where to go next
#
# - Tables of sixteen settings, up to 128 dimensions:
#   [design_space.md](https://github.com/diffevo-jax/diffevo_jax/blob/main/docs/design_space.md).
# - Large policies:
#   [large_policies.md](https://github.com/diffevo-jax/diffevo_jax/blob/main/docs/large_policies.md).
