"""Policies in environments: the reward of an episode is the fitness."""

import dataclasses
import math
from collections.abc import Callable
from typing import Literal, overload

import jax
import jax.numpy as jnp

from diffevo_jax import pytree
from diffevo_jax.base import Evaluation, Policy, PyTree, Sizing
from diffevo_jax.problems.control import statistics
from diffevo_jax.problems.control.environments import (
    check_params,
    check_spaces,
    check_steps,
    default_limit,
    environment,
    episode_spec,
    first_steps,
    full_name,
    label,
    naming,
)
from diffevo_jax.problems.control.episode import (
    Context,
    Episode,
    EpisodeSpec,
    Trajectory,
    play,
    play_recorded,
)
from diffevo_jax.problems.control.policies import MLP
from diffevo_jax.problems.control.rollout import play_lanes
from diffevo_jax.problems.control.spaces import (
    Environment,
    as_floats,
    normalise,
    output_shape,
)
from diffevo_jax.problems.control.statistics import Moments
from diffevo_jax.problems.space import Space
from diffevo_jax.pytree import Number, annotations, arrays, threefry, validation
from diffevo_jax.pytree.keys import drawing_in_a_batch

OBSERVATIONS = ("space", "running", "none")


@pytree.dataclass
class Control:
    """Maximise the mean total reward of a policy in an environment.

    The solutions are the policy's weights. Every individual plays ``num_episodes`` episodes
    from starts of its own, drawn afresh in every generation. So its fitness is noisy, and
    ``result.best_solution`` is chosen and judged anew, see :func:`diffevo_jax.evolve`.
    Episodes are played in batches
    of any size, and so their keys are of threefry2x32, whatever that of an evaluation is.

    Discrete actions are the argmax of the policy's output; continuous ones are ``tanh`` of
    it, stretched to the bounds of the action space; ``softplus`` of it from a single bound;
    the output itself where there is no bound within 1000. They are within their bounds, and
    of the dtype of their space.

    Args:
        env_name: a registered gymnax name, for example ``"CartPole-v1"``, or ``"cartpole"``
            for short; ``gymnax.register`` adds names. Or one of brax, as in
            ``"brax:hopper"``, see :mod:`diffevo_jax.problems.control.brax`. None if ``env``
            is given; static.
        policy: a policy: :class:`MLP`, :class:`diffevo_jax.problems.ActionSequence`, which
            is a plan, :class:`diffevo_jax.problems.LowRankPolicy`, of which few numbers
            evolve, or :class:`diffevo_jax.problems.FunctionPolicy` of functions of your
            own.
        env_params: parameters of the environment, a pytree; None takes its defaults.
        max_steps: longest episode; None takes the environment's default limit; static.
        num_episodes: episodes an individual plays in a generation, >= 1; static.
        observation: ``"space"`` normalises by the bounds of the observation space to zero
            mean and unit variance, ``sqrt(3) (2 (o - low) / (high - low) - 1)``, where
            bounds beyond 1000 count as 1, see
            :func:`diffevo_jax.problems.control.normalise`; ``"running"`` by the mean and
            deviation of what the policies of earlier generations saw (the problem's state,
            see :meth:`controller`), clipped to +-10; ``"none"`` leaves observations alone;
            static.
        scale: weights per unit deviation: the policies start as N(0, scale^2 I).
        rewrite: whether the environment's traced program may be rewritten so that a step
            computes less, see :mod:`diffevo_jax.problems.control.rewriting`. False takes it
            as it is: the same steps to rounding, 1.6 to 7 times slower on a CPU; static.
        fast_trigonometry: whether sines and cosines of an environment's step are
            polynomials, on a CPU: right to 2 units in the last place where XLA's are to 1,
            and five times as fast
            (:mod:`diffevo_jax.problems.control.trigonometry`). Episodes are then not those
            of gymnax to the last digit, which a chaotic environment magnifies; static.
        env: in place of a name, an environment of your own: an object with gymnax's
            ``reset_env``, ``step_env``, ``observation_space``, ``action_space`` and
            ``default_params``, see ``docs/own_environment.md``. Objects of one class with
            equal public attributes share compiled programs; a changed one is another
            environment, from its next use on; static.

    Example:
        >>> import jax, diffevo_jax as de
        >>> problem = de.problems.Control("CartPole-v1", policy=de.problems.MLP((8,)))
        >>> problem.space.dim
        58
        >>> weights = problem.space.decode(problem.space.sample(jax.random.key(0), 4))
        >>> evaluation, _ = problem.evaluate(jax.random.key(1), (), weights)
        >>> evaluation.fitness.shape, evaluation.measures.length.shape
        ((4,), (4, 1))

    References:
        Lange, "gymnax", 2022; normalisation and settings: Zhang et al., 2024,
        arXiv:2410.02543, section 4.2.
    """

    env_name: str | None = pytree.static(default=None)
    policy: Policy = dataclasses.field(default_factory=MLP)
    env_params: PyTree = None
    max_steps: int | None = pytree.static(default=None)
    num_episodes: int = pytree.static(default=1)
    observation: str = pytree.static(default="space")
    scale: Number = pytree.number(default=1.0, above=0.0)
    rewrite: bool = pytree.static(default=True)
    fast_trigonometry: bool = pytree.static(default=False)
    env: Environment | None = pytree.static(default=None, by_value=True)

    def __post_init__(self) -> None:
        """Spell a name in full, so that problems that are equal are so as structures.

        Raises:
            TypeError: ``env`` lacks a member of an environment.
        """
        annotations.check("Control.env", self.env, Environment | None)
        if isinstance(self.env_name, str):
            object.__setattr__(self, "env_name", full_name(self.env_name))

    @property
    def environment(self) -> str | Environment:
        """The environment's full name, or the object itself.

        Raises:
            ValueError: there is neither, or both.
        """
        if self.env_name is not None and self.env is None:
            return self.env_name
        if self.env is not None and self.env_name is None:
            return self.env
        got = "neither env_name nor" if self.env is None else "both env_name and"
        raise ValueError(f"Control: got {got} env, want one of them")

    @property
    def space(self) -> Space:
        """The space of the policy's weights, unbounded."""
        if self.env is not None:
            check_spaces(self.env, self._env_params())
        return Space(pytree.shapes(Control._drawn, self), scale=self.scale)

    @property
    def episode_limit(self) -> int:
        """Longest episode, in steps."""
        if self.max_steps is not None:
            return self.max_steps
        return default_limit(self.environment)

    @property
    def noisy(self) -> bool:
        """True: starts are drawn, and in some environments also what happens then."""
        return True

    def with_env_params(self) -> "Control":
        """The same problem with the parameters of its environment written out."""
        return pytree.replace(self, env_params=self._env_params())

    def sized_policy(self) -> Policy:
        """The policy; what it leaves open is the environment's."""
        if not pytree.offers(self.policy, Sizing):
            return self.policy
        env, _ = environment(self.environment)
        shape = output_shape(env.action_space(self._env_params()))
        seen = pytree.shapes(Control._first_seen, self)
        return self.policy.sized(seen, math.prod(shape))

    def check(self) -> None:
        """Raise if there is no such environment, or a count is wrong."""
        env = self.environment
        environment(env)
        validation.check_count("Control.num_episodes", self.num_episodes)
        if self.observation not in OBSERVATIONS:
            raise ValueError(
                f"Control.observation: got {self.observation!r}, want one of {OBSERVATIONS}"
            )
        if self.max_steps is not None:
            validation.check_count("Control.max_steps", self.max_steps)
        if self.fast_trigonometry and not self.rewrite:
            raise ValueError(
                "Control.fast_trigonometry: got True with rewrite=False, want rewrite=True"
            )
        check_params(env, self.env_params, self.max_steps)
        if self.env is not None:
            check_spaces(self.env, self._env_params())

    def check_shapes(self) -> None:
        """Raise if the policy does not fit the environment."""
        if self.env is not None:
            shapes = pytree.shapes(Control._first_steps, self)
            check_steps(self.env, self._env_params(), shapes)
        env, _ = environment(self.environment)
        space = env.action_space(self._env_params())
        want = output_shape(space)
        got, carry, initial = pytree.shapes(Control._applied, self)
        if jax.tree.flatten(carry) != jax.tree.flatten(initial):
            raise ValueError(f"Control.policy: got a carry of {carry}, want {initial}")
        shape = got.shape if isinstance(got, jax.ShapeDtypeStruct) else None
        if shape is None or (shape != want and shape != (math.prod(want),)):
            raise ValueError(
                f"Control.policy: got an output of shape {shape}, want {want} "
                f"for {label(self.environment)}, whose actions are {space!r}"
            )

    def init(self, key: jax.Array) -> Moments | tuple[()]:
        """The moments of no observation if they are wanted; else no state."""
        return statistics.nothing(self._observe(key)) if self._learns() else ()

    def evaluate(
        self, key: jax.Array, problem_state: Moments | tuple[()], solutions: PyTree
    ) -> tuple[Evaluation, Moments | tuple[()]]:
        """Play N policies; measures are the episodes, :class:`Episode` of (N, E) arrays."""
        arrays.check_typed("key", key)
        num_solutions = len(jax.tree.leaves(solutions)[0])
        shape = (num_solutions, self.num_episodes)
        each = lambda leaf: jnp.repeat(leaf, self.num_episodes, axis=0)
        episodes, moments = play_lanes(
            self._spec(),
            self._context(problem_state),
            jax.tree.map(each, solutions),
            self._keys(key, math.prod(shape)),
        )
        if self._learns():
            join = lambda old, new: jnp.concatenate([old[None], new])
            problem_state = statistics.merge(jax.tree.map(join, problem_state, moments))
        episodes = jax.tree.map(lambda leaf: leaf.reshape(shape), episodes)
        fitness = jnp.mean(episodes.total_reward, axis=1)
        return Evaluation(fitness=fitness, measures=episodes), problem_state

    @overload
    def play(
        self,
        key: jax.Array,
        policy_params: PyTree,
        problem_state: Moments | tuple[()] = (),
        record: Literal[False] = False,
    ) -> Episode: ...

    @overload
    def play(
        self,
        key: jax.Array,
        policy_params: PyTree,
        problem_state: Moments | tuple[()] = (),
        *,
        record: Literal[True],
    ) -> Trajectory: ...

    def play(
        self,
        key: jax.Array,
        policy_params: PyTree,
        problem_state: Moments | tuple[()] = (),
        record: bool = False,
    ) -> Episode | Trajectory:
        """Play one episode with one policy's weights.

        Args:
            key: a typed key.
            policy_params: a solution, for example ``result.best_solution``.
            problem_state: ``result.problem_state``, for ``observation="running"``.
            record: whether to return all of it, a :class:`Trajectory`, for films and
                replays; one compiled program for all weights and keys.

        Raises:
            TypeError: the key is no typed key, the weights are no numbers, or there are no
                moments.
            ValueError: the weights or the moments have another structure or other shapes
                than those of one solution of this problem.

        Example:
            >>> import jax, diffevo_jax as de
            >>> problem = de.problems.Control("cartpole", max_steps=50)
            >>> weights = problem.space.decode(problem.space.sample(jax.random.key(0), 1))
            >>> weights = jax.tree.map(lambda leaf: leaf[0], weights)
            >>> played = problem.play(jax.random.key(1), weights, record=True)
            >>> played.observations.shape, played.states.theta.shape
            ((50, 4), (50,))
            >>> bool(played.rewards.sum() == played.episode.total_reward)
            True
        """
        arrays.check_typed("key", key)
        context = self._acting(policy_params, problem_state)
        keys = jax.random.split(drawing_in_a_batch(key))
        if record:
            return play_recorded(self._spec(), context, policy_params, keys)
        return play(self._spec(), context, policy_params, keys).episode

    def controller(
        self, policy_params: PyTree, problem_state: Moments | tuple[()] = ()
    ) -> Callable[[PyTree, PyTree], tuple[jax.Array, PyTree]]:
        """Export a policy, with the scaling of its observations and actions.

        Args:
            policy_params: a solution, for example ``result.best_solution``.
            problem_state: ``result.problem_state``, for ``observation="running"``.

        Returns:
            ``controller(observation, carry) -> (action, carry)``, from the environment's
            own observation to its action, one at a time; the carry starts as
            ``problem.policy.initial_carry()``, and may be left out if there is none.

        Raises:
            TypeError: see :meth:`play`.
            ValueError: see :meth:`play`; and of what it returns, an observation or a carry
                has another structure or other shapes.

        Example:
            >>> import jax, jax.numpy as jnp, diffevo_jax as de
            >>> problem = de.problems.Control("CartPole-v1", observation="running")
            >>> state = problem.init(jax.random.key(0))
            >>> weights = problem.space.decode(jnp.ones((1, 58)))
            >>> weights = jax.tree.map(lambda leaf: leaf[0], weights)
            >>> action, _ = problem.controller(weights, state)(jnp.ones(4))
            >>> int(action)
            0
        """
        spec = self._spec()
        context = spec.resolve(self._acting(policy_params, problem_state))
        likes = pytree.shapes(Control._seen_and_carried, self)

        def act(observation: PyTree, carry: PyTree = ()) -> tuple[jax.Array, PyTree]:
            arrays.check_like("observation", observation, likes[0], ", one at a time")
            arrays.check_like("carry", carry, likes[1], ", as of policy.initial_carry()")
            return spec.act(context, policy_params, observation, carry)

        return act

    def _learns(self) -> bool:
        return self.observation == "running"

    def _context(self, problem_state: Moments | tuple[()]) -> Context:
        if not self._learns():
            return Context(self.sized_policy(), self.env_params, None)
        if not isinstance(problem_state, Moments):
            raise TypeError(
                f"problem_state: got {problem_state!r}, want the Moments of "
                'Control(observation="running"), for example result.problem_state'
            )
        return Context(self.sized_policy(), self.env_params, problem_state)

    def _acting(self, policy_params: PyTree, problem_state: Moments | tuple[()]) -> Context:
        """The context of one policy, whose weights and moments are of this problem."""
        context = self._context(problem_state)
        for leaf in jax.tree.leaves(policy_params):
            arrays.as_given("policy_params", leaf)
        hint = ", one solution of problem.space, such as result.best_solution"
        weights = pytree.shapes(Control._drawn, self)
        arrays.check_like("policy_params", policy_params, weights, hint)
        if context.moments is not None:
            moments = pytree.shapes(Control._unseen, self)
            hint = ", of one run of this problem, such as result.problem_state"
            arrays.check_like("problem_state", problem_state, moments, hint)
        return context

    def _spec(self) -> EpisodeSpec:
        limit = self.episode_limit
        fast = self.fast_trigonometry
        return episode_spec(self.environment, self.observation, limit, self.rewrite, fast)

    def _env_params(self) -> PyTree:
        if self.env_params is not None:
            return self.env_params
        return environment(self.environment)[1]

    def _first_steps(self) -> tuple[PyTree, PyTree]:
        return first_steps(self.environment, self._env_params())

    def _first_seen(self) -> PyTree:
        """An observation, for its shapes."""
        return self._observe(jax.random.key(0))

    def _observe(self, key: jax.Array) -> PyTree:
        """An observation as the policy sees it."""
        env, _ = environment(self.environment)
        with naming("reset_env"):
            observation, _ = env.reset_env(key, self._env_params())
        if self.observation == "none":
            return observation
        scale = as_floats if self._learns() else normalise
        with naming("observation_space"):
            return scale(observation, env.observation_space(self._env_params()))

    def _keys(self, key: jax.Array, num_lanes: int) -> jax.Array:
        """(L, 2) typed, for the reset and for the steps of each episode."""
        key = drawing_in_a_batch(key)
        drawn = jax.random.split(threefry.written_out(key), (num_lanes, 2))
        return threefry.of_kind(drawn, key)

    def _drawn(self) -> PyTree:
        """Weights, for their shapes."""
        key = jax.random.key(0)
        return self.sized_policy().init(key, self._observe(key))

    def _unseen(self) -> Moments:
        """The moments of no observation, for their shapes."""
        return statistics.nothing(self._observe(jax.random.key(0)))

    def _seen_and_carried(self) -> tuple[PyTree, PyTree]:
        """What a controller takes, for its shapes."""
        env, _ = environment(self.environment)
        observation, _ = env.reset_env(jax.random.key(0), self._env_params())
        return observation, self.sized_policy().initial_carry()

    def _applied(self) -> tuple[PyTree, PyTree, PyTree]:
        """An output, and the carry after and before, for their shapes."""
        policy, observation = self.sized_policy(), self._first_seen()
        carry = policy.initial_carry()
        return *policy.apply(self._drawn(), observation, carry), carry
