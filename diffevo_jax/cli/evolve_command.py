"""``diffevo evolve``: one setting, some seeds, and how it went."""

from diffevo_jax.cli import experiments, flags, interrupts, report
from diffevo_jax.cli.errors import UsageError
from diffevo_jax.cli.outputs import save_and_show
from diffevo_jax.running import device_mesh


def evolve(args: list[str]) -> int:
    """Run the command; the exit code."""
    if not args or args[0].startswith("-"):
        raise UsageError("evolve: want a NAME before the flags; see 'diffevo list'")
    device_mesh.use_all_cores()
    try:
        name, experiment = experiments.experiment_of(args[0])
        options = report.EvolveOptions(experiment.population_size)
        settings = flags.parse(options, experiment, args[1:], f"diffevo evolve {args[0]}")
        keys = report.check_request(settings)
    except SystemExit:  # the help is printed
        return 0
    except (ImportError, TypeError, ValueError) as error:
        raise UsageError(str(error)) from error
    told = report.follow(name, settings, keys)
    outputs = report.outputs(told, settings.options)
    code = save_and_show(outputs, lambda: report.show_report(told))
    return interrupts.code() if told.interrupted else code
