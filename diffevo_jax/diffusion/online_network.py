"""A network that learns while it evolves: few steps of training a generation, on the good.

What was evaluated and is remembered is a training set, drawn by its weights g. A network is
trained on it for some steps, from where it stood, in units in which the set has mean 0 and
deviation 1,

    z = (y - m) / s,    x0_hat = m + s (c_skip z + share c_out F(c_in z, c_noise)),

with m and s the mean and the deviation of the set, and EDM's coefficients at ``sigma / s``.
Where F answers 0, as an untrained network does, the Wiener filter of a sphere is left, and
of that the weighted mean m where noise is large.

Reference: Hartl, Zhang, Hazan, Levin, "Heuristically Adaptive Diffusion-Model Evolutionary
Strategy", 2024, arXiv:2411.13420 (HADES; with conditions CHARLES-D).
"""

import dataclasses
import itertools

import jax
import jax.numpy as jnp

from diffevo_jax import pytree
from diffevo_jax import shaping as shapings
from diffevo_jax.attention import matmul, or_uniform
from diffevo_jax.base import Estimate, Evaluated, PyTree, RowShaping, Shaping
from diffevo_jax.denoisers.evidence import (
    Evidence,
    Latest,
    Memory,
    check_dimension,
    empty_evidence,
    log_weights,
    with_counts,
    with_generation,
)
from diffevo_jax.diffusion.networks.mlp import MLP
from diffevo_jax.diffusion.networks.network import NetworkLike
from diffevo_jax.diffusion.networks.numbers import NumberConditional
from diffevo_jax.diffusion.training.denoiser import NetworkDenoiser
from diffevo_jax.diffusion.training.loop import TrainState, init_training, train_steps
from diffevo_jax.diffusion.training.losses import DIVERGED
from diffevo_jax.diffusion.training.objectives import LogUniformLevels, Objective
from diffevo_jax.diffusion.training.parameterisations import EDM
from diffevo_jax.diffusion.training.recipe import Recipe
from diffevo_jax.pytree import Number, validation
from diffevo_jax.pytree.derivatives import square_root
from diffevo_jax.shaping.conditions import (
    Condition,
    Labelled,
    check_conditions,
    label_moments,
)

#: Smallest deviation of a training set: points that are nearer are one.
SMALLEST = 1e-6


@pytree.dataclass
class OnlineNetworkState:
    """What a network has learnt, and of what.

    Attributes:
        evidence: M evaluated points, those of this generation first.
        plain_log_weight: (M,) without fitness and conditions; ``-inf`` where an evaluation
            failed.
        log_weight: (M,) log g, the plain ones included; ``-inf`` for weight zero.
        weights: of the network, averaged along the training.
        mean: (D,) m, of the training set.
        deviation: () s, of a coordinate of the training set, >= 1e-6.
        plain_mean: (D,) of all that did not fail.
        wanted: (m,) the label to ask for, in the units of the training; () without labels.
        num_diverged: () int32, 1 if the training of this generation was undone.
        size: N, individuals of a generation, static.
    """

    evidence: Evidence
    plain_log_weight: jax.Array
    log_weight: jax.Array
    weights: PyTree
    mean: jax.Array
    deviation: jax.Array
    plain_mean: jax.Array
    wanted: PyTree
    num_diverged: jax.Array
    size: int = pytree.static()


@pytree.dataclass
class OnlineNetwork:
    """A network answers, and is trained in every generation on what was good.

    Its training costs ``num_steps`` steps a generation and no evaluation. Prefer it for
    what a model gives: conditions as labels, what earlier generations taught, and samples
    of what was learnt. Without a condition a population has been as good or better
    wherever they were compared (``docs/learned_evolution.md``), and it keeps several modes.

    Args:
        network: any of :mod:`diffevo_jax.diffusion` that takes flat samples.
        shaping: from fitness to log-weight: how often each is drawn for the training.
        conditions: what else is wanted. Those that are
            :class:`diffevo_jax.conditions.Labelled` (``Target``, ``Fitness``, ``Novelty``)
            are labels of the network, which is asked for the wanted one, or the nearest
            that it has seen; the others weigh.
        memory: what is trained on: ``Latest``, ``Archive``.
        num_steps: of training a generation, static, >= 1.
        batch_size: points a step, static, >= 1.
        learning_rate: of Adam, > 0: it rises for a twentieth of each generation's steps,
            and falls to 0 along a cosine.
        sigma_min: least noise of the training, in deviations of the training set, > 0.
        sigma_max: most noise of it, likewise, above ``sigma_min``. From half of it on the
            network's share falls with the log of the noise, and from ``sigma_max`` on it is
            0: there the weighted mean answers, and no label is heard.
        dimension: as how many dimensions distances count, > 0: the network is asked at the
            noise ``sigma / sqrt(kappa)``, ``kappa = min(1, dimension / D)``, as
            :class:`diffevo_jax.kernels.Tempered`. From D on it is asked at sigma itself,
            and from about 8 dimensions on there is hardly any selection then.
        guidance: how far to go beyond the answer, and away from that without fitness and
            labels, in [-1, 100]. Of labels it is classifier-free guidance; of fitness, of
            the Wiener filters' means.

    Example:
        >>> import jax, diffevo_jax as de
        >>> from diffevo_jax import diffusion
        >>> problem = de.problems.Function(lambda x: -((x - 1.0) ** 2).sum(), dim=2)
        >>> strategy = de.DiffusionEvolution(20, diffusion.OnlineNetwork(num_steps=30))
        >>> result = de.evolve(jax.random.key(0), strategy, problem, population_size=64)
        >>> bool(abs(result.best_solution - 1.0).max() < 0.2)
        True

    References:
        Hartl et al., 2024, arXiv:2411.13420; Karras et al., 2022, arXiv:2206.00364, table 1
        (coefficients); Ho and Salimans, 2022, arXiv:2207.12598, eq. 6 (guidance).

    Notes:
        The paper trains a new network on a buffer with weights in the loss, and draws the
        next generation of it, from noise, beside elites, crossovers and mutations. Here
        the sampler moves individuals as it does with any denoiser, the network goes on
        from where it stood, and weights say how often a point is drawn
        (``docs/learned_evolution.md`` has the comparisons).
    """

    network: NetworkLike = dataclasses.field(default_factory=lambda: MLP((32, 32)))
    shaping: Shaping = dataclasses.field(default_factory=shapings.Standardized)
    conditions: tuple[Condition, ...] = ()
    memory: Memory = dataclasses.field(default_factory=Latest)
    num_steps: int = pytree.static(default=60)
    batch_size: int = pytree.static(default=64)
    learning_rate: Number = pytree.number(default=1e-2, above=0.0)
    sigma_min: Number = pytree.number(default=0.05, above=0.0)
    sigma_max: Number = pytree.number(default=100.0, above=0.0)
    dimension: Number = pytree.number(default=2.0, above=0.0)
    guidance: Number = pytree.number(default=0.75, low=-1.0, high=100.0)

    def check(self) -> None:
        """Raise ValueError or TypeError if parts do not go together."""
        name = "OnlineNetwork"
        validation.check_part(f"{name}.network", self.network, NetworkLike, "MLP((32, 32))")
        check_conditions(f"{name}.conditions", self.conditions)
        validation.check_count(f"{name}.num_steps", self.num_steps)
        validation.check_count(f"{name}.batch_size", self.batch_size)
        if pytree.offers(self.shaping, RowShaping):
            raise ValueError(
                f"{name}.shaping: got {type(self.shaping).__name__}, which compares with "
                "neighbours, and here are none; want one that compares with all"
            )
        low, high = pytree.concrete(self.sigma_min), pytree.concrete(self.sigma_max)
        if low is not None and high is not None and not (low < high).all():
            raise ValueError(
                f"{name}.sigma_max: got {self.sigma_max}, want above sigma_min = "
                f"{self.sigma_min}"
            )

    def init(self, key: jax.Array, population: jax.Array) -> OnlineNetworkState:
        """An untrained network; nothing is known yet of a population (N, D)."""
        size, dim = population.shape
        capacity, dtype = self.memory.capacity(size), population.dtype
        nothing = jnp.full(capacity, -jnp.inf, dtype)
        evidence = empty_evidence(capacity, population, False, self.shaping)
        labels: PyTree = ()
        wanted: PyTree = ()
        if count := self._num_labels():
            labels = jnp.full((capacity, count), jnp.inf, dtype)
            wanted = jnp.zeros(count, dtype)
        return OnlineNetworkState(
            evidence=pytree.replace(evidence, labels=labels),
            plain_log_weight=nothing,
            log_weight=nothing,
            weights=self._start(key, dim).average,
            mean=jnp.zeros(dim, dtype),
            deviation=jnp.ones((), dtype),
            plain_mean=jnp.zeros(dim, dtype),
            wanted=wanted,
            num_diverged=jnp.zeros((), jnp.int32),
            size=size,
        )

    def learn(
        self, key: jax.Array, state: OnlineNetworkState, evaluated: Evaluated
    ) -> OnlineNetworkState:
        """Take in a generation, and train on what is remembered."""
        told = self._told()
        weighing = tuple(c for c in self.conditions if not pytree.offers(c, Labelled))
        labels: PyTree = self._labels(evaluated) if told else ()
        evidence, plain = with_generation(
            self.memory,
            weighing,
            state.evidence,
            evaluated,
            shaping=self.shaping,
            labels=labels,
        )
        log_weight = log_weights(self.shaping, evidence, plain)
        weight, points = jax.nn.softmax(or_uniform(log_weight)), evidence.points
        mean, deviation = centre(points, weight)
        wanted: PyTree = ()
        if told:
            labels, wanted = self._in_units(evidence.labels, plain > -jnp.inf)
        trained = self._trained(
            key, state.weights, (points - mean[None]) / deviation, weight, labels
        )
        # A loss may also be finite and far above that of the answer 0.
        bad = (trained.diverged_at >= 0) | ~(trained.last[0] <= DIVERGED * trained.last[1])
        something = jnp.any(log_weight > -jnp.inf)
        return OnlineNetworkState(
            evidence=evidence,
            plain_log_weight=plain,
            log_weight=log_weight,
            weights=pytree.select(something & ~bad, trained.average, state.weights),
            mean=mean,
            deviation=deviation,
            plain_mean=matmul(jax.nn.softmax(or_uniform(plain)), points),
            wanted=wanted,
            num_diverged=jnp.asarray(something & bad, jnp.int32),
            size=state.size,
        )

    def denoise(
        self, state: OnlineNetworkState, y: jax.Array, sigma: jax.Array
    ) -> Estimate:
        """Where the clean points are; see :class:`diffevo_jax.Denoiser`."""
        check_dimension(y, state.evidence)
        count, dim = y.shape
        kappa = jnp.minimum(1.0, self.dimension / dim)
        level = (sigma / (state.deviation * jnp.sqrt(kappa))).astype(y.dtype)
        z = (y - state.mean[None]) / state.deviation
        model = NetworkDenoiser(self._network(), EDM(), state.weights, (dim,))
        left = 1 / (1 + level**2)  # what the Wiener filter leaves of a point
        share = network_share(level, self.sigma_max)

        def answer(label: PyTree) -> jax.Array:
            return left * z + share * (model.denoise(z, level, label) - left * z)

        told = self._told()
        label = (
            jnp.broadcast_to(state.wanted[None], (count, len(state.wanted)))
            if told
            else None
        )
        clean = answer(label)

        def beyond() -> jax.Array:
            without = answer(None) if told else clean
            shift = (1 - left) * (state.mean - state.plain_mean) / state.deviation
            return clean + self.guidance * (clean - without + shift[None])

        clean = jax.lax.cond(jnp.asarray(self.guidance) == 0, lambda: clean, beyond)
        nobody = jnp.zeros(count, y.dtype)
        estimate = Estimate(
            clean=state.mean[None] + state.deviation * clean,
            effective_sample_size=nobody,
            self_weight=nobody,
            num_diverged=state.num_diverged,
        )
        return with_counts(estimate, state.log_weight, state.plain_log_weight, state.size)

    def _told(self) -> tuple[Labelled, ...]:
        """The conditions that are labels."""
        return tuple(each for each in self.conditions if pytree.offers(each, Labelled))

    def _num_labels(self) -> int:
        return sum(each.num_labels for each in self._told())

    def _network(self) -> NetworkLike:
        """The network, that hears the labels if there are any."""
        count = self._num_labels()
        return NumberConditional(self.network, count) if count else self.network

    def _recipe(self) -> Recipe:
        return Recipe(
            EDM(),
            Objective(LogUniformLevels(self.sigma_min, self.sigma_max)),
            num_steps=self.num_steps,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
        )

    def _start(self, key: jax.Array, dim: int) -> TrainState:
        return init_training(key, self._network(), self._recipe(), (dim,))

    def _labels(self, evaluated: Evaluated) -> jax.Array:
        """Labels (N, m) of a generation; infinite where one is not known."""
        given = evaluated.points, evaluated.fitness, evaluated.measures
        each = [told.label(*given) for told in self._told()]
        for told, label in zip(self._told(), each, strict=True):
            want = (len(evaluated.points), told.num_labels)
            if jnp.shape(label) != want:
                name = type(told).__name__
                raise ValueError(f"{name}.label: got shape {jnp.shape(label)}, want {want}")
        labels = jnp.concatenate(each, axis=1).astype(evaluated.points.dtype)
        return jnp.where(jnp.isfinite(labels), labels, jnp.inf)

    def _in_units(self, labels: jax.Array, valid: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Labels (M, m) and the wanted one (m,), in deviations of those that are known."""
        known = valid & jnp.all(jnp.isfinite(labels), axis=1)
        finite = jnp.where(known[:, None], labels, 0.0)
        ends = [0, *itertools.accumulate(each.num_labels for each in self._told())]
        wanted = jnp.concatenate(
            [
                each.wanted(finite[:, low:high], known)
                for each, (low, high) in zip(
                    self._told(), itertools.pairwise(ends), strict=True
                )
            ]
        )
        mean, deviation = _scales(finite, known)
        units = jnp.where(known[:, None], (finite - mean[None]) / deviation[None], jnp.inf)
        lowest = jnp.min(units, axis=0, where=known[:, None], initial=jnp.inf)
        highest = jnp.max(units, axis=0, where=known[:, None], initial=-jnp.inf)
        seen = jnp.clip((wanted - mean) / deviation, lowest, highest)
        return units, jnp.where(jnp.any(known), seen, 0.0)

    def _trained(
        self,
        key: jax.Array,
        weights: PyTree,
        data: jax.Array,
        sample_weight: jax.Array,
        labels: PyTree,
    ) -> TrainState:
        """A network after the training of a generation, from these weights."""
        key_start, key_steps = jax.random.split(key)
        start = self._start(key_start, data.shape[1])
        like = lambda new, old: old.astype(new.dtype)
        start = pytree.replace(
            start, weights=jax.tree.map(like, start.weights, weights), average=weights
        )
        after, _, _ = train_steps(
            key_steps,
            self._network(),
            self._recipe(),
            start,
            data,
            self.num_steps,
            length=self.num_steps,
            sample_weight=sample_weight,
            labels=labels if self._told() else None,
        )
        return after


def centre(points: jax.Array, weight: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Mean (D,) and deviation () of a coordinate of points (M, D), weights (M,) sum to 1.

    Example:
        >>> import jax.numpy as jnp
        >>> from diffevo_jax.diffusion import online_network
        >>> mean, deviation = online_network.centre(
        ...     jnp.array([[-1.0, 0.0], [1.0, 0.0]]), jnp.array([0.5, 0.5]))
        >>> mean.tolist(), round(float(deviation), 3)
        ([0.0, 0.0], 0.707)
    """
    mean = matmul(weight, points)
    variance = jnp.mean(matmul(weight, (points - mean[None]) ** 2))
    return mean, jnp.maximum(square_root(variance), SMALLEST)


def network_share(level: jax.Array, sigma_max: Number) -> jax.Array:
    """The network's share of the answer at a noise level (), in [0, 1].

    1 up to half of the most noise of its training, 0 from that on, and linear in the log
    of the noise between them.

    Example:
        >>> import jax.numpy as jnp
        >>> from diffevo_jax.diffusion import online_network
        >>> share = online_network.network_share
        >>> [round(float(share(jnp.array(s), 4.0)), 2) for s in (0.1, 2.0, 2.83, 4.0)]
        [1.0, 1.0, 0.5, 0.0]
    """
    return jnp.clip(jnp.log2(sigma_max / level), 0.0, 1.0)


def _scales(labels: jax.Array, known: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Mean and deviation (m,) of the known labels (M, m); 1 where all are the same."""
    mean, deviation = label_moments(labels, known)
    some = deviation > jnp.finfo(labels.dtype).eps * jnp.abs(mean)
    return mean, jnp.where(some, deviation, 1.0)
