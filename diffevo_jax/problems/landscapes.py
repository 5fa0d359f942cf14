"""The landscapes of the Diffusion Evolution paper, and others with many minima.

Plain functions, to be minimised as in the literature: :func:`rosenbrock`, :func:`beale`,
:func:`himmelblau`, :func:`ackley`, :func:`rastrigin`, and two of many minima from the
niching suite of CEC 2013, :func:`shubert` and :func:`vincent`; and densities with two
peaks, to be maximised: :func:`two_peaks`, :func:`two_peaks_step`. :class:`Landscape` is the
problem that the paper makes of each of its own: a fitness in [0, 1], which is a density, so
that ``shaping.Identity()`` is its shaping.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from diffevo_jax import pytree
from diffevo_jax.base import Evaluation
from diffevo_jax.problems.space import Space
from diffevo_jax.pytree import Number, validation
from diffevo_jax.pytree.annotations import checked

#: Half the width of the box of the benchmark, [-4, 4]^D.
BOX = 4.0


@checked
def rosenbrock(x: jax.Array) -> jax.Array:
    """Rosenbrock's valley, ``(1 - x)^2 + 100 (y - x^2)^2``; 0 at (1, 1).

    Example:
        >>> import jax.numpy as jnp
        >>> from diffevo_jax.problems import landscapes
        >>> [float(landscapes.rosenbrock(jnp.array(x))) for x in ([1.0, 1.0], [0.0, 1.0])]
        [0.0, 101.0]
    """
    return (1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2


@checked
def beale(x: jax.Array) -> jax.Array:
    """Beale's function; 0 at (3, 0.5).

    Example:
        >>> import jax.numpy as jnp
        >>> from diffevo_jax.problems import landscapes
        >>> [float(landscapes.beale(jnp.array(x))) for x in ([3.0, 0.5], [0.0, 0.0])]
        [0.0, 14.203125]
    """
    a, b = x[0], x[1]
    first = (1.5 - a + a * b) ** 2
    return first + (2.25 - a + a * b**2) ** 2 + (2.625 - a + a * b**3) ** 2


@checked
def himmelblau(x: jax.Array) -> jax.Array:
    """Himmelblau's function, ``(x^2 + y - 11)^2 + (x + y^2 - 7)^2``; 0 at four points.

    Example:
        >>> import jax.numpy as jnp
        >>> from diffevo_jax.problems import landscapes
        >>> [float(landscapes.himmelblau(jnp.array(x))) for x in ([3.0, 2.0], [0.0, 0.0])]
        [0.0, 170.0]
    """
    return (x[0] ** 2 + x[1] - 11) ** 2 + (x[0] + x[1] ** 2 - 7) ** 2


@checked
def ackley(x: jax.Array) -> jax.Array:
    """Ackley's function with a = 20, b = 0.2, c = 2 pi; 0 at the origin.

    Example:
        >>> import jax.numpy as jnp
        >>> from diffevo_jax.problems import landscapes
        >>> points = jnp.array([[0.0, 0.0], [1.0, 1.0]])
        >>> [f"{abs(landscapes.ackley(x)):.2f}" for x in points]  # 20 (1 - e^-0.2)
        ['0.00', '3.63']
    """
    radius = jnp.sqrt(jnp.mean(x**2))
    waves = jnp.mean(jnp.cos(2 * jnp.pi * x))
    return -20 * jnp.exp(-0.2 * radius) - jnp.exp(waves) + 20 + math.e


@checked
def rastrigin(x: jax.Array) -> jax.Array:
    """Rastrigin's function in any dimension; 0 at the origin.

    Example:
        >>> import jax.numpy as jnp
        >>> from diffevo_jax.problems import landscapes
        >>> [f"{landscapes.rastrigin(x):.2f}" for x in jnp.array([[0.0] * 3, [1.0] * 3])]
        ['0.00', '3.00']
    """
    return 10 * x.size + jnp.sum(x**2 - 10 * jnp.cos(2 * jnp.pi * x))


@checked
def shubert(x: jax.Array) -> jax.Array:
    """Shubert's function, ``prod_i sum_j j cos((j + 1) x_i + j)``, j from 1 to 5.

    On [-10, 10]^D it has ``D 3^D`` global minima in pairs, 18 in two dimensions, where it
    is -186.7309, and hundreds of local ones.

    Example:
        >>> import jax.numpy as jnp
        >>> from diffevo_jax.problems import landscapes
        >>> f"{landscapes.shubert(jnp.array([-1.42513, -0.80032])):.2f}"
        '-186.73'
    """
    j = jnp.arange(1.0, 6.0)
    return jnp.prod(jnp.sum(j * jnp.cos((j + 1) * x[:, None] + j), axis=1))


@checked
def vincent(x: jax.Array) -> jax.Array:
    """Vincent's function, ``-mean_i sin(10 log x_i)``, of positive numbers.

    On [0.25, 10]^D it has ``6^D`` global minima and no other, where it is -1: at ``x_i =
    exp((pi / 2 + 2 pi k) / 10)``, k from -2 to 3. Their basins shrink with x.

    Example:
        >>> import math, jax.numpy as jnp
        >>> from diffevo_jax.problems import landscapes
        >>> f"{landscapes.vincent(jnp.array([math.exp(math.pi / 20)])):.3f}"
        '-1.000'
    """
    return -jnp.mean(jnp.sin(10.0 * jnp.log(x)))


@checked
def two_peaks(x: jax.Array, width: float = 0.1) -> jax.Array:
    """Two Gaussian peaks at (-1, -1) and (1, 1), of height 1 each.

    Args:
        x: (2,).
        width: standard deviation of a peak.

    Example:
        >>> import jax.numpy as jnp
        >>> from diffevo_jax.problems import landscapes
        >>> points = jnp.array([[1.0, 1.0], [1.0, 1.1]])  # a peak, and one width beside it
        >>> [f"{landscapes.two_peaks(x):.3f}" for x in points]
        ['1.000', '0.607']
    """
    distance = _distance_to_peaks(x)
    return jnp.sum(jnp.exp(-0.5 * (distance / width) ** 2))


@checked
def two_peaks_step(x: jax.Array, radius: float = 0.5) -> jax.Array:
    """1 within ``radius`` of (-1, -1) or (1, 1), else 1e-9.

    Example:
        >>> import jax.numpy as jnp
        >>> from diffevo_jax.problems import landscapes
        >>> points = jnp.array([[1.0, 1.4], [1.0, 1.6]])
        >>> [f"{landscapes.two_peaks_step(x):.0e}" for x in points]
        ['1e+00', '1e-09']
    """
    return jnp.where(jnp.any(_distance_to_peaks(x) < radius), 1.0, 1e-9)


def _distance_to_peaks(x: jax.Array) -> jax.Array:
    peaks = jnp.array([[-1.0, -1.0], [1.0, 1.0]])
    return jnp.linalg.norm(x[None] - peaks, axis=-1)


class Rescaling(NamedTuple):
    """Published constants that make a density of a function on [-4, 4]^D.

    Attributes:
        fn: the function.
        sign: -1 if the benchmark climbs to the function's *maxima* (Ackley, Rastrigin).
        target: objective value that gets density 1.
        scale: objective distance over which the density falls by e, at temperature 1.
        max_distance: objective distance that gets density 0.
        outside: objective value given to points outside the box.

    Example:
        >>> from diffevo_jax.problems import landscapes
        >>> beale = landscapes.rescaling("beale", 2)
        >>> beale.scale, beale.sign
        (20.0, 1.0)
    """

    fn: Callable[[jax.Array], jax.Array]
    sign: float
    target: float
    scale: float
    max_distance: float
    outside: float


_RESCALED = {
    "rosenbrock": Rescaling(rosenbrock, 1.0, 0.0, 287.51, 40009.0, 100.0),
    "beale": Rescaling(beale, 1.0, 0.0, 20.0, 72769.2, 100.0),
    "himmelblau": Rescaling(himmelblau, 1.0, 0.0, 17.01, 308.803, 100.0),
    "ackley": Rescaling(ackley, -1.0, -12.5401, 2.0, 12.5401, 1e-9),
}
_DENSITIES = {"two_peaks": two_peaks, "two_peaks_step": two_peaks_step}
#: Published scale and highest value of Rastrigin, by dimension.
_RASTRIGIN = {
    2: (30.0, 64.6249),
    4: (60.0, 129.2498),
    32: (500.0, 1033.998),
    256: (4000.0, 8271.9844),
}

#: Names of the landscapes; all but ``rastrigin`` are two-dimensional.
NAMES = (*_RESCALED, "rastrigin", *_DENSITIES)


@checked
def rescaling(name: str, dim: int) -> Rescaling:
    """Published constants of a function; Rastrigin's are interpolated between dimensions.

    Example:
        >>> from diffevo_jax.problems import landscapes
        >>> landscapes.rescaling("rastrigin", 2).scale
        30.0
    """
    if name != "rastrigin":
        return _RESCALED[name]
    scale, highest = _RASTRIGIN.get(dim, (15.0 * dim, 32.31244 * dim))
    return Rescaling(rastrigin, -1.0, -highest, scale, highest, 1e-9)


@pytree.dataclass
class Landscape:
    """A landscape of the paper as a problem: fitness is a density in [0, 1].

    With ``p = exp(-|objective - target| / (temperature scale))`` and ``p_min`` its value at
    the largest distance, the fitness is ``(p - p_min) / (1 - p_min)``. Points outside the
    box [-4, 4]^D get the published penalty value instead. The peaks of Ackley and Rastrigin
    are their *maxima*, near the corners of the box. ``two_peaks`` and ``two_peaks_step``
    are densities as they are.

    Args:
        name: one of ``landscapes.NAMES``; static.
        dim: D; 2, or anything for ``rastrigin``; static.
        temperature: > 0; the published table has 1.
        scale: solution units per unit deviation; the population starts as N(0, scale^2 I).
            Published: 4 for the functions, 1.5 for the two peaks.

    Example:
        >>> import diffevo_jax as de, jax.numpy as jnp
        >>> problem = de.problems.Landscape("himmelblau")
        >>> float(problem.density(jnp.array([3.0, 2.0])))
        1.0

    References:
        Zhang et al., 2024, arXiv:2410.02543, section 4.1 and appendix.
    """

    name: str = pytree.static()
    dim: int = pytree.static(default=2)
    temperature: Number = pytree.number(default=1.0, above=0.0)
    scale: Number = pytree.number(default=4.0, above=0.0)

    @property
    def space(self) -> Space:
        """Vectors (D,), unbounded."""
        return Space(jax.ShapeDtypeStruct((self.dim,), jnp.result_type(float)), self.scale)

    def check(self) -> None:
        """Raise ValueError if there is no such landscape."""
        if self.name not in NAMES:
            raise ValueError(f"Landscape.name: got {self.name!r}, want one of {NAMES}")
        validation.check_count("Landscape.dim", self.dim)
        if self.dim != 2 and self.name != "rastrigin":
            raise ValueError(f"Landscape.dim: got {self.dim}, want 2 for {self.name}")

    def density(self, x: jax.Array) -> jax.Array:
        """Fitness of one solution (D,), in [0, 1]."""
        if self.name in _DENSITIES:
            return _DENSITIES[self.name](x)
        published = rescaling(self.name, self.dim)
        inside = jnp.all(jnp.abs(x) <= BOX)
        objective = jnp.where(inside, published.sign * published.fn(x), published.outside)
        spread = self.temperature * published.scale
        p = jnp.exp(-jnp.abs(objective - published.target) / spread)
        p_min = jnp.exp(-published.max_distance / spread)
        return jnp.maximum((p - p_min) / (1 - p_min), 0.0)

    def init(self, key: jax.Array) -> tuple[()]:
        """No state."""
        return ()

    def evaluate(
        self, key: jax.Array, problem_state: tuple[()], solutions: jax.Array
    ) -> tuple[Evaluation, tuple[()]]:
        """Evaluate solutions (N, D)."""
        return Evaluation(fitness=jax.vmap(self.density)(solutions)), problem_state
