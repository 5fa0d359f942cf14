"""Control: a policy's weights are a solution, and the return of its episodes the fitness.

:class:`Control` is the problem; its first argument is the name of an environment, or its
``env`` is an object of your own. Take :class:`MLP` as its policy, in a
:class:`LowRankPolicy` if it is large, an :class:`ActionSequence` to plan, or a
:class:`FunctionPolicy` for anything else. The other names are for what comes after an
evolution: changed rules, and steps by hand.
"""
# isort: skip_file

# The problem.
from diffevo_jax.problems.control.problem import Control as Control  # of gymnax or brax
from diffevo_jax.problems.control.episode import Episode as Episode  # its measures
from diffevo_jax.problems.control.episode import (
    Trajectory as Trajectory,  # a whole episode: play(..., record=True)
)

# Who acts.
from diffevo_jax.problems.control.policies import MLP as MLP  # a small network
from diffevo_jax.problems.control.policies import (
    ActionSequence as ActionSequence,  # a plan, which looks at nothing
)
from diffevo_jax.problems.control.policies import (
    FunctionPolicy as FunctionPolicy,  # two functions of your own; may have a memory
)
from diffevo_jax.problems.control.low_rank import (
    LowRankPolicy as LowRankPolicy,  # a million weights, of which few numbers evolve
)

# A policy that leaves the library.
from diffevo_jax.problems.control.low_rank import (
    dense_weights as dense_weights,  # all weights of one individual, as arrays
)
from diffevo_jax.problems.control.saved_controllers import (
    SavedController as SavedController,  # from a file, with its weights and what is known
)
from diffevo_jax.problems.control.saved_controllers import (
    load_controller as load_controller,  # to act by it
)
from diffevo_jax.problems.control.saved_controllers import (
    save_controller as save_controller,  # one file; JAX alone can run it
)

# What policies act in.
from diffevo_jax.problems.control.environments import (
    environment as environment,  # the object and its default parameters, to change them
)
from diffevo_jax.problems.control.spaces import (
    normalise as normalise,  # observations as a policy sees them by default
)
