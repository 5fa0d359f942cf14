"""External: evaluators outside of JAX, in NumPy, other programs, processes and clusters.

:class:`External` is the problem; its function gets all solutions of a generation. Where a
function takes one solution, is slow, or fails now and then, :func:`each` makes one of it
that does not: in processes of its own, or by an executor. ``docs/own_evaluator.md`` has
recipes.
"""
# isort: skip_file

# The problem.
from diffevo_jax.problems.external.problem import External as External  # a host's function
from diffevo_jax.problems.external.problem import Counts as Counts  # its state
from diffevo_jax.problems.external.memory import Memory as Memory  # what is known already

# Its function.
from diffevo_jax.problems.external.workers import each as each  # of a function of one
from diffevo_jax.problems.external.workers import Each as Each  # what that returns
from diffevo_jax.problems.external.workers import Reports as Reports  # one by one

# Evaluations that outlive the process.
from diffevo_jax.problems.external.journal import journaled as journaled  # of a problem
from diffevo_jax.problems.external.journal import Journal as Journal  # files in a folder
