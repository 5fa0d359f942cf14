# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
# ---

# %% [markdown]
# # Evolution is reverse diffusion
#
# [![Open in Colab][badge]][colab]
#
# A quick start with `diffevo_jax`: from one equation to a thousand evolutions at once and a
# robot that balances a pole. It runs in under a minute on a laptop.
#
# [badge]: https://colab.research.google.com/assets/colab-badge.svg
# [colab]: https://colab.research.google.com/github/diffevo-jax/diffevo_jax/blob/main/notebooks/01_quickstart.ipynb

# %%
# %matplotlib inline
import os
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version

if "google.colab" in sys.modules:  # install the library, and leave Colab's JAX alone
    library = "diffevo-jax @ git+https://github.com/diffevo-jax/diffevo_jax"
    jax_as_it_is = [f"{name}=={version(name)}" for name in ("jax", "jaxlib")]
    install = [sys.executable, "-m", "pip", "install", "-q", library, *jax_as_it_is]
    subprocess.run(install, check=True)

import jax
import jax.numpy as jnp
import numpy as np
from IPython.display import Image, display
from matplotlib.figure import Figure

import diffevo_jax as de
from diffevo_jax.plots import figures

FAST = os.environ.get("DIFFEVO_FAST") == "1"  # smaller sizes, for tests
print("jax", jax.__version__, "on", jax.devices())

# %% [markdown]
# ## The idea
#
# 1. A population starts as pure noise, and every individual is evaluated.
# 2. Each individual $x_i$ is taken for a noisy view $y_i$ of a clean, fitter point.
# 3. *Where is it?* A diffusion model asks a neural network. Here the population answers,
#    by Bayes' rule: the fitter and the nearer have more say.
# 4. Each individual steps towards its answer, to a lower noise level $\sigma$.
# 5. As $\sigma$ falls, only neighbours are heard, so groups settle on *different* optima.
#
# With a weight $g$ for fitness $f$, the answer for individual $i$ is
#
# $$\hat x_0(y_i) = \sum_j w_{ij}\, x_j, \qquad
# w_{ij} \propto g(f_j)\, \exp\!\left(-\frac{|y_i - x_j|^2}{2\sigma^2}\right),
# \qquad \sum_j w_{ij} = 1.$$
#
# In NumPy that is three lines, and the library agrees:

# %%
rng = np.random.default_rng(0)
x, fitness, sigma = rng.normal(size=(6, 2)), rng.normal(size=6), 0.5
y = x * np.sqrt(1 + sigma**2)  # an individual is its noisy view, at unit variance

weight = np.exp(fitness - ((y[:, None] - x) ** 2).sum(axis=-1) / (2 * sigma**2))
weight /= weight.sum(axis=1, keepdims=True)
clean = weight @ x

estimate = de.denoisers.posterior_mean(
    jnp.array(y), jnp.array(x), jnp.array(x), jnp.array(fitness), jnp.array(sigma**-2)
)
assert np.allclose(estimate.clean, clean, atol=1e-5)

# %% [markdown]
# ## Ask and tell
#
# Himmelblau's function has four minima. Fitness is maximised, so we put a minus in front.
# A strategy *is* its settings: an immutable object. Randomness comes from keys alone.


# %%
def himmelblau(x):
    """One solution in, one fitness out."""
    return -((x[0] ** 2 + x[1] - 11) ** 2) - (x[0] + x[1] ** 2 - 7) ** 2


problem = de.problems.Function(himmelblau, space=de.problems.Space(jnp.zeros(2), scale=4.0))
strategy = de.DiffusionEvolution(
    num_generations=25,
    denoiser=de.denoisers.Population(
        kernel=de.kernels.Gaussian(),
        shaping=de.shaping.Boltzmann(temperature=10.0),
        guidance=0.0,  # Bayes' rule, as above; more of it below
    ),
    sampler=de.samplers.DDIM(eta=0.1),
    grid=de.noise.Cosine(),
)
print(strategy)

# %%
SIZE = 128
ask, tell = jax.jit(de.ask), jax.jit(de.tell)
evaluate = jax.jit(jax.vmap(himmelblau))

key = jax.random.key(0)
_, key_population, key_strategy = de.setup_keys(key)
population = problem.space.sample(key_population, SIZE)
state = de.init(strategy, key_strategy, population)
for generation in range(strategy.num_generations):
    key_ask, _, key_tell = de.generation_keys(key, generation)
    candidates, state = ask(strategy, key_ask, state)
    fitness = evaluate(problem.space.decode(candidates))
    state, info = tell(strategy, key_tell, state, candidates, fitness)

print("best fitness", state.best_fitness, "after", state.generation, "generations")
assert state.done
assert state.best_fitness > -0.5
greys = (-3000, -300, -150, -80, -40, -15, -5, 1)
figure = figures.landscape(problem, (-6, 6, -6, 6), levels=greys)
figures.population(problem, candidates, fitness, ax=figure.axes[0])

# %% [markdown]
# ## The same in one call
#
# `de.evolve` compiles the whole evolution into one program. Same key, same result as the
# loop above, up to rounding.

# %%
result = de.evolve(key, strategy, problem, population_size=SIZE)
assert np.allclose(result.population, candidates, atol=1e-3)
figures.learning_curve(result.history)

# %% [markdown]
# ## A thousand evolutions at once
#
# `evolve` is a pure function of its key, so `jax.vmap` runs as many as you like in one
# program. How many of the four minima does each run end up with?

# %%
RUNS = 50 if FAST else 1000
MINIMA = jnp.array([[3.0, 2.0], [-2.805, 3.131], [-3.779, -3.283], [3.584, -1.848]])
evolve = jax.vmap(lambda key: de.evolve(key, strategy, problem, population_size=SIZE))
keys = jax.random.split(jax.random.key(1), RUNS)
for note in ("with compilation", "again"):
    begin = time.perf_counter()
    results = jax.block_until_ready(evolve(keys))
    print(f"{RUNS} runs in {time.perf_counter() - begin:.2f} s ({note})")

solutions = jax.vmap(problem.space.decode)(results.population)
distance = jnp.linalg.norm(solutions[:, :, None] - MINIMA, axis=-1)
found = (distance < 0.5).any(axis=1).sum(axis=1)
share = np.bincount(found, minlength=5) / RUNS
figure = Figure(figsize=(4.5, 2.6), layout="constrained")
ax = figure.add_subplot(xlabel="minima found", ylabel="share of the runs")
ax.bar(range(5), share, color=figures.BLUE)
ax.spines[["top", "right"]].set_visible(False)
assert share[3:].sum() > 0.7, "most runs hold three or four minima at once"
display(figure)

# %% [markdown]
# ## Beyond Bayes' rule
#
# The population also answers without its fitness: $m_1$, the plain mean of the
# neighbours, where $m_w$ is the weighted one. Image models follow a prompt by going from
# the one through the other, and beyond. So can evolution, at no more evaluations:
#
# $$\hat x_0 = m_w + \text{guidance}\,(m_w - m_1).$$
#
# Guidance is part of the default. Much of it, with mild selection among near neighbours, is
# the setting that keeps several solutions:

# %%
several = de.DiffusionEvolution.for_several(25)
evolve = jax.vmap(lambda key: de.evolve(key, several, problem, population_size=256))
results = evolve(keys[: RUNS // 10])
solutions = jax.vmap(problem.space.decode)(results.population)
distance = jnp.linalg.norm(solutions[:, :, None] - MINIMA, axis=-1)
on_each = (distance < 0.5).mean(axis=1)
print("share of the population at each minimum:", on_each.mean(axis=0).round(2))
print("runs that hold all four:", (on_each > 0.05).all(axis=1).mean())
assert (on_each > 0.05).all(axis=1).mean() > 0.9
greys = (-3000, -300, -150, -80, -40, -15, -5, 1)
figure = figures.landscape(problem, (-6, 6, -6, 6), levels=greys)
figures.population(problem, results.population[0], ax=figure.axes[0])

# %% [markdown]
# ## A film of two peaks
#
# The published setting with two narrow peaks. For a long time the cloud hardly moves; then
# the neighbourhoods become smaller than the gap between the peaks, and it splits.

# %%
strategy, problem, _ = de.published.landscape("two_peaks")
key, record = jax.random.key(42), ("population", "fitness")
result = de.evolve(key, strategy, problem, population_size=256, record=record)
frames = (1, 30, 50, 60, 70, 75, 80, 84, 88, 91, 94, 96, 98, *[100] * 5)
film = figures.film(problem, result, generations=frames[:: 6 if FAST else 1])
with tempfile.TemporaryDirectory() as folder:
    film.save(f"{folder}/film.png", writer="pillow", dpi=60)  # an animated PNG
    picture = Image(f"{folder}/film.png")

solutions = problem.space.decode(result.population)
distance = jnp.linalg.norm(solutions[:, None] - jnp.array([[-1.0], [1.0]]), axis=-1)
share = (distance < 0.5).mean(axis=0)
print("share on each peak:", share)
assert share.sum() > 0.97
assert share.min() > 0.1
display(picture)

# %% [markdown]
# ## Balancing a pole
#
# The same algorithm evolves the 58 weights of a small network that plays CartPole. Weights
# are many, so the kernel looks at a random two-dimensional shadow of them: that is the
# paper's *latent* form. 256 policies, ten generations, one noisy episode each.

# %%
strategy, problem, size = de.published.control("CartPole-v1")
print(strategy.denoiser.kernel, problem.policy, f"{problem.space.dim} weights")

evolve = jax.vmap(lambda key: de.evolve(key, strategy, problem, population_size=size))
results = evolve(jax.random.split(jax.random.key(0), 4 if FAST else 16))
typical = jnp.median(results.history.mean_fitness, axis=0)
assert typical[0] < 100 < 450 < typical[-1]
figures.learning_curve(results.history, title="CartPole: 500 is the highest reward")

# %% [markdown]
# Take the best policy of the last generation of the first run, and a random one, and watch
# both play an episode that neither has seen. `step_env` is gymnax's own step.

# %%
env, env_params = de.problems.control.environment("CartPole-v1")


@jax.jit
def watch(key, policy_params):
    """Observations of 500 steps, and whether the pole has fallen by then."""

    def step(now, key):
        seen = de.problems.control.normalise(now[0], env.observation_space(env_params))
        output, _ = problem.policy.apply(policy_params, seen, ())
        observation, env_state, _, fallen, _ = env.step_env(
            key, now[1], jnp.argmax(output), env_params
        )
        return (observation, env_state), (observation, fallen)

    key_reset, key_steps = jax.random.split(key)
    start = env.reset_env(key_reset, env_params)
    _, (observations, fallen) = jax.lax.scan(step, start, jax.random.split(key_steps, 500))
    return observations, jnp.cumsum(fallen) > 0


best = results.population[0, jnp.argmax(results.fitness[0])]
poor = problem.space.sample(jax.random.key(0), 1)[0]

episodes, steps = {}, {}
for name, weights in {"evolved": best, "random": poor}.items():
    policy_params = jax.tree.map(lambda w: w[0], problem.space.decode(weights[None]))
    observations, fallen = watch(jax.random.key(7), policy_params)
    steps[name] = int((~fallen).sum())
    end = f"falls after {steps[name]} steps" if fallen[-1] else "never falls"
    episodes[f"{name} policy: {end}"] = observations[: steps[name] + 1]
assert steps["evolved"] == 500
assert steps["random"] < 100
figures.episode(episodes)

# %% [markdown]
# ## Where to go next
#
# - **Your own problem**: a function goes into `de.problems.Function`, a gymnax environment
#   into `de.problems.Control`; boxes and dictionaries of arrays into `de.problems.Space`.
# - **The same parts, otherwise put together**: `grid`, `kernel`, `shaping`, `sampler`,
#   `guidance`.
# - **Long runs**: `de.run` has a progress bar and stops early.
# - **What a name means**: `help(de.DiffusionEvolution)`, and so on.
#
# The method: Zhang, Hartl, Hazan, Levin, *Diffusion Models are Evolutionary Algorithms*,
# 2024, arXiv:2410.02543.
