"""Loggers: what each generation was like, kept while it runs.

A logger is a function ``(generation, info, result) -> None``, called once for every
generation, in order. ``generation`` counts from 1, as in the table of the command; ``info``
is its :class:`diffevo_jax.Info`; ``result`` is the result so far, at the end of the chunk
that it was in. A function of your own needs nothing else:

>>> import jax, diffevo_jax as de
>>> problem = de.problems.Landscape("beale")
>>> means = []
>>> result = de.run(
...     jax.random.key(0), de.DiffusionEvolution(3), problem, population_size=8,
...     loggers=(lambda generation, info, result: means.append(info.mean_fitness),))
>>> len(means)
3

Take :func:`jsonl` first: a line a generation, which everything reads. :func:`tensorboard`
and :func:`wandb` are for those who look at many runs there; both need the extra ``log``.
:func:`populations` keeps whole populations, to rewind and to plot. ``docs/logs.md`` shows
all of them.

The numbers are those of ``Info``, by their names, and ``evaluations``, so far and of each
run, and ``seconds``, the wall time of the run so far. Under noise there is no
``best_fitness``: it would be the luckiest of a generation. A run that goes on after it was
killed logs the generations since its last checkpoint again; each log says how it sees to it
that none is there twice.
"""
# isort: skip_file

# Loggers.
from diffevo_jax.running.loggers.json_lines import jsonl as jsonl  # a line a generation
from diffevo_jax.running.loggers.event_files import (
    tensorboard as tensorboard,  # curves, a folder a run
)
from diffevo_jax.running.loggers.weights_and_biases import (
    wandb as wandb,  # curves on disk or online, mean and spread of many runs
)
from diffevo_jax.running.loggers.kept_populations import (
    populations as populations,  # whole ones, every so many generations
)

# Read again.
from diffevo_jax.running.loggers.kept_populations import (
    read_populations as read_populations,  # to rewind and to plot
)
from diffevo_jax.running.loggers.kept_populations import (
    Populations as Populations,  # what that returns
)

# In a loop of your own, and of your own.
from diffevo_jax.running.loggers.following import logged as logged  # around ``iterate``
from diffevo_jax.running.loggers.following import Logger as Logger  # the contract
from diffevo_jax.running.loggers.following import Start as Start  # what a run is like
from diffevo_jax.running.loggers.following import Follows as Follows  # begins and ends
