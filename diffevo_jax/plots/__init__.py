"""Pictures of populations, landscapes and learning; needs matplotlib.

``learning_curve`` draws any run; those of landscapes need two dimensions, and what a run
recorded: ``record=("population", "fitness", "clean_estimate")``. Each draws on axes of
yours, or on a new figure, and returns the figure; a film the animation. No pyplot, no
settings, no window.
"""
# isort: skip_file

# How it went.
from diffevo_jax.plots.curves import learning_curve as learning_curve  # fitness over time

# Where it went, in two dimensions.
from diffevo_jax.plots.landscapes import landscape as landscape  # the fitness of a problem
from diffevo_jax.plots.landscapes import population as population  # one generation on it
from diffevo_jax.plots.neighbourhoods import (
    trajectories as trajectories,  # some, and their pulls
)
from diffevo_jax.plots.films import film as film  # all generations, one after the other

# What it found, in any number of dimensions.
from diffevo_jax.plots.coordinates import (
    parallel_coordinates as parallel_coordinates,  # a line a solution
)

# What the best does.
from diffevo_jax.plots.episodes import (
    episode_film as episode_film,  # in any environment, as you draw it
)
from diffevo_jax.plots.episodes import episode as episode  # CartPole, frame by frame
