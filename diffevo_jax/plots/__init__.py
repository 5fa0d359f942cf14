"""Pictures of populations, landscapes and learning; needs matplotlib.

``learning_curve`` draws any run; the others need two dimensions, and what a run recorded:
``record=("population", "fitness", "clean_estimate")``. Each draws on axes of yours, or on a
new figure, and returns the figure.
"""
# isort: skip_file

# How it went.
from diffevo_jax.plots.figures import learning_curve as learning_curve  # fitness over time

# Where it went, in two dimensions.
from diffevo_jax.plots.figures import landscape as landscape  # the fitness of a problem
from diffevo_jax.plots.figures import population as population  # one generation on it
from diffevo_jax.plots.figures import trajectories as trajectories  # some, and their pulls
from diffevo_jax.plots.figures import film as film  # all generations, one after the other

# What it found, in any number of dimensions.
from diffevo_jax.plots.figures import (
    parallel_coordinates as parallel_coordinates,  # a line a solution
)

# What the best does.
from diffevo_jax.plots.figures import (
    episode_film as episode_film,  # in any environment, as you draw it
)
from diffevo_jax.plots.figures import episode as episode  # CartPole, frame by frame
