"""Sweeps: settings, seeds, groups, and the promises of one program."""

import dataclasses
import types
import zipfile

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray
from jax._src import test_util  # counts compilations
from often import often

import diffevo_jax as de
from diffevo_jax.sweeps import batches, execution, tables

# Named since 0.8; before it was experimental.
ENABLE_X64 = jax.enable_x64 if hasattr(jax, "enable_x64") else jax.experimental.enable_x64
KEY = jax.random.key(0)
PROBLEM = de.problems.Landscape("beale")
STRATEGY = de.DiffusionEvolution(3)
N = 8
TEMPERATURES = [0.1, 0.3, 1.0]
INFO = [field.name for field in dataclasses.fields(de.Info)]


def sweep(strategy=STRATEGY, **options):
    options = {"population_size": N, "num_seeds": 2} | options
    return de.sweep(KEY, strategy, PROBLEM, **options)


@pytest.fixture(scope="module")
def result():
    """Three temperatures, two seeds, with populations."""
    axes = {"shaping.temperature": TEMPERATURES}
    return sweep(axes=axes, keep=("population", "fitness", "best_solution"))


def test_every_run_is_that_of_evolve(result):
    for number, temperature in enumerate(TEMPERATURES):
        strategy = de.replace(STRATEGY, shaping=de.shaping.Standardized(temperature))
        key = jax.random.fold_in(KEY, 1)
        alone = de.evolve(key, strategy, PROBLEM, population_size=N)
        found = result.isel(setting=number, seed=1)
        # Rounding of another program, grown over three generations.
        np.testing.assert_allclose(found.population, alone.population, atol=1e-4)
        np.testing.assert_allclose(found.final_best, alone.best_fitness, atol=1e-4)


def test_dimensions_and_coordinates_have_names(result):
    assert result.mean_fitness.dims == ("setting", "seed", "generation")
    assert result.population.shape == (3, 2, N, 2)
    np.testing.assert_allclose(result["shaping.temperature"], TEMPERATURES)
    assert result.evaluations.values.tolist() == [3 * N] * 3
    assert not result.failed.any()
    assert not result.missing.any()


def test_final_mean_is_of_the_last_population(result):
    np.testing.assert_allclose(result.final_mean, result.fitness.mean("individual"), 1e-5)
    np.testing.assert_array_equal(result.final_mean, result.mean_fitness[..., -1])


def test_swept_leaves_go_together_and_axes_multiply():
    strategy = de.replace(
        STRATEGY,
        sampler=de.samplers.DDIM(jnp.array([0.0, 1.0])),
        kernel=de.kernels.Tempered(jnp.array([1.0, 2.0])),
    )
    swept = sweep(strategy, axes={"shaping.temperature": TEMPERATURES})
    assert swept.sizes["setting"] == 6
    assert swept["sampler.eta"].values.tolist() == [0, 0, 0, 1, 1, 1]
    assert swept["kernel.dimension"].values.tolist() == [1, 1, 1, 2, 2, 2]


def test_fields_of_one_axis_go_together():
    axes = {("shaping.temperature", "sampler.eta"): [(0.1, 0.0), (0.5, 1.0)]}
    swept = sweep(axes=axes)
    np.testing.assert_allclose(swept["shaping.temperature"], [0.1, 0.5])
    assert swept["sampler.eta"].values.tolist() == [0.0, 1.0]


@pytest.mark.slow
def test_structure_can_be_swept():
    values = [(de.kernels.Gaussian(), 1), (de.kernels.RandomProjection(1), 3)]
    swept = sweep(axes={("kernel", "num_generations"): values})
    assert swept.kernel.values.tolist() == [repr(kernel) for kernel, _ in values]
    assert swept.sizes["generation"] == 3
    short = swept.isel(setting=0)
    assert np.isnan(short.mean_fitness[:, 1:]).all()
    np.testing.assert_array_equal(short.final_mean, short.mean_fitness[:, 0])
    assert swept.evaluations.values.tolist() == [8, 24]


def test_many_settings_and_seeds_compile_once():
    axes = {"shaping.temperature": np.linspace(0.1, 1.0, 64)}
    with test_util.count_jit_compilation_cache_miss() as count:
        swept = sweep(axes=axes, num_seeds=32, batch_size=64)
    assert swept.final_mean.shape == (64, 32)
    program = count()
    with test_util.count_jit_compilation_cache_miss() as count:
        sweep(axes={"shaping.temperature": [0.1, 0.2]}, num_seeds=1, batch_size=64)
    # What is compiled beside the program of the runs does not grow with them.
    assert program <= count() + 1


@pytest.mark.parametrize("num_seeds", often(1, [3, 1]))
def test_in_map_mode_a_run_has_the_same_bits_alone(num_seeds):
    many = sweep(
        axes={"shaping.temperature": TEMPERATURES}, num_seeds=num_seeds, mode="map"
    )
    alone = sweep(axes={"shaping.temperature": [0.3]}, num_seeds=1, mode="map")
    np.testing.assert_array_equal(many.mean_fitness[1, 0], alone.mean_fitness[0, 0])


@pytest.mark.slow
def test_batches_do_not_matter():
    axes = {"shaping.temperature": TEMPERATURES}
    whole, parts = sweep(axes=axes), sweep(axes=axes, batch_size=4)
    np.testing.assert_allclose(whole.final_mean, parts.final_mean, atol=1e-4)


@pytest.mark.slow
def test_a_run_that_fails_is_flagged_and_the_others_go_on():
    sound = de.problems.Function(lambda x: x[0], dim=2)
    failing = de.problems.Function(lambda x: jnp.nan * x[0], dim=2)
    axes = {"problem": {"sound": sound, "failing": failing}}
    swept = sweep(axes=axes)
    assert swept.failed.values.tolist() == [[False, False], [True, True]]
    assert de.sweeps.best_setting(swept) == 0


@pytest.mark.slow
def test_the_best_is_confirmed_on_fresh_seeds():
    swept = sweep(axes={"shaping.temperature": TEMPERATURES}, confirm=8)
    attrs = swept.attrs
    assert attrs["best_setting"] == int(np.argmax(swept.final_mean.mean("seed").values))
    assert attrs["confirmed_low"] < attrs["confirmed_mean"] < attrs["confirmed_high"]
    used = swept.final_mean.isel(setting=attrs["best_setting"]).mean()
    assert attrs["confirmed_mean"] != float(used)


def test_the_interval_is_that_of_student():
    mean, low, high = de.sweeps.interval([1.0, 2.0, 3.0])
    # t of 0.975 with 2 degrees of freedom is 4.3027.
    assert (mean, round(low, 3), round(high, 3)) == (2.0, -0.484, 4.484)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"axes": {"shaping.temprature": [1.0]}}, "closest: shaping.temperature"),
        ({"axes": {"problem.sclae": [1.0]}}, "closest: problem.scale"),
        ({"axes": {"sampler.eta": []}}, "want a sequence"),
        ({"axes": {"sampler.eta": jnp.ones(())}}, "want a sequence"),
        (
            {"axes": {"kernel": [de.kernels.Gaussian()], "kernel.dimension": [1.0]}},
            r"axes: 'kernel\.dimension': a value of another axis has no such field",
        ),
        ({"axes": {"sampler.eta": [2.0]}}, "setting 0 .*want a number >= 0"),
        (
            {"axes": {"support": [de.denoisers.Best(8), de.denoisers.Best(9)]}},
            r"setting 1 \(support=Best\(count=9\)\): Best.count: got 9",
        ),
        ({"axes": {("sampler.eta", "kernel.dimension"): [(1.0,)]}}, "want 2 values"),
        ({"shard": (2, 2)}, "want \\(i, n\\)"),
        ({"mode": "pmap"}, "want one of"),
        ({"keep": ("populations",)}, "want names among"),
        ({"num_seeds": 0}, "num_seeds: got 0"),
        ({"population_size": None}, "population_size"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(options, message):
    with pytest.raises((ValueError, TypeError), match=message) as caught:
        sweep(**options)
    assert "\n" not in str(caught.value)


def test_swept_fields_of_different_lengths_are_an_error():
    strategy = de.replace(
        STRATEGY,
        sampler=de.samplers.DDIM(jnp.zeros(2)),
        kernel=de.kernels.Tempered(jnp.ones(3)),
    )
    with pytest.raises(ValueError, match=r"sampler.eta 2|kernel.dimension 3"):
        sweep(strategy)


def test_a_swept_field_without_values_is_an_error():
    strategy = de.replace(STRATEGY, sampler=de.samplers.DDIM(jnp.zeros(0)))
    with pytest.raises(ValueError, match=r"got lengths sampler.eta 0, want equal ones"):
        sweep(strategy)


# What only N, D or a trace show.


def crowded(num_neighbours):
    novelty = de.conditions.Novelty(num_neighbours=num_neighbours)
    return de.denoisers.Population(conditions=(novelty,))


def unfinished(x):
    raise NotImplementedError("some day")


LATE = {
    "neighbours": (
        {"denoiser": [crowded(3), crowded(N)]},
        rf"^setting 1 \(denoiser=.*\): Novelty.num_neighbours: got {N}, want < N = {N}",
    ),
    "axes": (
        {"kernel": [de.kernels.PrincipalComponents(1), de.kernels.PrincipalComponents(5)]},
        r"^setting 1 \(kernel=.*\): PrincipalComponents.dim: got 5",
    ),
    "size": (
        {"denoiser": [crowded(5)], "population_size": [N, 5]},
        r"^setting 1 .*population_size=5\): Novelty.num_neighbours: got 5, want < N = 5",
    ),
    "fitness": (
        {
            "problem": {
                "sound": PROBLEM,
                "wrong": de.problems.Function(lambda x: x, dim=2),
            }
        },
        r"^setting 1 \(problem=wrong\): fitness",
    ),
}


@pytest.fixture
def never(monkeypatch):
    """No program is compiled, and nothing runs."""

    def program(*arguments):
        raise AssertionError("a group has run")

    monkeypatch.setattr(execution, "program", program)


@pytest.mark.parametrize("name", LATE)
def test_what_a_trace_shows_is_known_before_any_group_runs(never, name):
    axes, message = LATE[name]
    with pytest.raises(ValueError, match=message):
        sweep(axes=axes)


def test_an_error_of_a_users_own_keeps_its_kind_and_names_the_setting(never):
    problems = {"sound": PROBLEM, "mine": de.problems.Function(unfinished, dim=2)}
    with pytest.raises(NotImplementedError) as caught:
        sweep(axes={"problem": problems})
    assert "in setting 1 (problem=mine)" in caught.value.__notes__


def test_what_is_kept_has_one_shape_which_is_known_before_any_group_runs(never):
    message = r"keep: 'population' has shapes \(8, 2\) and \(9, 2\), want one shape"
    with pytest.raises(ValueError, match=message):
        sweep(axes={"population_size": [8, 9]}, keep=("population",))


# Dtypes.


def test_fitness_is_not_rounded_in_the_table():
    with ENABLE_X64(True):
        fall = de.problems.Function(lambda x: 1e6 - 1e-3 * jnp.sum(x**2), dim=2)
        swept = de.sweep(
            KEY,
            de.DiffusionEvolution(1),
            fall,
            axes={"problem.space.scale": [3.0, 1.0, 2.0]},
            num_seeds=2,
            population_size=N,
        )
    assert swept.final_mean.dtype == swept.mean_fitness.dtype == np.float64
    assert len(np.unique(swept.final_mean)) == 6  # in float32 they tie
    assert de.sweeps.ranking(swept).tolist() == [1, 2, 0]


def table_of(fitness, count=0):
    """A table of one run, of what its program has left."""
    blank = {name: np.zeros((1, 1), fitness.dtype) for name in INFO}
    told = {"mean_fitness": fitness[None], "num_failed": np.full((1, 1), count, np.int32)}
    arrays = {f"history/{name}": values for name, values in (blank | told).items()}
    arrays["best"] = fitness
    shapes = {n: jax.ShapeDtypeStruct(v.shape[1:], v.dtype) for n, v in arrays.items()}
    rows = tables.Rows(1, 1, [shapes])
    rows.put(np.zeros(1, int), np.zeros(1, int), arrays)
    return rows.dataset([{}])


@pytest.mark.parametrize(
    ("fitness", "dtype"),
    [
        (np.float64([-1e60]), np.float64),
        (np.float64([1 + 2**-40]), np.float64),
        (np.float32([0.1]), np.float32),
        (np.float16([0.1]), np.float32),
        (np.asarray(jnp.array([0.1], jnp.bfloat16)), np.float32),
    ],
)
def test_a_table_has_the_dtype_of_what_it_holds(fitness, dtype):
    table = table_of(fitness, count=2**24 + 1)
    for name in ("final_mean", "final_best", "mean_fitness"):
        assert table[name].dtype == dtype
        assert float(table[name].item()) == float(fitness[0])
    assert int(table.num_failed.item()) == 2**24 + 1
    assert not table.failed.any()


def test_without_x64_a_table_of_fitness_is_float32(result):
    assert result.final_mean.dtype == result.population.dtype == np.float32


# Without a compiler.


def drawn(key, strategy, problem, *, population_size, final):
    """In the place of an evolution: fitness is drawn."""
    fitness = strategy.sampler.eta * jax.random.normal(key, (1,))
    blank = dict.fromkeys(INFO, jnp.zeros(1))
    history = de.Info(**blank | {"mean_fitness": fitness})
    state = types.SimpleNamespace(best_solution=jnp.zeros(2))
    return types.SimpleNamespace(
        history=history, best_fitness=fitness[0], state=state, population=0, fitness=0
    )


@pytest.mark.parametrize("mode", often(1, ["vmap", "map"]))
def test_without_jit_every_operation_is_seen(monkeypatch, mode):
    monkeypatch.setattr(batches, "evolve", drawn)
    monkeypatch.setattr(batches, "_jitted", batches._jitted.__wrapped__)  # no cache
    with jax.disable_jit():
        swept = sweep(axes={"sampler.eta": [0.0, 0.5, 1.0]}, mode=mode)
    draws = [jax.random.normal(jax.random.fold_in(KEY, s), ()) for s in range(2)]
    np.testing.assert_allclose(swept.final_mean, np.outer([0, 0.5, 1], draws), rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["vmap", "map"])
def test_a_sweep_runs_without_jit(mode):
    strategy = de.DiffusionEvolution(1, sampler=de.samplers.DDIM(eta=0.5))
    with jax.disable_jit():
        swept = sweep(strategy, axes={"sampler.eta": [0.5, 0.0]}, num_seeds=1, mode=mode)
        key = jax.random.fold_in(KEY, 0)
        alone = de.evolve(key, strategy, PROBLEM, population_size=N)
    np.testing.assert_allclose(swept.final_mean[0, 0], alone.fitness.mean(), rtol=1e-5)


# On disk.


def test_a_stopped_sweep_goes_on_and_shards_end_in_the_same_table(tmp_path):
    axes = {"shaping.temperature": TEMPERATURES}
    whole = sweep(axes=axes, folder=tmp_path / "whole", batch_size=2)
    first = sweep(axes=axes, folder=tmp_path / "shards", batch_size=2, shard=(0, 2))
    assert first.missing.values.sum() == 2
    (tmp_path / "shards" / "batch-000000.npz").unlink()  # as if it had been stopped
    sweep(axes=axes, folder=tmp_path / "shards", batch_size=2, shard=(0, 2))
    both = sweep(axes=axes, folder=tmp_path / "shards", batch_size=2, shard=(1, 2))
    xarray.testing.assert_identical(whole, both)


def test_a_folder_holds_one_sweep(tmp_path):
    sweep(folder=tmp_path)
    with pytest.raises(ValueError, match="holds another sweep: other num_seeds"):
        sweep(folder=tmp_path, num_seeds=3)


def test_a_damaged_batch_is_named(tmp_path):
    sweep(folder=tmp_path)
    file = tmp_path / "batch-000000.npz"
    second = zipfile.ZipFile(file).infolist()[1]
    content = bytearray(file.read_bytes())
    content[second.header_offset - 1] ^= 255  # the last byte of the first array
    file.write_bytes(content)
    with pytest.raises(ValueError, match=r"batch-000000.npz is damaged"):
        sweep(folder=tmp_path)


@pytest.mark.parametrize("name", ["sweep.nc", "sweep.zarr"])
def test_saved_and_opened_it_is_the_same(result, tmp_path, name):
    de.sweeps.save(result, tmp_path / name)
    engine = "h5netcdf" if name.endswith("nc") else "zarr"
    options = {} if engine == "h5netcdf" else {"consolidated": False}
    with xarray.open_dataset(tmp_path / name, engine=engine, **options) as opened:
        np.testing.assert_array_equal(opened.mean_fitness, result.mean_fitness)
        assert dict(opened.sizes) == dict(result.sizes)


def test_the_tidy_table_has_a_row_for_each_generation(result, tmp_path):
    import pandas

    de.sweeps.save(result, tmp_path / "sweep.parquet")
    table = pandas.read_parquet(tmp_path / "sweep.parquet")
    assert len(table) == 3 * 2 * 3
    assert {"setting", "seed", "generation", "shaping.temperature"} <= set(table)


def test_an_unknown_ending_is_an_error(result, tmp_path):
    with pytest.raises(ValueError, match=r"want an ending among \.nc"):
        de.sweeps.save(result, tmp_path / "sweep.xyz")
