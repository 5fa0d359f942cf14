"""The words after ``diffevo``: which command it is, and how it ends."""

import sys
from collections.abc import Callable, Sequence

import jax

from diffevo_jax.cli import interrupts, streams
from diffevo_jax.cli.errors import UsageError, hint_at
from diffevo_jax.cli.evolve_command import EvolveOptions, evolve
from diffevo_jax.cli.report_command import FLAGS, report
from diffevo_jax.cli.show_command import show
from diffevo_jax.cli.sweep_command import SweepOptions, sweep
from diffevo_jax.pytree.records import version_of
from diffevo_jax.running import memory

USAGE = """\
usage: diffevo evolve NAME [flags]     evolve, and show how it went
       diffevo sweep NAME [flags]      many settings and seeds in one table
       diffevo show NAME [flags]       what would run, in words and numbers
       diffevo report RESULT...        a page of what these left, for a browser
       diffevo list [names|parts]      names of problems, strategies and parts
       diffevo completion SHELL        a script for bash, zsh or fish
       diffevo evolve NAME --help      its flags; --help-all explains each
       diffevo --version

NAME is a gymnax environment, such as cartpole; a landscape, such as himmelblau;
or module:attribute, a problem or an environment of your own, from a module in
the current folder. Capitals, dashes and the version may be left out. Without
flags it runs as published. FILE.toml in the place of NAME has the name and the
flags in it: --print-config prints one.

A flag is a field's path, or any ending of it that is unambiguous. Files are
saved before anything is shown. With --folder DIR the same words go on where a
run or a sweep was ended, however it was.

exit codes: 0; 1 if results could not be written, or there was no memory for
them; 2 if the words, a file or a folder are wrong; 130 after Ctrl-C; 143 after
SIGTERM or SIGHUP; 141 if nobody reads what is said.

examples:
  diffevo evolve cartpole --seeds 8 --plot curve.png --film best.gif
  diffevo evolve himmelblau --strategy monoflow --rate 3 --json out.json
  diffevo sweep cartpole --seeds 4 --axis "sampler.eta=linspace(0,1,5)"
  diffevo report out.npz out.json -o report.html
  diffevo show cartpole --kernel tempered --kernel.dimension 3
"""


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
        streams.complain("interrupted before there was a result")
        return interrupts.code()
    except (OSError, MemoryError, jax.errors.JaxRuntimeError) as error:
        if not (isinstance(error, OSError) or memory.is_full(error)):
            raise
        streams.complain(f"error: {str(error) or 'the memory is full'}")
        return 1


def _list(args: Sequence[str]) -> int:
    from diffevo_jax.cli import listing

    streams.say(listing.text(_one("list", args, "names or parts, or nothing")))
    return 0


def _completion(args: Sequence[str]) -> int:
    from diffevo_jax.cli import completion, experiments
    from diffevo_jax.cli.shells import Command, Value

    shell = _one("completion", args, "bash, zsh or fish")
    parts, names = completion.of_parts(), Value(experiments.known_names(), files=True)
    evolving = Command(names, completion.of_options(EvolveOptions(1)) | parts)
    known = {
        "": Command(Value(tuple(_COMMANDS)), dict.fromkeys(("--help", "--version"))),
        "evolve": evolving,
        "sweep": Command(names, completion.of_options(SweepOptions(1)) | parts),
        "show": evolving,
        "report": Command(Value(files=True), FLAGS, many=True),
        "list": Command(Value(("names", "parts")), {"--help": None}),
        "completion": Command(Value(tuple(completion.SHELLS)), {"--help": None}),
    }
    streams.say(completion.script(shell, known))
    return 0


def _one(command: str, args: Sequence[str], want: str) -> str:
    """The one word after a command, or none."""
    for arg in args:
        if arg.startswith("-"):
            raise UsageError(f"unknown flag {arg}{hint_at(arg, _HELP) or f', want {want}'}")
    if len(args) > 1:
        raise UsageError(f"{command}: got {' '.join(args)!r}, want {want}")
    return args[0] if args else ""


_COMMANDS: dict[str, Callable[[Sequence[str]], int]] = {
    "evolve": evolve,
    "sweep": sweep,
    "show": show,
    "report": report,
    "list": _list,
    "completion": _completion,
}
_HELP = ("-h", "--help", "--help-all")


def _command(argv: list[str]) -> int:
    named = len(argv) == 2 and argv[0] in _COMMANDS and argv[0] != "report"
    alone = argv[:-1] == [] or named
    if alone and argv[-1:] and argv[-1] in _HELP:
        streams.say(USAGE)
    elif argv == ["--version"]:
        streams.say(f"diffevo {version_of('diffevo-jax')}\n")
    elif argv and argv[0] in _COMMANDS:
        return _COMMANDS[argv[0]](argv[1:])
    else:
        got = f"got {argv[0]!r}" if argv else "got no command"
        hint = hint_at(argv[0], [*_COMMANDS, "--help", "--version"]) if argv else ""
        want = "want 'evolve', 'sweep', 'show', 'report', 'list' or '--help'"
        raise UsageError(f"{got}, {want}{hint}")
    return 0
