"""A trained sampler as a problem: what it draws is worth what a reward says.

A diffusion model draws what its data are like, and not what is wanted. Evolution asks only
for samples and their rewards, so that neither model nor reward needs a slope, and the same
problem evolves the noise that a sample begins with, the noise levels, the guidance or the
weights: what of the drawing is the genome.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from diffevo_jax import pytree
from diffevo_jax.base import Denoise, Evaluation, Grid, PyTree, Sampler
from diffevo_jax.compilation import explain_untraced
from diffevo_jax.denoisers.fixed import as_pytree
from diffevo_jax.noise import EDM, Levels
from diffevo_jax.noise.grids import levels_of
from diffevo_jax.problems.genomes import Drawing, Genome, InitialNoise
from diffevo_jax.problems.space import Space
from diffevo_jax.pytree import arrays, validation
from diffevo_jax.samplers.dpm_solver import DPMSolver2M
from diffevo_jax.samplers.sampling import sample


@pytree.dataclass
class Generator:
    """Maximise a reward of what a diffusion model draws.

        fitness = mean over S samples of reward(samples),
        samples = sample(start, sigmas, denoise), one of the three changed by the solution.

    What a genome does not change is the same for all solutions: the noise of the start, and
    that of a sampler that adds some. It is that of ``seed``, so that fitness has no noise;
    with ``noisy`` it is drawn anew in each evaluation, so that nothing fits one draw of it.
    Measures are the samples, (N, S, D), for novelty, and to look at (``record=``).

    Args:
        denoise: ``denoise(y, sigma)``, as of :func:`diffevo_jax.sample`; with
            :class:`~diffevo_jax.problems.Guidance` ``denoise(y, sigma, g)``. Weights that
            it is bound to are leaves, see :class:`diffevo_jax.denoisers.Fixed`.
        reward: takes samples (S, D) in the units of the data, and returns a number for
            each, (S,), or one for all, (); by ``jax.numpy``. One that is not of JAX is
            called by ``jax.pure_callback(fn, shape, samples, vmap_method="expand_dims")``.
        dim: D, of one sample; static.
        genome: what evolves: :class:`~diffevo_jax.problems.InitialNoise`,
            :class:`~diffevo_jax.problems.NoiseLevels`,
            :class:`~diffevo_jax.problems.Guidance` or
            :class:`~diffevo_jax.problems.LowRank`.
        grid: noise levels, from where the data cannot be seen any more to where their noise
            cannot.
        sampler: how to walk down; one answer of the model a level for the default.
        num_levels: T, at least 1; static.
        num_samples: S, at least 1, that a solution is judged by; static.
        seed: of the noise that all solutions have in common, an int >= 0; static.
        noisy: whether it is drawn anew in every evaluation instead; static.

    Raises:
        TypeError: ``denoise`` or ``reward`` cannot be called.
        ValueError: a reward or an answer is of another shape.

    Example:
        >>> import jax, diffevo_jax as de
        >>> model = de.oracles.gaussian_mixture([[-2.0, 0.0], [2.0, 0.0]], 0.25)
        >>> noise = de.problems.InitialNoise(sphere=False)  # 2 dimensions are few
        >>> problem = de.problems.Generator(
        ...     model.denoise, lambda samples: samples[:, 0], dim=2, genome=noise)
        >>> strategy, key = de.DiffusionEvolution(8), jax.random.key(0)
        >>> result = de.evolve(key, strategy, problem, population_size=32)
        >>> sample = problem.draw(result.best_solution[None])[0, 0]
        >>> bool(sample[0] > 2.5)
        True

    References:
        Jajal et al., 2025, arXiv:2506.00299 (initial noise); Sarkar et al., 2025,
        arXiv:2511.16652 (low rank).
    """

    denoise: PyTree
    reward: PyTree
    dim: int = pytree.static()
    genome: Genome
    grid: Grid
    sampler: Sampler
    num_levels: int = pytree.static()
    num_samples: int = pytree.static()
    seed: int = pytree.static()
    noisy: bool = pytree.static()

    def __init__(
        self,
        denoise: Denoise,
        reward: Callable[[jax.Array], jax.Array],
        dim: int,
        genome: Genome | None = None,
        grid: Grid | None = None,
        sampler: Sampler | None = None,
        num_levels: int = 12,
        num_samples: int = 1,
        seed: int = 0,
        noisy: bool = False,
    ) -> None:
        values = {
            "denoise": as_pytree(denoise),
            "reward": as_pytree(reward),
            "dim": dim,
            "genome": InitialNoise() if genome is None else genome,
            "grid": EDM() if grid is None else grid,
            "sampler": DPMSolver2M() if sampler is None else sampler,
            "num_levels": num_levels,
            "num_samples": num_samples,
            "seed": seed,
            "noisy": noisy,
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def check(self) -> None:
        """Raise if a function is none, or a count is not at least 1."""
        for name in ("denoise", "reward"):
            if not callable(vars(self)[name]):
                got = vars(self)[name]
                raise TypeError(f"Generator.{name}: got {got!r}, want a function")
        for name in ("dim", "num_levels", "num_samples"):
            validation.check_count(f"Generator.{name}", vars(self)[name])
        validation.check_count("Generator.seed", self.seed, low=0)

    def check_shapes(self) -> None:
        """Raise if model, genome and reward do not go together."""
        pytree.shapes(_of_one, self)

    @property
    def space(self) -> Space:
        """That of the genome."""
        return self.genome.space(pytree.shapes(_before, self))

    def init(self, key: jax.Array) -> tuple[()]:
        """No state."""
        return ()

    def evaluate(
        self, key: jax.Array, problem_state: tuple[()], solutions: PyTree
    ) -> tuple[Evaluation, tuple[()]]:
        """Draw the samples of N solutions, and reward them."""
        samples = self.draw(solutions, key if self.noisy else None)
        try:
            fitness = jax.vmap(self._worth)(samples)
        except Exception as error:
            explain_untraced(
                "reward", error, "jax.pure_callback calls any function, see Generator"
            )
            raise
        return Evaluation(fitness, samples), problem_state

    def draw(self, solutions: PyTree, key: jax.Array | None = None) -> jax.Array:
        """The samples of N solutions.

        Args:
            solutions: decoded, leaves with leading axis N.
            key: of the noise that all have in common; None is that of ``seed``, by which
                they were evaluated unless ``noisy``.

        Returns:
            (N, S, D).
        """
        key = jax.random.key(self.seed) if key is None else key
        key_start, key_sampler = jax.random.split(key)
        start = jax.random.normal(key_start, (self.num_samples, self.dim))

        def of_one(solution: PyTree) -> jax.Array:
            drawing = self.genome.changed(self._drawing(start), solution)
            return sample(
                key_sampler,
                drawing.denoise,
                Levels(drawing.sigmas),
                self.sampler,
                (self.num_samples, self.dim),
                num_levels=self.num_levels,
                start=drawing.sigmas[0] * drawing.start,
            )

        return jax.vmap(of_one)(solutions)

    def _drawing(self, start: jax.Array) -> Drawing:
        """As it is before a solution changes it."""
        return Drawing(self.denoise, levels_of(self.grid, self.num_levels), start)

    def _worth(self, samples: jax.Array) -> jax.Array:
        """The mean reward of the samples of one solution, (S, D)."""
        value = arrays.real_array("reward", self.reward(samples), "(S,) or ()")
        if value.shape not in ((), (self.num_samples,)):
            want = f"({self.num_samples},) or ()"
            raise ValueError(f"reward: got shape {value.shape}, want {want}")
        return jnp.mean(value)


def _before(generator: Generator) -> Drawing:
    """What a genome knows of a drawing."""
    return generator._drawing(jnp.zeros((generator.num_samples, generator.dim)))


def _of_one(generator: Generator) -> jax.Array:
    """The fitness of one solution, for its shapes."""
    space = generator.space
    solutions = space.decode(jnp.zeros((1, space.dim)))
    return generator.evaluate(jax.random.key(0), (), solutions)[0].fitness
