"""Pictures of populations, landscapes and learning; needs matplotlib."""

from diffevo_jax.plots.figures import episode as episode
from diffevo_jax.plots.figures import film as film
from diffevo_jax.plots.figures import landscape as landscape
from diffevo_jax.plots.figures import learning_curve as learning_curve
from diffevo_jax.plots.figures import population as population
from diffevo_jax.plots.figures import trajectories as trajectories
