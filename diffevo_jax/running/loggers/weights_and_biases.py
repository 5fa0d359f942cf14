"""Curves for Weights & Biases."""

import os
from pathlib import Path

import jax
import numpy as np

from diffevo_jax import pytree
from diffevo_jax.base import Info, PyTree
from diffevo_jax.pytree.annotations import checked
from diffevo_jax.pytree.records import plain
from diffevo_jax.running.evolution import Result
from diffevo_jax.running.loggers.following import Logger, Start, numbers_of, wants

#: Numbers of a setting that are written out at most, for an array.
_WRITTEN_OUT = 16


@checked
def wandb(
    project: str,
    *,
    id: str | None = None,
    folder: str | Path = ".",
    mode: str | None = None,
    **options: PyTree,
) -> Logger:
    """Curves for Weights & Biases, on disk or online.

    The axis of the curves is ``evaluations``; ``seconds`` and ``generation`` can be chosen.
    The strategy and the problem are the configuration. What is not finite is left out. Many
    runs at once are one run of W&B: the mean over those that go on by the name of each
    number, and the standard deviation by that name with ``_sd``.

    Args:
        project: of W&B.
        id: of the run in W&B. With the same again, a run that goes on is the same there,
            which knows each step, a generation, once; offline its parts are folders of one
            id, which ``wandb sync`` sends in their order. None makes one up, and what goes
            on is a run of its own.
        folder: where ``wandb/`` is.
        mode: ``"offline"`` keeps all on disk, for ``wandb sync``; ``"online"`` sends it.
            None is what the environment's ``WANDB_MODE`` says, or else offline: nothing is
            sent unless somebody asked for it.
        **options: for ``wandb.init``, such as ``name``, ``group``, ``tags``, ``config``.

    Raises:
        ImportError: wandb is not installed.
        ValueError: the mode is none of W&B's.

    Example:
        >>> import diffevo_jax as de
        >>> de.loggers.wandb("landscapes", id="beale-0", group="first")
        wandb('landscapes', id='beale-0')
    """
    try:
        import wandb  # noqa: F401
    except ImportError as error:
        raise ImportError(wants("wandb", "wandb")) from error
    modes = ("offline", "online", "disabled")
    if mode is not None and mode not in modes:
        raise ValueError(f"mode: got {mode!r}, want None or one of {', '.join(modes)}")
    return _Wandb(project, id, Path(folder).expanduser().absolute(), mode, options)


class _Wandb:
    """See :func:`wandb`."""

    def __init__(
        self,
        project: str,
        run_id: str | None,
        folder: Path,
        mode: str | None,
        options: dict[str, PyTree],
    ) -> None:
        self._project, self._id, self._folder = project, run_id, folder
        self._mode, self._options = mode, options
        self._start = Start()
        self._run: PyTree = None

    def begin(self, start: Start) -> None:
        import wandb

        self._start = start
        mode = self._mode or os.environ.get("WANDB_MODE") or "offline"
        known = {
            "project": self._project,
            "dir": str(self._folder),
            "mode": mode,
            "reinit": "create_new",  # a run of the caller's own is left alone
            "id": self._id,
            "resume": "allow" if self._id and mode == "online" else None,
        }
        config = {**plain(_small(start.settings)), **self._options.get("config", {})}
        self._run = wandb.init(**{**known, **self._options, "config": config})
        for axis in ("evaluations", "seconds", "generation"):
            self._run.define_metric(axis)
        self._run.define_metric("*", step_metric="evaluations")

    def __call__(self, generation: int, info: Info, result: Result) -> None:
        if self._run is None:
            self.begin(self._start)
        rows = numbers_of(self._start, generation, info, result)
        del rows["done"]
        values: dict[str, float] = {}
        for name, value in rows.items():
            if not np.ndim(value):
                values[name] = value if isinstance(value, int) else float(value)
                continue
            runs = value.compressed()  # those that go on
            with np.errstate(invalid="ignore"):  # -inf where all of a run failed
                values[name] = float(np.mean(runs))
                if len(runs) > 1:
                    values[f"{name}_sd"] = float(np.std(runs, ddof=1))
        finite = {name: value for name, value in values.items() if np.isfinite(value)}
        self._run.log(finite, step=generation)

    def end(self) -> None:
        run, self._run = self._run, None
        if run is not None:
            run.finish()

    def __repr__(self) -> str:
        return f"wandb({self._project!r}, id={self._id!r})"


def _small(settings: PyTree) -> PyTree:
    """Settings without the numbers of large arrays, such as the weights of a network."""
    shown = lambda leaf: leaf if np.size(leaf) <= _WRITTEN_OUT else pytree.short(leaf)
    return jax.tree.map(shown, settings)
