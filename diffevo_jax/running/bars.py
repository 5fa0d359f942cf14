"""A progress bar for the host loop."""

from collections.abc import Iterator

import jax
import numpy as np

from diffevo_jax.running.evolution import Result


def show_progress(results: Iterator[Result], num_generations: int) -> Iterator[Result]:
    """Pass results through, showing a bar with best and mean fitness over the runs."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (
        TextColumn("generation"),
        MofNCompleteColumn(),
        BarColumn(),
        TextColumn("{task.fields[fitness]}"),
    )
    with Progress(*columns) as bar:
        task = bar.add_task("", total=num_generations, fitness="compiling")
        for result in results:
            info = jax.tree.map(lambda row: row[..., -1], result.history)
            best, mean = np.mean(result.best_fitness), np.mean(info.mean_fitness)
            bar.update(
                task,
                completed=result.history.done.shape[-1],
                fitness=f"best {best:.4g}  mean {mean:.4g}",
            )
            yield result
