"""Evolution is reverse diffusion: a functional evolution-strategies toolkit in JAX.

A diffusion sampler asks again and again where the clean point of a noisy one is. In a
generative model a network answers; in evolution the evaluated population does, by Bayes'
rule. A strategy is a denoiser, a sampler and a grid of noise levels:

>>> import jax, diffevo_jax as de
>>> problem = de.problems.Landscape("himmelblau")
>>> strategy = de.DiffusionEvolution(
...     num_generations=25,
...     denoiser=de.denoisers.Population(shaping=de.shaping.Identity()),
...     sampler=de.samplers.DDIM(eta=0.5),
...     grid=de.noise.Cosine(),
... )
>>> result = de.evolve(jax.random.key(0), strategy, problem, population_size=256)
>>> result.population.shape
(256, 2)

Where the equations are:

* the population's answer: in :mod:`diffevo_jax.denoisers.population`, where its letters are
  parts, and in :func:`diffevo_jax.denoisers.posterior_mean`, which computes it;
* the step of a sampler: in the file that :mod:`diffevo_jax.samplers` imports it from, such
  as :mod:`diffevo_jax.samplers.ddim`;
* noise levels and conversions: :mod:`diffevo_jax.noise`;
* what every part promises: :mod:`diffevo_jax.base`.

Each room below is a catalogue: what these things are, how to choose, and each with a reason
to take it. ``docs/design_space.md`` opens with what to choose for which task.
"""
# isort: skip_file

# The parts, in the order in which the idea is told.
from diffevo_jax import pytree as pytree  # the containers: frozen dataclasses as pytrees
from diffevo_jax import metrics as metrics  # numbers that describe a population
from diffevo_jax import noise as noise  # at which noise levels: grids and processes
from diffevo_jax import attention as attention  # how the posterior mean is computed
from diffevo_jax import kernels as kernels  # who is a neighbour
from diffevo_jax import shaping as shaping  # how hard the better are preferred
from diffevo_jax.shaping import conditions as conditions  # what is wanted beside fitness
from diffevo_jax import denoisers as denoisers  # who answers
from diffevo_jax.denoisers import oracles as oracles  # exact answers, for known densities
from diffevo_jax import samplers as samplers  # how a step uses the answer
from diffevo_jax.samplers import sde as sde  # the same in a process's own coordinates
from diffevo_jax import diffusion as diffusion  # denoisers that are trained on data
from diffevo_jax import flows as flows  # density ratios, GANs, particles
from diffevo_jax import strategies as strategies  # what evolves
from diffevo_jax import problems as problems  # what is worth what
from diffevo_jax import sweeps as sweeps  # many settings, many seeds

# What evolves.
from diffevo_jax.strategies import DiffusionEvolution as DiffusionEvolution  # the default
from diffevo_jax.strategies import MonoFlow as MonoFlow  # along a density ratio's gradient
from diffevo_jax.strategies import Consensus as Consensus  # towards a weighted mean

# One run.
from diffevo_jax.running import evolve as evolve  # pure: jit it, vmap it
from diffevo_jax.running import run as run  # the host's loop: progress, early stop
from diffevo_jax.running import iterate as iterate  # the same, with your code in between
from diffevo_jax.running import Result as Result  # what they return
from diffevo_jax.running import footprint as footprint  # the memory it takes, beforehand
from diffevo_jax.running import Footprint as Footprint  # and whether that fits
from diffevo_jax.running import stops as stops  # what ends a run early: ``run(stop=)``
from diffevo_jax.running import loggers as loggers  # what happens while it runs, on disk
from diffevo_jax.running import final_evaluation as final_evaluation  # an honest best
from diffevo_jax.running import solutions as solutions  # the different good ones, a table
from diffevo_jax.running import Solutions as Solutions  # that table
from diffevo_jax.running import diagnose as diagnose  # what is wrong with it, in sentences
from diffevo_jax.running import published as published  # settings of published experiments

# Results in files.
from diffevo_jax.running import save as save  # one npz file, with all that was recorded
from diffevo_jax.running import load as load  # the result again
from diffevo_jax.running import Saved as Saved  # and what is said of it
from diffevo_jax import report as report  # a page of several, for a browser

# One run by hand.
from diffevo_jax.running import init as init  # from a population
from diffevo_jax.running import ask as ask  # what to evaluate
from diffevo_jax.running import tell as tell  # how fit it was
from diffevo_jax.running import Batch as Batch  # results that come late, in any order
from diffevo_jax.running import setup_keys as setup_keys  # as in evolve
from diffevo_jax.running import generation_keys as generation_keys  # of one generation

# Many runs, many devices.
from diffevo_jax.sweeps import sweep as sweep  # settings times seeds, one labelled table
from diffevo_jax.running import spread as spread  # a vmap that uses all devices
from diffevo_jax.running import evolve_on as evolve_on  # one population on several devices
from diffevo_jax.running import make_mesh as make_mesh  # those devices

# Draw from a denoiser.
from diffevo_jax.samplers import sample as sample  # the samples
from diffevo_jax.samplers import sample_path as sample_path  # and all of the way to them
from diffevo_jax.samplers import SamplePath as SamplePath  # what that returns

# The contracts, and what passes between the parts.
from diffevo_jax.base import Denoiser as Denoiser  # who answers
from diffevo_jax.base import Evaluated as Evaluated  # what it learns from
from diffevo_jax.base import Estimate as Estimate  # what it answers
from diffevo_jax.base import Sampler as Sampler  # how a step uses the answer
from diffevo_jax.base import Grid as Grid  # at which noise levels
from diffevo_jax.base import Kernel as Kernel  # who is a neighbour
from diffevo_jax.base import Shaping as Shaping  # from fitness to log-weight
from diffevo_jax.base import Problem as Problem  # what is worth what
from diffevo_jax.base import Evaluation as Evaluation  # what it says of a population
from diffevo_jax.base import Strategy as Strategy  # what evolves
from diffevo_jax.base import Info as Info  # what a generation is like

# Components, compared and changed; programs, compiled faster or once.
from diffevo_jax.pytree import equal as equal  # ``==`` of arrays would raise
from diffevo_jax.pytree import replace as replace  # any number or part, by its name
from diffevo_jax.compilation import compiler_options as compiler_options  # sooner ready
from diffevo_jax.compilation import make_room as make_room  # among very many structures
from diffevo_jax.compilation import use_cache as use_cache  # once, for all processes
from diffevo_jax.pytree.records import version_of as _version_of

#: "0+unknown" from a source tree that is not installed.
__version__ = _version_of("diffevo-jax")
