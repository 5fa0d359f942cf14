"""Control: a policy's weights are a solution, and the return of its episodes the fitness.

:class:`Control` is the problem; its first argument is the name of an environment. Take
:class:`MLP` as its policy, or a :class:`FunctionPolicy` for anything else. The other names
are for what comes after an evolution: changed rules, and steps by hand.
"""
# isort: skip_file

# The problem.
from diffevo_jax.problems.control.problem import Control as Control  # of gymnax or brax
from diffevo_jax.problems.control.episode import Episode as Episode  # its measures

# Who acts.
from diffevo_jax.problems.control.policies import MLP as MLP  # a small network
from diffevo_jax.problems.control.policies import (
    FunctionPolicy as FunctionPolicy,  # two functions of your own; may have a memory
)

# What policies act in.
from diffevo_jax.problems.control.environments import (
    environment as environment,  # the object and its default parameters, to change them
)
from diffevo_jax.problems.control.spaces import (
    normalise as normalise,  # observations as a policy sees them by default
)
