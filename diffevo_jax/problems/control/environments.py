"""Environments, by name or as objects: built once, checked, the rules of an episode."""

import contextlib
import dataclasses
import difflib
import functools
import inspect
from collections.abc import Iterator, Mapping
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np

from diffevo_jax import pytree
from diffevo_jax.base import PyTree
from diffevo_jax.compilation import arithmetic_of_others
from diffevo_jax.problems import names
from diffevo_jax.problems.control import brax, statistics
from diffevo_jax.problems.control.episode import Context, EpisodeSpec
from diffevo_jax.problems.control.spaces import (
    Box,
    Discrete,
    Environment,
    PlayedEnvironment,
    as_floats,
    is_gymnasium,
    leaves_of,
    normalise,
    output_shape,
    to_action,
)
from diffevo_jax.pytree import objects, threefry
from diffevo_jax.pytree.annotations import checked
from diffevo_jax.pytree.components import trace_context
from diffevo_jax.pytree.objects import Snapshot


@dataclasses.dataclass(frozen=True, eq=False)
class ArithmeticOfOthers:
    """An environment whose code promotes ranks and dtypes, whatever JAX is told to refuse.

    Attributes:
        inner: the environment; all of its attributes are this one's.
        has_limit: whether it knows a time limit of its own.
    """

    inner: Environment
    has_limit: bool = True

    def __getattr__(self, name: str) -> Any:
        """The attribute of the environment, as a method that promotes if it is one."""
        value = getattr(self.inner, name)
        if not inspect.ismethod(value):
            return value

        def method(*arguments: Any, **options: Any) -> Any:
            with arithmetic_of_others():
                return value(*arguments, **options)

        return method

    def is_truncated(self, env_state: PyTree, env_params: PyTree) -> jax.Array:
        """Whether its own time limit is reached."""
        if not self.has_limit:
            return jnp.zeros((), bool)
        with arithmetic_of_others():
            return cast("PlayedEnvironment", self.inner).is_truncated(env_state, env_params)


@checked
def environment(env_name: str | Environment) -> tuple[PlayedEnvironment, PyTree]:
    """Build an environment once: the object and its default parameters.

    Args:
        env_name: a gymnax name, also one that ``gymnax.register`` was told; capitals,
            dashes and the version may be left out. Or one of brax, see
            :mod:`diffevo_jax.problems.control.brax`. Or an object with gymnax's interface,
            of which a copy is returned, as it is now.

    Raises:
        ImportError: it is one of brax, which is not installed.
        ValueError: the name is not registered (the message has the closest ones), or the
            environment cannot be built.

    Example:
        >>> from diffevo_jax.problems import control
        >>> cartpole, env_params = control.environment("cartpole")
        >>> cartpole.action_space(env_params).n, env_params.max_steps_in_episode
        (2, 500)
    """
    if isinstance(env_name, str):
        return _named(full_name(env_name))
    return _own(Snapshot(env_name, "env"))


def full_name(given: str) -> str:
    """The registered name that a name means; itself if there is none, or several.

    Example:
        >>> from diffevo_jax.problems.control.environments import full_name
        >>> full_name("mountain car"), full_name("chess")
        ('MountainCar-v0', 'chess')
    """
    if given.startswith(brax.PREFIX):
        return given
    import gymnax  # here, not above: it pulls in pandas and seaborn

    found = names.matches(given, gymnax.registered_envs)
    return found[0] if len(found) == 1 else given


@functools.lru_cache
def _named(env_name: str) -> tuple[PlayedEnvironment, PyTree]:
    if env_name.startswith(brax.PREFIX):
        with jax.ensure_compile_time_eval():
            env, params = brax.make(env_name)
        return ArithmeticOfOthers(env), params
    import gymnax

    if env_name not in gymnax.registered_envs:
        found = names.matches(env_name, gymnax.registered_envs)
        close = difflib.get_close_matches(env_name, gymnax.registered_envs, 3, 0.3)
        known = found or close or gymnax.registered_envs[:3]
        raise ValueError(
            f"env_name: got {env_name!r}, want a registered gymnax environment, "
            f"for example {', '.join(known)}; or an object of your own, as env=..."
        )
    try:
        with jax.ensure_compile_time_eval(), arithmetic_of_others():
            env, params = gymnax.make(env_name)
    except Exception as error:
        raise ValueError(
            f"env_name: {env_name} cannot be built here: {type(error).__name__}: {error}"
        ) from error
    return ArithmeticOfOthers(env), params


@functools.lru_cache
def _own(snapshot: Snapshot) -> tuple[PlayedEnvironment, PyTree]:
    """A copy of an object, since who owns it may change it, and its parameters."""
    env = cast("Environment", objects.frozen(snapshot.value))
    with jax.ensure_compile_time_eval(), naming("default_params"):
        params = env.default_params
        jax.tree.map(np.shape, params)
    inherited = getattr(type(env), "is_truncated", None)
    # gymnax's own compares with a limit that these parameters may not have.
    of_gymnax = getattr(inherited, "__module__", "") == "gymnax.environments.environment"
    known = hasattr(env, "is_truncated") and not (of_gymnax and limit_of(params) is None)
    return ArithmeticOfOthers(env, known), params


@contextlib.contextmanager
def naming(member: str) -> Iterator[None]:
    """Say which member of an environment of a user's own has raised.

    Raises:
        ValueError: anything was raised.
    """
    try:
        yield
    except Exception as error:
        first = str(error).partition("\n")[0]
        raise ValueError(f"env.{member}: {type(error).__name__}: {first}") from error


def limit_of(env_params: PyTree) -> Any:
    """The time limit among the parameters of an environment; None if there is none."""
    if isinstance(env_params, Mapping):
        return env_params.get("max_steps_in_episode")
    return getattr(env_params, "max_steps_in_episode", None)


def default_limit(env: str | Environment) -> int:
    """The time limit of an environment's default parameters.

    Raises:
        ValueError: there is none.
    """
    limit = limit_of(environment(env)[1])
    if limit is None:
        raise ValueError(
            f"Control.max_steps: got None, want an int: the parameters of {label(env)} "
            "have no max_steps_in_episode"
        )
    return int(limit)


def episode_spec(
    env: str | Environment, scaling: str, max_steps: int, rewrite: bool, fast: bool = False
) -> EpisodeSpec:
    """The rules of an episode; one object for one set of rules, so that it traces once.

    Args:
        env: a full name of gymnax or brax, or an object, as it is now.
        scaling: of the observations; see :class:`diffevo_jax.problems.Control`.
        max_steps: longest episode.
        rewrite: whether traced programs may be rewritten; see
            :class:`diffevo_jax.problems.Control`.
        fast: whether sines and cosines are polynomials, on a CPU.
    """
    once = rewrite and jax.default_backend() == "cpu"
    context = trace_context()  # it holds a traced program
    which = env if isinstance(env, str) else Snapshot(env, "env")
    return _episode_spec(which, scaling, max_steps, rewrite, once, fast, context)


@functools.lru_cache(1024)
def _episode_spec(
    which: str | Snapshot,
    scaling: str,
    max_steps: int,
    rewrite: bool,
    once: bool,
    fast: bool,
    context: tuple[Any, ...],
) -> EpisodeSpec:
    env, defaults = _named(which) if isinstance(which, str) else _own(which)

    def floats(env_params: PyTree, observation: PyTree) -> PyTree:
        return as_floats(observation, env.observation_space(env_params))

    def act(
        context: Context, policy_params: PyTree, observation: PyTree, carry: PyTree
    ) -> tuple[jax.Array, PyTree]:
        policy, env_params, moments = context
        if scaling == "space":
            observation = normalise(observation, env.observation_space(env_params))
        elif moments is not None:
            observation = statistics.standardise(moments, floats(env_params, observation))
        output, carry = policy.apply(policy_params, observation, carry)
        return to_action(output, env.action_space(env_params)), carry

    # Here, not above: it reads programs by what brings Pallas, a tenth of the import.
    from diffevo_jax.problems.control.rewriting import (
        compute_trigonometry_once,
        observation_from_state,
    )

    observe = observation_from_state(env, defaults) if rewrite else None
    if observe is not None and once and fast:
        observe = compute_trigonometry_once(observe, fast)
    # One of a user's own may keep its key, or join it with others, of JAX's kind.
    own = not isinstance(which, str) or which.startswith(brax.PREFIX)
    draw = (lambda key: key) if own else threefry.written_out
    return EpisodeSpec(env, defaults, act, max_steps, floats, observe, once, fast, draw)


def check_params(
    env: str | Environment, params: PyTree | None, max_steps: int | None
) -> None:
    """Raise if parameters are not those of the environment, or fit no step limit.

    Args:
        env: a name, or an object.
        params: all of its parameters; None for the defaults.
        max_steps: longest episode; None for the default limit.
    """
    _, defaults = environment(env)
    used = defaults if params is None else params
    structures: list[Any] = [jax.tree.structure(each) for each in (used, defaults)]
    if structures[0] != structures[1]:
        raise TypeError(
            f"Control.env_params: got {structures[0]}, want {structures[1]}, for "
            "example the default parameters with .replace(...)"
        )
    for leaf in map(pytree.concrete, jax.tree.leaves(params)):
        if leaf is not None and not np.isfinite(leaf).all():
            raise ValueError(f"Control.env_params: got {leaf}, want finite numbers")
    if max_steps is None:
        default_limit(env)
    limit = limit_of(used)
    if limit is None or pytree.concrete(limit) is None:
        return
    if max_steps is None and limit > limit_of(defaults):
        raise ValueError(
            f"Control.max_steps: got None with a limit of {limit} in env_params, "
            f"want max_steps={limit} (the loop is compiled for a fixed limit)"
        )
    if max_steps is not None and max_steps > limit:
        raise ValueError(
            f"Control.max_steps: got {max_steps}, want at most {limit}, the limit "
            f"of {label(env)}; more needs env_params with max_steps_in_episode"
        )


def label(env: str | Environment) -> str:
    """What an environment is called: its name, or its class."""
    return env if isinstance(env, str) else type(env).__name__


def check_spaces(env: Environment, env_params: PyTree) -> None:
    """Raise ValueError unless an environment's spaces are of kinds that are known."""
    played, _ = environment(env)
    with naming("action_space"):
        actions = played.action_space(env_params)
    if not isinstance(actions, Discrete | Box) or is_gymnasium(actions):
        of = " (of gymnasium)" if is_gymnasium(actions) else ""
        raise ValueError(
            f"env.action_space: got {actions!r}{of}, want a Discrete or a Box of gymnax, "
            "gymnax.environments.spaces"
        )
    with naming("observation_space"):
        seen = played.observation_space(env_params)
    leaves_of(seen)


def first_steps(env: str | Environment, env_params: PyTree) -> tuple[PyTree, PyTree]:
    """What a reset and a step return, for their shapes; the step without what it is told.

    Raises:
        ValueError: the environment raises, and the message says where.
    """
    played, _ = environment(env)
    key = jax.random.key(0)
    with naming("reset_env"):
        observation, env_state = played.reset_env(key, env_params)
    with naming("action_space"):
        space = played.action_space(env_params)
        action = to_action(jnp.zeros(output_shape(space)), space)
    with naming("step_env"):
        after = played.step_env(key, env_state, action, env_params)
        seen, env_state_after, reward, terminated, _ = after
    truncated: jax.Array | bool = False
    structures: list[Any] = list(map(jax.tree.structure, (env_state, env_state_after)))
    if structures[0] == structures[1]:
        with naming("is_truncated"):
            truncated = played.is_truncated(env_state_after, env_params)
    arrays = (
        (observation, env_state),
        (seen, env_state_after, reward, terminated, truncated),
    )
    made: tuple[PyTree, PyTree] = jax.tree.map(jnp.asarray, arrays)
    return made


def check_steps(env: Environment, env_params: PyTree, shapes: PyTree) -> None:
    """Raise ValueError unless what an environment returns goes together.

    Args:
        env: an object.
        env_params: its parameters.
        shapes: of :func:`first_steps`.
    """
    (observation, env_state), (seen, after, *numbers) = shapes
    for name, before, later in (
        ("observation", observation, seen),
        ("state", env_state, after),
    ):
        got, want = (jax.tree.map(lambda leaf: leaf.shape, x) for x in (later, before))
        structures: list[Any] = [jax.tree.structure(tree) for tree in (later, before)]
        if structures[0] != structures[1] or got != want:
            raise ValueError(
                f"env.step_env: got a {name} like {got}, want one like that of reset_env, "
                f"{want}"
            )
    for name, number in zip(("reward", "end", "is_truncated"), numbers, strict=True):
        if getattr(number, "shape", None) != ():
            raise ValueError(f"env.step_env: got a {name} {number}, want one number")
    space = environment(env)[0].observation_space(env_params)
    with naming("observation_space"):
        floats = jax.eval_shape(lambda seen: as_floats(seen, space), observation)
    named = {
        jax.tree_util.keystr(path) for path, _ in jax.tree.leaves_with_path(observation)
    }
    known = {jax.tree_util.keystr(path) for path, _ in jax.tree.leaves_with_path(floats)}
    shown = [leaf.shape for leaf in jax.tree.leaves(observation)]
    told = [() if isinstance(s, Discrete) else tuple(s.shape) for s in leaves_of(space)]
    if named != known or shown != told:
        raise ValueError(
            f"env.reset_env: got an observation with {sorted(named)} of shapes {shown}, "
            f"want what observation_space says, {sorted(known)} of shapes {told}"
        )
