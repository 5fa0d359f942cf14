"""Running: one evolution, from ``ask`` and ``tell`` to a population on many devices.

``evolve`` is one compiled program and pure; ``run`` and ``iterate`` are the host's loop,
with progress and a chance to stop; ``evolve_on`` divides a population over devices, and
``spread`` independent runs. ``published`` has the settings of published experiments.
"""

from diffevo_jax.running import published as published
from diffevo_jax.running.ask_tell import ask as ask
from diffevo_jax.running.ask_tell import generation_keys as generation_keys
from diffevo_jax.running.ask_tell import init as init
from diffevo_jax.running.ask_tell import setup_keys as setup_keys
from diffevo_jax.running.ask_tell import tell as tell
from diffevo_jax.running.device_mesh import make_mesh as make_mesh
from diffevo_jax.running.device_mesh import spread as spread
from diffevo_jax.running.divided_population import evolve_on as evolve_on
from diffevo_jax.running.evolution import Result as Result
from diffevo_jax.running.evolution import evolve as evolve
from diffevo_jax.running.host_loop import iterate as iterate
from diffevo_jax.running.host_loop import run as run
