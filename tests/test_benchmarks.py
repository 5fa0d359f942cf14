"""The benchmarks measure what they say; nothing here depends on how fast a machine is."""

import functools
import json
import math
import os
import subprocess
import sys
import time
from argparse import Namespace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from for_cuda import KERNEL, lowered

import diffevo_jax as de
from diffevo_jax.attention import Tiling, attend_fused, usual_blocks
from diffevo_jax.problems.control import environments

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
OPERATIONS = {"add", "sub", "mul", "div", "max", "min", "gt", "lt", "ge", "le", "abs"}
FUNCTIONS = {"exp", "sin", "cos"}


@pytest.fixture(autouse=True)
def _benchmarks_can_be_imported(monkeypatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))


def rows(*ratios: float) -> list[dict[str, Any]]:
    return [{"what": f"row {i}", "ratio": ratio} for i, ratio in enumerate(ratios)]


@pytest.mark.parametrize(
    ("now", "found"), [(2.0, False), (1.51, False), (1.49, True), (math.nan, True)]
)
def test_a_ratio_below_three_quarters_of_the_stored_one_is_a_regression(now, found):
    import common

    changes = common.compare(rows(2.0, 3.0), [*rows(now, 3.0), {"what": "new", "ratio": 1}])

    assert [change["regression"] for change in changes] == [found, False]
    assert ("REGRESSION" in common.changes_table(changes)) == found


@pytest.mark.parametrize(("now", "status"), [(2.0, 0), (1.0, 1)])
def test_a_check_writes_nothing_and_says_by_its_status_what_it_found(
    monkeypatch, tmp_path, capsys, now, status
):
    import common

    monkeypatch.setattr(common, "RESULTS", tmp_path)
    before = json.dumps({"rows": rows(2.0)})
    (tmp_path / "name.json").write_text(before)

    with pytest.raises(SystemExit) as stop:
        common.save("name", Namespace(quick=False, gpu=False, check=True), rows(now))

    assert stop.value.code == status
    assert (tmp_path / "name.json").read_text() == before
    assert "row 0" in capsys.readouterr().out


def test_a_result_is_stored_with_where_it_was_measured(monkeypatch, tmp_path):
    import common

    monkeypatch.setattr(common, "RESULTS", tmp_path)
    common.save("name", Namespace(quick=False, gpu=True, check=False), rows(2.0))

    stored = json.loads((tmp_path / "name_gpu.json").read_text())
    assert stored["rows"] == rows(2.0)
    assert {"commit", "dirty", "device", "devices", "versions"} <= stored[
        "provenance"
    ].keys()
    assert {"jax", "evosax"} <= stored["provenance"]["versions"].keys()


def test_without_an_accelerator_its_sizes_are_refused():
    import common

    if jax.default_backend() != "cpu":
        pytest.skip("there is an accelerator")
    with pytest.raises(SystemExit, match="want an accelerator"):
        common.check_backend(gpu=True)


def test_calls_alternate_each_after_one_untimed_and_the_ratio_is_theirs_by_ours(
    monkeypatch,
):
    import timing

    monkeypatch.setattr(timing, "WARM", 0.0)

    called = []
    calls = {name: lambda name=name: called.append(name) for name in ("ours", "evosax")}
    row = timing.alternate(calls, 3)

    assert called == ["ours", "evosax"] + ["ours", "ours", "evosax", "evosax"] * 3
    assert row["ratio"] == row["evosax"] / row["ours"]
    assert row["ours_low"] <= row["ours"] <= row["ours_high"]


def test_the_time_to_a_target_counts_what_the_runs_that_miss_it_took():
    import timing

    # given runs that get there after two generations, after three, and never
    curves = [[1.0, 5.0, 4.0], [0.0, 1.0, 5.0], [1.0, 2.0, 3.0]]

    found = timing.to_target(curves, 5.0, spent=0.5)

    assert found["reached"] == pytest.approx(2 / 3)
    assert found["generations"] == (2 + 3 + 3) / 2
    assert found["seconds"] == 2.0
    assert timing.to_target(curves, 6.0, spent=0.5)["seconds"] is None


def test_the_exponent_of_a_power_law_is_found_beyond_its_constant_part():
    import scaling

    sizes = np.array(scaling.powers(2, 16_384))
    values = np.maximum(3e-4 * sizes**1.7, 3e-4 * 128**1.7)

    exponent, factor = scaling.fit(sizes, values)

    assert exponent == pytest.approx(1.7)
    assert factor == pytest.approx(3e-4)


def test_the_interval_of_an_exponent_holds_it():
    import scaling

    rng, sizes = np.random.default_rng(0), np.array(scaling.powers(2, 16_384))
    inside = []
    for _ in range(400):
        values = 3e-4 * sizes**1.7 * np.exp(0.1 * rng.normal(size=len(sizes)))
        exponent, width = scaling.fit(sizes, values)[0], scaling.interval(sizes, values)
        inside.append(abs(exponent - 1.7) <= width)

    assert 0.95 - 5 * 0.011 < np.mean(inside) < 1.0  # 5 standard errors of 400
    assert scaling.interval((1, 2), (1.0, 2.0)) is None
    same = (1, 2, 4, 8, 16, 32), (3.0,) * 6
    assert (scaling.fit(*same)[0], scaling.interval(*same)) == (0.0, 0.0)


def test_the_flops_of_a_policy_are_those_of_its_formula():
    import counts

    policy = de.problems.MLP((3,), num_outputs=2)
    weights = policy.init(jax.random.key(0), jnp.zeros(4))

    flops, _ = direct(lambda w, o: policy.apply(w, o, ())[0], weights, jnp.zeros(4))

    assert counts.network((4, 3, 2)) == flops
    assert counts.weights((4, 3, 2)) == sum(leaf.size for leaf in jax.tree.leaves(weights))


def test_the_flops_of_the_estimator_are_those_of_its_formula():
    import counts

    def estimate(queries, keys, values, log_weight, precision):
        centre, middle = keys.mean(axis=0), values.mean(axis=0)
        queries, keys = queries - centre, keys - centre
        logits = queries @ keys.T - 0.5 * (keys**2).sum(axis=1)
        logits = precision * logits + log_weight
        weights = jnp.exp(logits - logits.max(axis=1, keepdims=True))
        weights = weights / weights.sum(axis=1, keepdims=True)
        return middle + weights @ (values - middle), (weights**2).sum(axis=1)

    size, dim = 7, 3
    points = jnp.ones((size, dim))
    flops, functions = direct(estimate, points, points, points, jnp.ones(size), 0.5)

    count = counts.estimate(size, dim)
    assert abs(count.flops - flops) <= 4 * (size + dim)  # what belongs to no pair
    assert count.functions == functions == size**2


def test_the_flops_of_a_step_of_cartpole_are_those_of_gymnax():
    import counts
    import gymnax

    env, params = gymnax.make("CartPole-v1")
    _, state = env.reset(jax.random.key(0), params)
    key = jax.random.key(1)

    def step(state):
        return env.step_env(key, state, jnp.asarray(1.0), params)[:4]

    flops, functions = direct(step, state)

    rest = counts.network((4, 8, 2)) + 5 * 4 + 1 + 4  # the policy, and what we add
    assert counts.cartpole_step().flops - rest == pytest.approx(flops, rel=0.15)
    assert counts.cartpole_step().functions == functions


def direct(function: Any, *arguments: Any) -> tuple[int, int]:
    """Operations and functions of a program on floats, one equation after the other."""
    return walk(jax.make_jaxpr(function)(*arguments).jaxpr)


def walk(jaxpr: Any) -> tuple[int, int]:
    flops = functions = 0
    for equation in jaxpr.eqns:
        name, inputs = equation.primitive.name, equation.invars
        inner = equation.params.get("jaxpr") or equation.params.get("call_jaxpr")
        if inner is not None:
            more = walk(getattr(inner, "jaxpr", inner))
            flops, functions = flops + more[0], functions + more[1]
            continue
        if not jnp.issubdtype(inputs[0].aval.dtype if inputs else bool, jnp.floating):
            continue
        size = equation.outvars[0].aval.size
        if name == "dot_general":
            (axes, _), _ = equation.params["dimension_numbers"]
            shape = inputs[0].aval.shape
            flops += 2 * size * math.prod(shape[axis] for axis in axes)
        elif name in ("reduce_sum", "reduce_max"):
            flops += inputs[0].aval.size
        elif name in OPERATIONS | {"integer_pow", "square"}:
            flops += size
        elif name in FUNCTIONS:
            functions += size
    return flops, functions


@pytest.mark.slow
@pytest.mark.parametrize("env_name", ["CartPole-v1", "MountainCar-v0"])
def test_the_peer_plays_the_same_policies_as_long(env_name):
    import peer

    _, problem, _ = de.published.control(env_name)
    weights = problem.space.decode(problem.space.sample(jax.random.key(0), 32))
    game = peer.game(env_name)
    observation = np.resize([-0.7, 0.03, 0.1, -1.0], game.observation_shape)
    policy = de.problems.MLP((8,), num_outputs=len(weights[-1]["bias"][0]))

    theirs = jax.vmap(game.policy.apply, (0, None))(
        peer.weights(problem, weights), observation
    )

    seen = environments.normalise(observation, game.observation_space)
    ours = jax.vmap(lambda w: jnp.argmax(policy.apply(w, seen, ())[0]))(weights)
    assert theirs.tolist() == ours.tolist()
    assert len(set(theirs.tolist())) > 1
    assert problem.observation == "space"  # what the peer's weights take in
    assert game.episode_length == problem.episode_limit


def test_a_case_that_fails_or_would_take_too_long_is_noted_and_the_rest_measured():
    import accelerator
    from accelerator_cases import Case

    def fail() -> dict[str, Any]:
        raise MemoryError("no room")

    row = lambda: {"seconds": 2.0, "first": 2.0}
    cases = [
        Case("small", row),
        Case("fails", fail),
        Case("large", row, "small", 100.0),
        Case("after a failure", row, "fails"),
        Case("as small", row, "small"),
    ]
    part: dict[str, Any] = {"rows": [], "errors": [], "left_out": []}
    for case in cases:
        accelerator.measure(part, case, end=time.perf_counter() + 60.0)

    names = {kind: [row["what"] for row in part[kind]] for kind in part}
    assert names["rows"] == ["small", "as small"]
    assert names["errors"] == ["fails"]
    assert names["left_out"] == ["large", "after a failure"]
    assert "MemoryError: no room" in part["errors"][0]["error"]
    assert "204.0 s foreseen" in part["left_out"][0]["why"]


def test_a_call_that_takes_long_is_not_repeated(monkeypatch):
    import accelerator_cases

    monkeypatch.setattr(accelerator_cases, "seconds", lambda call: call())

    assert accelerator_cases.repeated(lambda: 3.0, 5)["repeats"] == 0
    assert accelerator_cases.repeated(lambda: 0.1, 5)["repeats"] == 5
    assert accelerator_cases.repeated(lambda: 0.9, 5)["repeats"] == 2


def test_the_posterior_mean_in_float64_is_that_of_the_estimator():
    import accelerator_estimator

    row = accelerator_estimator.estimate(300, 3, 0, block_size=64)

    assert row["checked"] == accelerator_estimator.CHECKED
    assert row["error"] < 1e-5


def test_the_estimator_of_the_usual_cases_has_its_own_blocks(monkeypatch):
    import accelerator_estimator

    told = lambda size, dim, seed, attend: {"asked": attend.keywords["block_size"]}
    monkeypatch.setattr(accelerator_estimator, "measured", told)
    cases, _ = accelerator_estimator.cases(quick=True, seed=0)
    rows = {case.what: case.measure() for case in cases}

    usual = rows["estimator, N = 1,000, D = 58"]
    assert usual == {"asked": None, "blocks": usual_blocks()._asdict()}
    other = rows["estimator, N = 1,000, D = 58, blocks of 64"]
    assert other == {"asked": 64, "blocks": {"queries": 64, "keys": 64}}


def test_without_a_gpu_the_kernel_is_interpreted_and_its_error_measured():
    import accelerator_estimator

    if jax.default_backend() != "cpu":
        pytest.skip("there is an accelerator")
    row = accelerator_estimator.kernel(100, 3, 0, Tiling(False, 32, 2, 4))

    assert row["interpreted"]
    assert row["error"] < 1e-5
    assert row["tiling"]["queries"] == 32


@pytest.mark.slow
def test_every_case_of_the_kernel_can_be_lowered_for_a_gpu():
    import accelerator_estimator

    if jax.default_backend() != "cpu":
        pytest.skip("there is an accelerator")
    cases, _ = accelerator_estimator.kernels(quick=False, seed=0)
    for case in cases:
        size, dim, _, tiling = case.measure.args
        of = lambda *shape, dtype=jnp.float32: jax.ShapeDtypeStruct(shape, dtype)
        points, scalars = of(size, dim), of(size)
        given = points, points, points, scalars, of(size, dtype=jnp.int32)
        fused = functools.partial(attend_fused, tiling=tiling)
        assert lowered(fused, *given).count(KERNEL) == 1, case.what


def test_kernels_are_counted_in_the_innermost_loop_that_has_the_fewest():
    import gpu_compiler

    # given a loop of three kernels around one of two, beside one of three
    text = """
%inner (a: f32[2]) -> f32[2] {
  %one = f32[2] fusion(%a), kind=kLoop, calls=%f
  ROOT %two = f32[2] copy(%one)
}
%outer (a: f32[2]) -> f32[2] {
  %while.1 = f32[2] while(%a), condition=%c, body=%inner
  ROOT %three = f32[2] fusion(%while.1), kind=kLoop, calls=%f
}
%beside (a: f32[2]) -> f32[2] {
  %x = f32[2] fusion(%a), kind=kLoop, calls=%f
  %y = f32[2] custom-call(%x), custom_call_target="t"
  ROOT %z = f32[2] fusion(%y), kind=kLoop, calls=%f
}
ENTRY %main (a: f32[2]) -> f32[2] {
  %while.2 = f32[2] while(%a), condition=%c, body=%outer
  ROOT %while.3 = f32[2] while(%while.2), condition=%c, body=%beside
}
"""
    assert gpu_compiler._in_a_turn(text) == 2
    assert gpu_compiler._in_a_turn("ENTRY %main (a: f32[2]) -> f32[2] {") == 0


@pytest.mark.slow
def test_every_part_of_an_accelerator_runs_on_a_cpu_from_a_source_tree(tmp_path):
    stored = {path: path.read_text() for path in (BENCHMARKS / "results").iterdir()}
    out = tmp_path / "out.json"
    hide = (
        "import importlib.metadata as m, runpy, sys; real = m.distribution\n"
        "def found(name):\n"
        "    if name == 'diffevo-jax': raise m.PackageNotFoundError(name)\n"
        "    return real(name)\n"
        "m.distribution, sys.argv = found, sys.argv[1:]\n"
        "runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    script = str(BENCHMARKS / "accelerator.py")

    run = subprocess.run(
        [sys.executable, "-c", hide, script, "--quick", "--out", str(out)],
        env=os.environ | {"PYTHONPATH": f"{BENCHMARKS.parent}:{BENCHMARKS}"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert run.returncode == 0, run.stderr
    record = json.loads(out.read_text())
    assert record["provenance"]["diffevo_jax"] == "0+unknown"
    assert all(p["rows"] and not p["errors"] for p in record["parts"].values()), run.stdout
    usual, changed = (record["parts"]["ladder"]["rows"][i] for i in (0, 2))
    assert usual["ladder"] != changed["ladder"]
    assert usual["living_steps"] == changed["living_steps"]  # lanes are what they were
    assert any("ratio" in row for row in record["parts"]["evosax"]["rows"])
    assert {p: p.read_text() for p in (BENCHMARKS / "results").iterdir()} == stored


def test_of_several_processes_the_median_counts_and_the_slowest_is_told():
    import timing

    rows = [
        {"what": "a", "ours": seconds, "evosax": 6.0, "ratio": 6.0 / seconds}
        for seconds in (3.0, 1.0, 2.0)
    ]

    row = timing.of_processes(rows)

    assert row["what"] == "a"
    assert (row["ours"], row["ratio"], row["ours_slowest"]) == (2.0, 3.0, 3.0)
    assert row["processes"] == 3


def test_the_cheapest_benchmark_runs_from_end_to_end():
    stored = {path: path.read_text() for path in (BENCHMARKS / "results").iterdir()}

    run = subprocess.run(
        [sys.executable, str(BENCHMARKS / "estimator.py"), "--quick"],
        env=os.environ | {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"},  # it is mostly compiling
        capture_output=True,
        text=True,
        check=False,
    )

    assert run.returncode == 0, run.stderr
    assert "| N = 512, D = 2 |" in run.stdout
    assert {p: p.read_text() for p in (BENCHMARKS / "results").iterdir()} == stored


@pytest.mark.slow
def test_the_benchmark_of_large_policies_runs_from_end_to_end():
    stored = {path: path.read_text() for path in (BENCHMARKS / "results").iterdir()}

    run = subprocess.run(
        [sys.executable, str(BENCHMARKS / "large_policies.py"), "--quick"],
        env=os.environ | {"PYTHONPATH": f"{BENCHMARKS.parent}"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert run.returncode == 0, run.stderr
    assert "| CartPole-v1 | 9,986 | 130 |" in run.stdout
    assert "| Breakout-MinAtar | 48,099 | 171 |" in run.stdout
    assert "both factors frozen, rank 4" in run.stdout
    assert {p: p.read_text() for p in (BENCHMARKS / "results").iterdir()} == stored


def test_both_factors_of_a_matrix_as_a_genome_change_it_as_much_as_there_is_of_it():
    import large_policies

    base = large_policies.drawn_base("Breakout-MinAtar", (), 0)
    policy = large_policies.BothFactors(base, rank=3)
    rng, seen = np.random.default_rng(0), jnp.ones(400)
    zeros = policy.init(jax.random.key(0), seen)
    (own,) = jax.tree.map(lambda leaf: jnp.float32(rng.normal(size=leaf.shape)), zeros)
    weight, unit = base[0]["weight"], jnp.sqrt(jnp.mean(base[0]["weight"] ** 2) / 3)

    output, _ = policy.apply([own], seen, ())

    change = unit * own["first"] @ own["second"]
    np.testing.assert_allclose(output, seen @ (weight + change) + own["bias"], rtol=1e-4)
    ratio = jnp.sqrt(jnp.mean(change**2) / jnp.mean(weight**2))
    assert ratio == pytest.approx(1.0, rel=0.5)  # of 1,200 numbers, 9 of them of B


@pytest.mark.slow
def test_growth_is_measured_from_end_to_end():
    run = subprocess.run(
        [sys.executable, str(BENCHMARKS / "scaling.py"), "--quick"],
        env=os.environ | {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert run.returncode == 0, run.stderr
    for what in ("guided individuals N", "runs R", "generations G", "devices P"):
        assert f"| {what} |" in run.stdout
    assert "±" in run.stdout


def test_the_diversity_of_samples_is_their_mean_distance():
    import evolved_digits

    rng = np.random.default_rng(0)
    samples = rng.normal(size=(5, 64))
    apart = [
        np.sqrt(np.mean((samples[i] - samples[j]) ** 2)) for i in range(5) for j in range(i)
    ]
    assert evolved_digits.pairwise(samples) == pytest.approx(np.mean(apart))


def test_differences_are_of_the_same_seeds_and_have_an_interval():
    import evolved_digits

    text = evolved_digits.difference([1.0, 2.0, 3.0], [0.0, 2.5, 1.0])
    # 1, -0.5 and 2: a mean of 5 / 6, a deviation of 1.2583, and Student's 4.3027
    assert text == "+0.8333 ± 3.1258 (2 of 3)"


def test_a_repertoire_has_the_best_quality_of_each_cell():
    import quality_diversity

    fitness = np.array([[-0.5, -0.25, -3.0]])  # two in a cell, and one of no quality
    places = np.array([[[0.0, 0.0], [0.01, 0.0], [1.0, 1.0]]])

    scores = quality_diversity.scores(quality_diversity.tasks()["arm"], (fitness, places))

    np.testing.assert_allclose(scores["coverage"], [100 * 2 / 51**2], rtol=1e-5)
    np.testing.assert_allclose(scores["qd_score"], [100 * 0.75 / 51**2], rtol=1e-5)


def test_the_arm_is_that_of_pyribs():
    import quality_diversity

    angles = np.random.default_rng(0).uniform(-np.pi, np.pi, size=(5, 12))
    fitness, ends = quality_diversity.evaluated(quality_diversity.Arm(), angles)

    headings = angles.cumsum(axis=1)
    want = np.stack([np.cos(headings).sum(axis=1), np.sin(headings).sum(axis=1)], axis=1)
    np.testing.assert_allclose(fitness, -angles.var(axis=1), rtol=1e-5)
    np.testing.assert_allclose(12 * np.asarray(ends), want, atol=1e-5)


@pytest.mark.slow
def test_flat_weights_of_pyribs_are_the_weights_of_the_policy():
    import quality_diversity

    problem = quality_diversity.tasks()["pendulum"].problem
    weights = np.random.default_rng(0).normal(size=(2, problem.space.dim))
    decoded = problem.space.decode(jnp.asarray(weights, jnp.float32))

    fitness, _ = quality_diversity.evaluated(problem, weights)

    want, _ = problem.evaluate(jax.random.key(0), (), decoded)
    np.testing.assert_allclose(fitness, want.fitness, rtol=1e-4)
