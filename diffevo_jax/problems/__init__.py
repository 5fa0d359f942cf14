"""Problems: where solutions live, and what they are worth."""

from diffevo_jax.problems import landscapes as landscapes
from diffevo_jax.problems.control import MLP as MLP
from diffevo_jax.problems.control import Control as Control
from diffevo_jax.problems.control import Episode as Episode
from diffevo_jax.problems.control import Policy as Policy
from diffevo_jax.problems.function import Function as Function
from diffevo_jax.problems.landscapes import Landscape as Landscape
from diffevo_jax.problems.space import Space as Space
