"""The words that ask for a setting again."""

from collections.abc import Iterator

from diffevo_jax.cli import flags, parts
from diffevo_jax.cli.flags import Flag
from diffevo_jax.running.published import Experiment
from diffevo_jax.sweeps.settings import Setting


def words(name: str, experiment: Experiment, setting: Setting) -> list[str]:
    """What follows ``diffevo evolve`` to run a setting: where it is not as published.

    Args:
        name: as on the command line.
        experiment: what the name alone means.
        setting: of a sweep.

    Example:
        >>> import diffevo_jax as de
        >>> from diffevo_jax.cli import rerun
        >>> from diffevo_jax.sweeps.settings import Setting
        >>> beale = de.published.landscape("beale")
        >>> strategy = de.replace(beale.strategy, kernel=de.kernels.Tempered(3.0))
        >>> rerun.words("beale", beale, Setting({}, strategy, beale.problem, 64))
        ['beale', '--population-size=64', '--kernel=tempered', '--kernel.dimension=3.0']
    """
    found = [name]
    if setting.population_size != experiment.population_size:
        found.append(f"--population-size={setting.population_size}")
    whole, want = (
        flags.start(experiment),
        flags.of_whole(flags.start_of(setting.strategy, setting.problem)),
    )
    for flag_name, flag in want.items():  # parts before what they have
        have = flags.of_whole(whole)[flag_name]
        if flag.kind is None and type(have.value) is not type(flag.value):
            found.append(f"{flags.written(flag_name)}={parts.kebab(flag.value)}")
            whole = flags.with_class(whole, flag.path, type(flag.value))
        elif flag.kind is not None and flags.plain(have.value) != flags.plain(flag.value):
            found += _said(flag_name, flag)
    return found


def _said(name: str, flag: Flag) -> Iterator[str]:
    """A flag and its value."""
    value = flags.plain(flag.value)
    if isinstance(value, bool):
        yield flags.written(name) if value else flags.refused(name)
    elif isinstance(value, tuple):
        yield flags.written(name)
        yield from map(str, value)
    else:
        yield f"{flags.written(name)}={value}"
