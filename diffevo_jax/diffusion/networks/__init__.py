"""Networks: what maps noisy samples, a noise level and a label to an output.

A network knows neither sigma nor what it predicts; its parameterisation does. Take ``MLP``
for points, signals and weights of policies, ``UNet`` for small images, and ``Network`` for
what you have in flax, equinox or plain JAX.
"""
# isort: skip_file

# The networks.
from diffevo_jax.diffusion.networks.mlp import (
    MLP as MLP,  # points, signals, weights of policies: the one to begin with
)
from diffevo_jax.diffusion.networks.unet import (
    UNet as UNet,  # images of up to 32 x 32 pixels
)
from diffevo_jax.diffusion.networks.network import (
    Network as Network,  # your own: flax, equinox, plain JAX
    NetworkLike as NetworkLike,  # the contract of them all
)
from diffevo_jax.diffusion.networks.numbers import (
    NumberConditional as NumberConditional,  # around one of them: labels that are numbers
)
