# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
# ---

# %% [markdown]
# # Learned diffusion, from curves to digits
#
# [![Open in Colab][badge]][colab]
#
# In this half of `diffevo_jax` the denoiser is a neural network. One network is trained
# on curves: it draws new ones, and fills in a curve with a gap. Another one draws
# handwritten digits by their labels. A third learns the answers of an evaluated
# population. All of it takes about two minutes on a laptop.
#
# [badge]: https://colab.research.google.com/assets/colab-badge.svg
# [colab]: https://colab.research.google.com/github/diffevo-jax/diffevo_jax/blob/main/notebooks/06_learned_diffusion.ipynb

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
from sklearn.datasets import load_digits
from sklearn.svm import SVC

import diffevo_jax as de
from diffevo_jax import diffusion, plots

ORANGE, BLUE, INK = "#D55E00", "#0072B2", "#222222"
grid, sampler = de.noise.EDM(sigma_min=0.01, sigma_max=30.0), de.samplers.Heun()
PARAMETERISATION = diffusion.EDM()


def panels(count):
    """A figure with panels in a row."""
    return plt.subplots(1, count, figsize=(11, 1.9), sharey=True)[1]


# %% [markdown]
# ## From structure to noise
#
# The data are curves of 50 numbers, sums of three sinusoids of random frequency. Noise is
# added in 100 steps, $x_t = \sqrt{1 - \beta_t}\, x_{t-1} + \sqrt{\beta_t}\, \epsilon$,
# until a curve can no longer be seen.

# %%
curves = diffusion.sinusoids(jax.random.key(0), 5000)
betas = jnp.linspace(1e-3, 0.2, 100)
forward = de.noise.forward_chain(jax.random.key(1), curves[:2000], betas)

for ax, step in zip(panels(5), (0, 5, 15, 40, 100), strict=True):
    ax.plot(forward[step, 0], color=ORANGE)
    ax.set(title=f"step {step}", ylim=(-3.5, 3.5))
assert abs(float(forward[-1].std()) - 1) < 0.02

# %% [markdown]
# ## A network that sees through noise
#
# A noisy curve is $y = x_0 + \sigma\epsilon$. The network learns the mean of all clean
# curves that could be behind it, $\mathrm{E}[x_0 \mid y]$, at every noise level $\sigma$.
# What its last layer predicts is another choice, the parameterisation (`diffusion.Noise`,
# `Velocity`, `Flow`, `Score`, `Clean`), of which the sampler sees nothing. That of EDM is
# the default: its input and its target have unit variance at every noise level.
#
# The printed loss is relative to that of a network that always answers 0. In the pictures
# the dotted curve is the clean one, the orange one is noisy, and the blue one is the
# network's answer.

# %%
trained = diffusion.train(
    jax.random.key(2),
    curves,
    diffusion.MLP((256, 256)),
    diffusion.Recipe(PARAMETERISATION, num_steps=400 if FAST else 2500, learning_rate=1e-3),
)
relative = np.asarray(trained.losses / trained.baselines)
print(f"loss, relative to that of the answer 0: {relative[-50:].mean():.2f}")

for ax, sigma in zip(panels(4), (0.1, 0.5, 1.0, 3.0), strict=True):
    y = curves[:1] + sigma * jax.random.normal(jax.random.key(3), (1, 50))
    ax.plot(curves[0], color=INK, lw=1, ls=":")
    ax.plot(y[0], color=ORANGE, lw=0.6, alpha=0.6)
    ax.plot(trained.denoise(y, sigma)[0], color=BLUE)
    ax.set(title=f"σ = {sigma:g}", ylim=(-4, 4))
assert relative[-50:].mean() < relative[:50].mean()
assert relative[-50:].mean() < 1, "better than the answer 0"

# %% [markdown]
# ## From noise to structure
#
# The samplers of Diffusion Evolution also draw from a network. `de.sample_path` keeps the
# noisy point and the network's answer at every noise level. Here they are along one path,
# orange and blue. The roughness of a curve is the deviation of its second differences.
#
# With another parameterisation expect rougher samples after as many steps: if a network
# predicts the noise, its errors are multiplied by $\sigma$.


# %%
@jax.jit
def draw(key):
    return de.sample_path(key, trained.denoise, grid, sampler, (500, 50), num_levels=25)


path = draw(jax.random.key(4))
last = len(path.sigmas) - 1
for ax, i in zip(panels(6), np.linspace(last // 3, last, 6).astype(int), strict=True):
    scale = np.sqrt(1 + path.sigmas[i] ** 2)
    ax.plot(path.points[i, 0] / scale, color=ORANGE, lw=0.8)
    ax.plot(path.clean[i, 0], color=BLUE)
    ax.set(title=f"σ = {path.sigmas[i]:.2g}", ylim=(-3.5, 3.5))
roughness = [float(jnp.diff(some, 2).std()) for some in (curves, path.samples, forward[-1])]
print("roughness of curves, of samples, of noise:", np.round(roughness, 2))
assert roughness[1] < jnp.diff(path.points[0], 2).std(), "smoother than where they began"

# %% [markdown]
# ## A curve with a gap
#
# Of a new curve all but the numbers 15 to 34 are known, with a small error. By Bayes'
# rule the gradient of their log-likelihood is added to the score, so that the same
# network draws curves that agree with them (`linear_posterior` approximates this
# gradient). Ten draws are near the known numbers, and differ in the gap.

# %%
truth = diffusion.sinusoids(jax.random.key(5), 1)[0]
known = np.ones(50, bool)
known[15:35] = False
seen = diffusion.known_part(known, truth, 0.05)
conditioned = diffusion.linear_posterior(trained.denoise, seen)
noisy = de.samplers.DDIM(eta=1.0)
filled = np.asarray(
    jax.jit(lambda key: de.sample(key, conditioned, grid, noisy, (10, 50), num_levels=100))(
        jax.random.key(6)
    )
)

figure, ax = plt.subplots(figsize=(9, 2.4))
ax.plot(filled.T, color=BLUE, lw=0.8, alpha=0.6)
ax.plot(np.where(known, truth, np.nan), color=INK, lw=3, label="known")
ax.plot(truth, color=ORANGE, ls="--", label="the curve")
ax.legend()
gap = np.abs(filled[:, known] - truth[known]).mean()
print(f"what is known is kept within {gap:.3f}")
assert gap < 0.15

# %% [markdown]
# ## Digits
#
# The data are handwritten digits of 8 x 8 pixels, with their labels. A tenth of the
# labels is hidden in training, so that the network has an answer $D$ without a label, and
# an answer $D_{\mathrm{label}}$ with one. Guidance goes beyond the second, away from the
# first:
#
# $$D + w\,(D_{\mathrm{label}} - D), \qquad w = 1 + \mathrm{guidance}.$$
#
# Each row is one label, and each column another sample. A classifier that was trained on
# the real digits names the samples.

# %%
images, labels = load_digits(return_X_y=True)
images = ((images - images.mean()) / images.std()).astype(np.float32)
named = SVC(C=10.0).fit(images, labels).predict

GUIDANCE = 1.0
STEPS, EACH = (300, 4) if FAST else (2000, 12)
digits = diffusion.train(
    jax.random.key(7),
    images,
    diffusion.MLP((256, 256), num_classes=10),
    diffusion.Recipe(PARAMETERISATION, num_steps=STEPS, learning_rate=1e-3),
    labels=labels,
)
asked = np.repeat(np.arange(10), EACH)


@jax.jit
def draw_digits(key):
    denoise = lambda y, sigma: digits.denoise(y, sigma, asked, GUIDANCE)
    return de.sample(key, denoise, grid, sampler, (len(asked), 64), num_levels=18)


drawn = np.asarray(draw_digits(jax.random.key(8)))
figure, ax = plt.subplots(figsize=(5.5, 4.8))
lightest, darkest = float(images.min()), float(images.max())
shown = np.clip(-drawn, -darkest, -lightest).reshape(-1, 8, 8)
plots.image_grid(shown, columns=EACH, value_range=(-darkest, -lightest), ax=ax)
right = float((named(drawn) == asked).mean())
print(f"named as asked: {100 * right:.0f} %")
assert right > 0.3, "far more than the tenth that chance names"

# %% [markdown]
# ## The answers of a population
#
# An evaluated population also estimates the clean point behind a noisy one, by Bayes'
# rule and without training: the fitter and the nearer have more weight. A network that is
# trained to denoise this population, each individual as often as its fitness says, learns
# nearly the same answers. The larger a dot, the fitter the individual. Arrows lead from
# noisy points to the answers: black ones of the population, blue ones of the network.

# %%
problem = de.problems.Landscape("himmelblau")
population = jax.random.normal(jax.random.key(9), (512, 2))
fitness = jax.vmap(problem.density)(problem.space.decode(population))
log_weight = de.shaping.log_weight(de.shaping.Standardized(1.0), fitness)

share = jax.nn.softmax(log_weight)
mean = (share @ population).mean()
deviation = jnp.sqrt((share @ (population - mean) ** 2).mean())
learner = diffusion.train(
    jax.random.key(10),
    population,
    diffusion.MLP((64, 64)),
    diffusion.Recipe(diffusion.EDM(float(deviation)), num_steps=500 if FAST else 3000),
    sample_weight=share,
)
sigma = 0.7
y = 1.5 * jax.random.normal(jax.random.key(11), (400, 2))
told = de.denoisers.posterior_mean(y, population, population, log_weight, sigma**-2).clean
learned = learner.denoise(y, sigma)
error = float(jnp.sqrt(jnp.mean((told - learned) ** 2)) / told.std())
print(f"they differ by {100 * error:.1f} % of the answers' spread")

figure, ax = plt.subplots(figsize=(5, 5))
ax.scatter(*population.T, s=4 + 60 * share / share.max(), color=ORANGE, alpha=0.6, lw=0)
for answers, color, width in ((told, INK, 0.007), (learned, BLUE, 0.003)):
    arrows = np.asarray(answers - y)[:40].T
    quiver = {"angles": "xy", "scale_units": "xy", "scale": 1, "width": width}
    ax.quiver(*y[:40].T, *arrows, color=color, **quiver)
ax.set(aspect="equal", xticks=[], yticks=[])
ax.spines[:].set_visible(False)
assert error < 1, "nearer than the mean of all answers"

# %% [markdown]
# ## Where to go next
#
# Likelihoods, guidance, U-Nets, and trainings that go on after a stop:
# [diffusion.md](https://github.com/diffevo-jax/diffevo_jax/blob/main/docs/diffusion.md).
