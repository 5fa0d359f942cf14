"""The names of this room, as they were when one file had them all."""

from diffevo_jax.plots.canvas import BLUE as BLUE
from diffevo_jax.plots.canvas import GREEN as GREEN
from diffevo_jax.plots.canvas import INK as INK
from diffevo_jax.plots.canvas import ORANGE as ORANGE
from diffevo_jax.plots.coordinates import parallel_coordinates as parallel_coordinates
from diffevo_jax.plots.curves import learning_curve as learning_curve
from diffevo_jax.plots.episodes import episode as episode
from diffevo_jax.plots.episodes import episode_film as episode_film
from diffevo_jax.plots.films import film as film
from diffevo_jax.plots.landscapes import landscape as landscape
from diffevo_jax.plots.landscapes import population as population
from diffevo_jax.plots.paths import trajectories as trajectories
