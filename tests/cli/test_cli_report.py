"""``--out`` and ``diffevo report``: from a run to a page, and what is said where not."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import diffevo_jax as de
from diffevo_jax import cli
from diffevo_jax.report.sources import read_run

RUN = ("himmelblau", "--population-size=8", "--num-generations=4", "--seeds=2")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Of a run that left all that a report can read."""
    path = tmp_path_factory.mktemp("left")
    outputs = ("--out", path / "a.npz", "--json", path / "a.json", "--folder", path / "run")
    assert cli.main(["evolve", *RUN, *map(str, outputs)]) == 0
    return path


@pytest.fixture
def complaint(capsys):
    """Run a command line that is wrong and return its one line."""

    def complaint(*args: object) -> str:
        assert cli.main(["report", *map(str, args)]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.count("\n") == 1
        return err

    return complaint


def test_out_has_all_that_was_recorded(folder) -> None:
    saved = de.load(folder / "a.npz")
    assert saved.result.recorded["population"].shape == (2, 4, 8, 2)
    assert saved.config["seeds"] == 2
    assert saved.command.startswith("diffevo evolve himmelblau --population-size=8")
    assert saved.plane is not None
    said = json.loads((folder / "a.json").read_text())
    assert said["command"] == saved.command
    np.testing.assert_allclose(
        said["history"]["mean_fitness"], saved.result.history.mean_fitness
    )


@pytest.mark.slow
def test_out_changes_no_bit(folder, tmp_path) -> None:
    assert cli.main(["evolve", *RUN, "--json", str(tmp_path / "b.json")]) == 0
    ours, theirs = (
        json.loads(path.read_text()) for path in (folder / "a.json", tmp_path / "b.json")
    )
    assert ours["history"] == theirs["history"]


@pytest.mark.parametrize("name", ["a.npz", "a.json", "run"])
def test_whatever_a_run_left_makes_the_same_curves(folder, name, tmp_path, capsys) -> None:
    path = tmp_path / "report.html"
    assert cli.main(["report", str(folder / name), "-o", str(path)]) == 0
    assert str(path) in capsys.readouterr().out
    html = path.read_text(encoding="utf-8")
    data = json.loads(html.split('id="data">')[1].split("</script>")[0])
    mean = np.mean(de.load(folder / "a.npz").result.history.mean_fitness[:, -1])
    curve = data["charts"][0]["curves"][0]["values"]
    assert curve[-1].startswith(f"{float(mean):.4g} ±")
    assert len(data["films"]) == (0 if name == "a.json" else 1)


def test_a_run_that_has_ended_keeps_its_last_value(folder, tmp_path) -> None:
    run = shutil.copytree(folder / "run", tmp_path / "run")
    rows = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    for row in rows[2:]:  # as is logged of a run that has ended while others go on
        for name, values in row.items():
            row[name] = [None, values[1]] if isinstance(values, list) else values
    (run / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    read = read_run(run, "some")
    assert read.generations.tolist() == [2, 4]
    means = read.history["mean_fitness"]
    np.testing.assert_array_equal(means[0, 2:], means[0, 1])
    assert not [sentence for sentence in read.wrong if "nan" in sentence]


def test_several_are_compared_under_their_labels(folder, tmp_path) -> None:
    path = tmp_path / "report.html"
    words = ("-o", path, "--label", "first", "--label", "second", "--title", "Two")
    args = ("report", folder / "a.npz", folder / "a.json", *words)
    assert cli.main(list(map(str, args))) == 0
    html = path.read_text(encoding="utf-8")
    assert "<title>Two</title>" in html
    assert "mean fitness over generation: first, second" in html


def test_errors_are_one_line(folder, complaint, tmp_path) -> None:
    assert "got no RESULT" in complaint()
    assert "RESULT: got '', want a path" in complaint("")  # and not the current folder
    assert "unknown flag --titel; closest: --title" in complaint("a.npz", "--titel", "x")
    assert f"RESULT: got {tmp_path}" in complaint(tmp_path / "none.npz")
    assert "--label: got 1 for 2" in complaint(
        folder / "a.npz", folder / "a.json", "--label", "a"
    )
    broken = tmp_path / "broken.npz"
    broken.write_bytes((folder / "a.npz").read_bytes()[:-9])
    assert "want a whole file of a result" in complaint(broken)
    assert "--out: got" in complaint(folder / "a.npz", "-o", tmp_path / "no" / "a.html")


def test_a_page_that_is_there_stays_if_a_result_is_wrong(complaint, tmp_path) -> None:
    path = tmp_path / "report.html"
    path.write_text("before")
    complaint(tmp_path / "none.npz", "-o", path)
    assert path.read_text() == "before"


def test_help_fits_a_screen(capsys) -> None:
    assert cli.main(["report", "--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) < 25
    assert max(map(len, lines)) <= 100


def test_a_result_is_not_replaced_by_its_page(folder, complaint) -> None:
    before = (folder / "a.npz").read_bytes()
    for path in (folder / "a.npz", folder / "run" / ".." / "a.npz"):
        assert "which is a RESULT" in complaint(folder / "a.npz", "-o", path)
    assert (folder / "a.npz").read_bytes() == before


@pytest.mark.parametrize("out", ["", "~no-such-user/page.html", "a\0b.html"])
def test_an_out_that_is_no_path_is_said(folder, complaint, out) -> None:
    assert "--out: " in complaint(folder / "a.npz", "-o", out)


def test_a_name_of_other_letters_makes_a_page(folder, tmp_path, capsys) -> None:
    page = tmp_path / "page.html"
    odd = tmp_path / "a\udcff.npz"
    odd.write_bytes((folder / "a.npz").read_bytes())
    assert cli.main(["report", str(odd), "-o", str(page)]) == 0
    assert "a\\udcff" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("log.jsonl", "3\n"),
        ("log.jsonl", '{"mean_fitness": [1, 2]}\n{"sigma": 1}\n'),
        ("log.jsonl", '{"mean_fitness": [1, 2]}\n'),
        ("log.jsonl", "[" * 99_999),
        ("run.json", '{"start": 3}'),
        ("run.json", '{"versions": [1]}'),
    ],
    ids=["no row", "other rows", "no sigma", "deep", "start", "versions"],
)
def test_a_folder_that_was_changed_is_said(
    folder, complaint, tmp_path, name, content
) -> None:
    path = tmp_path / "changed"
    shutil.copytree(folder / "run", path)
    (path / name).write_text(content)
    assert str(path) in complaint(path, "-o", tmp_path / "page.html")


def test_the_film_of_a_folder_is_that_of_its_last_checkpoint(folder) -> None:
    assert len(list((folder / "run").glob("checkpoint-*.npz"))) > 1
    film = read_run(folder / "run", "a").film
    assert film is not None
    assert film.generations.tolist() == [1, 2, 3, 4]
