# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
# ---

# %% [markdown]
# # Quick start
#
# [![Open in Colab][badge]][colab]
#
# `diffevo_jax` maximises functions. It evolves a population of candidate solutions, its
# individuals, towards those of high fitness. This notebook begins with one run and ends
# with hundreds at once, in about a minute. Change the function, the strategy or the
# sizes: all cells still run. What the text says of results is about the sizes and names
# as they stand. On some functions evolution is hardly better than random search.
#
# [badge]: https://colab.research.google.com/assets/colab-badge.svg
# [colab]: https://colab.research.google.com/github/diffevo-jax/diffevo_jax/blob/main/notebooks/01_quickstart.ipynb

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
from diffevo_jax import plots
from diffevo_jax.problems import landscapes

ORANGE, BLUE, INK = "#D55E00", "#0072B2", "#222222"
print("jax", jax.__version__, "on", jax.devices())

# %% [markdown]
# ## What to maximise, and how
#
# A problem is a function of one solution, and a space of solutions. Fitness is
# maximised, so a function that is to be minimised gets a minus. Himmelblau's function
# has four minima, all of value 0. The space says where the first generation is drawn:
# here from a normal distribution around 0, with a deviation of 3.
#
# A strategy is an immutable object that holds the settings of an algorithm. It needs to
# know how many generations there will be, because the noise level falls from the first
# to the last of them. The picture has the mean and the best fitness of each generation.


# %%
def fitness(x):
    """One solution in, one number out."""
    return -landscapes.himmelblau(x)


problem = de.problems.Function(fitness, space=de.problems.Space(jnp.zeros(2), scale=3.0))
strategy = de.DiffusionEvolution(num_generations=25)
SIZE = 64 if FAST else 256  # individuals

key = jax.random.key(0)
result = de.evolve(key, strategy, problem, population_size=SIZE)
print("best solution", result.best_solution, "with fitness", result.best_fitness)

assert result.best_fitness >= result.history.best_fitness.max()
assert result.history.mean_fitness[-1] > result.history.mean_fitness[0]
plots.learning_curve(result.history)

# %% [markdown]
# Blue points are drawn like a first generation; orange points are the last generation of
# the run. The darker, the fitter: the greys are quantiles of the fitness of 4000 points
# that are drawn in the same way.

# %%
draws = problem.space.sample(jax.random.key(1), 4000)
values = jax.vmap(fitness)(problem.space.decode(draws))
levels = np.unique(np.quantile([*values, result.best_fitness], np.linspace(0, 1, 13)))
figure = plots.landscape(problem, levels=levels)
plots.population(problem, draws[:SIZE], ax=figure.axes[0], color=BLUE)
plots.population(problem, result.population, ax=figure.axes[0], color=ORANGE)

# %% [markdown]
# ## Ask and tell
#
# `de.evolve` is a loop over generations: `ask` for candidates, evaluate them, and `tell`
# their fitness. Each step is a pure function, so you can write the loop yourself, and
# evaluate as you like. Randomness comes from keys alone. This loop takes its keys as
# `de.evolve` does, so the first generations are those of the run above, up to rounding.

# %%
ask, tell, evaluate = jax.jit(de.ask), jax.jit(de.tell), jax.jit(jax.vmap(fitness))

_, key_population, key_strategy = de.setup_keys(key)
state = de.init(strategy, key_strategy, problem.space.sample(key_population, SIZE))
means = []
for generation in range(strategy.num_generations):
    key_ask, _, key_tell = de.generation_keys(key, generation)
    candidates, state = ask(strategy, key_ask, state)
    told = evaluate(problem.space.decode(candidates))
    state, info = tell(strategy, key_tell, state, candidates, told)
    means.append(info.mean_fitness)

print("best fitness", state.best_fitness, "after", state.generation, "generations")
assert state.done
assert np.allclose(means[:3], result.history.mean_fitness[:3], rtol=1e-3)

# %% [markdown]
# ## Hundreds of runs at once
#
# `de.evolve` is a pure function of its key, so `jax.vmap` makes one program of any
# number of runs. Is evolution better than random search? Each run is compared with the
# best of as many random solutions as it has evaluated. Distances are to the best fitness
# that anyone has found, and the curves say which share of the runs came at least so near.

# %%
RUNS = 50 if FAST else 250
FEW = 24  # individuals
BUDGET = FEW * strategy.num_generations
keys = jax.random.split(jax.random.key(2), RUNS)


@jax.jit
@jax.vmap
def evolve(key):
    return de.evolve(key, strategy, problem, population_size=FEW).best_fitness


@jax.jit
def luck(key):
    return jax.vmap(fitness)(problem.space.decode(problem.space.sample(key, BUDGET))).max()


evolved = np.asarray(evolve(keys))
lucky = np.asarray(jax.lax.map(luck, keys))

best = max(evolved.max(), lucky.max())
figure, ax = plt.subplots(figsize=(6, 2.8))
for found, color, name in ((lucky, INK, "random search"), (evolved, ORANGE, "evolution")):
    ax.ecdf(best - found + 1e-7, color=color, lw=2, label=name)
ax.set(xscale="log", xlabel="distance to the best fitness", ylabel="share of the runs")
ax.legend()
print(f"evolution beats luck in {100 * (evolved > lucky).mean():.0f} % of the pairs")
assert np.median(evolved) > np.median(lucky)

# %% [markdown]
# ## Any number can vary
#
# The numbers of a strategy are leaves of a pytree, so `vmap` maps over them as over
# keys, without a compilation for each value. Here it is the temperature of selection: at
# low ones the fittest have nearly all the weight, at high ones all have about the same.
# The line is the median of 16 runs, and the band has their quartiles.

# %%
temperatures = jnp.logspace(-2, 1, 4 if FAST else 9)


@jax.jit
@jax.vmap
def last_means(temperature):
    swept = de.replace(strategy, temperature=temperature)
    run = lambda key: de.evolve(key, swept, problem, population_size=FEW).fitness.mean()
    return jax.vmap(run)(keys[:16])


scores = np.asarray(last_means(temperatures))
middle = np.median(scores, axis=1)
figure, ax = plt.subplots(figsize=(6, 2.8))
ax.plot(temperatures, middle, "o-", color=BLUE)
ax.fill_between(
    temperatures, *np.quantile(scores, (0.25, 0.75), axis=1), color=BLUE, alpha=0.2
)
ax.set(xscale="log", xlabel="temperature", ylabel="mean fitness at the end")
assert np.isfinite(scores).all()
assert np.ptp(middle) > 0, "the temperature matters"

# %% [markdown]
# ## Where to go next
#
# - How it works, with a film: `02_diffusion_evolution`.
# - Policies that balance a pole, and a sweep of a thousand runs: `03_cartpole`.
# - Several different solutions at once: `09_niching`.
# - Functions that are not written in JAX: `11_own_evaluator`.
# - What a name means: `help(de.DiffusionEvolution)`, and so on.
