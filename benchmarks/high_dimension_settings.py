"""Settings that are compared in high dimension."""

from typing import Any

import diffevo_jax as de
from diffevo_jax import kernels
from diffevo_jax.kernels import SelfConditioned
from diffevo_jax.shaping import Local, Standardized


def strategy(num_generations: int = 50, **parts: Any) -> de.DiffusionEvolution:
    """A setting: the protocol, with these parts."""
    population = de.denoisers.Population(
        **{"shaping": Standardized(0.3), "guidance": 0.0} | parts
    )
    sampler, grid = de.samplers.DDIM(eta=1.0), de.noise.Cosine()
    return de.DiffusionEvolution(num_generations, population, sampler, grid)


def clustering(neighbours: float, **parts: Any) -> de.DiffusionEvolution:
    """The perplexity kernel between clean estimates."""
    return strategy(kernel=SelfConditioned(kernels.Perplexity(neighbours)), **parts)


def archive(generations: int) -> de.denoisers.Archive:
    """Generations of before that answer too, by fitness alone."""
    return de.denoisers.Archive(generations, correction=0.0)


SETTINGS = {
    "exact": strategy(kernel=kernels.Gaussian()),
    "tempered": strategy(kernel=kernels.Tempered(2.0)),
    "latent 2": strategy(kernel=kernels.RandomProjection(2)),
    "principal 2": strategy(kernel=kernels.PrincipalComponents(2)),
    "perplexity 30": strategy(kernel=kernels.Perplexity(30.0)),
    "flat": strategy(kernel=kernels.Gaussian(kappa=0.0)),
    "gaussian denoiser": de.replace(
        strategy(), denoiser=de.denoisers.GaussianFit(Standardized(0.3))
    ),
    "tempered, self": strategy(kernel=SelfConditioned(kernels.Tempered(2.0))),
    "perplexity 30, self": clustering(30.0),
    "perplexity 8, self": clustering(8.0),
    "perplexity 60, self, archive 1": clustering(60.0, memory=archive(1)),
    "perplexity 30, self, local": clustering(30.0, shaping=Local(0.3)),
    "perplexity 100, self, local": clustering(100.0, shaping=Local(0.3)),
    "perplexity 30, 2 components": strategy(kernel=kernels.Perplexity(30.0, 2)),
    "perplexity 60, 2 components": strategy(kernel=kernels.Perplexity(60.0, 2)),
    "default before guidance": de.replace(
        strategy(kernel=kernels.Tempered(1.0), shaping=Standardized(0.2)),
        grid=de.noise.Cosine(1e-4),
    ),
}


def several(neighbours: float) -> de.DiffusionEvolution:
    """``for_several``, with milder selection, more guidance, and so many neighbours."""
    setting = de.DiffusionEvolution.for_several(50)
    return de.replace(setting, neighbours=neighbours, temperature=1.0, guidance=8.0)


#: With guidance, and a grid of its own. Chosen on other keys, of two peaks, D = 128.
FAR = "temperature 1, guidance 8, 60 neighbours"
GUIDED = {
    FAR: several(60.0),
    "temperature 1, guidance 8": several(30.0),
    "for_several": de.DiffusionEvolution.for_several(50),
}
#: Strategy, population size. Two peaks, D = 128, self-conditioned, local; of 15 tried.
TRIED = {
    "perplexity 30": (clustering(30.0, shaping=Local(0.3), num_generations=200), 256),
    "perplexity 30, archive 2": (
        clustering(30.0, shaping=Local(0.3), memory=archive(2)),
        256,
    ),
    "perplexity 100, archive 4": (
        clustering(100.0, shaping=Local(0.3), memory=archive(4)),
        256,
    ),
    "perplexity 100": (clustering(100.0, shaping=Local(0.3)), 1024),
}
