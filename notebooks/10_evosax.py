# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
# ---

# %% [markdown]
# # evosax, both ways
#
# [![Open in Colab][badge]][colab]
#
# evosax has some forty evolution strategies in JAX, and problems. They run here, and our
# strategies run in its loops. evosax minimises and this library maximises: the bridge
# changes the sign.
#
# [badge]: https://colab.research.google.com/assets/colab-badge.svg
# [colab]: https://colab.research.google.com/github/diffevo-jax/diffevo_jax/blob/main/notebooks/10_evosax.ipynb

# %% tags=["install"]
# %matplotlib inline
import os
import subprocess
import sys
from importlib.metadata import version

if "google.colab" in sys.modules:  # install the library, and leave Colab's JAX alone
    repository = "git+https://github.com/diffevo-jax/diffevo_jax"
    library = f"diffevo-jax[viz,evosax] @ {os.environ.get('DIFFEVO_WHEEL', repository)}"
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
from evosax.algorithms import CMA_ES, Open_ES
from evosax.problems import BBOBProblem

import diffevo_jax as de
from diffevo_jax import plots
from diffevo_jax.interop.evosax import Algorithm, from_algorithm, from_problem
from diffevo_jax.interop.evosax import DiffusionEvolution as ES

COLORS = ("#D55E00", "#0072B2", "#009E73", "#222222")
print("evosax", version("evosax"))

# %% [markdown]
# ## Our Diffusion Evolution in an evosax loop
#
# The loop is written as for any algorithm of evosax. Only the import of the algorithm is
# another, and it is told how many generations there will be, since the noise level falls
# until the last one.

# %%
SIZE, GENERATIONS = (32, 15) if FAST else (64, 50)
DIM = 8
key = jax.random.key(0)
task = BBOBProblem("rastrigin", num_dims=DIM, f_opt=0.0)
task_state = task.init(key)
start = jax.vmap(task.sample)(jax.random.split(key, SIZE))

es = ES(population_size=SIZE, solution=start[0], num_generations=GENERATIONS)
params = es.default_params


def loop(key):
    """Ask, evaluate, tell, as in evosax's notebooks."""
    cost, _, _ = task.eval(key, start, task_state)
    state = es.init(key, start, cost, params)

    def step(carry, key):
        state, task_state = carry
        key_ask, key_eval, key_tell = jax.random.split(key, 3)
        population, state = es.ask(key_ask, state, params)
        cost, task_now, _ = task.eval(key_eval, population, task_state)
        state, _ = es.tell(key_tell, population, cost, state, params)
        return (state, task_now), cost.min()

    keys = jax.random.split(key, GENERATIONS - 1)
    (state, _), lowest = jax.lax.scan(step, (state, task_state), keys)
    return state, cost.min(), lowest


state, first, lowest = jax.jit(loop)(key)
print(f"lowest cost of the first generation {first:.3g}, of all {state.best_fitness:.3g}")
assert state.best_fitness <= first

# %% [markdown]
# `Algorithm` makes the same of any strategy of this library:

# %%
algorithm = Algorithm(SIZE, start[0], strategy=de.MonoFlow(num_generations=GENERATIONS))
print(algorithm.default_params)
cost, _, _ = task.eval(key, start, task_state)
state = algorithm.init(key, start, cost, algorithm.default_params)
population, state = algorithm.ask(key, state, algorithm.default_params)
assert population.shape == start.shape

# %% [markdown]
# ## evosax's algorithms and problems here
#
# `from_problem` and `from_algorithm` make a problem and a strategy of this library, for
# `evolve`, `run` and `sweep`. So algorithms are compared on the same problem, with as many
# evaluations. The picture has the mean over independent runs, with its 95 % interval.

# %%
problem = from_problem(task)
solution = jnp.zeros(problem.space.dim)
strategies = {
    "Diffusion Evolution": de.DiffusionEvolution(GENERATIONS),
    "CMA-ES": from_algorithm(CMA_ES(population_size=SIZE, solution=solution), GENERATIONS),
    "OpenAI-ES": from_algorithm(
        Open_ES(population_size=SIZE, solution=solution), GENERATIONS
    ),
}
RUNS = 4 if FAST else 16
keys = jax.random.split(jax.random.key(1), RUNS)
results = {
    name: jax.jit(
        jax.vmap(
            lambda key, own=strategy: de.evolve(key, own, problem, population_size=SIZE)
        )
    )(keys)
    for name, strategy in strategies.items()
}
for name, result in results.items():
    mean, low, high = de.sweeps.interval(result.best_fitness)
    print(f"{name}: best fitness {mean:.4g} ({low:.4g} to {high:.4g})")
    assert mean >= result.history.best_fitness[:, 0].mean()
plots.learning_curve(results, value="best_so_far")

# %% [markdown]
# All have the default numbers of their own library, which are not chosen for this problem.
# For another comparison choose the numbers of all of them, on seeds that are not used
# again. One such number is the length of the first step of CMA-ES and OpenAI-ES. A length
# of 1 is the deviation of the first generation.

# %% [markdown]
# ## Numbers vary here too
#
# The parameters of an evosax algorithm are leaves, as those of our strategies are, and
# `vmap` maps over them in one program. The band is the 95 % interval of the mean.

# %%
own = strategies["CMA-ES"]
steps = jnp.logspace(-1, 0.5, 4 if FAST else 8)


@jax.jit
@jax.vmap
def best_at(step):
    algorithm_params = own.params.replace(std_init=step)
    swept = de.replace(own, params=algorithm_params)
    run = lambda key: de.evolve(key, swept, problem, population_size=SIZE).best_fitness
    return jax.vmap(run)(keys)


scores, low, high = np.transpose([de.sweeps.interval(each) for each in best_at(steps)])
figure, ax = plt.subplots(figsize=(5, 2.6))
ax.plot(steps, scores, "o-", color=COLORS[1])
ax.fill_between(steps, low, high, color=COLORS[1], alpha=0.2, lw=0)
ax.set(xscale="log", xlabel="first step of CMA-ES", ylabel="mean best fitness")
assert np.isfinite(scores).all()
assert np.ptp(scores) > 0

# %% [markdown]
# ## Where to go next
#
# A table of names, and CartPole with four other algorithms whose steps were chosen:
# [evosax.md](https://github.com/diffevo-jax/diffevo_jax/blob/main/docs/evosax.md).
