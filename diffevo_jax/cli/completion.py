"""What a shell completes: commands, names, flags and classes of parts, as a script.

The script is made once and knows all of it, so that no key is waited for. Of flags it knows
those of every strategy and class, not of the chosen ones alone.
"""

from collections.abc import Iterable, Mapping

from diffevo_jax.cli import flags, request
from diffevo_jax.cli.errors import UsageError, hint_at
from diffevo_jax.running import published

#: For bash, and for zsh, which understands it.
_BASH = """\
_diffevo() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD-1]}} words
    if [ "$COMP_CWORD" -eq 1 ]; then
        words="{commands}"
    else
        case "$before" in
{cases}
            *) case "$word" in -*) words="{flags}";; esac;;
        esac
    fi
    if [ -n "$words" ]; then COMPREPLY=($(compgen -W "$words" -- "$word"));
    else COMPREPLY=($(compgen -f -- "$word")); fi
}}
complete -o filenames -F _diffevo diffevo
"""
_CASE = """            {word}) words="{words}";;"""
SHELLS = ("bash", "zsh", "fish")


def script(shell: str, commands: Mapping[str, Iterable[str]], options: Iterable) -> str:
    """The script for a shell.

    Args:
        shell: bash, zsh or fish.
        commands: with the words that come after each.
        options: of all commands, dataclasses with defaults.

    Raises:
        UsageError: it is another shell.
    """
    if shell not in SHELLS:
        want = f"want one of {', '.join(SHELLS)}{hint_at(shell, SHELLS)}"
        raise UsageError(f"completion: got {shell!r}, {want}")
    follow = {name: " ".join(words) for name, words in commands.items()}
    known = {f"--{name}": "" for name in request.HELP}
    for each in options:
        known |= {
            flags.written(name): " ".join(flag.kind.choices if flag.kind else ())
            for name, flag in flags.of_options(each).items()
        }
    known |= _of_parts()
    if shell == "fish":
        return _fish(follow, known)
    cases = follow | {flag: words for flag, words in known.items() if words}
    text = _BASH.format(
        commands=" ".join(follow),
        flags=" ".join(known),
        cases="\n".join(_CASE.format(word=k, words=v) for k, v in cases.items() if v),
    )
    zsh = "autoload -U compinit bashcompinit && compinit && bashcompinit\n"
    return zsh + text if shell == "zsh" else text


def _of_parts() -> dict[str, str]:
    """Flags of all strategies and their parts in all classes, with what they take."""
    found: dict[str, str] = {}
    for known in (published.landscape("beale"), published.control("CartPole-v1")):
        whole = flags.start(known)
        for cls in flags.classes(whole, "strategy").values():
            chosen = flags.with_class(whole, "strategy", cls)
            found |= _flags(chosen)
            for flag in flags.of_whole(chosen).values():
                if flag.kind is None and flag.path.startswith("strategy."):
                    for other in flags.classes(chosen, flag.path).values():
                        found |= _flags(flags.with_class(chosen, flag.path, other))
    return found


def _flags(whole: flags.Whole) -> dict[str, str]:
    found = {}
    for name, flag in flags.of_whole(whole).items():
        classes = flags.classes(whole, flag.path) if flag.kind is None else ()
        if classes or flag.kind is not None:
            found[flags.written(name)] = " ".join(classes)
    return found


def _fish(follow: Mapping[str, str], known: Mapping[str, str]) -> str:
    """A line for every word."""
    lines = [f'complete -c diffevo -n "__fish_use_subcommand" -a "{" ".join(follow)}"']
    lines += [
        f'complete -c diffevo -n "__fish_seen_subcommand_from {command}" -a "{words}"'
        for command, words in follow.items()
        if words
    ]
    lines += [
        f"complete -c diffevo -l {flag.removeprefix('--')}"
        + (f' -x -a "{words}"' if words else " -r" * (flag not in ("--help", "--help-all")))
        for flag, words in known.items()
    ]
    return "\n".join(lines) + "\n"
