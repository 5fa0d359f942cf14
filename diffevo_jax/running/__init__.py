"""Running: one evolution, from ``ask`` and ``tell`` to a population on many devices.

Take ``evolve``: one compiled program and pure, so that ``jax.vmap`` makes many runs of it.
``run`` and ``iterate`` give the same in chunks, with progress and a chance to stop. For
many runs on several devices there is ``spread``, for one large population ``evolve_on``,
and for a loop of your own ``init``, ``ask`` and ``tell``. For many settings see
:mod:`diffevo_jax.sweeps`.
"""
# isort: skip_file

# A whole run.
from diffevo_jax.running.evolution import evolve as evolve  # one program; the first choice
from diffevo_jax.running.host_loop import run as run  # a bar, and an early stop
from diffevo_jax.running.host_loop import iterate as iterate  # the result so far, in a loop
from diffevo_jax.running.evolution import Result as Result  # what they all return

# Before it.
from diffevo_jax.running.forecast import footprint as footprint  # the memory that it takes
from diffevo_jax.running.forecast import Footprint as Footprint  # whether that fits

# What ends it early.
from diffevo_jax.running import stops as stops  # a target, a budget, no progress, failures

# While it runs.
from diffevo_jax.running import loggers as loggers  # lines, curves, populations, on disk

# What was wrong with it.
from diffevo_jax.running.diagnosis import diagnose as diagnose  # in sentences

# The end of a run under noise.
from diffevo_jax.running.final import (
    final_evaluation as final_evaluation,  # choose and judge anew
)
from diffevo_jax.running.final import FinalEvaluation as FinalEvaluation  # what that says

# What it found.
from diffevo_jax.running.distinct import solutions as solutions  # different ones, a table
from diffevo_jax.running.distinct import Solutions as Solutions  # that table: CSV, pandas

# A loop of your own.
from diffevo_jax.running.ask_tell import init as init  # from a population
from diffevo_jax.running.ask_tell import ask as ask  # what to evaluate
from diffevo_jax.running.ask_tell import tell as tell  # how fit it was
from diffevo_jax.running.batch import Batch as Batch  # results that come in any order
from diffevo_jax.running.ask_tell import setup_keys as setup_keys  # the keys of evolve,
from diffevo_jax.running.ask_tell import (
    generation_keys as generation_keys,  # so that such a loop has the same draws
)

# Several devices.
from diffevo_jax.running.device_mesh import spread as spread  # independent runs over them
from diffevo_jax.running.divided_population import (
    evolve_on as evolve_on,  # one large population over them
)
from diffevo_jax.running.device_mesh import make_mesh as make_mesh  # which, for evolve_on

# Settings that others have published results for.
from diffevo_jax.running import published as published
