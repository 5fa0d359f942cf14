"""Diffrax as the integrator of the probability flow: steps as long as they may be.

Needs the extra ``diffrax``. A fixed grid is enough for a smooth flow; an adaptive solver
finds by itself how many steps that takes, for example where modes are narrow.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp

from diffevo_jax.base import PyTree

if TYPE_CHECKING:
    import diffrax


def adaptive(
    *,
    rtol: float = 1e-5,
    atol: float = 1e-5,
    solver: "diffrax.AbstractSolver | None" = None,
    max_steps: int = 4096,
) -> Callable[[Callable, PyTree, jax.Array], PyTree]:
    """A ``method`` for ``encode``, ``decode`` and ``log_likelihood``: steps of its own.

    Of the grid only the ends count. All points take the same steps, those of the most
    difficult one, so ``num_levels=2`` is right.

    Args:
        rtol: relative error of a step.
        atol: absolute error of a step, in the units of the data.
        solver: of diffrax; None is ``diffrax.Dopri5()``, with six answers a step.
        max_steps: after so many it gives up, >= 1.

    Returns:
        An integrator: slope, start and levels to the end.

    Raises:
        ImportError: diffrax is not installed.
        RuntimeError: when it runs: ``max_steps`` was reached, or a step was not finite.

    Example:
        >>> import jax.numpy as jnp, diffevo_jax as de
        >>> from diffevo_jax import diffusion
        >>> from diffevo_jax.interop import diffrax
        >>> of_normal = lambda y, sigma: y / (1 + sigma**2)  # data N(0, 1)
        >>> points, grid = jnp.array([[-2.0], [1.0]]), de.noise.VE(0.01, 10.0)
        >>> method = diffrax.adaptive()
        >>> latent = diffusion.encode(of_normal, points, grid, num_levels=2, method=method)
        >>> latent.round(1).tolist()
        [[-20.1...], [10.0...]]

    References:
        Song et al., 2021, arXiv:2011.13456, appendix D.2 (Runge-Kutta 45, both tolerances
        1e-5); Dormand and Prince, 1980, doi:10.1016/0771-050X(80)90013-3.
    """
    import diffrax

    solver = diffrax.Dopri5() if solver is None else solver
    controller = diffrax.PIDController(rtol=rtol, atol=atol)

    def integrate(slope: Callable, start: PyTree, sigmas: jax.Array) -> PyTree:
        ends = jnp.log(sigmas)
        found = diffrax.diffeqsolve(
            diffrax.ODETerm(lambda time, state, _: slope(state, jnp.exp(time))),
            solver,
            t0=ends[0],
            t1=ends[-1],
            dt0=(ends[-1] - ends[0]) / 100,
            y0=start,
            stepsize_controller=controller,
            max_steps=max_steps,
        )
        return jax.tree.map(lambda leaf: leaf[0], found.ys)

    return integrate
