"""Evaluations on disk as soon as they are finished: a run that is killed loses none.

:func:`journaled` puts a :class:`Journal` between a problem and the function of its
:class:`diffevo_jax.problems.External`: what is known already is read, and only the rest is
evaluated. Since the problem above does not notice, rejects, memory, counts and all bits of
a run that was killed and started again are those of one that was not.
"""

import collections
import contextlib
import hashlib
import json
import re
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from diffevo_jax import pytree
from diffevo_jax.base import Evaluation, Problem, PyTree
from diffevo_jax.problems.external import results
from diffevo_jax.problems.external.memory import names_of, title_of
from diffevo_jax.problems.external.problem import External
from diffevo_jax.problems.external.records import KEY, Records
from diffevo_jax.problems.external.workers import Reports, warn_if_all_failed
from diffevo_jax.pytree import offers
from diffevo_jax.pytree.annotations import checked
from diffevo_jax.pytree.files import check_writable

#: What a call may be named.
_NAME = re.compile(r"[\w.-]*\w")
#: How its file ends.
_ENDING = ".journal"
#: Where an object lives is another place in each process, and nothing of a function.
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


class Journal:
    """Finished evaluations in a folder, each found again by what was evaluated.

    A call of the function, which is the evaluation of a generation, has a file of its own,
    named by :meth:`begin`. A file only grows, and an evaluation is in it as soon as it is
    finished: a ``kill -9`` loses what was being evaluated, and a machine that stops what
    was finished in its last 0.2 seconds.

    An evaluation is known by the bytes of its solution, and of its seed under noise, by the
    name of the function, by the layout of solutions and measures, and, of several that are
    equal in all this, by its number. What else is in a file is not used, with a warning if
    that is all. The code of the function is not looked at, nor what it closes over: when
    that is changed, take a new folder.

    Where a file is damaged, each record with a wrong checksum is stepped over with a
    warning, and evaluated again. What a full disk refuses is tried again with the next
    evaluation; there is one warning a call, and the run goes on, since evaluations cost
    more than what it would lose if it were killed meanwhile.

    One process may write a file at a time. No pickle is written or read.

    Args:
        folder: is made if it is not there.

    Attributes:
        folder: where the files are.

    Raises:
        ValueError: the folder cannot be written to.

    Example:
        >>> import tempfile, jax, numpy as np, diffevo_jax as de
        >>> from diffevo_jax.problems import external
        >>> def negated_sphere(solutions):
        ...     print(len(solutions), "evaluated")
        ...     return -np.sum(solutions**2, axis=1)
        >>> problem = de.problems.External(negated_sphere, de.problems.Space(np.zeros(2)))
        >>> folder = tempfile.mkdtemp()
        >>> run = lambda: de.run(
        ...     jax.random.key(0), de.DiffusionEvolution(2),
        ...     external.journaled(problem, external.Journal(folder)), population_size=8)
        >>> first = run()
        8 evaluated
        8 evaluated
        >>> again = run()
        >>> bool(again.best_fitness == first.best_fitness)
        True
    """

    @checked
    def __init__(self, folder: str | Path) -> None:
        """Nothing is begun; without :meth:`begin` all calls are one."""
        self.folder = Path(folder).expanduser().absolute()
        with contextlib.suppress(OSError):  # it is said below what is wrong
            self.folder.mkdir(parents=True, exist_ok=True)
        check_writable("folder", self.folder / "journal")
        self.begin("evaluations")

    def __repr__(self) -> str:
        """Where it is."""
        return f"Journal({str(self.folder)!r})"

    @checked
    def begin(self, name: str) -> None:
        """Go on to the next call; one of the same name before knows what it has come to.

        Args:
            name: of letters, digits, ``_``, ``-`` and ``.``; that of the file.

        Raises:
            ValueError: it has others.
        """
        if not _NAME.fullmatch(name):
            raise ValueError(f"name: got {name!r}, want letters, digits, '_', '-' and '.'")
        self._records = Records(self.folder / f"{name}{_ENDING}")
        self._seen: collections.Counter[bytes] = collections.Counter()

    @checked
    def forget(self, before: str | None = None) -> None:
        """Delete the files of calls that are not needed any more.

        Args:
            before: a name that ends with a number: those are deleted that are named the
                same up to a lower one. None deletes all.

        Raises:
            ValueError: it ends with no number.
        """
        if before is not None and _parts(before)[1] is None:
            raise ValueError(f"before: got {before!r}, want a name that ends with a number")
        for path in sorted(self.folder.glob(f"*{_ENDING}")):
            if before is None or _is_before(path.name.removesuffix(_ENDING), before):
                path.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _call(self, contents: Sequence[bytes]) -> Iterator[tuple[list[bytes], Records]]:
        """The key of each content, and what is known; open for more within the block."""
        keys = []
        first = not self._seen
        for content in contents:
            name = hashlib.blake2b(content, digest_size=KEY - 4).digest()
            keys.append(name + self._seen[name].to_bytes(4, "little"))
            self._seen[name] += 1
        with self._records.opened():
            known = self._records.known
            if first and known and not any(key in known for key in keys):
                warnings.warn(
                    f"journal: {self._records.path} has evaluations, and none of these "
                    "solutions and this function; they are not used",
                    stacklevel=2,
                )
            yield keys, self._records


def _parts(name: str) -> tuple[str, int | None]:
    """A name up to the number at its end, and the number."""
    stem = name.rstrip("0123456789")
    return stem, int(name[len(stem) :]) if stem != name else None


def _is_before(name: str, other: str) -> bool:
    (stem, number), (its_stem, its_number) = _parts(name), _parts(other)
    if number is None or its_number is None:
        return False
    return stem == its_stem and number < its_number


@checked
def journaled(problem: Problem, journal: Journal) -> Problem:
    """The problem, with every evaluation that is finished kept, and none done again.

    Of what :func:`diffevo_jax.problems.external.each` has made, and of whatever else is a
    :class:`diffevo_jax.problems.external.Reports`, every solution is kept as soon as it is
    finished; of another function a whole call, since what it returns of one solution may
    depend on the others. What has failed is kept too, and not tried again.

    Args:
        problem: an :class:`diffevo_jax.problems.External`, or what is around some, such as
            :class:`diffevo_jax.problems.Constrained`.
        journal: where they are kept.

    Returns:
        The same with other functions.

    Raises:
        ValueError: there is no External in it.

    Example:
        >>> import tempfile, numpy as np, diffevo_jax as de
        >>> from diffevo_jax.problems import external
        >>> problem = de.problems.External(np.sum, de.problems.Space(np.zeros(2)))
        >>> external.journaled(problem, external.Journal(tempfile.mkdtemp())).fn
        journaled(<function sum at ...>)
    """
    if not externals(problem):
        raise ValueError(f"problem: got {pytree.short(problem)}, want one with an External")
    number = iter(range(len(externals(problem))))

    def replaced(part: PyTree) -> PyTree:
        if not isinstance(part, External):
            return part
        return pytree.replace(part, fn=_Journaled(part, next(number), journal))

    with_journal: Problem = jax.tree.map(replaced, problem, is_leaf=_is_external)
    return with_journal


def externals(problem: PyTree) -> list[External]:
    """The evaluators of the host that are in a problem.

    Example:
        >>> import diffevo_jax as de
        >>> de.problems.external.journal.externals(de.problems.Landscape("beale"))
        []
    """
    return [
        one for one in jax.tree.leaves(problem, is_leaf=_is_external) if _is_external(one)
    ]


def _is_external(part: PyTree) -> bool:
    return isinstance(part, External)


class _Journaled:
    """A function of a batch that evaluates what a journal does not know."""

    def __init__(self, problem: External, number: int, journal: Journal) -> None:
        """Of the External of this number in a problem."""
        self.__wrapped__ = problem.fn  # as of functools.wraps
        self._journal = journal
        self._measures = jax.tree.structure(problem.measures)
        title = _ADDRESS.sub("", title_of(problem.fn))
        self._whose = f"{number} {title} {results.in_words(problem.measures)} "

    def __repr__(self) -> str:
        """What it evaluates with."""
        return f"journaled({self.__wrapped__!r})"

    def __call__(self, *given: PyTree) -> Evaluation:
        """Evaluate N solutions; whatever more there is of each goes with it."""
        layout = jax.tree.map(lambda leaf: f"{leaf.dtype}{leaf.shape[1:]}", given)
        rows, fn = names_of(given), self.__wrapped__
        if offers(fn, Reports):
            whose = f"row of {self._whose}{layout}".encode()
            with self._journal._call([whose + row for row in rows]) as (keys, records):
                return self._row_by_row(fn, given, keys, records)
        whose = f"{len(rows)} rows of {self._whose}{layout}".encode()
        with self._journal._call([whose + b"".join(rows)]) as ((key,), records):
            return self._whole(given, len(rows), key, records)

    def _whole(
        self, given: tuple[PyTree, ...], count: int, key: bytes, records: Records
    ) -> Evaluation:
        """All at once, or nothing."""
        if key in records.known:
            known = unpacked(records.known[key], self._measures)
            if known is not None:
                return known
        evaluation = results.evaluation_of(self.__wrapped__(*given), count)
        self._add(records, key, evaluation)
        return evaluation

    def _row_by_row(
        self,
        fn: Reports,
        given: tuple[PyTree, ...],
        keys: list[bytes],
        records: Records,
    ) -> Evaluation:
        """Those that are not known, each kept when it is finished."""
        rows = {
            place: unpacked(records.known[key], self._measures)
            for place, key in enumerate(keys)
            if key in records.known
        }
        left = [place for place in range(len(keys)) if place not in rows]

        def finished(number: int, returned: Evaluation | None) -> None:
            place = left[number]
            rows[place] = None if returned is None else results.row_of(returned)
            self._add(records, keys[place], rows[place])

        if left:
            fn.reporting(finished, *jax.tree.map(lambda leaf: leaf[left], given))
        if len(rows) < len(keys):
            raise ValueError(
                f"fn: got {fn!r}, which reported {len(rows) - len(keys) + len(left)} of "
                f"{len(left)} solutions, want all"
            )
        in_order = [rows[place] for place in range(len(keys))]
        warn_if_all_failed(fn, in_order)
        return results.gathered(in_order)

    def _add(self, records: Records, key: bytes, evaluation: Evaluation | None) -> None:
        """Keep one, unless its measures are others: then an error follows."""
        content = packed(evaluation, self._measures)
        if content is not None:
            records.add(key, content)


def packed(evaluation: Evaluation | None, measures: PyTree) -> bytes | None:
    """An evaluation as bytes, those of its arrays among them; None has failed.

    Args:
        evaluation: of NumPy arrays, of any shapes.
        measures: the structure of its measures, which may also be ``()`` or None, as of
            what has failed.

    Returns:
        None if the measures are of another structure.
    """
    if evaluation is None:
        return b""
    kinds = [measures, *map(jax.tree.structure, ((), None))]
    structure = jax.tree.structure(evaluation.measures)
    if structure not in kinds:
        return None
    arrays = [evaluation.fitness, *jax.tree.leaves(evaluation.measures)]
    arrays += [] if evaluation.violation is None else [evaluation.violation]
    said = {
        "measures": kinds.index(structure),
        "arrays": [(array.dtype.name, array.shape) for array in arrays],
    }
    head = json.dumps(said).encode()
    whole = [len(head).to_bytes(4, "little"), head, *(array.tobytes() for array in arrays)]
    return b"".join(whole)


def unpacked(content: bytes, measures: PyTree) -> Evaluation | None:
    """What :func:`packed` made bytes of.

    Args:
        content: of a record.
        measures: the structure of the measures.

    Example:
        >>> import jax, numpy as np, diffevo_jax as de
        >>> from diffevo_jax.problems.external import journal
        >>> row = de.Evaluation(np.float32(2), {"length": np.ones(2)})
        >>> structure = jax.tree.structure({"length": 0})
        >>> journal.unpacked(journal.packed(row, structure), structure).measures
        {'length': array([1., 1.])}
    """
    if not content:
        return None
    begin = 4 + int.from_bytes(content[:4], "little")
    said = json.loads(content[4:begin])
    arrays: list[PyTree] = []
    for name, shape in said["arrays"]:
        dtype = jnp.dtype(name)
        count = int(np.prod(shape, dtype=int))
        flat = np.frombuffer(content, dtype, count, begin)
        arrays.append(flat.reshape(shape).copy())
        begin += flat.nbytes
    structure = (measures, *map(jax.tree.structure, ((), None)))[said["measures"]]
    fitness, *others = arrays
    whole = structure.num_leaves
    violation = others[whole] if len(others) > whole else None
    return Evaluation(fitness, jax.tree.unflatten(structure, others[:whole]), violation)
