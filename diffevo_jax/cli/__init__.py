"""The ``diffevo`` command: evolve something from the shell, or sweep, and see how it went.

Its flags are written down nowhere: they are the fields of the strategy and the problem that
:mod:`diffevo_jax.published` has for a name. First the classes of their parts are chosen
(``--strategy monoflow``, ``--kernel tempered``); then there is a flag for each number of
just these (``--kernel.dimension 2``), with the help of their docstrings. A file of settings
has the same names, and both go straight into the fields.
"""
# isort: skip_file

from diffevo_jax.cli.command import main as main  # run a command line from Python
from diffevo_jax.cli.command import USAGE as USAGE  # what ``diffevo --help`` prints
from diffevo_jax.cli.errors import UsageError as UsageError  # what is wrong, in one line
