"""The exact ratio of a flow down KL(q | p): the density of the particles solved for."""

import jax
import jax.numpy as jnp

from diffevo_jax import pytree
from diffevo_jax.denoisers.oracles import GaussianMixture
from diffevo_jax.pytree import Number, validation

#: Share of the longest step that keeps all masses positive.
_SAFE = 0.9


@pytree.dataclass
class ExactRatio:
    """The ratio itself, of a flow in two dimensions that starts from a known density.

    The density of particles that follow ``grad log p / q`` obeys the equation of Fokker
    and Planck, ``dq/dt = div(q grad log q / p)``. It is solved beside the particles, on a
    square of cells, by rates between neighbours,

        (i to j)  B(log p_i - log p_j) / a^2,    B(x) = x / (e^x - 1),    a a cell's side,

    that have p at rest and never raise KL(q | p). The ratio at a particle is read off
    between the cells. Of ``ReverseKL`` alone: another h has another equation.

    Args:
        target: p, of two dimensions.
        start: density of the particles at first.
        radius: half the side of the square about the origin, > 0: nothing leaves it.
        cells: along a side, static: two or more to a deviation of p.

    Example:
        >>> import jax, jax.numpy as jnp, diffevo_jax as de
        >>> target, start = (
        ...     de.oracles.gaussian_mixture([[x, 0.0]], 1.0) for x in (0.0, 1.0))
        >>> ratio = de.flows.ExactRatio(target, start, radius=6.0)
        >>> mass = jax.jit(ratio.init)(jax.random.key(0), jnp.zeros((1, 2)))
        >>> f"{jax.jit(ratio.divergence)(mass):.3f}"  # of Gaussians one deviation apart
        '0.500'

    References:
        Jordan, Kinderlehrer, Otto, 1998, doi:10.1137/S0036141096303359, eq. 1 (the flow);
        Scharfetter, Gummel, 1969, doi:10.1109/T-ED.1969.16566 (the rates).
    """

    target: GaussianMixture
    start: GaussianMixture
    radius: Number = pytree.number(above=0.0)
    cells: int = pytree.static(default=96)

    def check(self) -> None:
        """Raise unless both densities are of two dimensions."""
        validation.check_count("ExactRatio.cells", self.cells, low=2)
        for name, density in (("target", self.target), ("start", self.start)):
            dim = density.means.shape[1]
            if dim != 2:
                raise ValueError(f"ExactRatio.{name}: got {dim} dimensions, want 2")

    def init(self, key: jax.Array, particles: jax.Array) -> jax.Array:
        """Mass of q in every cell, (cells, cells)."""
        return jnp.exp(self._log_mass(self.start))

    def estimate(
        self, key: jax.Array, state: jax.Array, particles: jax.Array, step_size: Number
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Log-ratio, gradient, and q after a step of the flow down KL(q | p)."""
        log_ratio = self._log_ratio(state)
        slopes = jnp.gradient(log_ratio, self._side())
        place = (particles + self.radius) / self._side() - 0.5
        read = lambda values: jax.scipy.ndimage.map_coordinates(
            values, list(place.T), order=1, mode="nearest"
        )
        gradient = jnp.stack([read(slope) for slope in slopes], axis=1)
        return read(log_ratio), gradient, self._advance(state, step_size)

    def divergence(self, state: jax.Array) -> jax.Array:
        """KL(q | p) of masses (cells, cells), in nats."""
        return -jnp.sum(state * self._log_ratio(state))

    def _side(self) -> Number:
        return 2 * self.radius / self.cells

    def _log_mass(self, density: GaussianMixture) -> jax.Array:
        """Log of a density's mass in every cell, normalised, (cells, cells)."""
        middle = (jnp.arange(self.cells, dtype=float) + 0.5) * self._side() - self.radius
        points = jnp.stack(jnp.meshgrid(middle, middle, indexing="ij"), axis=-1)
        height = density.log_density(points.reshape(-1, 2), 0.0)
        return jax.nn.log_softmax(height).reshape(self.cells, self.cells)

    def _log_ratio(self, mass: jax.Array) -> jax.Array:
        tiny = jnp.finfo(mass.dtype).tiny
        return self._log_mass(self.target) - jnp.log(jnp.maximum(mass, tiny))

    def _advance(self, mass: jax.Array, time: Number) -> jax.Array:
        """Masses some time later, by Euler's method in steps that are short enough."""
        target = self._log_mass(self.target)
        rates = []
        for axis in (0, 1):
            rise = jnp.diff(target, axis=axis)
            rates.append((_bernoulli(-rise), _bernoulli(rise)))
        leaving = sum(
            _spread(up, axis, first=True) + _spread(down, axis, first=False)
            for axis, (up, down) in enumerate(rates)
        )
        length = time / self._side() ** 2
        count = jnp.ceil(length * jnp.max(leaving) / _SAFE).astype(jnp.int32)
        step = length / count.astype(mass.dtype)

        def change(_: int, mass: jax.Array) -> jax.Array:
            moved = jnp.zeros_like(mass)
            for axis, (up, down) in enumerate(rates):
                low, high = _halves(mass, axis)
                flux = up * low - down * high
                moved += _spread(flux, axis, first=False) - _spread(flux, axis, first=True)
            return mass + step * moved

        return jax.lax.fori_loop(0, count, change, mass)


def _bernoulli(x: jax.Array) -> jax.Array:
    """``x / (e^x - 1)``, 1 at 0."""
    near = jnp.abs(x) < 1e-3
    safe = jnp.where(near, 1.0, x)
    return jnp.where(near, 1 - x / 2, safe / jnp.expm1(safe))


def _halves(values: jax.Array, axis: int) -> tuple[jax.Array, jax.Array]:
    """All but the last along an axis, and all but the first."""
    size = values.shape[axis]
    cut = lambda start, stop: jax.lax.slice_in_dim(values, start, stop, axis=axis)
    return cut(0, size - 1), cut(1, size)


def _spread(between: jax.Array, axis: int, *, first: bool) -> jax.Array:
    """Values between cells, given to the first of the two cells or to the second."""
    width = [(0, 0), (0, 0)]
    width[axis] = (0, 1) if first else (1, 0)
    return jnp.pad(between, width)
