"""A training, and a GAN's, in a folder, as a process that can be killed.

``python killed_training.py KIND FOLDER EVERY`` trains; the functions are also those of the
test, so that both are the same training.
"""

import sys
from pathlib import Path

import jax
import numpy as np

from diffevo_jax import diffusion, flows

KEY = jax.random.key(0)
DRAWN = np.random.default_rng(0).normal(size=(64, 2))
DATA = np.float32((DRAWN - DRAWN.mean()) / DRAWN.std())
GENERATOR = flows.Generator(hidden=(4,), num_steps=1)
DISCRIMINATOR = flows.Discriminator(hidden=(4,), num_steps=1, penalty=0.0)
STEPS = {"denoiser": 3000, "gan": 3000}


def train(kind: str, steps: int, **folder):
    """One of the two trainings, with the arguments for its folder."""
    if kind == "gan":
        recipe = flows.GANRecipe(GENERATOR, DISCRIMINATOR, batch_size=8)
        return flows.train_gan(KEY, DATA, recipe, num_steps=steps, **folder)
    recipe = diffusion.Recipe(num_steps=steps, batch_size=8)
    return diffusion.train(KEY, DATA, diffusion.MLP((4,), embedding=4), recipe, **folder)


if __name__ == "__main__":
    jax.config.update("jax_disable_most_optimizations", True)  # as in tests of its kind
    kind, folder, every = sys.argv[1:]
    train(kind, STEPS[kind], folder=Path(folder), every=int(every))
