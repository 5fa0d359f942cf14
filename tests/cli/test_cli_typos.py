"""Every flag and every key with one slip: refused in a line that names the right one."""

import itertools
import random
import tomllib

import pytest

import diffevo_jax as de
from diffevo_jax import cli
from diffevo_jax.cli import axes, errors, flags
from diffevo_jax.cli.evolve_command import EvolveOptions
from diffevo_jax.cli.sweep_command import SweepOptions
from diffevo_jax.cli.words import HELP

LETTERS = "abcdefghijklmnopqrstuvwxyz"
OPTIONS = {"evolve": EvolveOptions, "show": EvolveOptions, "sweep": SweepOptions}
EXPERIMENTS = {
    "beale": de.published.landscape("beale"),
    "pendulum": de.published.control("Pendulum-v1"),
}


def slips(word: str, choose: random.Random):
    """The word with one letter dropped, doubled, swapped with the next, or changed."""
    while True:
        at = choose.choice([i for i, letter in enumerate(word) if letter.isalnum()])
        head, letter, tail = word[:at], word[at], word[at + 1 :]
        yield choose.choice(
            [
                head + tail,
                head + 2 * letter + tail,
                head + tail[:1] + letter + tail[1:],
                head + choose.choice(LETTERS) + tail,
            ]
        )


def slip(word: str, known, choose: random.Random) -> str:
    """One that is no other word by chance."""
    return next(one for one in slips(word, choose) if one not in {word, *known})


def closest(capsys) -> list[str]:
    """What a complaint of one line calls the closest."""
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("diffevo: error: ")
    assert err.count("\n") == 1
    return err.strip().partition("closest: ")[2].split("; ")[0].split(", ")


@pytest.mark.parametrize("command", OPTIONS)
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_flag_with_a_slip_is_refused_and_the_right_one_named(
    capsys, command, name
) -> None:
    known = flags.of_options(OPTIONS[command](1))
    known = flags.of_whole(flags.start(EXPERIMENTS[name])) | known
    spelled = {*flags.spellings(known), *(f"--{one}" for one in HELP)}
    wanted = {flags.written(flag) for flag in known}
    wanted |= {flags.refused(k) for k, f in known.items() if f.kind and f.kind.base is bool}
    wanted |= {f"--{one}" for one in HELP}
    choose = random.Random(0)
    assert len(wanted) > 30
    for flag in sorted(wanted):
        wrong = slip(flag, spelled, choose)
        assert cli.main([command, name, wrong]) == 2, wrong
        assert flag in closest(capsys), wrong


@pytest.mark.parametrize("command", ["list", "completion", ""])
def test_flags_of_the_other_commands_are_named_too(capsys, command) -> None:
    choose = random.Random(1)
    for flag in ["--help", "--version"][: 2 if not command else 1]:
        wrong = slip(flag, ["-h"], choose)
        assert cli.main([*command.split(), wrong]) == 2
        assert flag in closest(capsys)


def test_commands_and_what_they_list_are_named(capsys) -> None:
    choose = random.Random(2)
    words = ["evolve", "sweep", "show", "list", "completion"]
    lines = [[word] for word in words] + [["list", "parts"], ["list", "names"]]
    lines += [["completion", shell] for shell in ("bash", "zsh", "fish")]
    for *before, word in lines:
        assert cli.main([*before, slip(word, words, choose)]) == 2
        assert word in closest(capsys)


def keys_of(content, prefix=()):
    """All keys of a file, as the tables that they are in."""
    for key, value in content.items():
        yield (*prefix, key)
        if isinstance(value, dict) and prefix[:1] != ("axes",):
            yield from keys_of(value, (*prefix, key))


def with_key(content, path, key):
    """A file with another key in the place of one."""
    if not path[1:]:
        return {key if each == path[0] else each: content[each] for each in content}
    return content | {path[0]: with_key(content[path[0]], path[1:], key)}


def test_every_key_of_a_file_with_a_slip_is_refused_and_the_right_one_named(
    capsys, tmp_path
) -> None:
    words = ["sweep", "beale", "--kernel=tempered", "--seeds=3", "--batch-size=4"]
    words += ["--axis=sampler.eta=0,1", "--axis=problem.scale=1,2", "--print-config"]
    assert cli.main(words) == 0
    content = tomllib.loads(capsys.readouterr().out)
    path, choose, count = tmp_path / "sweep.toml", random.Random(3), 0
    known = flags.of_whole(flags.start(EXPERIMENTS["beale"]))
    known |= flags.of_options(SweepOptions(1))
    spelled = {one.removeprefix("--").replace("-", "_") for one in flags.spellings(known)}
    for key in keys_of(content):
        wrong = slip(key[-1], {*spelled, *content}, choose)
        path.write_text(written(with_key(content, key, wrong)))
        assert cli.main(["sweep", str(path)]) == 2, (key, wrong)
        err = capsys.readouterr().err
        assert err.count("\n") == 1
        assert key[-1].rpartition(".")[2] in err, (key, wrong, err)
        count += 1
    assert count > 25


def written(content) -> str:
    """A file of tables and values."""
    from diffevo_jax.cli.files import value_of

    plain = {k: v for k, v in content.items() if not isinstance(v, dict)}
    lines = [f"{key} = {value_of(value)}" for key, value in plain.items()]
    for table in (k for k in content if k not in plain):
        lines.append(f"[{table}]")
        quote = '"' if table == "axes" else ""
        lines += [f"{quote}{k}{quote} = {value_of(v)}" for k, v in content[table].items()]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("[axis]\n'sampler.eta' = [0, 1]", "got 'axis'; closest: axes"),
        ("[strategi]\nkernel = 'tempered'", "got 'strategi'; closest: strategy"),
        ("axes.'sampler.eta' = {start = 0, stop = 1}", "sampler.eta: got 'start', want a"),
        ("axes.'sampler.eta' = {linspac = [0, 1, 5]}", "got 'linspac', want a list of val"),
        ("axes.'sampler.eta' = {linspac = [0, 1, 5]}", "closest: linspace"),
        ("axes.'sampler.eta' = {linspace = [0, 1]}", "want linspace(first,last,count)"),
        ("axes.kernel = {clas = 'tempered'}", "got 'kernel.clas', want a field"),
        ("axes.kernel = [{class = 'temperd'}]", "got 'temperd'; closest: tempered"),
        ("axes.kernel = [{class = 'tempered', dimensoin = 2}]", "closest: dimension"),
        ("strategy.kernel = {clas = 'tempered'}", "closest: kernel.class"),
        ("strategy.kernel.kappa = '1'", "strategy.kernel.kappa: got '1', want a number"),
        (
            "strategy.num_generations = 3.0",
            "strategy.num_generations: got 3.0, want an int",
        ),
        ("problem.scale = true", "problem.scale: got True, want a number"),
        ("seeds = [1]", "seeds: got [1], want an int"),
        ("mode = 'pmap'", "mode: got 'pmap', want one of 'vmap', 'map'"),
        ("nam = 'beale'", "got 'nam', want name = '...'"),
        # Empty where a value is wanted.
        ("strategy.kernel.kappa = {}", "strategy.kernel.kappa: got {}, want a number"),
        ("strategy.kernel.kappa = []", "strategy.kernel.kappa: got [], want a number"),
        ("strategy.kernel = {}", "strategy.kernel: got {}, want one of 'gaussian'"),
        ("strategy.kernel = []", "strategy.kernel: got [], want one of 'gaussian'"),
        ("strategy.kernel.class = {}", "strategy.kernel: got {}, want one of 'gaussian'"),
        ("strategy.class = {}", "strategy: got {}, want one of"),
        # A class is a word, and a table of one is none.
        (
            "strategy.kernel.class = {class = 'tempered'}",
            "strategy.kernel: got {'class': 'tempered'}, want one of 'gaussian'",
        ),
        ("strategy.denoiser = {}", "strategy.denoiser: got {}, want one of 'populat"),
        ("strategy.num_generations = {}", "strategy.num_generations: got {}, want an int"),
        ("[strategy.kernl]", "[strategy] got 'kernl'; closest: kernel"),
        ("seeds = {}", "seeds: got {}, want an int"),
        ("out = []", "out: got [], want a path"),
        ("axes.'sampler.eta' = {}", "[axes] sampler.eta: got {}, want a list of values"),
        ("axes.'sampler.eta' = [{}]", "[axes] sampler.eta: got {}, want a list of values"),
        ("axes.'sampler.eta' = []", "'sampler.eta': got [], want a sequence of values"),
        ("axes.'sampler.eta' = [[]]", "sampler.eta: got [], want a number"),
        ("axes.kernel = [[]]", "kernel: got [], want the name of a class"),
        ("axes.kernel = {}", "[axes] kernel: got {}, want a list of values"),
    ],
)
def test_a_slip_in_a_table_is_named_with_its_key_in_full(
    capsys, tmp_path, text, hint
) -> None:
    path = tmp_path / "sweep.toml"
    path.write_text(("" if "nam =" in text else "name = 'beale'\n") + text)
    assert cli.main(["sweep", str(path)]) == 2
    err = capsys.readouterr().err
    assert hint in err
    assert err.count("\n") == 1


def test_an_empty_table_of_parameters_is_named(capsys, tmp_path) -> None:
    path = tmp_path / "run.toml"
    path.write_text("name = 'pendulum'\nproblem.env_params = {}\n")
    assert cli.main(["show", str(path)]) == 2
    assert "problem.env_params: got {}, want keys in it" in capsys.readouterr().err


def test_a_distance_counts_a_swap_as_one_slip_and_is_symmetric() -> None:
    words = ["", "seed", "seeds", "sede", "kappa", "kernel.kappa"]
    for one, two in itertools.product(words, words):
        assert errors.distance(one, two) == errors.distance(two, one)
        assert (errors.distance(one, two) == 0) == (one == two)
    assert errors.distance("seed", "sede") == 1
    assert errors.distance("kitten", "sitting") == 3


def test_ranges_and_parts_of_a_file_are_those_of_words() -> None:
    what = EXPERIMENTS["beale"].strategy, EXPERIMENTS["beale"].problem, 8
    both = [[2, 8], [{"linspace": [3, 4, 2]}, {"range": [9, 11, 1]}]]
    table = [
        axes.Axis(("sampler.eta",), {"linspace": [0, 1, 3]}),
        axes.Axis(("kernel",), [{"class": "tempered", "dimension": 3}]),
        axes.Axis(("scale", "population_size"), both),
    ]
    words = ["sampler.eta=linspace(0,1,3)", "kernel=tempered(dimension=3)"]
    found, wanted = axes.parse(*what, table), axes.parse(*what, words)
    assert found["sampler.eta"] == wanted["sampler.eta"]
    assert de.equal(found["kernel"], wanted["kernel"])
    assert found["scale", "population_size"] == [(2.0, 8), (3.0, 9), (4.0, 10)]


@pytest.mark.parametrize(
    ("words", "instead"),
    [
        (("evolve", "beale", "-o", "x.npz"), "unknown flag -o; want --out\n"),
        (
            ("sweep", "beale", "--plot", "x.png"),
            "--plot; 'diffevo report' draws the file of",
        ),
    ],
)
def test_of_a_flag_of_another_command_it_is_said_what_to_take(
    capsys, words, instead
) -> None:
    assert cli.main(list(words)) == 2
    assert instead in capsys.readouterr().err
