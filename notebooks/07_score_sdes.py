# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
# ---

# %% [markdown]
# # Score SDEs and likelihood
#
# [![Open in Colab][badge]][colab]
#
# A diffusion adds noise by a stochastic differential equation (SDE). Another SDE takes
# it away, and so does an ordinary differential equation (ODE) that has the same marginal
# distributions. The ODE also gives the density at a point, which is its likelihood. Here
# all of it is checked against a density that is known; then a network learns its score.
#
# [badge]: https://colab.research.google.com/assets/colab-badge.svg
# [colab]: https://colab.research.google.com/github/diffevo-jax/diffevo_jax/blob/main/notebooks/07_score_sdes.ipynb

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
from diffevo_jax import diffusion

ORANGE, BLUE, GREEN, INK = "#D55E00", "#0072B2", "#009E73", "#222222"
COUNT = 300 if FAST else 1000  # samples
key = jax.random.key(0)

# %% [markdown]
# ## A known density
#
# A mixture of Gaussians stays one when noise is added. So its denoiser $D(y, \sigma) =
# \mathrm{E}[x_0 \mid y]$, its score and its density are known exactly at every noise
# level. The score follows from the denoiser: $\nabla \log p_\sigma(y) = (D(y, \sigma)
# - y) / \sigma^2$. The cell checks it against the derivative of the density.

# %%
angles = 2 * np.pi * np.arange(5) / 5
means = 1.2 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
target = de.oracles.gaussian_mixture(means, 0.03)
data = target.sample(key, COUNT)
y = data + 0.5 * jax.random.normal(key, data.shape)
score = jax.vmap(jax.grad(lambda point: target.log_density(point[None], 0.5)[0]))(y)
assert np.allclose(score, (target.denoise(y, 0.5) - y) / 0.5**2, atol=1e-3)

# %% [markdown]
# ## Three processes
#
# In its own time a process is $x_t = s(t)\,(x_0 + \sigma(t)\,\epsilon)$. Variance
# preserving (VP), variance exploding (VE) and sub-VP are choices of $s$ and $\sigma$. In
# the coordinates $y = x / s$ only $\sigma$ is left, so that one denoiser serves them all.

# %%
processes = {"VP": de.noise.VP(), "sub-VP": de.noise.SubVP(), "VE": de.noise.VE(0.01, 20.0)}
figure, axes = plt.subplots(1, 2, figsize=(9, 2.8))
for (name, process), dashes in zip(processes.items(), ("-", "--", ":"), strict=True):
    times = process.times(100)
    axes[0].plot(times, jax.vmap(process.scale)(times), ls=dashes, lw=2, label=name)
    sigmas = jax.vmap(process.sigma)(times)
    axes[1].plot(times, sigmas, ls=dashes, lw=2)
    assert (np.diff(sigmas) <= 0).all()
axes[0].legend()
axes[1].set(yscale="log")
for ax, name in zip(axes, ("scale s(t)", "noise level σ(t)"), strict=True):
    ax.set(xlabel="time t", ylabel=name)

# %% [markdown]
# ## Back in time
#
# Let $\beta$ be the rate at which noise is replaced. For every $\beta$ this SDE, in which
# time runs down, has the same marginals:
#
# $$dx = \left[\tfrac{s'}{s} x - s\,\sigma' \sigma\, \nabla \log p\right] dt
# - s\,\beta \sigma^2\, \nabla \log p\; dt + s \sqrt{2 \beta}\, \sigma\; dw.$$
#
# $\beta = 0$ is the probability-flow ODE, and $\beta = \sigma'/\sigma$ the reverse SDE of
# Song et al. `de.sde` has them in the process's own coordinates, with plain solvers. If
# the samples are right, their log-density has the same mean as that of the data; the
# titles say by how much it differs.


# %%
def drawn(process, rate, num_steps, key):
    """Samples by the method of Euler and Maruyama; rate 0 is the ODE."""
    times = process.times(num_steps + 1)
    key_start, key_steps = jax.random.split(key)
    scale = process.scale(times[0]) * process.sigma(times[0])
    start = scale * jax.random.normal(key_start, (COUNT, 2))
    x = de.sde.euler_maruyama(key_steps, process, target.denoise, start, times, rate)
    return x / process.scale(times[-1])


STEPS = 200 if FAST else 400
expected = float(target.log_density(data, 0.0).mean())
figure, axes = plt.subplots(2, 3, figsize=(9, 6), sharex=True, sharey=True)
for column, (name, process) in zip(axes.T, processes.items(), strict=True):
    for ax, (rate, kind) in zip(column, ((1.0, "SDE"), (0.0, "ODE")), strict=True):
        x = jax.jit(drawn, static_argnums=2)(process, rate, STEPS, key)
        gap = abs(float(target.log_density(x, 0.0).mean()) - expected)
        ax.plot(*np.asarray(x[:1000]).T, ".", ms=2, color=BLUE)
        ax.set(title=f"{name}, {kind}: {gap:.2f} nats off", aspect="equal")
        assert gap < 0.5
print(f"mean log-density of the data: {expected:.2f}")

# %% [markdown]
# ## How probable is a point?
#
# Along the flow of the ODE a volume grows by the divergence of the velocity. So the
# density of a point is that of where it came from, times a factor for the way. In $l =
# \log \sigma$, with $d$ dimensions,
#
# $$\log p(y_{\min}) = \log p(y_{\max}) + \int_{l_{\min}}^{l_{\max}}
# \left(d - \nabla \!\cdot\! D(y_l)\right) dl.$$
#
# With the exact denoiser the result is the exact density, up to the error of the solver.

# %%
grid = de.noise.VE(0.01, 20.0)
points = jax.random.uniform(key, (200, 2), minval=-2.0, maxval=2.0)
exact = target.log_density(points, 0.01)
flow = diffusion.log_likelihood(target.denoise, points, grid, num_levels=64).log_density
print(f"largest error: {np.abs(flow - exact).max():.3f} nats")
assert np.abs(flow - exact).max() < 0.2

# %% [markdown]
# ## A learned score
#
# A network that denoises has learned the score of the data, and gives densities by the
# same integral. How far is it from the truth, on data that it has not seen? For
# comparison the same is done with a Gaussian that is fitted to the data.

# %%
train = target.sample(jax.random.key(1), 4000)
recipe = diffusion.Recipe(diffusion.EDM(), num_steps=500 if FAST else 2500)
trained = diffusion.train(jax.random.key(2), train, diffusion.MLP((64, 64)), recipe)
unseen = target.sample(jax.random.key(3), COUNT)


def log_density(denoise):
    return diffusion.log_likelihood(denoise, unseen, grid, num_levels=48).log_density


learned, truth = log_density(trained.denoise), target.log_density(unseen, 0.01)
gaussian = log_density(diffusion.fit_gaussian(train).denoise)
figure, ax = plt.subplots(figsize=(4.4, 4))
ax.plot(truth, gaussian, ".", ms=3, color=INK, label="fitted Gaussian")
ax.plot(truth, learned, ".", ms=3, color=ORANGE, label="learned")
ax.axline((0, 0), slope=1, color="0.7", zorder=0, label="exact")
low, high = np.quantile(truth, [0.01, 1.0])
ax.set(
    xlabel="exact log-density",
    ylabel="log-density",
    xlim=(low, high + 0.2),
    ylim=(low - 2, high + 1),
)
ax.legend()
for name, values in (("exact", truth), ("learned", learned), ("fitted Gaussian", gaussian)):
    print(f"{name}: {-values.mean() / 2 / np.log(2):.2f} bits per dimension")
assert gaussian.mean() < learned.mean() < truth.mean() + 0.1

# %% [markdown]
# ## Codes
#
# The flow is a bijection: each point has a code, the noise that it comes from, and the
# code leads back to it. A straight line between two codes becomes a path between their
# points.

# %%
codes = diffusion.encode(trained.denoise, unseen[:64], grid, num_levels=48)
back = diffusion.decode(trained.denoise, codes, grid, num_levels=48)
print(f"there and back: {np.abs(back - unseen[:64]).max():.1e}")

mixed = jnp.linspace(codes[0], codes[1], 40)
way = diffusion.decode(trained.denoise, mixed, grid, num_levels=48)
figure, axes = plt.subplots(1, 2, figsize=(8, 3.8))
for ax, some, line, title in zip(
    axes, (unseen[:1000], codes), (way, mixed), ("points", "codes"), strict=True
):
    ax.plot(*np.asarray(some).T, ".", ms=3, color=BLUE)
    ax.plot(*np.asarray(line).T, color=ORANGE, lw=2)
    ax.set(title=title, aspect="equal")
assert np.abs(back - unseen[:64]).max() < 0.05

# %% [markdown]
# ## Where to go next
#
# Bounds, other processes and adaptive solvers:
# [diffusion.md](https://github.com/diffevo-jax/diffevo_jax/blob/main/docs/diffusion.md).
