"""Networks: what maps noisy points, a noise level and a label to an output."""

from diffevo_jax.diffusion.networks.dense import MLP as MLP
from diffevo_jax.diffusion.networks.dense import Network as Network
from diffevo_jax.diffusion.networks.unet import UNet as UNet
