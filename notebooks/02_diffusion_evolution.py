# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
# ---

# %% [markdown]
# # What Diffusion Evolution does
#
# [![Open in Colab][badge]][colab]
#
# A diffusion model turns noise into images by asking, again and again, where the clean
# point behind a noisy one is. A neural network answers. In Diffusion Evolution the
# evaluated population answers, by Bayes' rule, and the same walk from noise to
# structure is an evolution. Here it is watched: a film, the neighbourhoods, and how
# they part.
#
# [badge]: https://colab.research.google.com/assets/colab-badge.svg
# [colab]: https://colab.research.google.com/github/diffevo-jax/diffevo_jax/blob/main/notebooks/02_diffusion_evolution.ipynb

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

import jax
import jax.numpy as jnp
import numpy as np
from IPython.display import Image, display

import diffevo_jax as de
from diffevo_jax import plots

COLORS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
ORANGE, BLUE, *_ = COLORS

# %% [markdown]
# ## Bayes' rule
#
# 1. A population starts as pure noise, and every individual is evaluated.
# 2. Each individual $x_i$ is taken for a noisy view $y_i = x_i \sqrt{1 + \sigma^2}$ of a
#    clean, fitter point: $y_i = x_0 + \sigma \epsilon$.
# 3. *Where is $x_0$?* The evaluated individuals are the prior, with weights $g(f_j)$ by
#    their fitness $f_j$; the noise is the likelihood; and the mean of the posterior is
#
# $$\hat x_0(y_i) = \sum_j w_{ij}\, x_j, \qquad
# w_{ij} \propto g(f_j)\, \exp\!\left(-\frac{|y_i - x_j|^2}{2\sigma^2}\right),
# \qquad \sum_j w_{ij} = 1.$$
#
# 4. The individual steps towards its answer, to a lower noise level, and some fresh
#    noise is added. All are evaluated again.
#
# So the fitter have more say, and so have the nearer: $\sigma$ is the size of a
# neighbourhood. In NumPy the answer is three lines, and the library agrees.

# %%
rng = np.random.default_rng(0)
x, log_g, sigma = rng.normal(size=(6, 2)), rng.normal(size=6), 0.5
y = x * np.sqrt(1 + sigma**2)

weight = np.exp(log_g - ((y[:, None] - x) ** 2).sum(axis=-1) / (2 * sigma**2))
weight /= weight.sum(axis=1, keepdims=True)
clean = weight @ x

points = jnp.array(x)
answer = de.denoisers.posterior_mean(
    jnp.array(y), points, points, jnp.array(log_g), jnp.array(sigma**-2)
)
assert np.allclose(answer.clean, clean, atol=1e-5)

# %% [markdown]
# ## A film
#
# The published setting: fitness is a density with narrow peaks, and it is the weight as
# it is. For a long time the cloud hardly moves, since everybody listens to everybody,
# and the answers are nearly the same. Then the neighbourhoods become smaller than the
# gaps between the peaks, and the cloud splits.

# %%
problem = de.problems.Landscape("two_peaks", scale=1.5)
strategy = de.DiffusionEvolution(
    num_generations=100,
    denoiser=de.denoisers.Population(
        kernel=de.kernels.Gaussian(),
        shaping=de.shaping.Identity(floor=1e-9),
        guidance=0.0,  # Bayes' rule alone
    ),
    sampler=de.samplers.DDIM(eta=0.1),
    grid=de.noise.Linear(),
)
SIZE = 96 if FAST else 256
key, record = jax.random.key(42), ("population", "fitness", "clean_estimate")
result = de.evolve(key, strategy, problem, population_size=SIZE, record=record)

# Frames at even steps of log sigma: where more happens there are more.
sigmas = np.asarray(result.history.sigma)
depth, numbers = -np.log(sigmas), np.arange(1, len(sigmas) + 1)
steps = np.linspace(depth[1], depth[-1], 4 if FAST else 14)
frames = np.unique(np.interp(steps, depth, numbers).round().astype(int)).tolist()
with tempfile.TemporaryDirectory() as folder:
    path = f"{folder}/film.gif"
    plots.film(problem, result, path, generations=[1, *frames], dpi=42)
    display(Image(path))

first, *_, last = result.history.mean_fitness
print(f"mean fitness from {first:.3f} to {last:.3f}")
assert last > first

# %% [markdown]
# ## Neighbourhoods
#
# Where did everyone go? `de.solutions` lists the different good solutions of a run, by
# looking for valleys between them. The home of an individual is the nearest of them.
#
# Of all pairs that part, take the two who were closest in the first generation. The discs
# are their neighbourhoods, one deviation $\sigma$ wide; whoever is in a disc is heard, and
# arrows lead to the answers. At first everybody is in both discs, and both arrows lead to
# the same place. In the end the two do not hear each other at all.

# %%
found = de.solutions(problem, result, key=key, num_evaluations=400, within=0.5)
print(found)


def squares(a, b):
    """Squared distances between points, in unit scale."""
    return np.sum((np.asarray(a)[:, None] - np.asarray(b)[None]) ** 2, axis=-1)


home = squares(result.population, found.points).argmin(axis=1)
apart = squares(*[result.recorded["population"][0]] * 2)
parted = home[:, None] != home
apart[~parted if parted.any() else np.eye(SIZE, dtype=bool)] = np.inf
pair = [int(i) for i in np.unravel_index(apart.argmin(), apart.shape)]

with tempfile.TemporaryDirectory() as folder:
    path = f"{folder}/neighbourhoods.gif"
    plots.neighbourhood_film(problem, result, pair, path, generations=frames, dpi=42)
    display(Image(path))
assert len(found) > 0
assert found.count.sum() <= SIZE

# %% [markdown]
# ## Isolation
#
# How much of an individual's answer comes from those who will end at the same solution?
# At first no more than their share of the population. When neighbourhoods are small,
# all of it: the groups are isolated, and each evolves on its own, as species do. Nobody
# decided on groups, or on how many; that the noise level falls is enough.

# %%
recorded = result.recorded["population"], result.recorded["fitness"]
kin = jnp.asarray(home[:, None] == home)


@jax.jit
def heard(x, fitness, sigma):
    """The mean share of kin in an answer, and the mean number of those who are heard."""
    log_weight = de.shaping.log_weight(strategy.denoiser.shaping, fitness)
    y = x * de.noise.canonical_scale(sigma)
    weight = de.denoisers.posterior_weights(y, x, log_weight, sigma**-2)
    return (weight * kin).sum(axis=1).mean(), (1 / (weight**2).sum(axis=1)).mean()


shares, heads = np.array(
    jax.lax.map(lambda now: heard(*now), (*recorded, result.history.sigma))
)
figure, axes = plt.subplots(1, 2, figsize=(9, 2.8))
axes[0].plot(sigmas[1:], shares[1:], color=ORANGE, lw=2)
axes[0].set(ylabel="share of kin in an answer", ylim=(0, 1.05))
axes[1].plot(sigmas[1:], heads[1:], color=BLUE, lw=2)
axes[1].set(ylabel="individuals that are heard", yscale="log")
for ax in axes:
    ax.set(xscale="log", xlabel="noise level σ")
    ax.invert_xaxis()
print(f"share of kin from {shares[0]:.2f} to {shares[-1]:.2f}, {len(found)} solutions")
assert shares[-1] >= shares[0] - 1e-3
assert len(found) == 1 or shares[-1] > shares[0] + 0.1

# %% [markdown]
# ## The other direction
#
# What was reversed? Take the last generation, and add noise: at the level of each
# column it is the population that evolution had there, or nearly so. Diffusion forgets
# where everyone came from, and evolution brings it back.

# %%
figure, axes = plt.subplots(2, 4, figsize=(9, 4.6))
for column, level in zip(axes.T, np.linspace(depth[1], depth[-1], 4), strict=True):
    generation = int(np.interp(level, depth, numbers).round())
    evolved = result.recorded["population"][generation - 1]
    noised = de.noise.diffuse(jax.random.key(1), result.population, sigmas[generation - 1])
    for ax, points in zip(column, (evolved, noised), strict=True):
        plots.landscape(problem, ax=ax)
        plots.population(
            problem, points, ax=ax, color=np.take(COLORS, home, mode="wrap"), size=5
        )
        ax.set(xticks=[], yticks=[])
    column[0].set(title=f"σ = {sigmas[generation - 1]:.2g}")
axes[0, 0].set(ylabel="evolution →")
axes[1, 0].set(ylabel="← diffusion")
assert np.isfinite(noised).all()

# %% [markdown]
# ## Where to go next
#
# - Other kernels, samplers and grids: `05_design_space`.
# - What to do about many dimensions, where everybody is far from everybody:
#   `04_high_dimension`.
# - To keep several solutions on purpose: `09_niching`.
#
# The method: Zhang, Hartl, Hazan, Levin, *Diffusion Models are Evolutionary
# Algorithms*, ICLR 2025, arXiv:2410.02543.
