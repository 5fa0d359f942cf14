"""What a shell completes: commands, names, flags and classes of parts, as a script.

The script is made once and knows all of it, so that no key is waited for. Of flags it knows
those of every strategy and class, not of the chosen ones alone.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from diffevo_jax.cli import flags, shells
from diffevo_jax.cli.errors import UsageError, hint_at
from diffevo_jax.cli.shells import Command, Value
from diffevo_jax.cli.words import HELP
from diffevo_jax.running import published

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

#: What makes the script of a shell.
SHELLS = {"bash": shells.bash, "zsh": shells.zsh, "fish": shells.fish}


def script(shell: str, commands: Mapping[str, Command]) -> str:
    """The script for a shell.

    Args:
        shell: bash, zsh or fish.
        commands: with all that may follow them.

    Raises:
        UsageError: it is another shell.
    """
    if shell not in SHELLS:
        want = f"want one of {', '.join(SHELLS)}{hint_at(shell, SHELLS)}"
        raise UsageError(f"completion: got {shell!r}, {want}")
    return SHELLS[shell](commands)


def of_options(options: "DataclassInstance") -> dict[str, Value | None]:
    """The flags of a command's own options, with what each takes."""
    helps = dict.fromkeys((f"--{name}" for name in HELP), None)
    return helps | _flags(flags.of_options(options))


def of_parts() -> dict[str, Value | None]:
    """Flags of all strategies and problems, and their parts in all classes."""
    found: dict[str, Value | None] = {}
    for known in (published.landscape("beale"), published.control("CartPole-v1")):
        whole = flags.start(known)
        for cls in flags.classes(whole, "strategy").values():
            chosen = flags.with_class(whole, "strategy", cls)
            found |= _of_whole(chosen)
            for flag in flags.of_whole(chosen).values():
                if flag.kind is None and flag.path.startswith("strategy."):
                    for other in flags.classes(chosen, flag.path).values():
                        found |= _of_whole(flags.with_class(chosen, flag.path, other))
    return found


def _of_whole(whole: flags.Whole) -> dict[str, Value | None]:
    known = flags.of_whole(whole)
    classes = {
        flags.written(name): Value(words)
        for name, flag in known.items()
        if flag.kind is None and (words := tuple(flags.classes(whole, flag.path)))
    }
    return classes | _flags(known)


def _flags(known: Mapping[str, flags.Flag]) -> dict[str, Value | None]:
    """Flags of numbers and words; those of yes and no take nothing."""
    found: dict[str, Value | None] = {}
    for name, flag in known.items():
        if flag.kind is not None and flag.kind.base is bool:
            found |= {flags.written(name): None, flags.refused(name): None}
        elif flag.kind is not None:
            files = flag.kind.base is Path
            found[flags.written(name)] = Value(flag.kind.choices, files)
    return found
