"""The page without a browser: whole, alone, with all numbers, and nothing gets out."""

import dataclasses
import json
import os
import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import jax
import numpy as np
import pytest
import xarray
from made_results import made

import diffevo_jax as de
from diffevo_jax.report import (
    comparisons,
    markup,
    pages,
    problem_groups,
    sections,
    sources,
    sweep_tables,
)

COMMAND = "diffevo evolve himmelblau --seeds 3 --out 'a <b>.npz'"
NASTY = "</script><script>alert(1)</script><b>&"
#: Attributes that make a browser ask for something.
LOADING = ("src", "href", "action", "data", "poster", "srcset", "formaction")


class Page(HTMLParser):
    """What is in a page."""

    VOID = frozenset(
        "meta link input img path line rect circle".split()  # noqa: SIM905
    )

    def __init__(self, html: str) -> None:
        super().__init__()
        self.html = html
        self.open: list[str] = []
        self.tags: Counter[str] = Counter()
        self.ids: list[str] = []
        self.loads: list[str] = []
        self.wrong: list[str] = []
        self.texts: dict[str, str] = {}
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags[tag] += 1
        given = dict(attrs)
        self.ids += [given["id"]] if "id" in given else []
        self.loads += [given[name] for name in LOADING if given.get(name)]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if not self.open or self.open[-1] != tag:
            self.wrong.append(f"</{tag}> in {self.open[-3:]}")
        elif self.open:
            self.open.pop()

    def handle_data(self, data):
        place = self.open[-1] if self.open else ""
        self.texts[place] = self.texts.get(place, "") + data


@pytest.fixture(scope="module")
def two_numbers(tmp_path_factory) -> str:
    """The file of three runs on a landscape."""
    path = tmp_path_factory.mktemp("two") / "landscape.npz"
    problem = de.problems.Landscape("himmelblau")
    notes = {"name": "himmelblau", "population_size": 16, "seeds": 3}
    about = {"strategy": de.DiffusionEvolution(6), "problem": problem, "notes": notes}
    de.save(path, made(3, 16, 2, scale=4.0), **about, command=COMMAND)
    return str(path)


@pytest.fixture(scope="module")
def many_numbers(tmp_path_factory) -> str:
    """The file of one run in twelve dimensions."""
    path = tmp_path_factory.mktemp("many") / "sphere.npz"
    problem = de.problems.Function(lambda x: -(x**2).sum(), dim=12)
    strategy = de.DiffusionEvolution(6)
    de.save(path, made(None, 16, 12), strategy=strategy, problem=problem)
    return str(path)


@pytest.fixture(scope="module")
def swept(tmp_path_factory) -> str:
    """The table of a sweep over two axes: six settings, two seeds."""
    means = np.random.default_rng(0).normal(size=(6, 2, 3))
    dims, alike = ("setting", "seed"), np.zeros((6, 2), bool)
    dataset = xarray.Dataset(
        {
            "final_mean": (dims, means[..., -1]),
            "final_best": (dims, means.max(axis=-1)),
            "failed": (dims, alike),
            "missing": (dims, alike),
            "evaluations": (dims[:1], np.full(6, 24)),
            "mean_fitness": ((*dims, "generation"), means),
        },
        {
            "setting": np.arange(6),
            "seed": np.arange(2),
            "generation": np.arange(3),
            "sampler.eta": ("setting", np.repeat([0.0, 0.5, 1.0], 2)),
            "shaping.temperature": ("setting", np.tile([0.1, 1.0], 3)),
        },
    )
    path = tmp_path_factory.mktemp("sweep") / "sweep.nc"
    de.sweeps.save(dataset, path)
    return str(path)


@pytest.fixture(scope="module")
def both(two_numbers, many_numbers) -> Page:
    return Page(de.report.page([two_numbers, many_numbers], title="Both"))


def test_the_best_solution_is_of_a_feasible_run() -> None:
    result = made(3, 8, 2)
    result = de.replace(
        result,
        best_violation=np.array([1.0, 0.0, 0.0]),
        best_fitness=np.array([9.0, 1.0, 2.0]),
    )
    best = sources.of_result(result, "some").best
    np.testing.assert_array_equal(list(best.values()), result.best_solution[2])


def test_every_element_is_closed(both) -> None:
    assert not both.wrong
    assert not both.open


def test_ids_are_unique_and_links_lead_to_them(both) -> None:
    assert len(both.ids) == len(set(both.ids))
    anchors = [one[1:] for one in both.loads if one.startswith("#")]
    assert (
        {"curves", "diagnostics", "result-1", "result-2"} <= set(anchors) <= set(both.ids)
    )


def test_nothing_is_loaded(both) -> None:
    assert all(one.startswith(("#", "data:")) for one in both.loads)
    assert "default-src 'none'" in both.html
    assert not re.search(r"@import|url\(|https?:|//[a-z]", both.html)


def test_it_has_a_title_and_one_heading(both) -> None:
    assert both.texts["title"] == "Both"
    assert both.tags["h1"] == 1
    assert 'lang="en"' in both.html
    assert 'name="viewport"' in both.html


def test_it_says_the_numbers_of_the_results(both, two_numbers, many_numbers) -> None:
    for path in (two_numbers, many_numbers):
        saved = de.load(path)
        history = saved.result.history
        means = np.atleast_2d(history.mean_fitness).astype(float)
        assert markup.numeral(float(means[:, -1].mean())) in both.texts["td"]
        best = int(np.argmax(np.atleast_1d(saved.result.best_fitness)))
        for values in saved.named.values():
            assert f"{values[best]:.6g}".replace("-", "−") in both.texts["td"]


def test_the_script_gets_what_it_needs_of_every_chart_and_film(both) -> None:
    values = json.loads(both.texts["script"].split('"use strict"')[0])
    assert len(values["charts"]) == both.html.count('class="chart"') == 10
    assert len(values["films"]) == 2
    first = values["charts"][0]["curves"][0]
    assert [len(first[name]) for name in ("at", "x", "values")] == [6, 6, 6]


def test_it_says_what_was_run_and_the_command(both) -> None:
    assert "himmelblau" in both.texts["td"]
    assert jax.__version__ in both.texts["td"]
    assert both.texts["code"] == COMMAND


def test_what_differs_is_marked(both) -> None:
    rows = re.findall(r'<tr class="differs"><th scope="row">([^<]*)</th>', both.html)
    assert "problem" in rows
    assert "strategy.sampler.eta" not in rows


def test_no_name_gets_out_of_its_place(two_numbers) -> None:
    page = Page(de.report.page([two_numbers], labels=[NASTY], title=NASTY))
    assert page.tags["script"] == 2
    assert page.tags["b"] == 0
    assert not page.wrong
    assert page.texts["title"] == page.texts["h1"] == NASTY


def test_from_a_thousand_on_thousands_are_parted_everywhere(tmp_path) -> None:
    result = made(2, 1500, 2)
    grown = lambda leaf: leaf * 5000 if leaf.dtype.kind == "f" else leaf
    result = jax.tree.map(lambda leaf: grown(np.asarray(leaf)), result)
    notes = {"seeds": 1200, "population_size": 1500, "budget": [9000.0, -1234.5]}
    problem = de.problems.Landscape("beale", scale=2500.0)
    de.save(tmp_path / "a.npz", result, problem=problem, notes=notes)
    rows = ["setting,seed,final_mean,a", "0,0,5000.0,1000", "1,0,10000.0,2000.5"]
    (tmp_path / "b.csv").write_text("\n".join(rows))
    html = de.report.page([tmp_path / "a.npz", tmp_path / "b.csv"])
    words = re.sub(r"<style>.*?</style>|<[^>]*>", " ", html, flags=re.DOTALL)
    words = words.split('"use strict"')[0]
    words = re.sub(r"\[[-\d.,\[\]]*\]", "", words)  # places that the script draws at
    assert re.findall(r"(?<![\w.])\d{4,}(?!\w)", words) == []
    for number in ("1,500", "9,000", "−1,234.5", "2,500.0", "5,000", "10,000", "2,000"):
        assert number in words


@pytest.mark.parametrize("value", [1e3, -4321.4, 9999.6, 54321.0, 9_999_999.0])
def test_a_float_is_written_as_an_int_is(value) -> None:
    assert markup.numeral(value) == markup.numeral(round(value))


def test_a_dollar_in_a_name_is_a_dollar(two_numbers) -> None:
    page = Page(de.report.page([two_numbers], title="$body ${style} $$"))
    assert page.texts["h1"] == "$body ${style} $$"


def test_a_result_of_this_process_is_shown_too(two_numbers) -> None:
    saved = de.load(two_numbers)
    html = de.report.page([saved.result, two_numbers], labels=["here", "there"])
    assert drawn_together(html) == ["here", "there"]


def test_what_was_read_makes_the_page_of_its_file(two_numbers) -> None:
    saved = de.load(two_numbers)
    ours, theirs = (de.report.page([one], labels=["a"]) for one in (saved, two_numbers))
    assert ours == theirs


def test_a_result_without_a_configuration_says_so(two_numbers) -> None:
    said = "The results say nothing of their configuration."
    result = de.load(two_numbers).result
    assert said in de.report.page([result])
    assert said not in de.report.page([result, two_numbers])


def test_a_sweep_has_a_table_and_a_heat_map(swept) -> None:
    page = Page(de.report.page([swept]))
    assert not page.wrong
    assert 'class="heat"' in page.html
    assert page.html.count('style="--t:') == 6
    with xarray.open_dataset(swept) as dataset:
        means = np.asarray(dataset.final_mean, float).mean(axis=1)
    assert all(markup.numeral(float(mean)) in page.texts["td"] for mean in means)
    first = page.html.index("<tbody>", page.html.index('class="sortable"'))
    assert f">{int(means.argmax())}</td>" in page.html[first : first + 90]


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_other_tables_say_the_same(swept, ending, tmp_path) -> None:
    with xarray.open_dataset(swept) as dataset:
        de.sweeps.save(dataset.load(), tmp_path / f"sweep{ending}")
    tables = (
        re.search(r'<table class="sortable">.*?</table>', de.report.page([path]))[0]
        for path in (swept, tmp_path / f"sweep{ending}")
    )
    ours, theirs = (re.sub(r"<[^>]*>", " ", table) for table in tables)
    assert ours == theirs


def of_problem(path, problem, size=8, **about) -> str:
    """The file of one run of a problem of two numbers."""
    result = de.replace(made(None, size, 2), recorded={})
    de.save(path, result, problem=problem, **about)
    return str(path)


def drawn_together(html: str) -> list[str]:
    """The labels that share the axes of mean fitness, figure by figure."""
    return re.findall(r"mean fitness over \w+: ([^.]*)\.", html)


def test_results_of_a_problem_share_axes_and_of_others_do_not(tmp_path) -> None:
    landscape = lambda name, **more: de.problems.Landscape(name, **more)
    problems = {
        "a": landscape("beale"),
        "b": landscape("himmelblau"),
        "c": landscape("beale", scale=2.0),  # another start, and the same worth
        "d": landscape("beale", temperature=2.0),
    }
    paths = [of_problem(tmp_path / f"{n}.npz", one) for n, one in problems.items()]
    page = Page(de.report.page(paths))
    assert drawn_together(page.html) == ["a, c", "b", "d"]
    names = re.findall(r'class="problem"><h3>([^<]*)</h3>', page.html)
    assert names[:3] == ["beale, temperature 1.0", "himmelblau", "beale, temperature 2.0"]
    assert names[3:] == names[:3], "of the diagnostics too"
    assert '<th scope="row">b</th><td>himmelblau</td>' in page.html
    assert not page.wrong


def test_results_of_one_problem_need_no_heading(two_numbers, tmp_path) -> None:
    other = of_problem(tmp_path / "a.npz", de.problems.Landscape("himmelblau"))
    html = de.report.page([two_numbers, other])
    assert drawn_together(html) == ["landscape, a"]
    assert 'class="problem"' not in html


def test_an_environment_with_another_policy_is_the_same_problem() -> None:
    run = sources.of_result(made(3, 8, 2), "a")
    control = lambda width: {"class": "Control", "env_name": "A", "policy": [width]}
    runs = [dataclasses.replace(run, config={"problem": control(n)}) for n in (8, 16)]
    (group,) = problem_groups.by_problem(runs)
    assert group.name == "A"


def test_results_that_do_not_say_their_problem_are_parted_by_their_numbers() -> None:
    results = [made(None, 8, dim) for dim in (2, 3, 2)]
    html = de.report.page(results, labels=["a", "b", "c"])
    assert drawn_together(html) == ["a, c", "b"]
    assert "<h3>a problem of 3 numbers, not named</h3>" in html


def test_where_a_result_is_far_longer_the_axis_is_logarithmic() -> None:
    run = sources.of_result(made(2, 8, 2), "short")
    history = {"mean_fitness": np.tile(run.history["mean_fitness"], 50)}
    long = dataclasses.replace(run, label="long", history=history)
    groups = problem_groups.by_problem([run, long])
    curves = comparisons.curves(groups, sections.Made())
    assert "the axis along is logarithmic" in curves.html


def test_results_of_other_sizes_are_compared_by_evaluations(two_numbers, tmp_path) -> None:
    problem = de.problems.Landscape("himmelblau")
    path = of_problem(tmp_path / "b.npz", problem)
    html = de.report.page([two_numbers, path], labels=["a", "b"])
    assert "mean fitness over evaluations: a, b" in html


def test_where_there_is_no_film_it_says_what_to_record(tmp_path) -> None:
    path = of_problem(tmp_path / "a.npz", de.problems.Landscape("himmelblau"))
    html = de.report.page([path])
    assert 'class="film"' not in html
    assert "want record=" in html


def test_a_run_of_which_everything_failed_makes_a_page(tmp_path) -> None:
    result = made(2, 8, 2)
    failed = jax.tree.map(lambda rows: np.full_like(rows, -np.inf), result.fitness)
    history = de.replace(
        result.history,
        best_fitness=np.full((2, 6), -np.inf),
        mean_fitness=np.full((2, 6), -np.inf),
    )
    recorded = result.recorded | {"fitness": np.full((2, 6, 8), np.nan)}
    result = de.replace(
        result,
        fitness=failed,
        history=history,
        recorded=recorded,
        best_fitness=np.full(2, -np.inf),
    )
    page = Page(de.report.page([result], labels=["failed"]))
    assert not page.wrong
    assert "nan" not in page.texts["td"].lower()
    assert "every evaluation failed" in page.texts["li"]


def test_labels_are_as_short_as_they_can_be() -> None:
    assert pages.labels_of(["x/a.npz", "y/b.npz"]) == ["a", "b"]
    assert pages.labels_of(["x/a.npz", "x/a.npz"]) == ["x/a (1)", "x/a (2)"]
    assert pages.labels_of(["x/run-0.5", "x/run-0.7"]) == ["run-0.5", "run-0.7"]


def test_a_file_without_an_ending_is_what_it_holds(two_numbers, tmp_path) -> None:
    (tmp_path / "first").write_bytes(Path(two_numbers).read_bytes())
    assert de.report.page([tmp_path / "first"]) == de.report.page(
        [two_numbers], labels=["first"]
    )
    (tmp_path / "odd").write_text("beale")
    with pytest.raises(ValueError, match=r"want a folder or an ending among \.npz"):
        de.report.page([tmp_path / "odd"])
    (tmp_path / "other").write_text('{"config": {}}')
    with pytest.raises(ValueError, match="want a file of 'diffevo evolve --json'"):
        de.report.page([tmp_path / "other"])


@pytest.mark.parametrize("name", ["run-0.5", "first.NPZ"])
def test_a_point_in_a_name_is_no_ending(name, two_numbers, tmp_path) -> None:
    (tmp_path / name).write_bytes(Path(two_numbers).read_bytes())
    html = de.report.page([tmp_path / name])
    assert html == de.report.page([two_numbers], labels=[name])


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="a system without named pipes")
def test_a_pipe_of_no_known_ending_is_left_alone(tmp_path) -> None:
    os.mkfifo(tmp_path / "pipe")
    both = os.open(tmp_path / "pipe", os.O_RDWR)  # who opens it waits for nobody
    try:
        os.write(both, b'{"config": {}}')
        assert sources.ending_of(tmp_path / "pipe") == ""
        assert os.read(both, 99) == b'{"config": {}}'
    finally:
        os.close(both)


def test_wrong_arguments_are_said(two_numbers, tmp_path) -> None:
    with pytest.raises(ValueError, match="results: got none"):
        de.report.page([])
    with pytest.raises(ValueError, match="labels: got 2 for 1 results"):
        de.report.page([two_numbers], labels=["a", "b"])
    with pytest.raises(ValueError, match="which is not there"):
        de.report.page([tmp_path / "none.npz"])
    (tmp_path / "odd.txt").touch()
    with pytest.raises(ValueError, match=r"want a folder or an ending among \.npz"):
        de.report.page([tmp_path / "odd.txt"])
    (tmp_path / "odd.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="no column setting"):
        de.report.page([tmp_path / "odd.csv"])
    (tmp_path / "odd.json").write_text('{"config": {}}')
    with pytest.raises(ValueError, match="want a file of 'diffevo evolve --json'"):
        de.report.page([tmp_path / "odd.json"])
    with pytest.raises(ValueError, match=r"a folder without run\.json"):
        de.report.page([tmp_path])


@pytest.mark.parametrize(
    "table",
    [
        "setting,seed,final_mean\n",
        "setting,seed,final_mean\n,0,1\n",
        "setting,seed,final_mean\na,b,c\n",
        "setting,seed\n0,0\n",
        "",
    ],
    ids=["no run", "no setting", "words", "no mean", "empty"],
)
def test_a_table_of_no_sweep_is_said(table, tmp_path) -> None:
    path = tmp_path / "sweep.csv"
    path.write_text(table)
    with pytest.raises(ValueError, match=r"^path: got .*sweep\.csv"):
        pages.page([path])


@pytest.mark.parametrize("ending", [".nc", ".zarr", ".parquet", ".csv", ".json", ".npz"])
def test_a_file_of_anything_is_said_with_its_name(ending, tmp_path) -> None:
    path = tmp_path / f"anything{ending}"
    path.write_bytes(bytes(range(256)))
    with pytest.raises(ValueError, match=r"^path: got .*anything\."):
        pages.page([path])


@pytest.mark.parametrize(
    "change",
    [
        {"best_fitness": np.zeros(2)},
        {"best_fitness": np.zeros((3, 0))},
        {"generations": np.full(3, np.inf)},
        {"population_size": 1e308},
        {"interval": np.zeros((1, 2))},
        {"history": {"mean_fitness": np.zeros((3, 0))}},
        {"history": {"mean_fitness": np.zeros((3, 4)), "sigma": np.zeros((3, 5))}},
        {"config": 3},
        {"versions": [1]},
        {"command": None},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_does_not_fit_together_is_no_run(change) -> None:
    run = sources.of_result(made(3, 8, 2), "a")
    with pytest.raises((TypeError, ValueError), match=r"got|want"):
        dataclasses.replace(run, **change)


@pytest.mark.parametrize("scale", [1e-310, 1e306, np.inf, np.nan])
def test_no_number_is_too_large_or_too_small(scale) -> None:
    scaled = lambda leaf: leaf if leaf.dtype.kind != "f" else np.float64(leaf) * scale
    with np.errstate(all="ignore"):
        result = jax.tree.map(lambda leaf: scaled(np.asarray(leaf)), made(2, 8, 3))
    page = Page(pages.page([result]))
    assert page.wrong == []
    assert not re.search(r"\b(nan|inf)\b", page.texts["td"] + page.texts["span"])


def test_a_sweep_of_huge_numbers_is_ranked(tmp_path) -> None:
    path = tmp_path / "sweep.csv"
    rows = ("0,0,1e308,1", "0,1,-1e308,1", "1,0,1e308,2", "1,1,1e308,2")
    path.write_text("\n".join(("setting,seed,final_mean,a", *rows)))
    rows = sweep_tables.ranked(sweep_tables.sweep_of(de.sweeps.load(path), "sweep"))
    assert rows["setting"].tolist() == [1, 0]
    assert rows["mean"].tolist() == [1e308, 0.0]
    assert Page(pages.page([path])).wrong == []


def test_letters_that_no_file_has_are_written_out(two_numbers, tmp_path) -> None:
    html = pages.page([two_numbers], labels=["run \udcff"], title="\ud800")
    (tmp_path / "page.html").write_text(html, encoding="utf-8")
    assert "run \\udcff" in html


def test_of_infeasible_runs_the_nearest_is_shown_and_called_so() -> None:
    result = made(3, 8, 2)
    none = np.full(3, -np.inf, np.float32)
    violation = np.array([3.0, 0.25, 1.0], np.float32)
    result = dataclasses.replace(result, best_fitness=none, best_violation=violation)
    html = pages.page([result])
    assert "It is infeasible: its violation is 0.25." in html
    assert (
        f'<td class="number">{markup.numeral(result.best_solution[1, 0], 6)}</td>' in html
    )
    assert "nothing feasible was found: the smallest violation is 0.25" in html


def test_a_feasible_solution_is_not_called_infeasible(two_numbers) -> None:
    assert "infeasible" not in pages.page([two_numbers])


def test_a_setting_with_a_failed_run_has_no_mean_and_comes_last(tmp_path) -> None:
    path = tmp_path / "sweep.csv"
    path.write_text("setting,seed,final_mean,failed,a\n0,0,9,True,1\n1,0,1,False,2\n")
    rows = sweep_tables.ranked(sweep_tables.sweep_of(de.sweeps.load(path), "sweep"))
    assert rows["setting"].tolist() == [1, 0]
    assert np.isnan(rows["mean"].tolist()[1])


def test_a_heat_map_has_each_mean_beside_its_values(tmp_path) -> None:
    path = tmp_path / "sweep.csv"
    rows = [f"{i},0,{10 * a + b},{a},{b}" for i, (a, b) in enumerate(np.ndindex(2, 3))]
    path.write_text("\n".join(["setting,seed,final_mean,a,b", *rows]))
    sweep = sweep_tables.sweep_of(de.sweeps.load(path), "sweep")
    (map_,) = sweep_tables.dependence(sweep, sections.Made())
    shown = re.findall(r'<tr><th scope="row">(\d)</th>(.*?)</tr>', map_)
    cells = {row: re.findall(r">(\d+)</td>", line) for row, line in shown}
    assert cells == {"1": ["10", "11", "12"], "0": ["0", "1", "2"]}


def test_a_heat_map_says_what_it_is_the_mean_over(tmp_path) -> None:
    path = tmp_path / "sweep.csv"
    cells = np.ndindex(2, 2, 2)
    rows = [
        f"{i},0,{100 * a + 10 * b + c},{a},{b},{c}" for i, (a, b, c) in enumerate(cells)
    ]
    rows[-1] = "7,0,,1,1,1"  # has failed, so that its cell has no mean
    path.write_text("\n".join(["setting,seed,final_mean,a,b,c", *rows]))
    sweep = sweep_tables.sweep_of(de.sweeps.load(path), "sweep")
    (map_,) = sweep_tables.dependence(sweep, sections.Made())
    assert "Each is the mean over 2 values of c." in map_
    assert re.findall(r">([\d.]+|–)</td>", map_) == ["10.5", "–", "0.5", "100.5"]


def test_the_film_of_a_run_that_stopped_ends_there() -> None:
    result = dataclasses.replace(made(2, 8, 2), stopped=np.array([1, 0], np.int32))
    generation = np.array([3, 6], np.int32)
    result = dataclasses.replace(
        result, state=dataclasses.replace(result.state, generation=generation)
    )
    film = sources.of_result(result, "a").film
    assert film is not None
    assert film.generations.tolist() == [1, 2, 3]
