"""``diffevo show``: what a configuration will do, in words; nothing runs."""

import math
import textwrap
from collections.abc import Iterator, Sequence

import jax.numpy as jnp

from diffevo_jax.cli import evolve_command, files, flags, pages, parts, streams
from diffevo_jax.cli.entry import Asked, asked
from diffevo_jax.cli.evolve_command import EvolveOptions
from diffevo_jax.cli.naming import said_by
from diffevo_jax.problems.layout import Layout
from diffevo_jax.running import device_mesh
from diffevo_jax.running.arguments import evaluates_on_host
from diffevo_jax.running.final import count_of
from diffevo_jax.running.forecast import footprint
from diffevo_jax.running.memory import in_words

#: Arrays of a solution that are named.
_MOST = 6


def show(args: Sequence[str]) -> int:
    """Run the command; the exit code."""
    device_mesh.use_all_cores()
    try:
        found = asked("show", EvolveOptions, args)
    except SystemExit:  # the help is printed
        return 0
    with said_by(found.request.names):
        evolve_command.check_request(found.request)
    if found.request.options.print_config:
        streams.say(files.written(found.name, found.request))
        return 0
    with said_by(found.request.names):
        lines = list(_lines(found))
    streams.say("".join(map(_line, lines)))
    return 0


def _line(line: tuple[str, str]) -> str:
    """What something is, from the same column on."""
    name, text = line
    text = textwrap.fill(
        text,
        pages.width() - 1,
        initial_indent=" " * 15,
        subsequent_indent=" " * 15,
        break_on_hyphens=False,
    )
    return f"{name:14} {text[15:]}\n"


def _lines(found: Asked[EvolveOptions]) -> Iterator[tuple[str, str]]:
    options, strategy, problem = found.request[:3]
    whole = flags.start_of(strategy, problem)
    yield from _parts(
        "problem", flags.of_whole(whole), parts.docs(type(problem))[""], found.name
    )
    yield from _parts("strategy", flags.of_whole(whole), parts.docs(type(strategy))[""])
    size, dim, runs = options.population_size, problem.space.dim, options.seeds
    yield "solution", f"{dim:,} numbers: {_arrays(problem.space.layout)}"
    kind = jnp.zeros(()).dtype
    many = f"; of {runs:,} runs ({runs:,}, {size:,}, {dim:,})" if runs > 1 else ""
    taken = in_words(kind.itemsize * size * dim)
    yield "population", f"({size:,}, {dim:,}) {kind}, {taken}{many}"
    length, total = evolve_command.length_of(found.request), strategy.num_generations
    final = count_of(options.final, problem, total, size)
    yield "programs", _programs(length, total, runs, final, evaluates_on_host(problem))
    more = f", and {final:,} at its end" if final else ""
    whole_count = runs * (size * total + final)
    yield "evaluations", f"{size * total:,} a run{more}; {whole_count:,} in all runs"
    yield "memory", _memory(found)


def _parts(
    table: str, known: dict[str, flags.Flag], about: str, name: str = ""
) -> Iterator[tuple[str, str]]:
    """A strategy or a problem and its parts, with their numbers."""
    owners = {table: (name, about)}
    for flag in known.values():
        if flag.kind is None and flag.path.startswith(f"{table}."):
            owners[flag.path] = parts.kebab(flag.value), parts.docs(type(flag.value))[""]
    if table == "strategy":
        owners[table] = parts.kebab(known["strategy"].value), about
    for path, (kind, said) in owners.items():
        numbers = ", ".join(
            f"{_last(flag.path)} {_shown(flag)}"
            for flag in known.values()
            if flag.kind is not None and _owner(flag.path, owners) == path
        )
        depth = path.count(".")
        yield (
            "  " * depth + _last(path),
            f"{kind}: {said} {numbers and f'({numbers})'}".strip(),
        )


def _owner(path: str, owners: dict[str, tuple[str, str]]) -> str:
    """The part that a number is of."""
    above = path.rpartition(".")[0]
    while above and above not in owners:
        above = above.rpartition(".")[0]
    return above


def _last(path: str) -> str:
    return path.rpartition(".")[2]


def _shown(flag: flags.Flag) -> str:
    value = flags.plain(flag.value)
    if value is ...:
        return "as it is"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _arrays(layout: Layout) -> str:
    """The arrays of a solution, by name."""
    named = [
        f"{path} {shape}" if path else str(shape)
        for path, shape in zip(layout.paths, layout.shapes, strict=True)
    ]
    more = f", and {len(named) - _MOST} more" if len(named) > _MOST else ""
    return ", ".join(named[:_MOST]) + more


def _programs(length: int, total: int, runs: int, final: int, on_host: bool) -> str:
    if on_host:
        return "the strategy is compiled; solutions are evaluated on the host"
    calls = math.ceil(total / length)
    said = (
        f"one sets {f'{runs:,} runs' if runs > 1 else 'the run'} up; one advances by up to "
    )
    said += f"{length:,} of {total:,} generations, called {calls:,} times"
    return said + "; one judges the best at the end" * bool(final)


def _memory(found: Asked[EvolveOptions]) -> str:
    options, strategy, problem = found.request[:3]
    if evaluates_on_host(problem):
        return "not known: solutions are evaluated on the host"
    devices = device_mesh.devices_for(options.seeds, options.devices)
    takes = footprint(
        strategy,
        problem,
        population_size=options.population_size,
        num_runs=options.seeds,
        devices=devices,
    )
    return f"each of {len(devices)} devices {takes}" if devices else str(takes)
