# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
# ---

# %% [markdown]
# # CartPole in one scan, and a sweep of a thousand
#
# [![Open in Colab][badge]][colab]
#
# A policy is a small network, and its weights are what evolves. Episodes, selection and
# steps are all JAX, so a whole evolution is one `lax.scan` in one compiled program. Then
# a sweep makes a thousand evolutions. For another environment of gymnax change its name.
#
# [badge]: https://colab.research.google.com/assets/colab-badge.svg
# [colab]: https://colab.research.google.com/github/diffevo-jax/diffevo_jax/blob/main/notebooks/03_cartpole.ipynb

# %% tags=["install"]
# %matplotlib inline
import os
import subprocess
import sys
from importlib.metadata import version

if "google.colab" in sys.modules:  # install the library, and leave Colab's JAX alone
    repository = "git+https://github.com/diffevo-jax/diffevo_jax"
    library = f"diffevo-jax[viz,sweep] @ {os.environ.get('DIFFEVO_WHEEL', repository)}"
    jax_as_it_is = [f"{name}=={version(name)}" for name in ("jax", "jaxlib")]
    install = [sys.executable, "-m", "pip", "install", "-q", library, *jax_as_it_is]
    subprocess.run(install, check=True)

import matplotlib.pyplot as plt

plt.rcParams.update({"figure.dpi": 72, "figure.constrained_layout.use": True})
plt.rcParams.update({"axes.spines.top": False, "axes.spines.right": False})
plt.rcParams.update({"legend.frameon": False})
FAST = os.environ.get("DIFFEVO_FAST") == "1"  # smaller sizes, for tests

# %%
import tempfile
import time

import jax
import numpy as np
from IPython.display import Image, display
from matplotlib.figure import Figure

import diffevo_jax as de
from diffevo_jax import plots

ORANGE, BLUE = "#D55E00", "#0072B2"

# %% [markdown]
# ## One scan
#
# A network with a hidden layer of eight units sees the observation and chooses an action:
# 58 weights for CartPole. In a generation 256 policies play one episode each, from starts
# of their own. A policy's fitness is its return, the sum of rewards. Ten generations of
# eight independent runs are one program. It is called twice, since the first call
# compiles it.

# %%
problem = de.problems.Control("CartPole-v1", policy=de.problems.MLP((8,)))
strategy = de.DiffusionEvolution(num_generations=10)
SIZE, RUNS = (64, 3) if FAST else (256, 8)
print(f"{problem.space.dim} weights, {problem.episode_limit} steps at most")

keys = jax.random.split(jax.random.key(0), RUNS)
evolve = jax.jit(
    jax.vmap(lambda key: de.evolve(key, strategy, problem, population_size=SIZE))
)
for note in ("with compilation", "again"):
    begin = time.perf_counter()
    results = jax.block_until_ready(evolve(keys))
    seconds = time.perf_counter() - begin
    print(f"{RUNS * SIZE * 10} episodes in {seconds:.1f} s ({note})")

typical = np.median(results.history.mean_fitness, axis=0)
print("median of the mean return, first and last:", typical[0], typical[-1])
assert typical[-1] > typical[0]
plots.learning_curve(results.history, noisy=True)

# %% [markdown]
# ## The best policy, judged anew
#
# A return depends on the start of the episode, so the highest of many returns says little
# about its policy. Therefore `evolve` keeps some evaluations for the end. With one half
# of them it chooses the best policy. With the other half it estimates that policy's mean
# return, and the 95 % interval of this mean.

# %%
best = int(np.argmax(results.best_fitness))
final = jax.tree.map(lambda leaf: leaf[best], results.final)
luckiest = results.history.best_fitness[best].max()
print(f"luckiest episode: {luckiest:.1f}")
print(f"judged anew: {final.fitness:.1f} ({final.low:.1f} to {final.high:.1f})")
assert results.best_fitness[best] <= luckiest + 1e-3

# %% [markdown]
# ## Two episodes
#
# The best policy, and a random one, in an episode that neither has seen. Frames are
# close in time at first, and farther apart later.

# %%
weights = jax.tree.map(lambda leaf: leaf[best], results.best_solution)
drawn = problem.space.decode(problem.space.sample(jax.random.key(3), 1))
poor = jax.tree.map(lambda leaf: leaf[0], drawn)
played = {
    name: problem.play(jax.random.key(4), own, record=True)
    for name, own in (("evolved", weights), ("random", poor))
}
longest = max(int(one.length) for one in played.values())
steps = np.unique(np.geomspace(1, longest, 4 if FAST else 50).astype(int) - 1).tolist()
axes = Figure(figsize=(7, 2), layout="constrained").subplots(1, 2)
with tempfile.TemporaryDirectory() as folder:
    plots.episode_film(
        played, path=f"{folder}/film.gif", steps=steps, fps=7, dpi=72, ax=axes
    )
    display(Image(f"{folder}/film.gif"))
assert all(one.length <= problem.episode_limit for one in played.values())

# %% [markdown]
# ## A sweep of a thousand
#
# At which temperature should selection be, and how large the weights to start with? Five
# values of each, with forty seeds, are a thousand evolutions. `de.sweep` takes names of
# fields, of the strategy or the problem, and returns a labelled table. All settings see
# the same seeds.

# %%
temperatures = (0.1, 0.3, 1.0) if FAST else (0.03, 0.1, 0.3, 1.0, 3.0)
scales = (0.5, 2.0) if FAST else (0.1, 0.3, 1.0, 3.0, 10.0)
begin = time.perf_counter()
table = de.sweep(
    jax.random.key(1),
    strategy,
    problem,
    axes={"shaping.temperature": temperatures, "problem.scale": scales},
    num_seeds=3 if FAST else 40,
    population_size=32 if FAST else 64,
    confirm=4 if FAST else 64,
)
print(f"{table.final_mean.size} evolutions in {time.perf_counter() - begin:.0f} s")
assert not table.failed.any()
plots.heat_map(table, "scale", "temperature")

# %% [markdown]
# The best of many settings is partly a lucky one. Therefore `confirm` has run it again,
# on fresh seeds that had no part in the choice:

# %%
top = de.sweeps.ranking(table)[0]
seen = float(table.final_mean[top].mean())
confirmed, low, high = (
    table.attrs[f"confirmed_{name}"] for name in ("mean", "low", "high")
)
for name in ("shaping.temperature", "problem.scale"):
    print(name, float(table[name][top]))
print(f"mean return in the sweep: {seen:.1f}")
print(f"on fresh seeds: {confirmed:.1f} ({low:.1f} to {high:.1f})")
assert low <= confirmed <= high

# %% [markdown]
# ## Where to go next
#
# - Environments of your own, policies with a memory, a policy saved to a file:
#   [own_environment.md](https://github.com/diffevo-jax/diffevo_jax/blob/main/docs/own_environment.md).
# - Sweeps that go on after a stop, and sweeps from the shell:
#   [sweeps.md](https://github.com/diffevo-jax/diffevo_jax/blob/main/docs/sweeps.md).
