"""``diffevo report``: one page of results, which anybody can open."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from diffevo_jax.cli import streams
from diffevo_jax.cli.errors import UsageError, hint_at
from diffevo_jax.cli.outputs import Output, save_and_show
from diffevo_jax.cli.shells import Value
from diffevo_jax.pytree.files import check_writable, written_whole

_ABOUT = """\
Make one HTML page of results, which needs nothing else, and no network.

A RESULT is a .npz of 'diffevo evolve NAME --out FILE', a .json of --json, a folder of
--folder, or a table of 'diffevo sweep NAME --out FILE'. Several are compared.
"""
_EXAMPLES = """\
  diffevo evolve himmelblau --seeds 8 --out default.npz
  diffevo evolve himmelblau --seeds 8 --kernel tempered --out tempered.npz
  diffevo report default.npz tempered.npz -o report.html
"""
#: With what each takes, which a shell completes.
FLAGS = {
    "--out": Value(files=True),
    "--label": Value(),
    "--title": Value(),
    "--help": None,
}


class _Parser(argparse.ArgumentParser):
    """Raises, where argparse would print and exit."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"report: {message}; see 'diffevo report --help'")


def _parser() -> _Parser:
    parser = _Parser(
        "diffevo report",
        description=_ABOUT,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        add_help=False,
    )
    add = parser.add_argument
    add("results", nargs="*", metavar="RESULT", help="what to show")
    add("-o", "--out", default="report.html", metavar="FILE")
    add("--label", action="append", default=[], metavar="NAME", help="of a RESULT, in turn")
    add("--title", default="", metavar="TEXT", help="of the page")
    add("-h", "--help", action="store_true", help="this")
    return parser


def report(args: Sequence[str]) -> int:
    """Run the command; the exit code."""
    parser = _parser()
    asked, odd = parser.parse_known_intermixed_args(list(args))
    if odd:
        word = odd[0].partition("=")[0]
        see = hint_at(word, FLAGS) or "; see 'diffevo report --help'"
        raise UsageError(f"unknown flag {word}{see}")
    if asked.help:
        streams.say(parser.format_help())
        return 0
    if not asked.results:
        raise UsageError(
            "report: got no RESULT, want one, such as a file of 'diffevo evolve --out'"
        )
    if not all(asked.results):
        raise UsageError("RESULT: got '', want a path")
    out = _out(asked)
    html = _page(asked)

    def write(path: Path) -> None:
        with written_whole(path) as unfinished:
            unfinished.write_text(html, encoding="utf-8")

    size = len(html.encode()) / 1000
    outputs = [Output("--out", out, write)]
    return save_and_show(outputs, lambda: streams.say(f"{out}  {size:,.0f} kB\n"))


def _out(asked: argparse.Namespace) -> Path:
    """Where the page goes, which is not where a result is."""
    try:
        if not asked.out:
            raise ValueError("got '', want a path")
        out = Path(asked.out).expanduser()
        check_writable("--out", out)
        found = (one for one in map(Path, asked.results) if out.exists() and one.exists())
        if any(out.samefile(one) for one in found):
            raise ValueError(f"got {asked.out}, which is a RESULT, want another file")
    except (OSError, RuntimeError, ValueError) as error:
        raise UsageError(f"--out: {str(error).removeprefix('--out: ')}") from error
    return out


def _page(asked: argparse.Namespace) -> str:
    """The page that is asked for.

    Raises:
        UsageError: a file is none, or damaged.
    """
    from diffevo_jax.report import page

    try:
        return page(asked.results, labels=asked.label, title=asked.title)
    except (ImportError, TypeError, ValueError) as error:
        raise UsageError(_in_words(str(error))) from error
    except OSError as error:
        raise UsageError(f"RESULT: got {error.filename}, {error.strerror}") from error


def _in_words(message: str) -> str:
    """An error in the words that were typed."""
    name, mark, text = message.partition(": ")
    typed = {"path": "RESULT", "results": "RESULT", "labels": "--label", "title": "--title"}
    return f"{typed.get(name, name)}{mark}{text}"
