"""Strategies: what evolves, one algorithm a file, on one shell.

Take ``DiffusionEvolution``, and change its denoiser, sampler or grid, before another
strategy. ``MonoFlow`` moves along the gradient of a density ratio instead of by the answer
of a denoiser: for samples of g, and not its peaks alone. ``Consensus`` is the relatives of
the first: consensus-based optimisation, plain and polarised, and model-based diffusion. A
strategy of your own fills in the five methods of
:class:`diffevo_jax.strategies.shell.Moves`.
"""
# isort: skip_file

# What evolves, and what it carries from generation to generation.
from diffevo_jax.strategies.diffusion_evolution import (
    DiffusionEvolution as DiffusionEvolution,  # a denoiser, a sampler and a grid
)
from diffevo_jax.strategies.diffusion_evolution import (
    DiffusionEvolutionState as DiffusionEvolutionState,  # population, memory, denoiser
)
from diffevo_jax.strategies.monoflow import MonoFlow as MonoFlow  # climbs a density ratio
from diffevo_jax.strategies.monoflow import (
    MonoFlowState as MonoFlowState,  # population, denoiser, ratio
)
from diffevo_jax.strategies.consensus import Consensus as Consensus  # to their mean
from diffevo_jax.strategies.consensus import (
    ConsensusState as ConsensusState,  # population, denoiser
)

# The equation of a step, where it is no sampler's.
from diffevo_jax.strategies.consensus import consensus_step as consensus_step  # and noise

# After a run.
from diffevo_jax.strategies.restart import renoise as renoise  # go on from a noisier level
