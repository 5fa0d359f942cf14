"""Shared by all tests."""

import jax
import pytest


@pytest.fixture
def key() -> jax.Array:
    """The key of every test that needs only one."""
    return jax.random.key(0)


#: Files whose time is compiling: of formulas, and of promises that hold for any program.
COMPILED_QUICKLY = {
    "test_bounds",
    "test_cli_sweep",
    "test_conditioning",
    "test_conditions",
    "test_contract",
    "test_covariance",
    "test_crowding",
    "test_divergences",
    "test_denoising_losses",
    "test_discriminator",
    "test_flow",
    "test_gan",
    "test_kernels",
    "test_likelihood",
    "test_monoflow",
    "test_neighbourhoods",
    "test_networks",
    "test_noise",
    "test_objectives",
    "test_options",
    "test_oracles",
    "test_precondition",
    "test_processes",
    "test_programs_of_sweeps",
    "test_ratios",
    "test_samplers",
    "test_sde",
    "test_shaping",
    "test_sweep",
    "test_training",
    "test_tuning",
    "test_validation",
}


@pytest.fixture(autouse=True, scope="module")
def compiled_quickly(request):
    """Without most of XLA's optimisations where only formulas are tested."""
    name = request.module.__name__.split(".")[-1]
    jax.config.update("jax_disable_most_optimizations", name in COMPILED_QUICKLY)
    yield
    jax.config.update("jax_disable_most_optimizations", False)
