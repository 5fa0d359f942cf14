"""The words after ``diffevo``: which command it is, and how it ends."""

import sys
from collections.abc import Sequence

from diffevo_jax.cli import evolve_command, experiments, sweep_command
from diffevo_jax.cli.errors import UsageError
from diffevo_jax.pytree.records import version_of

USAGE = """\
usage: diffevo evolve NAME [flags]    evolve, and show how it went
       diffevo sweep NAME [flags]     many settings and seeds; one labelled table
       diffevo sweep FILE.toml [flags]
       diffevo evolve NAME --help     the flags of NAME; diffevo sweep NAME --help
       diffevo list                   the names
       diffevo --help | --version

NAME is a gymnax environment, such as cartpole, or a landscape, such as himmelblau.
Capitals, dashes and the version may be left out. Without flags it runs as published.
A flag is a field's path, or any ending of it that is unambiguous.

  diffevo evolve cartpole --seeds 8 --kernel tempered --kernel.dimension 3 --json out.json
  diffevo evolve himmelblau --strategy monoflow --rate 3 --plot curve.png
  diffevo sweep cartpole --seeds 8 --axis "sampler.eta=linspace(0,1,5)" --out out.nc
"""
_COMMANDS = {"evolve": evolve_command.evolve, "sweep": sweep_command.sweep}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: its arguments; None takes those of the process.

    Returns:
        Exit code: 0, or 2 if the arguments are wrong, or 130 if interrupted.

    Example:
        >>> from diffevo_jax import cli
        >>> cli.main(["--version"])
        diffevo 0...
        0
    """
    try:
        return _command(list(sys.argv[1:] if argv is None else argv))
    except BrokenPipeError:  # the reader has seen enough, as in: diffevo list | head
        return 141
    except (UsageError, OSError) as error:
        sys.stderr.write(f"diffevo: error: {' '.join(str(error).split())}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("diffevo: interrupted before the first result\n")
        return 130


def _command(argv: list[str]) -> int:
    is_help = argv[-1:] in (["-h"], ["--help"])
    if is_help and argv[:-1] in ([], ["evolve"], ["sweep"], ["list"]):
        sys.stdout.write(USAGE)
    elif argv == ["--version"]:
        sys.stdout.write(f"diffevo {version_of('diffevo-jax')}\n")
    elif argv == ["list"]:
        sys.stdout.write("\n".join(experiments.known_names()) + "\n")
    elif argv and argv[0] in _COMMANDS:
        return _COMMANDS[argv[0]](argv[1:])
    else:
        got = " ".join(argv)
        want = "want 'evolve NAME', 'sweep NAME', 'list' or '--help'"
        raise UsageError(f"got {got!r}, {want}")
    return 0
