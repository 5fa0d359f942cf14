"""Control: a policy's weights are a solution, and the return of its episodes the fitness.

``Control`` is the problem; an environment of gymnax or brax is its name. ``MLP`` and
``Policy`` are what acts. The other files play many episodes at once, fast.
"""

from diffevo_jax.problems.control.environments import check_params as check_params
from diffevo_jax.problems.control.environments import environment as environment
from diffevo_jax.problems.control.environments import game as game
from diffevo_jax.problems.control.environments import normalise as normalise
from diffevo_jax.problems.control.episode import Episode as Episode
from diffevo_jax.problems.control.policies import MLP as MLP
from diffevo_jax.problems.control.policies import Policy as Policy
from diffevo_jax.problems.control.problem import Control as Control
