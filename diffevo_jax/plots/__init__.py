"""Pictures of populations, landscapes, learning and episodes; needs matplotlib.

Take ``learning_curve`` first, of one run or to compare several. Pictures of landscapes need
two dimensions, and what a run recorded: ``record=("population", "fitness",
"clean_estimate")``. Each draws on axes of yours, or on a new figure, and returns the
figure; a film returns the animation, and is written if it gets a path. No pyplot, no
settings, no window. A page with all of them is ``docs/plots.md``.
"""
# isort: skip_file

# How it went.
from diffevo_jax.plots.curves import learning_curve as learning_curve  # and who is better
from diffevo_jax.plots.health import diagnostics as diagnostics  # and what is wrong
from diffevo_jax.plots.sweep_maps import heat_map as heat_map  # a sweep over two axes

# Where it went, in two dimensions.
from diffevo_jax.plots.landscapes import landscape as landscape  # the fitness of a problem
from diffevo_jax.plots.landscapes import population as population  # one generation on it
from diffevo_jax.plots.paths import trajectories as trajectories  # some, and their pulls
from diffevo_jax.plots.films import film as film  # all generations, one after the other
from diffevo_jax.plots.neighbourhoods import (
    neighbourhood_film as neighbourhood_film,  # whom some of them hear, until nobody
)

# What it found, in any number of dimensions.
from diffevo_jax.plots.coordinates import (
    parallel_coordinates as parallel_coordinates,  # a line a solution
)
from diffevo_jax.plots.images import image_grid as image_grid  # if solutions are images

# What the best does.
from diffevo_jax.plots.episodes import (
    episode_film as episode_film,  # in any environment; the best beside a poor one
)
from diffevo_jax.plots.episodes import episode as episode  # CartPole, frame by frame
