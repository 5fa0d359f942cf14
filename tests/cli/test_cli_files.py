"""Files of settings and paths, whatever is in them: our own errors, and nothing left."""

import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from diffevo_jax import cli, sweeps
from diffevo_jax.cli import evolve_command, files, sweep_command

#: What a random file is made of: names of the library among others, and any value of TOML.
WORDS = (
    *("name", "class", "strategy", "problem", "axes", "seeds", "seed", "out", "folder"),
    *("shard", "mode", "kernel", "shaping", "sampler", "eta", "temperature", "scale"),
    *("num_generations", "population_size", "memory", "denoiser", "floor", "hidden", "top"),
    *('""', '"a=b"', '"--help"', '"\\u0000"', "'é'", "batch_size", "cache", "axis"),
)
VALUES = (
    *("1", "-1", "0", "1e999", "nan", "-inf", "0xff", "99999999999999999999", "true"),
    *('""', '"--help"', '"beale"', '"cartpole"', '"tempered"', '"a,b:c"', '"range(3)"'),
    *('"\\u0000"', '"~nobody/x"', "1979-05-27", "07:32:00", "[]", "{}", "[[1, 2], [3]]"),
    *('"map"', '"linspace(0,1,3)"', '["--help"]', '["--json=x"]', "{class = 1}", "'None'"),
)
DEEP = 100_000
PROCESSES = 100


@pytest.fixture(autouse=True)
def _nothing_runs(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(sweep_command, "run", lambda *_: 0)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def load(capsys, tmp_path):
    """The exit code and the complaint of a sweep of a file."""

    def load(content: bytes | str, *flags: str) -> tuple[int, str]:
        path = tmp_path / "sweep.toml"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        code = cli.main(["sweep", str(path), *flags])
        _, err = capsys.readouterr()
        assert code in (0, 2)
        assert err.count("\n") == (1 if code else 0)
        assert not err or err.startswith("diffevo: error: ")
        assert "\0" not in err
        return code, err

    return load


def random_bytes(choose: random.Random) -> bytes:
    begin = choose.choice([b"", b"name = 'beale'\n", b"\xef\xbb\xbf", b"\xff\xfe", b"[[[["])
    return begin + choose.randbytes(choose.randrange(200))


def random_toml(choose: random.Random) -> bytes:
    lines = [] if choose.random() < 0.1 else ["name = 'beale'"]
    for _ in range(choose.randrange(1, 6)):
        key = ".".join(choose.choices(WORDS, k=choose.choice([1, 1, 1, 2, 3])))
        if choose.random() < 0.3:
            lines.append(f"[{key}]")
        lines.append(f"{key} = {choose.choice(VALUES)}")
    return "\n".join(lines).encode()


def check_random_files(load: Any, folder: Path, count: int, seed: int) -> None:
    """Half of them bytes, half of them of the words of TOML."""
    choose = random.Random(seed)
    for number in range(count):
        make = random_toml if number % 2 else random_bytes
        code, _ = load(make(choose))
        made = [path for path in folder.iterdir() if path.name != "sweep.toml"]
        assert not made or code == 0  # it asked for a folder, and was right
        for path in made:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def test_a_random_file_is_right_or_refused_in_one_line(load, tmp_path) -> None:
    check_random_files(load, tmp_path, 500, seed=0)


@pytest.mark.slow
def test_each_of_many_random_files_is_right_or_refused_in_one_line(load, tmp_path) -> None:
    check_random_files(load, tmp_path, 10_000, seed=1)


@pytest.mark.slow
def test_a_random_file_with_an_unknown_key_is_refused_by_a_process(forks, tmp_path) -> None:
    choose, folder = random.Random(2), tmp_path / "files"
    folder.mkdir()
    for number in range(PROCESSES):
        path = folder / f"{number}.toml"
        make = random_toml if number % 2 else random_bytes
        path.write_bytes(b"nobody = 1\n" + make(choose))
    before = sorted(folder.iterdir())
    for path in before:
        log, words = tmp_path / f"{path.stem}.log", ["sweep", str(path)]
        pid = forks.start("kept_programs:command", log, words=words, directory=str(folder))
        assert forks.code(pid) == 2, log.read_text()
        assert log.read_text().startswith("diffevo: error: ")  # and nothing before it
        assert log.read_text().count("\n") == 1
    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize(
    ("content", "hint"),
    [
        (f"a = {'[' * DEEP}", "more than 32 deep"),
        (f"{'.'.join('a' * DEEP)} = 1", "more than 32 deep"),
        (f"a = {'{b = ' * DEEP}", "more than 32 deep"),
        (f"[{'.'.join('a' * DEEP)}]", "more than 32 deep"),
        (f"a = {{ {'.'.join('a' * 60)} = 1 }}", "more than 32 deep"),
        (f"name = 'beale'\naxes.a = {'[' * 40}1{']' * 40}", "more than 32 deep"),
        ("name = 'beale'\nseeds = '" + "1" * 2**20, "more than 1,048,576 bytes"),
        (b"name = 'beale' # \xff", "can't decode"),
        ('name = "beale"\nout = "a\\u0000.nc"', "out: got a\\x00.nc, which cannot be"),
        ('name = "beale"\nout = "a/\\u0000.nc"', "which cannot be written"),
        (f"name = 'beale'\nout = '{'x' * 300}.nc'", "File name too long"),
        ('name = "beale"\nfolder = "a\\u0000"', "folder: got a\\x00"),
        (
            "name = 'beale'\nfolder = 'sweep.toml'",
            "folder: got sweep.toml, where config goes",
        ),
        ("name = 'beale'\ncache = '~nobody-has-it'", "Could not determine home"),
        (
            "name = 'cartpole'\n[problem]\nhidden = ['--out=x.nc']",
            "problem.hidden: got '--out=x.nc', want",
        ),
        (
            "name = 'cartpole'\n[problem]\nhidden = ['--help']",
            "problem.hidden: got '--help', want an int",
        ),
        ('name = "be\\u0000ale"', "unknown name"),
    ],
)
def test_a_file_that_asks_for_too_much_gets_one_line(load, content, hint) -> None:
    code, err = load(content)
    assert code == 2
    assert hint in err


def test_a_file_without_an_end_is_not_read_to_the_end(capsys, tmp_path) -> None:
    link = tmp_path / "endless.toml"
    link.symlink_to("/dev/zero")
    assert cli.main(["sweep", str(link)]) == 2
    assert "more than 1,048,576 bytes" in capsys.readouterr().err


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_a_file_is_utf_8_whatever_the_locale(monkeypatch, load, mark) -> None:
    import locale

    monkeypatch.setattr(locale, "getpreferredencoding", lambda *_: "ascii")
    monkeypatch.setattr(locale, "getencoding", lambda: "ascii")
    content = mark + "name = 'beale' # von Bézier\r\nfolder = 'é'".encode()
    assert load(content) == (0, "")
    assert Path("é").is_dir()


@pytest.mark.parametrize("flags", [("--folder=~/runs",), ()])
def test_home_is_where_a_path_says_so(monkeypatch, load, tmp_path, flags) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    content = "name = 'beale'" + "\nfolder = '~/runs'" * (not flags)
    assert load(content, "--out=~/out.nc", *flags) == (0, "")
    assert (tmp_path / "home" / "runs").is_dir()
    assert not (tmp_path / "~").exists()


def test_all_paths_of_an_evolution_know_home(monkeypatch, tmp_path, capsys) -> None:
    seen = []

    def follow(name: str, settings: Any, keys: Any) -> None:
        seen.append(settings.options)
        raise KeyboardInterrupt

    monkeypatch.setattr(evolve_command, "follow", follow)
    monkeypatch.setattr(evolve_command, "use_cache", seen.append)
    monkeypatch.setenv("HOME", str(tmp_path))
    flags = ("--json=~/a.json", "--plot", "~/a.png", "--cache=~/cache")
    assert cli.main(["evolve", "beale", *flags]) == 130
    assert seen[0] == tmp_path / "cache"
    assert (seen[1].json, seen[1].plot) == (tmp_path / "a.json", tmp_path / "a.png")


def test_a_file_of_settings_may_be_at_home(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "a.toml").write_text("name = 'beale'")
    assert files.load("~/a.toml")["name"] == "beale"


@pytest.mark.parametrize(
    "flags",
    [
        ("evolve", "beale", "--json=out.png", "--plot=./out.png"),
        ("sweep", "beale", "--folder=out.csv", "--out=out.csv"),
        ("sweep", "beale", "--folder=out.zarr/runs", "--out=out.zarr"),
    ],
)
def test_no_output_takes_another_away(tmp_path, capsys, flags) -> None:
    assert cli.main([*flags, "--population-size=8", "--num-generations=2"]) == 2
    assert "goes too, want a path of its own" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["mine.csv", "mine.zarr"])
def test_a_folder_with_something_else_is_not_replaced(tmp_path, name) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / "thesis.txt").touch()
    with pytest.raises(ValueError, match="a folder with something else, want another"):
        sweeps.tables.check_ending(tmp_path / name)
    assert (tmp_path / name / "thesis.txt").exists()
