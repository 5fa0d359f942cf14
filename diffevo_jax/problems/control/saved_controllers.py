"""Policies that leave the library: a file that any program with JAX can act by.

The file is a zip archive. ``controller.jax`` is the whole of a controller, with weights and
scalings, as ``jax.export`` writes programs; ``initial_carry.jax`` what a recurrent policy
starts from. ``weights.npz`` has the weights by their paths, and ``controller.json`` says
what goes in and comes out. Nothing in it is a pickle, and nothing says where the files of
the program were. Elsewhere, without this package, with
JAX and ``flatbuffers``:

    from jax import export; from zipfile import ZipFile
    act = export.deserialize(bytearray(ZipFile("policy.zip").read("controller.jax"))).call

and then ``action, carry = act(observation, carry)``, where the carry of a policy without
memory is ``()``, and of another starts as the same two lines make of
``initial_carry.jax``, called without arguments.
"""

import dataclasses
import functools
import io
import json
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from diffevo_jax import pytree
from diffevo_jax.base import PyTree
from diffevo_jax.compilation import without_locations
from diffevo_jax.problems.control.environments import environment, label
from diffevo_jax.problems.control.problem import Control
from diffevo_jax.problems.control.spaces import Box, Discrete, EnvSpace, leaves_of
from diffevo_jax.problems.control.statistics import CLIP, Moments, deviations
from diffevo_jax.pytree.annotations import checked
from diffevo_jax.pytree.files import check_writable, written_whole
from diffevo_jax.pytree.records import extra, plain, version_of

#: Where the program runs, whatever the machine that writes it.
PLATFORMS = ("cpu", "cuda", "rocm", "tpu")
CONTROLLER, CARRY, WEIGHTS, LAYOUT = (
    "controller.jax",
    "initial_carry.jax",
    "weights.npz",
    "controller.json",
)


@dataclasses.dataclass(frozen=True, eq=False)
class SavedController:
    """A controller from a file.

    Attributes:
        act: ``act(observation, carry) -> (action, carry)``.
        initial_carry: ``initial_carry()`` is the carry at the start of an episode.
        weights: the policy's weights, by their paths.
        layout: shapes, dtypes and scalings, as ``controller.json`` has them.
    """

    act: Callable[[PyTree, PyTree], tuple[jax.Array, PyTree]]
    initial_carry: Callable[[], PyTree]
    weights: dict[str, np.ndarray]
    layout: dict[str, Any]

    def __repr__(self) -> str:
        """How many weights it has; its programs are binary."""
        size = sum(weight.size for weight in self.weights.values())
        return f"SavedController({size:,} weights, {', '.join(self.layout)})"

    def __call__(self, observation: PyTree, carry: PyTree = ()) -> tuple[jax.Array, PyTree]:
        """The action, and the carry after it, all as the environment has them.

        Raises:
            ValueError: the observation or the carry is none that has been written down in
                ``layout``: it has other names, shapes or dtypes.
        """
        for name, given in (("observation", observation), ("carry", carry)):
            got, want = _shapes(given), self.layout[name]
            if plain(got) != want:
                of = "; it starts as initial_carry()" if name == "carry" else ""
                raise ValueError(f"{name}: got {plain(got)}, want {want}{of}")
        return self.act(observation, carry)


@checked
def save_controller(
    path: str | Path,
    problem: Control,
    policy_params: PyTree,
    problem_state: Moments | tuple[()] = (),
    *,
    platforms: Sequence[str] = PLATFORMS,
) -> None:
    """Write a controller into a file, in whole or not at all.

    It is what :meth:`diffevo_jax.problems.Control.controller` returns.

    Args:
        path: of the file, for example ``"policy.zip"``; one that is there is replaced.
        problem: what the policy has evolved on.
        policy_params: a solution, for example ``result.best_solution``.
        problem_state: ``result.problem_state``, for ``observation="running"``.
        platforms: where the program is to run, as JAX calls them.

    Raises:
        ImportError: flatbuffers is not installed.
        TypeError: the weights are no numbers, or there are no moments.
        ValueError: the weights or the moments are of another problem; or the path cannot be
            written, or an observation or a carry is of classes
            that a file cannot name (want arrays in dicts, lists and tuples).

    Example:
        >>> import jax, jax.numpy as jnp, tempfile, diffevo_jax as de
        >>> from diffevo_jax.problems import control
        >>> problem = de.problems.Control("cartpole")
        >>> weights = problem.space.decode(jnp.ones((1, 58)))
        >>> weights = jax.tree.map(lambda leaf: leaf[0], weights)
        >>> path = tempfile.mkdtemp() + "/policy.zip"
        >>> control.save_controller(path, problem, weights)
        >>> saved = control.load_controller(path)
        >>> action, carry = saved(jnp.ones(4), saved.initial_carry())
        >>> int(action), saved.layout["scaling"]["kind"]
        (0, 'space')
    """
    pytree.validate(problem)
    check_writable("path", Path(path))
    which = problem.environment
    env, _ = environment(which)
    env_params = problem.with_env_params().env_params
    reset = lambda key: env.reset_env(key, env_params)[0]
    arguments = (
        jax.eval_shape(reset, jax.random.key(0)),
        jax.eval_shape(problem.policy.initial_carry),
    )
    problem.controller(policy_params, problem_state)  # which checks both
    weights = jax.tree.map(jnp.asarray, policy_params)
    act = problem.controller(weights, problem_state)
    layout = {
        "environment": label(which),
        "observation": _shapes(arguments[0]),
        "scaling": _scaling(problem, env.observation_space(env_params), problem_state),
        "carry": _shapes(arguments[1]),
        "action": _shapes(jax.eval_shape(act, *arguments)[0]),
        "action_space": _space(leaves_of(env.action_space(env_params))[0]),
        "weights": _shapes(weights),
        "versions": {name: version_of(name) for name in ("diffevo-jax", "jax")},
    }
    contents = {
        CONTROLLER: _program(act, arguments, platforms),
        CARRY: _program(problem.policy.initial_carry, (), platforms),
        WEIGHTS: _npz(weights),
        LAYOUT: json.dumps(plain(layout), indent=1, allow_nan=False).encode(),
    }
    with written_whole(path) as unfinished, zipfile.ZipFile(unfinished, "w") as archive:
        for name, content in contents.items():
            archive.writestr(name, content)


@checked
def load_controller(path: str | Path) -> SavedController:
    """Read a controller that :func:`save_controller` has written.

    Args:
        path: of the file.

    Raises:
        ImportError: flatbuffers is not installed.
        OSError: it cannot be read.
        ValueError: it is no such file.

    Example:
        >>> import jax, jax.numpy as jnp, tempfile, diffevo_jax as de
        >>> from diffevo_jax.problems import control
        >>> problem = de.problems.Control("cartpole")
        >>> weights = problem.space.decode(jnp.ones((1, 58)))
        >>> weights = jax.tree.map(lambda leaf: leaf[0], weights)
        >>> path = tempfile.mkdtemp() + "/policy.zip"
        >>> control.save_controller(path, problem, weights)
        >>> control.load_controller(path)
        SavedController(58 weights, ...)
    """
    _check_flatbuffers()
    try:
        with zipfile.ZipFile(path) as archive:
            act, initial_carry = (
                jax.jit(jax.export.deserialize(bytearray(archive.read(name))).call)
                for name in (CONTROLLER, CARRY)
            )
            with np.load(io.BytesIO(archive.read(WEIGHTS)), allow_pickle=False) as arrays:
                weights = dict(arrays)
            layout = json.loads(archive.read(LAYOUT))
    except (zipfile.BadZipFile, KeyError) as error:
        raise ValueError(
            f"path: got {path}, want what save_controller wrote: {error}"
        ) from (error)
    return SavedController(act, initial_carry, weights, layout)


def _program(
    function: Callable[..., PyTree], shapes: tuple[PyTree, ...], platforms: Sequence[str]
) -> bytes:
    """A function as ``jax.export`` writes it; in it what is no argument is a constant."""
    with without_locations():
        exported = jax.export.export(jax.jit(function), platforms=tuple(platforms))(*shapes)
    _check_flatbuffers()
    try:
        return bytes(exported.serialize())
    except ValueError as error:
        raise ValueError(
            f"problem: got observations or a carry that cannot be written, {error}; want "
            "arrays in dicts, lists and tuples"
        ) from error


def _check_flatbuffers() -> None:
    """Raise ImportError, and say how to install it, without what writes programs."""
    try:
        import flatbuffers  # noqa: F401
    except ImportError as error:
        raise ImportError(
            f"saved controllers need flatbuffers: {extra('export')}"
        ) from error


def _npz(weights: PyTree) -> bytes:
    """Leaves by their paths; dtypes that NumPy's files do not know become float32."""
    arrays = {name: np.asarray(leaf) for name, leaf in _leaves(weights).items()}
    content = io.BytesIO()
    known: dict[str, Any] = {
        name: array.astype(np.float32) if array.dtype.kind == "V" else array
        for name, array in arrays.items()
    }
    np.savez(content, **known)
    return content.getvalue()


def _leaves(tree: PyTree) -> dict[str, Any]:
    """Leaves by their paths; a leaf alone has the path ``value``."""
    name = functools.partial(jax.tree_util.keystr, simple=True, separator="/")
    return {name(path) or "value": leaf for path, leaf in jax.tree.leaves_with_path(tree)}


def _shapes(tree: PyTree) -> dict[str, Any]:
    return {
        name: {"shape": jnp.shape(leaf), "dtype": _dtype(leaf)}
        for name, leaf in _leaves(tree).items()
    }


def _dtype(leaf: PyTree) -> str:
    """The name of what JAX makes of a dtype; typed keys have one that is no array's."""
    dtype = jnp.result_type(leaf)
    extended = jnp.issubdtype(dtype, jax.dtypes.extended)
    return str(dtype if extended else jax.dtypes.canonicalize_dtype(dtype))


def _scaling(
    problem: Control, space: EnvSpace, problem_state: Moments | tuple[()]
) -> dict[str, Any]:
    """How observations are scaled; their bounds, null where there is none."""
    found: dict[str, Any] = {
        "kind": problem.observation,
        "bounds": [_space(part) for part in leaves_of(space)],
    }
    if isinstance(problem_state, Moments):
        found |= {
            "count": problem_state.count,
            "mean": _leaves(problem_state.mean),
            "deviation": _leaves(deviations(problem_state)),
            "clip": CLIP,
        }
    return found


def _space(space: Discrete | Box) -> dict[str, Any]:
    if isinstance(space, Discrete):
        return {"kind": "Discrete", "n": int(space.n)}
    low, high = (np.broadcast_to(end, space.shape) for end in (space.low, space.high))
    return {"kind": "Box", "shape": space.shape, "low": low, "high": high}
