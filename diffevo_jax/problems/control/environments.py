"""Environments by name: built once, checked, and made the rules of an episode."""

import dataclasses
import difflib
import functools
import inspect
from typing import Any

import jax
import numpy as np

from diffevo_jax import pytree
from diffevo_jax.base import PyTree
from diffevo_jax.compilation import arithmetic_of_others
from diffevo_jax.problems.control import brax, statistics
from diffevo_jax.problems.control.episode import Context, EpisodeSpec
from diffevo_jax.problems.control.rewriting import observation_from_state
from diffevo_jax.problems.control.spaces import (
    Environment,
    as_floats,
    normalise,
    to_action,
)
from diffevo_jax.pytree.annotations import checked
from diffevo_jax.pytree.components import trace_context


@dataclasses.dataclass(frozen=True, eq=False)
class ArithmeticOfOthers:
    """An environment whose code promotes ranks and dtypes, whatever JAX is told to refuse.

    Attributes:
        inner: the environment; all of its attributes are this one's.
    """

    inner: Environment

    def __getattr__(self, name: str) -> Any:
        """The attribute of the environment, as a method that promotes if it is one."""
        value = getattr(self.inner, name)
        if not inspect.ismethod(value):
            return value

        def method(*arguments: Any, **options: Any) -> Any:
            with arithmetic_of_others():
                return value(*arguments, **options)

        return method


@checked
@functools.lru_cache
def environment(env_name: str) -> tuple[Environment, PyTree]:
    """Build an environment once: the object and its default parameters.

    Args:
        env_name: a gymnax name; or one of brax, see
            :mod:`diffevo_jax.problems.control.brax`.

    Raises:
        ImportError: it is one of brax, which is not installed.
        ValueError: the name is not registered (the message has the closest ones), or the
            environment cannot be built.
    """
    if env_name.startswith(brax.PREFIX):
        with jax.ensure_compile_time_eval():
            env, params = brax.make(env_name)
        return ArithmeticOfOthers(env), params
    import gymnax  # here, not above: it pulls in pandas and seaborn

    if env_name not in gymnax.registered_envs:
        close = difflib.get_close_matches(env_name, gymnax.registered_envs, 3, 0.3)
        raise ValueError(
            f"env_name: got {env_name!r}, want a registered gymnax environment, "
            f"for example {', '.join(close or gymnax.registered_envs[:3])}"
        )
    try:
        with jax.ensure_compile_time_eval(), arithmetic_of_others():
            env, params = gymnax.make(env_name)
    except Exception as error:
        raise ValueError(
            f"env_name: {env_name} cannot be built here: {type(error).__name__}: {error}"
        ) from error
    return ArithmeticOfOthers(env), params


def episode_spec(env_name: str, scaling: str, max_steps: int, rewrite: bool) -> EpisodeSpec:
    """The rules of an episode; one object for one set of rules, so that it traces once.

    Args:
        env_name: a name of gymnax or brax.
        scaling: of the observations; see :class:`diffevo_jax.problems.Control`.
        max_steps: longest episode.
        rewrite: whether traced programs may be rewritten; see
            :class:`diffevo_jax.problems.Control`.
    """
    once = rewrite and jax.default_backend() == "cpu"
    context = trace_context()  # it holds a traced program
    return _episode_spec(env_name, scaling, max_steps, rewrite, once, context)


@functools.cache
def _episode_spec(
    env_name: str,
    scaling: str,
    max_steps: int,
    rewrite: bool,
    once: bool,
    context: tuple[Any, ...],
) -> EpisodeSpec:
    env, defaults = environment(env_name)

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

    observe = observation_from_state(env, defaults) if rewrite else None
    return EpisodeSpec(env, defaults, act, max_steps, floats, observe, once)


def check_params(env_name: str, params: PyTree | None, max_steps: int | None) -> None:
    """Raise if parameters are not those of the environment, or fit no step limit.

    Args:
        env_name: a gymnax name.
        params: all of its parameters; None for the defaults.
        max_steps: longest episode; None for the default limit.
    """
    _, defaults = environment(env_name)
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
    limit = pytree.concrete(used.max_steps_in_episode)
    if limit is None:
        return
    if max_steps is None and limit > defaults.max_steps_in_episode:
        raise ValueError(
            f"Control.max_steps: got None with a limit of {limit} in env_params, "
            f"want max_steps={limit} (the loop is compiled for a fixed limit)"
        )
    if max_steps is not None and max_steps > limit:
        raise ValueError(
            f"Control.max_steps: got {max_steps}, want at most {limit}, the limit "
            f"of {env_name}; more needs env_params with max_steps_in_episode"
        )
