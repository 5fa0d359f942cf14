"""The words after ``diffevo``: which command it is, and how it ends."""

import sys
from collections.abc import Sequence

import jax

from diffevo_jax.cli import (
    evolve_command,
    experiments,
    interrupts,
    report_command,
    streams,
    sweep_command,
)
from diffevo_jax.cli.errors import UsageError
from diffevo_jax.pytree.records import version_of
from diffevo_jax.running import memory

USAGE = """\
usage: diffevo evolve NAME [flags]    evolve, and show how it went
       diffevo sweep NAME [flags]     many settings and seeds; one labelled table
       diffevo sweep FILE.toml [flags]
       diffevo evolve NAME --help     the flags of NAME; diffevo sweep NAME --help
       diffevo report RESULT... [-o report.html]   one page of what these left
       diffevo list                   the names
       diffevo --help | --version

NAME is a gymnax environment, such as cartpole, or a landscape, such as himmelblau; or
module:attribute, a problem of your own.
Capitals, dashes and the version may be left out. Without flags it runs as published.
Or NAME is module:Class, an environment of your own, from a module in the current folder.
A flag is a field's path, or any ending of it that is unambiguous. Files are saved before
anything is shown. The command ends with 0; with 1 if results could not be written, or there
was no memory for them; with 2 if the words, a file of settings or a folder are wrong; with
130 after Ctrl-C; with 143 after SIGTERM or SIGHUP; with 141 if nobody reads what it says.
With --folder DIR the same words go on where a run or a sweep was ended, however it was.

  diffevo evolve cartpole --seeds 8 --kernel tempered --kernel.dimension 3 --json out.json
  diffevo evolve himmelblau --strategy monoflow --rate 3 --plot curve.png
  diffevo sweep cartpole --seeds 8 --axis "sampler.eta=linspace(0,1,5)" --out out.nc
  diffevo report out.json out.nc -o report.html
"""
_COMMANDS = {
    "evolve": evolve_command.evolve,
    "sweep": sweep_command.sweep,
    "report": report_command.report,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: its arguments; None takes those of the process.

    Returns:
        Exit code: 0; 1 if there are results that could not be written, to a file or to the
        output, or none, as the disk or the memory was full; 2 if the arguments, a file of
        settings or a folder are wrong; 130 if it was interrupted, 143 by SIGTERM or SIGHUP;
        141 if the reader of the output has gone. Files are saved before anything is shown.

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
    except UsageError as error:
        streams.complain(f"error: {error}")
        return 2
    except KeyboardInterrupt:
        streams.complain("interrupted before the first result")
        return interrupts.code()
    except (OSError, MemoryError, jax.errors.JaxRuntimeError) as error:
        if not (isinstance(error, OSError) or memory.is_full(error)):
            raise
        streams.complain(f"error: {str(error) or 'the memory is full'}")
        return 1


def _command(argv: list[str]) -> int:
    is_help = argv[-1:] in (["-h"], ["--help"])
    if is_help and argv[:-1] in ([], ["evolve"], ["sweep"], ["list"]):
        streams.say(USAGE)
    elif argv == ["--version"]:
        streams.say(f"diffevo {version_of('diffevo-jax')}\n")
    elif argv == ["list"]:
        streams.say("\n".join(experiments.known_names()) + "\n")
    elif argv and argv[0] in _COMMANDS:
        return _COMMANDS[argv[0]](argv[1:])
    else:
        got = " ".join(argv)
        want = "want 'evolve NAME', 'sweep NAME', 'report RESULT', 'list' or '--help'"
        raise UsageError(f"got {got!r}, {want}")
    return 0
