# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
# ---

# %% [markdown]
# # The design space
#
# [![Open in Colab][badge]][colab]
#
# A diffusion model has a grid of noise levels, a sampler that steps from one level to the
# next, and a denoiser that estimates the clean point behind a noisy one. So has
# `DiffusionEvolution`, with a population as the denoiser. Each part can be replaced, and
# the same samplers serve both.
#
# [badge]: https://colab.research.google.com/assets/colab-badge.svg
# [colab]: https://colab.research.google.com/github/diffevo-jax/diffevo_jax/blob/main/notebooks/05_design_space.ipynb

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
SIZE, GENERATIONS, RUNS = (32, 9, 4) if FAST else (128, 25, 32)

# %% [markdown]
# ## The parts
#
# The default, printed, is a list of its parts. `de.replace` changes any part or number
# by its name; a strategy is immutable, so it returns another one.

# %%
default = de.DiffusionEvolution(num_generations=GENERATIONS)
print(default)
other = de.replace(default, sampler=de.samplers.DPMSolver2M(), temperature=0.5)
assert not de.equal(other, default)
assert other.denoiser.shaping.temperature == 0.5

# %% [markdown]
# ## Grids
#
# A grid is a list of noise levels, one for each generation. Grids differ in their range,
# and in where most of their levels are: there the population spends most of its
# generations.

# %%
grids = {
    "VE (default)": default.grid,
    "cosine": de.noise.Cosine(),
    "linear": de.noise.Linear(),
    "DDPM": de.noise.DDPM(),
    "EDM": de.noise.EDM(0.01, 8.0),
    "flow": de.noise.Flow(),
}
figure, ax = plt.subplots(figsize=(6, 3))
for (name, grid), dashes in zip(
    grids.items(), ("-", "--", "-.", ":", "-", "--"), strict=True
):
    sigmas = np.asarray(grid.sigmas(GENERATIONS))
    ax.plot(np.arange(1, GENERATIONS + 1), sigmas, ls=dashes, lw=2, label=name)
ax.set(yscale="log", xlabel="generation", ylabel="noise level σ", ylim=(3e-3, 3e3))
ax.legend(loc="upper right", ncols=2)
assert all((np.diff(grid.sigmas(GENERATIONS)) < 0).all() for grid in grids.values())

# %% [markdown]
# ## One part replaced
#
# The denoiser has parts, too. Its kernel says who is a neighbour, its shaping turns
# fitness into a weight, and guidance is how far an answer goes beyond Bayes' rule.
#
# Each row is the default with one part replaced, on the same landscape, with the same
# seeds and as many evaluations. Points are the mean fitness of the last generation,
# less that of the default with the same seed. Lines are 95 % intervals of the mean: green
# is above the default, orange is below, and black may be either. One landscape says
# little about the next: change it and look again.

# %%
problem = de.problems.Landscape("himmelblau")
replacements = {
    "grid cosine": {"grid": de.noise.Cosine()},
    "grid linear": {"grid": de.noise.Linear()},
    "sampler DDIM(0.1)": {"sampler": de.samplers.DDIM(0.1)},
    "sampler DPMSolver2M": {"sampler": de.samplers.DPMSolver2M()},
    "kernel exact": {"kernel": de.kernels.Gaussian()},
    "kernel perplexity 30": {"kernel": de.kernels.Perplexity(30.0)},
    "shaping rank": {"shaping": de.shaping.Rank()},
    "shaping local": {"shaping": de.shaping.Local(0.3)},
    "without guidance": {"guidance": 0.0},
    "much guidance": {"guidance": 4.0},
}
keys = jax.random.split(jax.random.key(0), RUNS)


def last_means(strategy):
    """Mean fitness of the last generation, of each run."""
    run = lambda key: de.evolve(key, strategy, problem, population_size=SIZE).fitness.mean()
    return np.asarray(jax.jit(jax.vmap(run))(keys))


reference = last_means(default)
gains = {
    name: de.sweeps.interval(last_means(de.replace(default, **parts)) - reference)
    for name, parts in replacements.items()
}
figure, ax = plt.subplots(figsize=(7, 3.8))
for place, (mean, low, high) in enumerate(gains.values()):
    color = INK if low <= 0 <= high else GREEN if mean > 0 else ORANGE
    ax.plot([low, high], [place, place], color=color, lw=2)
    ax.plot(mean, place, "o", color=color)
ax.axvline(0, color="0.7", zorder=0)
ax.set(yticks=range(len(gains)), yticklabels=gains, xlabel="gain over the default")
ax.invert_yaxis()
print(f"the default: {reference.mean():.3f}")
assert all(low <= mean <= high for mean, low, high in gains.values())
assert np.isfinite([*gains.values()]).all()

# %% [markdown]
# ## Two numbers against each other
#
# How much fresh noise should a step add ($\eta$), and how much guidance should there be?
# Each cell is a mean over 16 runs, and all cells are one program.

# %%
etas = jnp.linspace(0, 1, 3 if FAST else 6)
guidances = jnp.linspace(0, 4, 3 if FAST else 6)


@jax.jit
def mean_of(eta, guidance):
    strategy = de.replace(default, eta=eta, guidance=guidance)
    run = lambda key: de.evolve(key, strategy, problem, population_size=SIZE).fitness.mean()
    return jax.vmap(run)(keys[:16]).mean()


each = jax.vmap(jax.vmap(mean_of, (None, 0)), (0, None))
heat = np.asarray(each(etas, guidances))
figure, ax = plt.subplots(figsize=(5, 3.6))
mesh = ax.pcolormesh(guidances, etas, heat, shading="nearest", cmap="viridis")
ax.set(xlabel="guidance", ylabel="η")
figure.colorbar(mesh, label="mean fitness at the end")
eta, guidance = np.unravel_index(heat.argmax(), heat.shape)
print(f"best at eta {etas[eta]:.2g}, guidance {guidances[guidance]:.2g}")
assert np.isfinite(heat).all()

# %% [markdown]
# ## One sampler, two denoisers
#
# The grid and the sampler are the same for both. The first denoiser is known exactly: it
# is that of a mixture of Gaussians, whose means are the crosses. The second is a
# population whose fitness is the log-density of this mixture. The first draws samples of
# the mixture; the second looks for where its density is highest.

# %%
means = jnp.array([[-1.0, 0.0], [1.0, 0.5], [0.0, -1.2]])
target = de.oracles.gaussian_mixture(means, 0.05)
sampler, grid, key = de.samplers.DPMSolver2M(), de.noise.EDM(0.01, 8.0), jax.random.key(1)
samples = de.sample(key, target.denoise, grid, sampler, (256, 2), num_levels=GENERATIONS)

density = de.problems.Function(lambda x: target.log_density(x[None], 0.0)[0], dim=2)
strategy = de.DiffusionEvolution(GENERATIONS, sampler=sampler, grid=grid)
evolved = de.evolve(key, strategy, density, population_size=256).population

figure, axes = plt.subplots(1, 2, figsize=(7, 3.6), sharex=True, sharey=True)
for ax, points, title in zip(axes, (samples, evolved), ("drawn", "evolved"), strict=True):
    ax.plot(*means.T, "+", color=ORANGE, ms=16, mew=2)
    ax.plot(*np.asarray(points).T, ".", color=BLUE, ms=4)
    ax.set(title=title, aspect="equal")
drawn_density, evolved_density = (
    float(target.log_density(points, 0.0).mean()) for points in (samples, evolved)
)
print(f"mean log-density: drawn {drawn_density:.2f}, evolved {evolved_density:.2f}")
assert evolved_density > drawn_density

# %% [markdown]
# ## Orders
#
# With an exact denoiser the only error is the sampler's own. Without fresh noise a
# sampler solves a differential equation, and its error falls as a power of the number of
# answers that it asks for. This power is the sampler's order. All samplers have the same
# start here, and errors are differences from Heun's method with 512 steps.

# %%
start = grid.sigmas(2)[0] * jax.random.normal(jax.random.key(2), (256, 2))


def end(sampler, num_levels):
    drawn = de.sample(
        key, target.denoise, grid, sampler, (256, 2), num_levels=num_levels, start=start
    )
    return np.asarray(drawn)


truth = end(de.samplers.Heun(), 513)
samplers = {
    "DDIM(0), order 1": (de.samplers.DDIM(0.0), 1, ORANGE),
    "DPMSolver2M(0), order 2": (de.samplers.DPMSolver2M(0.0), 1, BLUE),
    "Heun, order 2": (de.samplers.Heun(), 2, GREEN),
}
answers = (16, 32, 64) if FAST else (16, 32, 64, 128)
figure, ax = plt.subplots(figsize=(6, 3))
errors = {}
for name, (sampler, per_step, color) in samplers.items():
    errors[name] = [np.abs(end(sampler, n // per_step) - truth).mean() for n in answers]
    ax.loglog(answers, errors[name], "o-", color=color, label=name)
ax.set(xlabel="answers of the denoiser", ylabel="mean error")
ax.set_xticks(answers, labels=answers)
ax.minorticks_off()
ax.legend()
assert all(each[-1] < each[0] for each in errors.values())

# %% [markdown]
# ## Where to go next
#
# What to choose for which task, and the measurements behind it:
# [design_space.md](https://github.com/diffevo-jax/diffevo_jax/blob/main/docs/design_space.md).
