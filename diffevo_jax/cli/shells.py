"""Scripts with which bash, zsh and fish complete words, from what these may be.

All say the same: first the commands; after a flag what it takes; then the flags of the
command, or what it is about. A flag and its value may be one word: ``--kernel=tempered``.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple, TypeVar


class Value(NamedTuple):
    """What a word may be.

    Attributes:
        words: that are known.
        files: whether it may be a file.
    """

    words: tuple[str, ...] = ()
    files: bool = False


class Command(NamedTuple):
    """What may follow a command.

    Attributes:
        about: the word after it.
        flags: with what each takes; None if it takes nothing.
        many: whether any number of words are what one may be.
    """

    about: Value
    flags: Mapping[str, Value | None]
    many: bool = False


_BASH = """\
_diffevo() {{
    local word="${{COMP_WORDS[COMP_CWORD]}}" before="${{COMP_WORDS[COMP_CWORD-1]}}"
    local place=$COMP_CWORD command="${{COMP_WORDS[1]}}" words= files=
    if [ "$place" -eq 1 ]; then command=; fi
    if [ "$before" = "=" ]; then before="${{COMP_WORDS[COMP_CWORD-2]}}"; fi
    if [ "$word" = "=" ]; then word=; fi
{cases}
    if [ -z "$files" ]; then compopt +o default 2> /dev/null; fi
    COMPREPLY=($(compgen -W "$words" -- "$word"))
}}
complete -o default -F _diffevo diffevo
"""
_ZSH = """\
#compdef diffevo
_diffevo() {{
    local word=$PREFIX before=$words[CURRENT-1] place=$((CURRENT - 1)) command=$words[2]
    if (( place == 1 )); then command=; fi
    if [[ $word == --*=* ]]; then
        before=${{word%%=*}}
        compset -P 1 '*='
    fi
{cases}
}}
if [[ $funcstack[1] == _diffevo ]]; then
    _diffevo "$@"
else
    if (( ! $+functions[compdef] )); then autoload -Uz compinit && compinit -i; fi
    compdef _diffevo diffevo
fi
"""
_CASES = """\
    case "$before" in
{values}
        *) case "$word" in
            -*) case "$command" in
{flags}
            esac;;
            *) case "$command:$place" in
{abouts}
            esac;;
        esac;;
    esac"""
_FISH = """\
function __diffevo_at -d "whether so many words stand before, of one of the commands"
    set -l words (commandline -opc)
    test (count $words) -ge $argv[1] -a (count $words) -le $argv[2]
    and contains -- "$words[2]" $argv[3..-1]
end
complete -c diffevo -f
"""
#: Words of a command line, as if it were any number.
_MOST = 999
KeyT = TypeVar("KeyT")


def bash(commands: Mapping[str, Command]) -> str:
    """The script for bash.

    Args:
        commands: by name; the empty one is what stands before any.
    """
    return _BASH.format(
        cases=_cases(
            commands,
            lambda value: f'words="{" ".join(value.words)}"' + " files=yes" * value.files,
        )
    )


def zsh(commands: Mapping[str, Command]) -> str:
    """The script for zsh; see :func:`bash`."""

    def said(value: Value) -> str:
        add = [f"compadd -- {' '.join(value.words)}"] if value.words else []
        return "; ".join(add + ["_files"] * value.files) or "_message value"

    return _ZSH.format(cases=_cases(commands, said))


def fish(commands: Mapping[str, Command]) -> str:
    """The script for fish; see :func:`bash`."""
    found: dict[tuple[int, str, Value | None], list[str]] = {}
    for name, command in commands.items():
        first = 2 if name else 1
        last = _MOST if command.many else first
        found.setdefault((last, "", command.about), []).append(name)
        for flag, value in command.flags.items():
            found.setdefault((_MOST if name else 1, flag, value), []).append(name)
    lines = []
    for (last, flag, value), names in found.items():
        first, words = 2 if names[0] else 1, " ".join(names) or "''"
        line = f'complete -c diffevo -n "__diffevo_at {first} {last} {words}"'
        if flag:
            line += f" -l {flag.removeprefix('--')}" + " -r" * (value is not None)
        if value is not None:
            line += " -F" if value.files else " -f"
            line += f' -a "{" ".join(value.words)}"' if value.words else ""
        lines.append(line)
    return _FISH + "\n".join(lines) + "\n"


def _cases(commands: Mapping[str, Command], said: Callable[[Value], str]) -> str:
    """What bash and zsh do at each place."""
    values = {
        flag: value
        for command in commands.values()
        for flag, value in command.flags.items()
        if value is not None
    }
    flags = {name: Value(tuple(one.flags)) for name, one in commands.items()}
    abouts = {
        f"{name}:{'*' if one.many else 2 if name else 1}": one.about
        for name, one in commands.items()
    }

    def clauses(known: Mapping[str, Value], indent: int) -> Iterator[str]:
        for value, words in _together(known).items():
            patterns = "|".join(word or '""' for word in words)
            yield f"{' ' * indent}{patterns}) {said(value)};;"

    return _CASES.format(
        values="\n".join(clauses(values, 8)),
        flags="\n".join(clauses(flags, 16)),
        abouts="\n".join(clauses(abouts, 16)),
    )


def _together(known: Mapping[str, KeyT]) -> dict[KeyT, list[str]]:
    """Words that mean the same."""
    found: dict[KeyT, list[str]] = {}
    for word, meaning in known.items():
        found.setdefault(meaning, []).append(word)
    return found
