# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
# ---

# %% [markdown]
# # An evaluator of your own
#
# [![Open in Colab][badge]][colab]
#
# Often the function to maximise is not written in JAX: it may use SciPy, or be a
# simulator, another program, or a job on a cluster. `problems.External` calls it once a
# generation, with all solutions. Here a spring is designed with SciPy, first freely and
# then under a limit, and a journal keeps every evaluation.
#
# [badge]: https://colab.research.google.com/assets/colab-badge.svg
# [colab]: https://colab.research.google.com/github/diffevo-jax/diffevo_jax/blob/main/notebooks/11_own_evaluator.ipynb

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
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

import jax
import numpy as np
from scipy.integrate import solve_ivp

import diffevo_jax as de
from diffevo_jax import plots

ORANGE, BLUE, INK = "#D55E00", "#0072B2", "#222222"
SIZE, GENERATIONS = (16, 6) if FAST else (32, 15)
strategy = de.DiffusionEvolution(num_generations=GENERATIONS)
key = jax.random.key(0)

# %% [markdown]
# ## A function of NumPy
#
# It gets arrays with a leading axis of individuals, and returns a fitness for each.
# `de.run` compiles `ask` and `tell`, and calls the function in between. (`de.evolve`
# compiles a whole run, so it cannot call a function of NumPy. It raises an error that says
# so.)


# %%
def fitness(solutions):
    """As many numbers as there are solutions (N, 3)."""
    return -np.sum((solutions - 0.5) ** 2, axis=1)


problem = de.problems.External(fitness, de.problems.Space(np.zeros(3)))
result = de.run(key, strategy, problem, population_size=SIZE)
print("best", result.best_solution, "of", result.problem_state.num_evaluated, "evaluations")
assert result.history.mean_fitness[-1] > result.history.mean_fitness[0]

# %% [markdown]
# ## SciPy, one design at a time
#
# A spring with a damper is pulled and let go. Which stiffness and damping bring it to
# rest soonest, with the force as a cost? SciPy integrates one design at a time, and here
# it fails on purpose where the spring is stiff. `external.each` makes a function of a
# batch from a function of one design. If an evaluation raises or takes too long, it has
# failed, and the others count.
#
# The executor is anything with a `submit`. Threads are the simplest, for what waits or
# starts another program. joblib's processes
# (`joblib.externals.loky.get_reusable_executor`) take functions of a notebook. Those of
# `each(settling, workers=2)` take functions of a module, and end an evaluation that hangs.


# %%
def motion(design, duration=10.0):
    """Position and speed of the spring over time."""

    def slope(t, state):
        position, speed = state
        return [speed, -design["stiffness"] * position - design["damping"] * speed]

    return solve_ivp(slope, (0.0, duration), [1.0, 0.0], max_step=0.1)


def settling(design):
    """The fitness of one design, and what it measures."""
    if design["stiffness"] > 9.0:
        raise ArithmeticError("too stiff for the solver")
    path = motion(design)
    force = design["stiffness"] * path.y[0] + design["damping"] * path.y[1]
    cost = np.trapezoid(path.y[0] ** 2 + 0.02 * force**2, path.t)
    return -cost, {"largest_force": np.abs(force).max()}


like = {"stiffness": np.float32(0), "damping": np.float32(0)}
space = de.problems.Space(like, lower=0.0, upper=10.0)
evaluate = de.problems.external.each(settling, ThreadPoolExecutor(2), timeout=60.0)
problem = de.problems.External(evaluate, space, measures={"largest_force": 0.0})
result = de.run(key, strategy, problem, population_size=SIZE)
print("best design", {name: round(float(x), 2) for name, x in result.best_solution.items()})
print("failed", dict(evaluate.failures), "of", result.problem_state.num_evaluated)
assert result.best_fitness >= result.history.best_fitness[0]
assert result.history.num_failed.sum() < result.problem_state.num_evaluated
plots.learning_curve(result.history)

# %% [markdown]
# ## A limit
#
# A constraint is satisfied where it is at most 0, and it may use the measures. The best
# solution is the best of those that satisfy it. The limit is half of the force that the
# best design above needs.

# %%
free = motion(result.best_solution)
limit = 0.5 * float(
    np.abs(
        result.best_solution["stiffness"] * free.y[0]
        + result.best_solution["damping"] * free.y[1]
    ).max()
)
weak = de.problems.Constraint(lambda design, measures: measures["largest_force"] - limit)
limited = de.problems.Constrained(problem, (weak,))
bounded = de.run(key, strategy, limited, population_size=SIZE)
best = {name: round(float(x), 2) for name, x in bounded.best_solution.items()}
print(f"force at most {limit:.2f}: {best}, violation {bounded.best_violation}")

figure, ax = plt.subplots(figsize=(6, 2.8))
for name, design, color in (
    ("without a limit", result.best_solution, INK),
    ("with half of the force", bounded.best_solution, ORANGE),
):
    path = motion(design)
    ax.plot(path.t, path.y[0], color=color, lw=2, label=name)
ax.set(xlabel="seconds", ylabel="position")
ax.legend()
assert bounded.best_violation <= 0 or not np.isfinite(bounded.best_fitness)

# %% [markdown]
# ## A table of designs
#
# `de.solutions` lists the different good designs of a run, here without further
# evaluations. pandas and spreadsheets take the table (`found.to_pandas`, `found.to_csv`).

# %%
found = de.solutions(limited, bounded)
assert len(found) >= 1
print(found)

# %% [markdown]
# ## No evaluation lost
#
# A journal writes every evaluation down as soon as it is finished. A run that starts
# again evaluates only what is missing, and its result has the same bits. Here the first
# run has finished, so the second one finds everything in the journal.

# %%
with tempfile.TemporaryDirectory() as folder:
    for attempt in ("first run", "second run"):
        journal = de.problems.external.Journal(folder)
        kept = de.problems.external.journaled(problem, journal)
        begin = time.perf_counter()
        again = de.run(key, strategy, kept, population_size=SIZE)
        seconds = time.perf_counter() - begin
        print(f"{attempt}: best fitness {again.best_fitness:.6f}, {seconds:.1f} s")
assert np.array_equal(again.fitness, result.fitness)

# %% [markdown]
# ## Where to go next
#
# Processes of our own that may hang and die, threads, clusters, and results that come late
# and in any order:
# [own_evaluator.md](https://github.com/diffevo-jax/diffevo_jax/blob/main/docs/own_evaluator.md).
