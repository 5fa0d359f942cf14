# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
# ---

# %% [markdown]
# # MonoFlow and GANs
#
# [![Open in Colab][badge]][colab]
#
# The discriminator of a GAN learns the log-ratio of two densities: $p$ of the data, and
# $q$ of the generated points. MonoFlow (Yi, Zhu, Liu, 2023) describes the training as a
# flow, in which points follow the gradient of an increasing function $h$ of it:
#
# $$\frac{dx}{dt} = h'(\log r)\, \nabla \log r, \qquad r = p / q.$$
#
# This notebook has the flow three times: of particles, as an evolution strategy, and in
# the training of a GAN.
#
# [badge]: https://colab.research.google.com/assets/colab-badge.svg
# [colab]: https://colab.research.google.com/github/diffevo-jax/diffevo_jax/blob/main/notebooks/08_monoflow_and_gans.ipynb

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
from diffevo_jax import flows

ORANGE, BLUE, GREEN, INK = "#D55E00", "#0072B2", "#009E73", "#222222"
COUNT = 128 if FAST else 512
DIVERGENCE = flows.ReverseKL()
angles = 2 * np.pi * np.arange(8) / 8
means = 2 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
ring = de.oracles.gaussian_mixture(means, 0.15**2)
key = jax.random.key(0)


def show(titled):
    """Points, beside the means of the target."""
    _, axes = plt.subplots(1, len(titled), figsize=(3.2 * len(titled), 3.3), sharey=True)
    for ax, (title, points) in zip(axes, titled.items(), strict=True):
        ax.plot(*means.T, "+", color=ORANGE, ms=22, mew=1.5)
        ax.plot(*np.asarray(points).T, ".", color=BLUE, ms=3)
        ax.set(title=title, aspect="equal", xlim=(-3.5, 3.5), ylim=(-3.5, 3.5))


def kl(points):
    """KL(q | p) of points, both seen through a kernel of 0.2, in nats."""
    return float(flows.smoothed_kl(key, points, ring, 0.2))


# %% [markdown]
# ## Particles
#
# The target $p$ is a ring of eight Gaussians, whose means are the crosses. Both densities
# are smoothed by a Gaussian kernel of deviation 0.2, so that the gradient of the log-ratio
# has a closed form. The flow lowers the KL divergence of the particles from the target, in
# the end below that of as many random samples of the target.

# %%
start = jax.random.normal(key, (COUNT, 2))
ratio = flows.SmoothedRatio(ring, 0.2)
STEPS = 100
flowed = flows.particle_flow(
    key, ratio, start, num_steps=STEPS, step_size=0.02, divergence=DIVERGENCE
)
times = np.linspace(0, STEPS - 1, 5 if FAST else 15).astype(int)
along = [kl(flowed.path[t]) for t in times]
floor = kl(ring.sample(key, COUNT))

figure, ax = plt.subplots(figsize=(6, 2.6))
ax.plot(times, along, "o-", color=BLUE)
ax.axhline(floor, color="0.7", ls="--", label="samples of the target")
ax.set(xlabel="step", ylabel="KL(q | p), nats", yscale="log")
ax.legend()
show({f"step {t}": flowed.path[t] for t in times[[0, len(times) // 3, -1]]})
print(f"from {along[0]:.2f} to {along[-1]:.3f} nats; samples have {floor:.3f}")
assert along[-1] < along[0]

# %% [markdown]
# ## An evolution strategy
#
# Now only a fitness $f$ is known, and only at the individuals. They are a sample of $q$.
# Weighted by $g(f) / q^\kappa$ they represent another density, and the flow moves them
# towards it. No gradient of the fitness is taken.
#
# - $\kappa = 0$ is selection: all climb to the peaks ("it selects").
# - $\kappa = 1$, with a fitness that is a log-density: the population becomes a sample of
#   that density, which keeps its modes and their width ("it samples").
#
# Other divergences and targets may take longer: give them more generations before you
# compare.

# %%
problem = de.problems.Function(lambda x: ring.log_density(x[None], 0.0)[0], dim=2)
GENERATIONS = 25 if FAST else 100
sampling = de.MonoFlow(
    GENERATIONS,
    grid=de.noise.VE(0.05, 0.2),
    shaping=de.shaping.Boltzmann(1.0),
    divergence=DIVERGENCE,
    density_power=1.0,
    rate=1.0,
    noise=0.0,
)
strategies = {
    "it samples": sampling,
    "it selects": de.replace(sampling, density_power=0.0),
    "Diffusion Evolution": de.DiffusionEvolution(GENERATIONS),
}
ends, spread = {}, {}
for name, strategy in strategies.items():
    result = de.evolve(key, strategy, problem, population_size=COUNT)
    ends[name] = problem.space.decode(result.population)
    spread[name] = kl(ends[name])
    print(f"{name}: mean fitness {result.fitness.mean():.2f}, KL {spread[name]:.2f}")
show(ends)
assert spread["it samples"] < kl(start)

# %% [markdown]
# ## Divergences
#
# The divergence that a GAN is said to minimise decides $h$. Its slope $h'$ sets the speed
# of the flow, and not its direction. The slope of forward KL is $r$ itself: the flow is
# fast where the ratio is large, and so are its errors. The slopes of the others are
# bounded.

# %%
log_ratio = jnp.linspace(-4, 4, 200)
figure, ax = plt.subplots(figsize=(6, 3))
slopes = {
    make.__name__: jax.vmap(make().slope)(log_ratio)
    for make in (
        flows.ReverseKL,
        flows.ForwardKL,
        flows.JensenShannon,
        flows.NonSaturating,
        flows.Arcsinh,
    )
}
for (name, slope), dashes in zip(slopes.items(), ("-", "--", "-.", ":", "-"), strict=True):
    ax.plot(log_ratio, slope, lw=2, ls=dashes, label=name)
ax.set(xlabel="log r", ylabel="h'(log r)", ylim=(0, 3))
ax.legend(fontsize="small")
assert all((slope > 0).all() for slope in slopes.values()), "h increases"

# %% [markdown]
# ## A GAN
#
# Now the target is known by data alone, and two networks learn. In a step the
# discriminator learns the ratio, the generated points move along its gradient, and the
# generator is regressed on where they are now. With a single gradient step this regression
# is the usual loss of a generator; here it takes 50.

# %%
data = ring.sample(jax.random.key(1), 4096)
recipe = flows.GANRecipe(divergence=DIVERGENCE)
gan = flows.train_gan(jax.random.key(2), data, recipe, num_steps=20 if FAST else 300)
samples = gan.sample(jax.random.key(3), COUNT)
print(f"KL of the generator {kl(samples):.2f}")
untrained = flows.train_gan(jax.random.key(2), data, recipe, num_steps=1)
before = untrained.sample(jax.random.key(3), COUNT)
show({"data": data[:COUNT], "generator before": before, "generator": samples})
assert kl(samples) < kl(before)

# %% [markdown]
# ## Where to go next
#
# Which of them is better at what, measured, and a ratio or a generator that learns
# within an evolution:
# [flows.md](https://github.com/diffevo-jax/diffevo_jax/blob/main/docs/flows.md).
