"""Trainings in folders: ``python training_in_folder.py KIND FOLDER`` can be killed."""

import sys

import jax
import numpy as np

from diffevo_jax import diffusion, flows

KEY = jax.random.key(0)
DRAWN = np.random.default_rng(0).normal(size=(64, 2))
DATA = np.float32((DRAWN - DRAWN.mean()) / DRAWN.std())
NETWORK = diffusion.MLP((4,), embedding=4)
NETWORKS = (
    flows.Generator((4,), num_steps=1),
    flows.Discriminator((4,), num_steps=1, penalty=0.0),
)
#: Seconds of small steps, if there are checkpoints after every few.
STEPS = 4000


def train(kind: str, steps: int = STEPS, data=DATA, key=KEY, network=NETWORK, **given):
    """A training of a kind; what is not for its folder is for its recipe."""
    where = {name: given.pop(name) for name in ARGUMENTS & given.keys()}
    if kind == "gan":
        recipe = flows.GANRecipe(*NETWORKS, batch_size=8, **given)
        return flows.train_gan(key, data, recipe, num_steps=steps, **where)
    recipe = diffusion.Recipe(**{"num_steps": steps, "batch_size": 8} | given)
    return diffusion.train(key, data, network, recipe, **where)


ARGUMENTS = {"folder", "every", "state", "stop_at", "callback", "labels", "sample_weight"}


def main(kind: str, folder: str) -> None:
    """Train until it is killed."""
    jax.config.update("jax_disable_most_optimizations", True)  # as in most tests
    train(kind, folder=folder, every=10)


if __name__ == "__main__":
    main(*sys.argv[1:])
