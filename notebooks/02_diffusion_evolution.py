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
# A diffusion model makes an image of noise in many steps. In each of them a neural
# network estimates the clean point behind a noisy one. Diffusion Evolution has no
# network: the evaluated population gives the estimate, by Bayes' rule, and the steps are
# generations of an evolutionary algorithm. This notebook looks at one run: a film of it,
# whom each individual listens to, and how the population splits into groups.
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
from matplotlib.figure import Figure

import diffevo_jax as de
from diffevo_jax import plots

COLORS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
ORANGE, BLUE, *_ = COLORS


def small(problem):
    """Axes for a film that is small, with words that are not."""
    ax = Figure(figsize=(3, 3), layout="constrained").add_subplot()
    plots.landscape(problem, ax=ax)
    return ax


# %% [markdown]
# ## Bayes' rule
#
# 1. A population starts as pure noise, and every individual is evaluated.
# 2. Each individual $x_i$ is taken for a noisy view $y_i = x_i \sqrt{1 + \sigma^2}$ of a
#    clean, fitter point: $y_i = x_0 + \sigma \epsilon$.
# 3. *Where is $x_0$?* The prior is the evaluated individuals, weighted by $g(f_j)$, where
#    $f_j$ is their fitness and $g$ does not fall with it. The likelihood is that of the
#    noise. The mean of the posterior is the individual's *answer*:
#
# $$\hat x_0(y_i) = \sum_j w_{ij}\, x_j, \qquad
# w_{ij} \propto g(f_j)\, \exp\!\left(-\frac{|y_i - x_j|^2}{2\sigma^2}\right),
# \qquad \sum_j w_{ij} = 1.$$
#
# 4. The individual steps towards its answer, to a lower noise level, and some fresh
#    noise is added. All are evaluated again.
#
# So the fitter individuals have more weight in an answer, and so have the nearer ones:
# $\sigma$ is the size of a neighbourhood. In NumPy the answer is three lines. The
# library's function agrees with them.

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
# The setting is that of the paper, with half as many individuals. Fitness is a density
# with two narrow peaks (grey), and it is the weight as it is. The brighter a point, the
# fitter. While $\sigma$ is large, everybody has nearly the same answer, and the cloud
# changes slowly. It splits when the neighbourhoods have become smaller than the gap
# between the peaks.

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
steps = np.linspace(depth[1], depth[-1], 4 if FAST else 11)
frames = np.unique(np.interp(steps, depth, numbers).round().astype(int)).tolist()
with tempfile.TemporaryDirectory() as folder:
    path = f"{folder}/film.gif"
    plots.film(problem, result, path, generations=[1, *frames], dpi=72, ax=small(problem))
    display(Image(path))

first, *_, last = result.history.mean_fitness
print(f"mean fitness from {first:.3f} to {last:.3f}")
assert last > first

# %% [markdown]
# ## Neighbourhoods
#
# `de.solutions` lists the different good solutions of a run: two are different if fitness
# falls between them. The nearest of them is called the home of an individual.
#
# The film follows two individuals. Of all pairs with different homes, they were the
# closest in the first generation. A disc is the neighbourhood of one of them. It *hears*
# whoever is inside: their kernel, the exponential above, is at least $e^{-1/2}$ of the
# nearest one's. Lines are the ways so far, and arrows lead to the answers. In the first
# frame everybody is in both discs, and both arrows lead to nearly the same place. In the
# last one neither hears the other.

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
    plots.neighbourhood_film(
        problem, result, pair, path, generations=frames, dpi=72, ax=small(problem)
    )
    display(Image(path))
assert len(found) > 0
assert found.count.sum() <= SIZE

# %% [markdown]
# ## Isolation
#
# Kin are those with the same home. How much of an individual's answer comes from its kin?
# In the first generation about as much as their share of the population; in the last all
# of it. The groups are isolated, as species are. The number of groups was not set
# anywhere. The noise level has fallen, and the landscape has two peaks.
#
# The right picture has the effective number of individuals in an answer, $1 / \sum_j
# w_{ij}^2$. It is small at first, although everybody is near enough: only those few count
# who happen to be on a peak. It grows when many are there, and falls with $\sigma$ again.

# %%
recorded = result.recorded["population"], result.recorded["fitness"]
kin = jnp.asarray(home[:, None] == home)


@jax.jit
def heard(x, fitness, sigma):
    """The mean share of kin in an answer, and the mean effective number in it."""
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
axes[1].set(ylabel="effective number in an answer", ylim=(0, None))
for ax in axes:
    ax.set(xscale="log", xlabel="noise level σ")
    ax.invert_xaxis()
print(f"share of kin from {shares[0]:.2f} to {shares[-1]:.2f}, {len(found)} solutions")
assert shares[-1] >= shares[0] - 1e-3
assert len(found) == 1 or shares[-1] > shares[0] + 0.1

# %% [markdown]
# ## The other direction
#
# What was reversed? Take the last generation, and add noise up to the level of a column:
# that is the lower row. It looks like the population that evolution had at that level, in
# the upper row. Colours are homes. From right to left noise mixes them, and from left to
# right evolution separates them.

# %%
figure, axes = plt.subplots(2, 4, figsize=(8, 4.2))
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
# - Many dimensions, where everybody is far from everybody: `04_high_dimension`.
# - To keep several solutions on purpose: `09_niching`.
#
# The method: Zhang, Hartl, Hazan, Levin, *Diffusion Models are Evolutionary
# Algorithms*, ICLR 2025, arXiv:2410.02543.
