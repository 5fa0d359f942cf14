"""Which classes the parts have that a command line, or a file, names."""

import contextlib
from collections.abc import Iterable

from diffevo_jax.cli import flags, parts
from diffevo_jax.cli.errors import UsageError, hint_at
from diffevo_jax.cli.words import Given
from diffevo_jax.sweeps.fields import Whole


def with_classes(whole: Whole, given: Iterable[Given], plain: Whole | None = None) -> Whole:
    """Give parts the classes that are named, the last that counts.

    A part is chosen before those that it has itself.

    Args:
        whole: to start from.
        given: other names are ignored here.
        plain: see :func:`diffevo_jax.cli.flags.with_class`.

    Raises:
        UsageError: there is no such class.
    """
    done: set[str] = set()
    while True:
        known, asked = flags.of_whole(whole), dict[str, Given]()
        for one in given:
            with contextlib.suppress(ValueError):  # it may mean one when others are chosen
                flag = flags.find(known, one.name)
                if flag is not None and flag.kind is None and flag.path not in done:
                    asked[flag.path] = one
        if not asked:
            return whole
        path = min(asked, key=lambda path: path.count("."))
        done.add(path)
        cls = _class(whole, path, asked[path])
        whole = flags.with_class(whole, path, cls, plain)


def _class(whole: Whole, path: str, one: Given) -> type:
    words = [one.value] if one.typed else one.value
    known = flags.classes(whole, path)
    wanted = f"want one of {', '.join(map(repr, known))}"
    if len(words) != 1 or not isinstance(words[0], str):
        got = repr(one.value) if one.typed else repr(" ".join(words))
        raise UsageError(f"{one.where}: got {got if words else 'no value'}, {wanted}")
    cls = parts.class_named(known, words[0])
    if cls is None:
        hint = hint_at(words[0], known)
        raise UsageError(f"{one.where}: got {words[0]!r}, {wanted}{hint}")
    return cls
