# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
# ---

# %% [markdown]
# # Diffusion from scratch, on curves
#
# [![Open in Colab][badge]][colab]
#
# The other half of `diffevo_jax`: the denoiser as a neural network. Curves become noise,
# noise becomes curves, a curve with a hole is filled in, and a network learns what a
# population knows. A few minutes on a laptop.
#
# [badge]: https://colab.research.google.com/assets/colab-badge.svg
# [colab]: https://colab.research.google.com/github/diffevo-jax/diffevo_jax/blob/main/notebooks/02_learned_diffusion.ipynb

# %%
# %matplotlib inline
import os
import subprocess
import sys
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
from IPython.display import display
from matplotlib.figure import Figure

import diffevo_jax as de
from diffevo_jax import diffusion
from diffevo_jax.plots import figures

FAST = os.environ.get("DIFFEVO_FAST") == "1"  # smaller sizes, for tests
print("jax", jax.__version__, "on", jax.devices())


def panels(count, height=1.7):
    """A figure with panels in a row."""
    figure = Figure(figsize=(11, height), layout="constrained", dpi=64)
    axes = figure.subplots(1, count, sharey=True)
    for ax in axes:
        ax.spines[["top", "right"]].set_visible(False)
    return figure, axes


# %% [markdown]
# ## From structure to noise
#
# A family of curves: 50 numbers each, sums of three sinusoids of random frequency. Noise is
# added in 100 steps, $x_t = \sqrt{1 - \beta_t}\, x_{t-1} + \sqrt{\beta_t}\, \epsilon$,
# until nothing of a curve is left: values are normal, and their entropy is the largest that
# there is.

# %%
curves = diffusion.sinusoids(jax.random.key(0), 10_000)
betas = jnp.linspace(1e-3, 0.2, 100)
forward = de.noise.forward_chain(jax.random.key(1), curves, betas)

figure, axes = panels(5)
for ax, step in zip(axes, (0, 5, 15, 40, 100), strict=True):
    ax.plot(forward[step, 0], color=figures.ORANGE)
    ax.set(title=f"step {step}", ylim=(-3.5, 3.5))
assert abs(float(forward[-1].std()) - 1) < 0.01
display(figure)

# %% [markdown]
# ## A network that sees through noise
#
# In canonical coordinates a noisy curve is $y = x_0 + \sigma\epsilon$, and the network
# learns the mean of all clean curves that could be behind it, $\mathrm{E}[x_0 \mid y]$, at
# every noise level $\sigma$. EDM's preconditioning is the default: input and target have
# unit variance whatever the noise.

# %%
begin = time.perf_counter()
trained = diffusion.train(
    jax.random.key(2),
    curves,
    diffusion.MLP((256, 256, 256)),
    diffusion.Recipe(num_steps=600 if FAST else 6000, learning_rate=1e-3),
)
relative = np.asarray(trained.losses / trained.baselines)
print(f"{len(relative)} steps in {time.perf_counter() - begin:.0f} s")
print(f"loss, relative to that of the answer 0: {relative[-50:].mean():.2f}")
relative = np.asarray(trained.losses / trained.baselines)

figure, axes = panels(4)
for ax, sigma in zip(axes, (0.1, 0.5, 1.0, 3.0), strict=True):
    y = curves[:1] + sigma * jax.random.normal(jax.random.key(3), (1, 50))
    ax.plot(curves[0], color=figures.INK, lw=1, ls=":")
    ax.plot(y[0], color=figures.ORANGE, lw=0.6, alpha=0.6)
    ax.plot(trained.denoise(y, sigma)[0], color=figures.BLUE)
    ax.set(title=f"σ = {sigma:g}", ylim=(-4, 4))
assert relative[-50:].mean() < 0.5, "far better than the answer 0"
display(figure)

# %% [markdown]
# ## From noise to structure
#
# Any sampler of evolution draws from a network as well. `de.sample_path` keeps every
# question and every answer. Here: what is asked (orange) and the network's answer (blue)
# along one path.

# %%
grid, sampler = de.noise.EDM(sigma_min=0.01, sigma_max=30.0), de.samplers.Heun()
draw = jax.jit(
    lambda key: de.sample_path(
        key, trained.denoise, grid, sampler, (500, 50), num_levels=25
    )
)
path = draw(jax.random.key(4))

figure, axes = panels(6)
last = len(path.sigmas) - 1
for ax, i in zip(axes, np.linspace(last // 3, last, 6).astype(int), strict=True):
    scale = np.sqrt(1 + path.sigmas[i] ** 2)
    ax.plot(path.points[i, 0] / scale, color=figures.ORANGE, lw=0.8)
    ax.plot(path.clean[i, 0], color=figures.BLUE)
    ax.set(title=f"σ = {path.sigmas[i]:.2g}", ylim=(-3.5, 3.5))
display(figure)

figure, axes = panels(2, 2.6)
for ax, some, title in (
    (axes[0], curves, "curves of the family"),
    (axes[1], path.samples, "drawn"),
):
    ax.plot(np.asarray(some[:5]).T + 4 * np.arange(5), color=figures.BLUE, lw=1)
    ax.set(title=title, yticks=[])
roughness = [float(jnp.diff(some, 2).std()) for some in (curves, path.samples, forward[-1])]
print(
    "roughness of curves, of samples, of noise: {:.2f}, {:.2f}, {:.2f}".format(*roughness)
)
assert roughness[1] < 0.3 * roughness[2], "samples are smooth"
display(figure)

# %% [markdown]
# ## A curve with a hole
#
# Bayes' rule adds scores: with a likelihood of what is observed, the same network draws
# from the posterior. Here all but the numbers 15 to 34 of a new curve are known, with a
# small error. Ten answers: they agree where the curve is known, and differ where it could
# go either way.

# %%
truth = diffusion.sinusoids(jax.random.key(5), 1)[0]
known = np.ones(50, bool)
known[15:35] = False
seen = diffusion.known_part(known, truth, 0.05)
conditioned = diffusion.linear_posterior(trained.denoise, seen)
fill = jax.jit(
    lambda key: de.sample(
        key, conditioned, grid, de.samplers.DDIM(eta=1.0), (10, 50), num_levels=100
    )
)
filled = np.asarray(fill(jax.random.key(6)))

figure = Figure(figsize=(9, 2.4), layout="constrained", dpi=64)
ax = figure.add_subplot()
ax.spines[["top", "right"]].set_visible(False)
ax.plot(filled.T, color=figures.BLUE, lw=0.8, alpha=0.6)
ax.plot(np.where(known, truth, np.nan), color=figures.INK, lw=3, label="known")
ax.plot(truth, color=figures.ORANGE, ls="--", label="the curve")
ax.legend(frameon=False)
gap = np.abs(filled[:, known] - truth[known]).mean()
print(f"what is known is kept within {gap:.3f}")
assert gap < 0.1
display(figure)

# %% [markdown]
# ## What a population knows
#
# Now the bridge. An evaluated population answers the same question by Bayes' rule, with no
# training at all: the fitter and the nearer have more say. A network that is trained to
# denoise that population, each individual as often as its fitness says, learns the same
# answers.

# %%
population = jax.random.normal(jax.random.key(7), (512, 2))
peaks = jnp.array([[-1.0, -1.0], [1.0, 1.0]])
distance = jnp.linalg.norm(population[:, None] - peaks, axis=-1).min(axis=1)
log_weight = -2.0 * distance**2

learner = diffusion.train(
    jax.random.key(8),
    population,
    diffusion.MLP((64, 64)),
    diffusion.Recipe(num_steps=500 if FAST else 4000),
    sample_weight=jnp.exp(log_weight),
)

sigma = 0.7
y = 1.5 * jax.random.normal(jax.random.key(9), (400, 2))
told = de.denoisers.posterior_mean(y, population, population, log_weight, sigma**-2).clean
learned = learner.denoise(y, sigma)
error = float(jnp.sqrt(jnp.mean((told - learned) ** 2)) / told.std())
print(
    f"the network differs from the population by {100 * error:.1f} % of the answers' spread"
)
assert error < (0.3 if FAST else 0.1)

figure = Figure(figsize=(4, 4), layout="constrained", dpi=64)
ax = figure.add_subplot(aspect="equal", xticks=[], yticks=[])
ax.scatter(*population.T, s=6, c=np.exp(log_weight), cmap="Oranges", edgecolors="none")
for answers, color, width in ((told, figures.INK, 0.008), (learned, figures.BLUE, 0.004)):
    arrows = np.asarray(answers - y)[:60].T
    quiver = {"angles": "xy", "scale_units": "xy", "scale": 1, "width": width}
    ax.quiver(*y[:60].T, *arrows, color=color, **quiver)
display(figure)

# %% [markdown]
# ## Where to go on
#
# Parameterisations, losses, likelihoods, guidance and images:
# [docs/diffusion.md](https://github.com/diffevo-jax/diffevo_jax/blob/main/docs/diffusion.md).
