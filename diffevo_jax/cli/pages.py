"""What ``--help`` shows of a name: a screen; and ``--help-all``, with every explanation."""

import shutil
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from diffevo_jax.cli import flags, parts
from diffevo_jax.cli.classes import with_classes
from diffevo_jax.cli.flags import Flag
from diffevo_jax.cli.words import Given
from diffevo_jax.running.published import Experiment

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

#: Options that a first help explains, each in a line.
_COMMON = {
    "population_size": "individuals in a generation",
    "seeds": "independent runs; of a sweep of each setting",
    "seed": "number that all keys are made from",
    "axis": "FIELD=VALUES to sweep, such as sampler.eta=0,0.5,1",
    "out": "file for all results",
    "json": "file for configuration, history and solutions",
    "plot": "picture of the learning curves, such as curve.png",
    "film": "film of the best, such as best.gif",
    "folder": "keep the runs there; the same words go on from them",
    "config": "file of settings; flags on the command line win",
    "print_config": "print such a file, and run nothing",
    "dry_run": "check, compile, say what memory it takes; run nothing",
}
_EXAMPLES = {
    "evolve": ("--seeds 8 --plot curve.png", "--strategy monoflow --seeds 4"),
    "show": ("--kernel tempered --seeds 8",),
    "sweep": ("--seeds 4 --axis sampler.eta=0,0.5,1", "--axis kernel=tempered,gaussian"),
}
#: Letters of a line at most, so that it is read easily.
_WIDEST = 100


def short(
    prog: str,
    command: str,
    options: "DataclassInstance",
    experiment: Experiment,
    given: Sequence[Given],
) -> str:
    """A help that fits a screen: what is common, then all other flags without a word.

    Args:
        prog: the command and the name.
        command: such as evolve.
        options: of the command.
        experiment: of the name.
        given: what else is said, such as classes of parts.
    """
    own, groups, about = _groups(options, experiment, given)
    lines = [f"usage: {prog} [flags]", *_filled(f"{about} Defaults are as published.")]
    common = {name: flag for name, flag in own.items() if name in _COMMON}
    wide = 2 + max(len(_shown(name, flag)) for name, flag in common.items())
    lines += [
        f"  {_shown(name, flag):{wide}}{_COMMON[name]}" for name, flag in common.items()
    ]
    rest = {name: flag for name, flag in own.items() if name not in common}
    for title, known in ({"more": rest} | groups).items():
        inner = [name for name in known if name.startswith("env_params.")]
        lines += ["", f"{title}:", *_listed({k: known[k] for k in known if k not in inner})]
        if inner:
            also = f"and {len(inner)} parameters of the environment, such as"
            lines.append(f"  {also} {_shown(inner[-1], known[inner[-1]])}")
    examples = [f"  {prog} {more}" for more in _EXAMPLES[command]]
    more = "--help-all explains each flag; 'diffevo list parts' has all classes."
    return "\n".join([*lines, "", "examples:", *examples, "", *_filled(more)]) + "\n"


def whole(
    prog: str,
    command: str,
    options: "DataclassInstance",
    experiment: Experiment,
    given: Sequence[Given],
) -> str:
    """A help with every flag, its value and what its docstring says; see :func:`short`."""
    own, groups, about = _groups(options, experiment, given)
    lines = [f"usage: {prog} [flags]", *_filled(f"{about} Defaults are as published.")]
    for title, known in ({"options": own} | groups).items():
        lines += ["", f"{title}:"]
        for name, flag in known.items():
            lines.append(f"  {_shown(name, flag, both=True)}")
            said = flag.about
            if flag.kind is None:
                said = f"{said} {parts.docs(type(flag.value))['']}".strip()
            lines += _filled(said, "      ")
    examples = [f"  {prog} {more}" for more in _EXAMPLES[command]]
    return "\n".join([*lines, "", "examples:", *examples]) + "\n"


def _groups(
    options: "DataclassInstance", experiment: Experiment, given: Iterable[Given]
) -> tuple[dict[str, Flag], dict[str, dict[str, Flag]], str]:
    """Own flags; those of parts, of the strategy and of the problem; and what it is."""
    chosen = with_classes(flags.start(experiment), given)
    own = flags.of_options(options)
    known = {k: flag for k, flag in flags.of_whole(chosen).items() if k not in own}
    classes = {name: flag for name, flag in known.items() if flag.kind is None}
    groups = {
        "parts, and their classes": {
            name: flag
            for name, flag in classes.items()
            if parts.kebab(flag.value) in flags.classes(chosen, flag.path)
        }
    }
    for part in ("strategy", "problem"):
        groups[f"numbers of the {part}"] = {
            name: flag
            for name, flag in known.items()
            if flag.kind is not None and flag.path.startswith(f"{part}.")
        }
    return own, groups, parts.docs(type(experiment.problem))[""]


def _shown(name: str, flag: Flag, both: bool = False) -> str:
    """A flag and its value, or what stands for one; of yes and no the one that changes."""
    if flag.kind is None:
        return f"{flags.written(name)} {parts.kebab(flag.value)}"
    if flag.kind.base is bool:
        yes, no = flags.written(name), flags.refused(name)
        return f"{yes}, {no}" if both else no if flag.value else yes
    if flag.value in (None, ()) or flag.value is parts.MISSING:
        return f"{flags.written(name)} {flag.kind.placeholder}"
    many = flag.value if isinstance(flag.value, tuple) else (flag.value,)
    shown = [f"{each:g}" if isinstance(each, float) else str(each) for each in many]
    return f"{flags.written(name)} {' '.join(shown)}"


def _listed(known: dict[str, Flag]) -> Iterator[str]:
    """Flags and their values, as many a line as fit; none is broken."""
    line = " "
    for name, flag in known.items():
        each = _shown(name, flag) + " "
        if len(line) + 1 + len(each) > width() and line.strip():
            yield line.rstrip()
            line = " "
        line += f" {each}"
    yield line.rstrip()


def _filled(text: str, indent: str = "") -> list[str]:
    return textwrap.wrap(
        text,
        width(),
        initial_indent=indent,
        subsequent_indent=indent,
        break_on_hyphens=False,
    )


def width() -> int:
    """Letters of a line: those of the terminal, or fewer, as long ones are hard to read."""
    return min(shutil.get_terminal_size().columns, _WIDEST)
