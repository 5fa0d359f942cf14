"""What a page can show of a run: read from a result, its file, its JSON or its folder."""

import contextlib
import dataclasses
import json
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from diffevo_jax.base import Info, PyTree
from diffevo_jax.pytree import archives
from diffevo_jax.pytree.folders import read_manifest
from diffevo_jax.pytree.kept import MOST_BYTES
from diffevo_jax.pytree.records import read_record
from diffevo_jax.report.films import Film, film_of
from diffevo_jax.running.diagnosis import carried_on, diagnose
from diffevo_jax.running.evolution import REASONS, Result, best_run
from diffevo_jax.running.result_files import Plane, Saved, load

#: Bytes of a JSON file at most; a history of a million numbers has twenty million.
_MOST_JSON = 2**29
#: Numbers of a solution at most that a page lists.
MOST_NUMBERS = 64
#: Of a history, what a page draws.
_DRAWN = ("mean_fitness", "best_fitness", "sigma", "effective_sample_size", "self_weight")


@dataclasses.dataclass(frozen=True, eq=False)
class Run:
    """Runs of one setting, as a page shows them.

    Attributes:
        label: what it is called on the page.
        history: by name, (R, T).
        generations: (R,) how many each really had.
        reasons: (R,) why each has ended; empty if that is not known.
        population_size: N, or None.
        noisy: whether the best of a generation is the luckiest.
        config: what was run.
        versions: of the packages.
        command: that made it, or empty.
        best_fitness: (R,), or None.
        interval: of the best of each run, (R, 2) with 95 %; None without final evaluation.
        best: the numbers of the best solution of the best run, by name; at most
            ``MOST_NUMBERS`` of ``num_numbers``.
        num_numbers: D, or None.
        violation: of the best solution, 0 if it is feasible.
        wrong: what is wrong, in sentences; empty if that is not known.
        film: of the first run, or None.
        film_missing: why there is none.
    """

    label: str
    history: dict[str, np.ndarray]
    generations: np.ndarray
    reasons: tuple[str, ...]
    population_size: int | None
    noisy: bool
    config: dict[str, Any]
    versions: dict[str, Any]
    command: str
    best_fitness: np.ndarray | None
    interval: np.ndarray | None
    best: dict[str, Any]
    num_numbers: int | None
    wrong: tuple[str, ...]
    film: Film | None
    film_missing: str
    violation: float = 0.0

    def __post_init__(self) -> None:
        """Raise where what was read is not what a page can show."""
        runs, size = len(self.history["mean_fitness"]), self.population_size
        of_runs: dict[str, tuple[npt.ArrayLike | None, tuple[int, ...]]] = {
            "num_generations": (self.generations, (runs,)),
            "reasons": (self.reasons or None, (runs,)),
            "best_fitness": (self.best_fitness, (runs,)),
            "final": (self.interval, (runs, 2)),
        }
        if self.generations.dtype.kind not in "iu":
            raise TypeError(f"num_generations: got {self.generations}, want ints")
        for name, (values, shape) in of_runs.items():
            if values is not None and np.shape(values) != shape:
                raise ValueError(f"{name}: got shape {np.shape(values)}, want {shape}")
        shapes = {np.shape(values) for values in self.history.values()}
        if len(shapes) != 1 or len(next(iter(shapes))) != 2 or not min(shapes.pop()):
            raise ValueError("history: want a generation at least, of all runs the same")
        if size is not None and (type(size) is not int or size < 1):
            raise ValueError(f"population_size: got {size!r}, want an int >= 1")
        for name in ("config", "versions"):
            if not isinstance(vars(self)[name], Mapping):
                raise TypeError(f"{name}: got {vars(self)[name]!r}, want a dict")
        if not isinstance(self.command, str):
            raise TypeError(f"command: got {self.command!r}, want text")

    @property
    def num_runs(self) -> int:
        """R."""
        return len(self.generations)

    @property
    def evaluations(self) -> int | None:
        """Evaluations of a run, without those of its end; None if N is not known."""
        if self.population_size is None:
            return None
        return int(np.mean(self.generations) * self.population_size)


def read_run(path: Path, label: str) -> Run:
    """The run of a file or a folder.

    Args:
        path: a ``.npz`` of :func:`diffevo_jax.save`, a ``.json`` of ``diffevo evolve
            --json``, either with this ending or as a file of another name, or a folder of
            ``diffevo evolve --folder``.
        label: what it is called.

    Raises:
        OSError: it cannot be read.
        ValueError: it is none of these, or damaged.
    """
    if path.is_dir():
        return _of_folder(path, label)
    if ending_of(path) == ".json":
        return _of_json(path, label)
    return of_saved(load(path), label)


def ending_of(path: Path) -> str:
    """The ending of a result's file, of one of another name by what it holds; else ""."""
    if path.suffix in (".npz", ".json"):
        return path.suffix
    if not path.is_file():  # what a pipe holds is gone once somebody has looked
        return ""
    if zipfile.is_zipfile(path):
        return ".npz"
    with path.open("rb") as file:
        return ".json" if file.read(1) == b"{" else ""


@contextlib.contextmanager
def named(path: Path) -> Iterator[None]:
    """Say of which file it is, and in one kind of error, whatever is wrong with it.

    Anybody can write a file, with anything in it.

    Raises:
        ImportError: as it was.
        OSError: of the file, as it was.
        ValueError: all else.
    """
    try:
        yield
    except ImportError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.filename is not None:
            raise
        said = str(error)
        if not said.startswith(("path: ", "folder: ")):
            said = f"path: got {path}, which cannot be shown: {type(error).__name__} {said}"
        raise ValueError(said) from error


def of_saved(saved: Saved, label: str) -> Run:
    """The run of a result that was saved."""
    result = saved.result
    if not np.size(result.best_fitness):
        raise ValueError("result: got no run, want at least one")
    best_fitness = np.atleast_1d(np.asarray(result.best_fitness, float))
    reasons = result.reason
    final = result.final
    interval = None
    if final is not None:
        ends = [np.atleast_1d(np.asarray(end, float)) for end in (final.low, final.high)]
        interval = np.stack(ends, axis=1)
    best = best_run(result)
    named = {name: values[best] for name, values in saved.named.items()}
    film, why = _film(result, saved.plane, list(named))
    history = {name: np.asarray(rows) for name, rows in vars(result.history).items()}
    return Run(
        label,
        _history(history),
        np.atleast_1d(np.asarray(result.num_generations)),
        (reasons,) if isinstance(reasons, str) else reasons,
        int(np.shape(result.population)[-2]),
        bool(saved.noisy) or (saved.noisy is None and final is not None),
        saved.config,
        saved.versions,
        saved.command,
        best_fitness,
        interval,
        dict(list(named.items())[:MOST_NUMBERS]),
        int(np.shape(result.population)[-1]),
        diagnose(result),
        film,
        why,
        float(np.atleast_1d(result.best_violation)[best]),
    )


def of_result(result: Result, label: str) -> Run:
    """The run of a result of this process, without configuration."""
    saved = Saved(result, {}, {}, None, None, None, "", {})
    return of_saved(saved, label)


def _film(result: Result, plane: Plane | None, names: list[str]) -> tuple[Film | None, str]:
    """Of the first run; and why there is none."""
    paths = result.recorded.get("population")
    if paths is None:
        return None, "No populations were recorded; want record=('population', 'fitness')."
    many = np.ndim(result.best_fitness) == 1
    first = lambda rows: np.asarray(rows)[0] if many else np.asarray(rows)
    length = int(np.ravel(result.num_generations)[0])
    fitness = result.recorded.get("fitness")
    cut = lambda rows: first(rows)[:length]
    if plane is not None:
        plane = dataclasses.replace(plane, points=cut(plane.points))
    film = film_of(
        cut(paths),
        None if fitness is None else cut(fitness),
        cut(result.history.sigma),
        plane,
        names,
    )
    return film, ""


def _of_json(path: Path, label: str) -> Run:
    """A record of ``diffevo evolve --json``."""
    found = _json(path)
    wrong = f"path: got {path}, want a file of 'diffevo evolve --json'"
    try:
        config, summary = found["config"], found["summary"]
        rows = {name: np.atleast_2d(_rows(rows)) for name, rows in found["history"].items()}
        lengths = np.asarray(summary["num_generations"])
        final = summary.get("final")
        problem = config.get("problem", {})
        noisy = final is not None or problem.get("class") == "Control"
        ends = None if final is None else [_rows(final[end]) for end in ("low", "high")]
        best = summary["best_fitness"]["runs"]
        numbers = dict(_numbers(found.get("recommended", {}).get("solution"), ""))
        return Run(
            label,
            _history(rows),
            lengths,
            tuple(summary["reasons"]),
            config.get("population_size"),
            noisy,
            config,
            found.get("versions", {}),
            found.get("command", ""),
            _rows(best),
            None if ends is None else np.stack(ends, axis=1),
            dict(list(numbers.items())[:MOST_NUMBERS]),
            len(numbers) or None,
            _wrong(carried_on(rows, lengths)),
            None,
            "A JSON file has no populations; 'diffevo evolve ... --out result.npz' has.",
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{wrong}: {type(error).__name__} {error}") from error


def _numbers(tree: PyTree, name: str) -> Iterator[tuple[str, Any]]:
    """The numbers and words of a solution in JSON, by their paths."""
    if isinstance(tree, dict):
        for key, part in tree.items():
            yield from _numbers(part, f"{name}.{key}" if name else key)
    elif isinstance(tree, list):
        for place, part in enumerate(tree):
            yield from _numbers(part, f"{name or 'x'}[{place}]".replace("][", ","))
    elif tree is not None:
        yield name or "x", tree


def _of_folder(path: Path, label: str) -> Run:
    """A folder of a run: its manifest, its log, and what its last checkpoint recorded."""
    if (path / "sweep.json").exists():
        raise ValueError(
            f"path: got {path}, the folder of a sweep, want its table: run the sweep again "
            "with --out"
        )
    if not (path / "run.json").exists():
        raise ValueError(f"path: got {path}, a folder without run.json, want one of a run")
    manifest = read_manifest(path / "run.json", MOST_BYTES)
    rows = _log(path / "log.jsonl")
    names = [
        name for name in rows[0] if name not in ("generation", "evaluations", "seconds")
    ]
    history = {
        name: np.atleast_2d(np.stack([_rows(row[name]) for row in rows], axis=-1))
        for name in names
    }
    logged = np.isfinite(history["sigma"])  # nothing is, of a run that has ended
    lengths = logged.shape[1] - np.argmax(logged[:, ::-1], axis=1)
    history = carried_on(history, lengths)
    said = {name: manifest.get(name) for name in ("strategy", "problem", "start")}
    start = manifest.get("start") or {}
    recorded = _recorded(path)
    film, why = None, "No populations were recorded in the folder."
    if "population" in recorded:
        sigma = history["sigma"][0]
        fitness = recorded.get("fitness")
        length = min(len(recorded["population"]), len(sigma))
        film = film_of(
            recorded["population"][:length],
            None if fitness is None else fitness[:length],
            sigma[:length],
        )
        why = ""
    return Run(
        label,
        _history(history),
        lengths,
        (),
        start.get("population_size"),
        "best_fitness" not in history,
        said,
        manifest.get("versions", {}),
        "",
        None,
        None,
        {},
        None,
        _wrong(history),
        film,
        why,
    )


def _log(path: Path) -> list[dict[str, Any]]:
    """The lines of a log, without one that is not whole."""
    rows = []
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                row = json.loads(line)
            except (RecursionError, ValueError):
                break
            rows.append(row)
    if not rows or any(
        not isinstance(row, dict) or row.keys() != rows[0].keys() for row in rows
    ):
        raise ValueError(f"path: got {path}, want a log of generations")
    if "mean_fitness" not in rows[0]:
        raise ValueError(f"path: got {path}, want a log with a generation at least")
    return rows


def _recorded(path: Path) -> dict[str, np.ndarray]:
    """What the first run of the last whole checkpoint recorded, by name."""
    for file in sorted(path.glob("checkpoint-*.npz"), reverse=True):
        try:
            sealed = archives.read_sealed(file)
        except (archives.DamagedError, zipfile.BadZipFile):
            continue
        found = {}
        for name in ("population", "fitness"):
            member = f"rows.1.{name}.npy"
            if member in sealed.archive.namelist():
                with sealed.archive.open(member) as content:
                    found[name] = np.lib.format.read_array(content, allow_pickle=False)
        deep = found.get("population", np.zeros(0)).ndim == 4
        return {name: rows[0] for name, rows in found.items()} if deep else found
    return {}


def _wrong(history: Mapping[str, Any]) -> tuple[str, ...]:
    """What is wrong by a history that is whole."""
    names = [field.name for field in dataclasses.fields(Info)]
    if not all(name in history for name in names):
        return ()
    return diagnose(Info(**{name: history[name] for name in names}))


def _json(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        content = file.read(_MOST_JSON + 1)
    try:
        return read_record(content, _MOST_JSON)
    except ValueError as error:
        raise ValueError(f"path: got {path}, which is no record: {error}") from error


def _history(rows: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What a page draws of a history, (R, T) each."""
    found = {
        name: np.atleast_2d(np.asarray(rows[name], float))
        for name in _DRAWN
        if name in rows
    }
    if "mean_fitness" not in found:
        raise KeyError("mean_fitness")
    return found


def _rows(values: PyTree) -> np.ndarray:
    """Numbers out of JSON, where null is what is not finite."""
    return np.asarray(values, dtype=object).astype(float)


def reasons_of(run: Run) -> str:
    """Why the runs have ended, in words."""
    words = [word for word in (*REASONS, "going on") if word in run.reasons]
    if len(words) == 1:
        return words[0]
    return ", ".join(f"{run.reasons.count(word):,} {word}" for word in words)
