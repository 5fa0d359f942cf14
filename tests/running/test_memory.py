"""What a run takes is said before it, and what did not fit says what to change."""

import jax
import jax.numpy as jnp
import pytest

import diffevo_jax as de
from diffevo_jax.running import forecast, memory

#: More than any machine can address: a population has 4e14 bytes.
SIZE, DIM = 10**9, 10**5


def sphere(dim: int) -> de.problems.Function:
    return de.problems.Function(lambda x: -jnp.sum(x**2), dim=dim)


HUGE = sphere(DIM)
STRATEGY = de.DiffusionEvolution(2)


def test_what_does_not_fit_is_known_before_it_is_tried() -> None:
    takes = de.footprint(STRATEGY, HUGE, population_size=SIZE)
    assert takes.needed > 3 * 4 * SIZE * DIM  # a few populations at least
    assert takes.fits is False
    assert "it does not fit" in str(takes)


@pytest.mark.slow
def test_what_is_kept_and_how_many_runs_there_are_counts() -> None:
    one = de.footprint(STRATEGY, sphere(100), population_size=64)
    many = de.footprint(
        STRATEGY, sphere(100), population_size=64, num_runs=6, record=("population",)
    )
    assert one.fits
    kept = 2 * 4 * 64 * 100
    assert many.results == pytest.approx(6 * (one.results + kept), rel=0.01)
    assert many.needed > 4 * one.needed


def test_runs_that_devices_do_not_divide_are_refused() -> None:
    devices = jax.local_devices()[:1] * 2
    with pytest.raises(ValueError, match="devices: got 2 for 3 runs, want a divisor"):
        de.footprint(STRATEGY, HUGE, population_size=8, num_runs=3, devices=devices)


def test_devices_of_a_cpu_share_its_memory(monkeypatch) -> None:
    monkeypatch.setattr(forecast, "free_memory", lambda device: 3_000)
    program = jax.jit(lambda x: x).lower(jnp.zeros(1)).compile()
    devices = jax.local_devices()[:1] * 3
    assert forecast.footprint_of(program, devices).free == 1_000


ENTRIES = {
    "evolve": lambda key: de.evolve(key, STRATEGY, HUGE, population_size=SIZE),
    "run": lambda key: de.run(key, STRATEGY, HUGE, population_size=SIZE),
    "sweep": lambda key: de.sweep(key, STRATEGY, HUGE, population_size=SIZE, batch_size=1),
}


@pytest.mark.filterwarnings("ignore:this run takes")  # before it fails
@pytest.mark.parametrize("name", ENTRIES)
def test_a_full_memory_says_what_to_change(key, name) -> None:
    with pytest.raises(MemoryError, match=f"^{name}: the memory is full") as caught:
        ENTRIES[name](key)
    assert "population_size (got 1,000,000,000 of 100,000 numbers" in str(caught.value)
    assert ("batch_size (got 1)" in str(caught.value)) == (name == "sweep")
    assert "RESOURCE_EXHAUSTED" in str(caught.value.__cause__)


def test_what_takes_most_is_named_first() -> None:
    said = memory.changes_of(500, 1000, 20, ("population",), runs=8)
    assert [one.split(" (")[0] for one in said[:3]] == [
        "runs at a time",
        "record",
        "population_size",
    ]


@pytest.mark.parametrize(
    "said",
    [
        "RESOURCE_EXHAUSTED: Out of memory allocating 8 bytes.",
        # What a CPU says of many runs.
        "INTERNAL: Error dispatching computation: Out of memory allocating 8 bytes.",
    ],
)
def test_all_that_jax_says_of_a_full_memory_is_understood(said) -> None:
    error = jax.errors.JaxRuntimeError(said)
    with pytest.raises(MemoryError) as caught, memory.explained("evolve", ["runs"]):
        raise error
    assert str(caught.value).startswith("evolve: the memory is full")


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (99_700_000, "0.1 GB"),
        (99_400_000, "99 MB"),
        (99_700, "0.1 MB"),
        (99_400, "99 kB"),
        (8, "0.008 kB"),  # a number of 64 bits
    ],
)
def test_bytes_are_said_without_powers_of_ten(count, words) -> None:
    assert memory.in_words(count) == words


def test_other_errors_stay_what_they_are() -> None:
    error = jax.errors.JaxRuntimeError("INTERNAL: something else")
    with pytest.raises(jax.errors.JaxRuntimeError) as caught, memory.explained("run", []):
        raise error
    assert caught.value is error


def test_what_a_container_has_used_is_not_free(tmp_path, monkeypatch) -> None:
    (tmp_path / "memory.max").write_text("9000000\n")
    (tmp_path / "memory.current").write_text("8000000\n")
    (tmp_path / "memory.stat").write_text("anon 6000000\ninactive_file 500000\n")
    monkeypatch.setattr(memory, "_CONTAINER", str(tmp_path))
    assert memory.free_memory(jax.devices("cpu")[0]) == 1_500_000
    (tmp_path / "memory.max").write_text("max\n")
    assert memory.free_memory(jax.devices("cpu")[0]) > 1e8


def test_a_run_that_takes_more_than_is_free_is_warned_of(monkeypatch, key) -> None:
    strategy, problem = de.DiffusionEvolution(2), de.problems.Landscape("beale")
    monkeypatch.setattr(memory, "free_memory", lambda device=None: 100)
    with pytest.warns(RuntimeWarning, match=r"more, and .* are free: it may"):
        de.run(key, strategy, problem, population_size=8)


def test_more_individuals_than_can_be_numbered_are_refused(key) -> None:
    strategy, problem = de.DiffusionEvolution(2), de.problems.Landscape("beale")
    with pytest.raises(
        ValueError, match="population_size: got 10,000,000,000, want at most"
    ):
        de.footprint(strategy, problem, population_size=10**10)
