"""Images: from files to what a network learns from, and back to pixels.

Images are (N, H, W, C): number, height, width, colours last, and C is 1 for grey ones.
``load_images`` reads a folder of them, a ``PixelScale`` makes them the numbers of a model,
and ``dequantise`` makes whole numbers continuous, for what has a density. How probable they
are is :func:`diffevo_jax.diffusion.bits_per_dimension`.
"""
# isort: skip_file

# From files.
from diffevo_jax.diffusion.images.folder import (
    load_images as load_images,  # a folder of NumPy files, whose folders are classes
    Images as Images,  # pixels, labels and the names of the classes
)

# As numbers of a model, and back.
from diffevo_jax.diffusion.images.pixels import (
    PixelScale as PixelScale,  # to [-1, 1], or by numbers of one's own
    fit_scale as fit_scale,  # to mean 0 and deviation 1: what training expects
    dequantise as dequantise,  # whole numbers made continuous, for a density
)
