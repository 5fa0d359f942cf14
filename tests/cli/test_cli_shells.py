"""Completion, by the shells themselves: a line is typed, and all that fits is put in."""

import contextlib
import functools
import io
import os
import pty
import select
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from diffevo_jax import cli
from diffevo_jax.cli import completion
from diffevo_jax.cli.report_command import FLAGS

SHELLS = tuple(completion.SHELLS)
#: What is typed, and all words that the last of it may become.
LINES = {
    "diffevo ev": ["evolve"],
    "diffevo s": ["show", "sweep"],
    "diffevo --v": ["--version"],
    "diffevo evolve himm": ["himmelblau"],
    "diffevo sweep himm": ["himmelblau"],
    "diffevo evolve my": ["my run.toml"],
    "diffevo evolve beale --kernel temp": ["tempered"],
    "diffevo show beale --kernel=temp": ["--kernel=tempered"],
    "diffevo evolve beale --kernel.dimens": ["--kernel.dimension"],
    "diffevo sweep beale --mode ": ["map", "vmap"],
    "diffevo evolve beale --json my": ["my run.toml"],
    "diffevo evolve beale --json=my": ["--json=my run.toml"],
    "diffevo evolve beale --dry-run --se": ["--seed", "--seeds"],
    "diffevo evolve beale --no-pro": ["--no-progress"],
    "diffevo sweep beale --shar": ["--shard"],
    "diffevo list ": ["names", "parts"],
    "diffevo completion ": ["bash", "fish", "zsh"],
    "diffevo report left.npz le": ["left.npz"],
    "diffevo report left.npz --t": ["--title"],
}
#: Where nothing fits: no file takes a number, and flags of other commands are none.
NOTHING = (
    "diffevo evolve beale --seeds ",
    "diffevo sweep beale --json",
    "diffevo report --kernel",
    "diffevo list names ",
)
#: What keeps the words of a line, as the shell has read them.
KEEP = "diffevo() { printf '%s\\n' \"$@\" > found; }\n"
#: A key that puts all that fits into the line.
ALL = "\x18a"
BASH = "source ./script\nbind '\"\\C-xa\": insert-completions'\n"
ZSH = """\
source ./script
all() { _main_complete; compstate[insert]=all; }
zle -C all complete-word all
bindkey '^Xa' all
"""


@functools.cache
def script(shell: str) -> str:
    with contextlib.redirect_stdout(io.StringIO()) as out:
        assert cli.main(["completion", shell]) == 0
    return out.getvalue()


@pytest.fixture
def folder(tmp_path) -> Path:
    """A folder with two files, and one for the shell."""
    for name in ("my run.toml", "left.npz"):
        (tmp_path / name).touch()
    return tmp_path


def installed(shell: str) -> str:
    return shutil.which(shell) or pytest.skip(f"{shell} is not installed")


class Terminal:
    """A shell that believes that somebody types."""

    def __init__(self, words: list[str], setup: str, folder: Path) -> None:
        (folder / "setup").write_text(setup + KEEP)
        self.folder = folder
        self.keys, side = pty.openpty()
        names = {"PATH": os.environ["PATH"], "HOME": str(folder), "TERM": "dumb"}
        self.process = subprocess.Popen(
            words,
            stdin=side,
            stdout=side,
            stderr=side,
            cwd=folder,
            env=names,
            start_new_session=True,
        )
        os.close(side)
        self.type("source ./setup")

    def type(self, line: str) -> str:
        """Type a line, and wait until the shell has done it."""
        os.write(self.keys, f"{line}\n echo do''ne\n".encode())
        shown, end = b"", time.monotonic() + 20
        while b"done\r\n" not in shown:
            if not select.select([self.keys], [], [], end - time.monotonic())[0]:
                pytest.fail(f"no answer to {line!r}, but {shown!r}")
            shown += os.read(self.keys, 2**16)
        return shown.decode()

    def completed(self, line: str) -> list[str]:
        """All words that have been put in the place of the last."""
        found = self.folder / "found"
        found.unlink(missing_ok=True)
        self.type(line + ALL)
        return found.read_text().splitlines()[len(line.split(" ")) - 2 :]

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.keys)


def by_terminal(words: list[str], setup: str, folder: Path) -> dict[str, list[str]]:
    (folder / "script").write_text(script(words[0]))
    terminal = Terminal(words, setup, folder)
    try:
        return {line: terminal.completed(line) for line in (*LINES, *NOTHING)}
    finally:
        terminal.end()


def by_fish(folder: Path) -> dict[str, list[str]]:
    (folder / "script").write_text(script("fish"))
    code = "source script; for line in $argv; complete -C $line; echo ---; end"
    lines = (*LINES, *NOTHING)
    names = {"PATH": os.environ["PATH"], "HOME": str(folder)}
    done = subprocess.run(
        ["fish", "--no-config", "-c", code, *lines],
        cwd=folder,
        env=names,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    found = done.stdout.split("---\n")
    return {
        line: [each.partition("\t")[0] for each in said.splitlines()]
        for line, said in zip(lines, found[:-1], strict=True)
    }


def check(found: dict[str, list[str]]) -> None:
    for line, words in LINES.items():
        assert sorted(found[line]) == words, line
    for line in NOTHING:
        kept = line.split(" ")[-1]  # a terminal leaves what was typed
        assert found[line] in ([], [kept]), line


def test_bash_completes(folder) -> None:
    installed("bash")
    check(by_terminal(["bash", "--norc", "--noprofile", "-i"], BASH, folder))


def test_zsh_completes(folder) -> None:
    installed("zsh")
    check(by_terminal(["zsh", "-f", "-i"], ZSH, folder))


def test_zsh_completes_from_a_folder_of_functions(folder) -> None:
    installed("zsh")
    (folder / "_diffevo").write_text(script("zsh"))
    first, *rest = ZSH.splitlines(keepends=True)
    first = "fpath=($PWD $fpath)\nautoload -Uz compinit && compinit -i\n"
    check(by_terminal(["zsh", "-f", "-i"], "".join([first, *rest]), folder))


def test_fish_completes(folder) -> None:
    installed("fish")
    check(by_fish(folder))


@pytest.mark.parametrize("shell", SHELLS)
def test_a_script_has_no_error_of_its_shell(shell) -> None:
    checked = subprocess.run(
        [installed(shell), "-n"], input=script(shell), text=True, capture_output=True
    )
    assert (checked.returncode, checked.stderr) == (0, "")


@pytest.mark.parametrize("shell", SHELLS)
def test_a_script_knows_commands_names_flags_and_classes(shell) -> None:
    for word in ("evolve", "himmelblau", "CartPole-v1", "dimension", "tempered", "vmap"):
        assert word in script(shell), word


def test_the_flags_of_a_report_are_those_of_its_help(capsys) -> None:
    assert cli.main(["report", "--help"]) == 0
    shown = capsys.readouterr().out
    assert [flag for flag in FLAGS if f"{flag} " not in shown] == []
