"""From the words after a command to what it asks for: a name, a file, flags, a help."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from diffevo_jax.cli import axes, experiments, files, pages, request, streams, values
from diffevo_jax.cli.axes import Axis
from diffevo_jax.cli.errors import UsageError, closest
from diffevo_jax.cli.request import Request
from diffevo_jax.cli.words import HELP, Given, read

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

OptionsT = TypeVar("OptionsT", bound="DataclassInstance")


class Asked(NamedTuple, Generic[OptionsT]):
    """What a command line asks for, whole.

    Attributes:
        name: in full.
        request: with flags.
        axes: of a sweep.
    """

    name: str
    request: Request[OptionsT]
    axes: list[Axis]


def asked(
    command: str, options_of: Callable[[int], OptionsT], args: Sequence[str]
) -> Asked[OptionsT]:
    """What the words after a command ask for.

    Args:
        command: such as evolve.
        options_of: makes its options for a population size.
        args: a NAME or a FILE.toml, and flags.

    Raises:
        UsageError: they ask for what cannot be.
        SystemExit: a help was asked for, and is printed.
    """
    has_target = bool(args) and not args[0].startswith("-")
    target = args[0] if has_target else ""
    words = read(args[1:] if has_target else args)
    path = _config(words)
    if target.endswith(".toml"):
        if path:
            raise UsageError(f"--config: got {path!r} and {target!r}, want one file")
        path = target
    name = "" if target == path else target
    content = files.load(path) if path else {"axes": {}}
    given = name or content.get("name")
    if given is None and path:
        got = next(map(repr, closest("name", content)), "no name")
        raise UsageError(f"{path}: got {got}, want name = '...'; see 'diffevo list'")
    if given is None:
        want = "want a NAME or a FILE.toml before the flags; see 'diffevo list'"
        raise UsageError(f"{command}: {want}")
    full, experiment = experiments.experiment_of(given)
    options = options_of(experiment.population_size)
    keys = files.keys(path, content, options) if path else []
    prog = f"diffevo {command} {target or f'--config {path}'}"
    if wanted := [one.name for one in words if one.name in HELP]:
        words = [one for one in words if one.name not in HELP]
        page = pages.whole if "help-all" in wanted else pages.short
        streams.say(page(prog, command, options, experiment, [*keys, *words]))
        raise SystemExit(0)
    found = request.parse(options, experiment, words, keys, prog)
    if path:  # so that no output takes its place
        there = Path(path).expanduser()
        found = found._replace(options=dataclasses.replace(found.options, config=there))
    texts = [axes.of_text(text) for text in getattr(found.options, "axis", ())]
    named = [axis.fields for axis in texts]
    kept = [axis for axis in files.axes(path, content) if axis.fields not in named]
    return Asked(full, found, [*kept, *texts])


def _config(words: Sequence[Given]) -> str:
    """The file that ``--config`` names; empty if there is none."""
    named = [one for one in words if one.name == "config"]
    if not named:
        return ""
    try:
        kind = values.kind_of(str)
        return str(values.of_words(kind, named[-1].value)) or "."
    except ValueError as error:
        raise UsageError(f"--config: {error}") from None
