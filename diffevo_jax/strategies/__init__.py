"""Evolution strategies, one algorithm a file."""

from diffevo_jax.strategies.diffusion_evolution import (
    DiffusionEvolution as DiffusionEvolution,
)
from diffevo_jax.strategies.diffusion_evolution import (
    DiffusionEvolutionState as DiffusionEvolutionState,
)
from diffevo_jax.strategies.monoflow import MonoFlow as MonoFlow
from diffevo_jax.strategies.monoflow import MonoFlowState as MonoFlowState
from diffevo_jax.strategies.restart import renoise as renoise
