"""Variables: what one named number, or one choice, of a solution may be."""

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from diffevo_jax import pytree
from diffevo_jax.base import PyTree
from diffevo_jax.pytree import Number

SCALES = ("linear", "log")
#: What a category may be.
Choice = str | bool | int | float | None
#: Of ends: the sum of two such numbers is finite in float32, whatever a compiler adds.
FARTHEST = 8e37


class Box(NamedTuple):
    """Where the float is that a variable is made of: all numbers, each of which may trace.

    Attributes:
        low: lower end.
        high: upper end.
        first: the first legal value; of a float without steps None.
        step: from one legal value to the next.
        steps: how many steps there are.
        last: the last legal value.
        log: whether factors count; structure.
    """

    low: Number
    high: Number
    first: Number | None = None
    step: Number = 1.0
    steps: Number = 0.0
    last: Number = 0.0
    log: bool = False


@pytree.dataclass
class Range:
    """A float between two ends.

    On a log scale factors count and not differences: as much of the range is between 1 and
    10 as between 10 and 100.

    Args:
        low: lower end, within 8e37; > 0 on a log scale.
        high: upper end, above the lower one.
        scale: ``"linear"`` or ``"log"``; static.
        step: of a linear scale, values are ``low``, ``low + step``, and so on, up to
            ``high``, each as frequent as the others; None is any float. At least four
            times what two floats at the ends are apart.

    Example:
        >>> import jax.numpy as jnp, diffevo_jax as de
        >>> space = de.problems.Space({"rate": de.problems.Range(0.01, 100.0, "log")})
        >>> space.decode(jnp.array([[-2.0], [0.0], [2.0]]))["rate"].round(2).tolist()
        [0.009999999776482582, 1.0, 100.0]
    """

    low: Number = pytree.number(low=-FARTHEST, high=FARTHEST)
    high: Number = pytree.number(low=-FARTHEST, high=FARTHEST)
    scale: str = pytree.static(default="linear")
    step: Number | None = pytree.numbers(above=0.0, default=None)

    @property
    def ordered(self) -> tuple[tuple[str, str], ...]:
        """Of traced ends that are not in order, or not > 0 on a log scale, each counts."""
        ends = (("low", "high"),)
        return (*ends, ("smallest", "low")) if self.scale == "log" else ends

    @property
    def smallest(self) -> float:
        """The smallest number > 0 that counts as one."""
        return _smallest()

    @property
    def width(self) -> int:
        """It takes one number of unit scale."""
        return 1

    @property
    def shape(self) -> tuple[int, ...]:
        """It is decoded to a number."""
        return ()

    @property
    def dtype(self) -> str:
        """A float."""
        return str(jnp.result_type(float))

    def box(self) -> Box:
        """The ends, in order where they are traced; half a step further with steps."""
        low, high = _ends(self)
        if self.step is None:
            return Box(low, high, log=self.scale == "log")
        return _grid(low, high, jnp.asarray(self.step, float))

    def check_as(self, name: str) -> None:
        """Raise ValueError if the ends, as far as they are known, make no range."""
        known = _check_ends(name, self)
        if self.step is None:
            return
        if self.scale == "log":
            raise ValueError(f"{name}: got step {self.step} on a log scale, want None")
        step = pytree.concrete(self.step)
        if known is not None and step is not None:
            _check_count(name, known, float(step))

    def to_python(self, values: np.ndarray) -> np.ndarray:
        """Values on the host (N,), within the ends as they were given."""
        exact = np.asarray(values, np.float64)
        low, high = float(self.low), float(self.high)
        if self.step is not None:
            step = float(self.step)
            exact = low + step * np.round((exact - low) / step)
        return np.clip(exact, low, high)

    def from_python(self, values: list[Any], name: str = "x") -> np.ndarray:
        """Values as :meth:`to_python` gives them, as arrays (N,).

        Raises:
            TypeError: a value is no number.
            ValueError: a value is beyond the ends, or not on a step; but for rounding.
        """
        low, high = float(self.low), float(self.high)
        eps, step = float(jnp.finfo(self.dtype).eps), None
        if self.step is not None:
            step = float(self.step)
            slack = max(1e-6, 4 * eps * max(abs(low), abs(high)) / step)
        for value in values:
            number = _number(value, name)
            if not low - eps * abs(low) <= number <= high + eps * abs(high):
                raise _wrong(value, name, f"a number from {low:g} to {high:g}")
            places = 0.0 if step is None else (number - low) / step
            if step is not None and abs(places - round(places)) > slack:
                raise _wrong(value, name, f"{low:g} and a multiple of {step:g}")
        return np.asarray(values, float)


@pytree.dataclass
class Integer:
    """A whole number between two ends, which belong to it.

    Every whole number has the same width: the float that it is made of is in
    ``[low - 1/2, high + 1/2]`` and is rounded, so that the ends are as frequent as what is
    between them. On a log scale the width of ``n`` is ``log((n + 1/2) / (n - 1/2))``.

    Args:
        low: the lowest, whole, within 2^20 (2^49 with ``jax_enable_x64``), so that each
            number can be told from the next; >= 1 on a log scale.
        high: the highest, whole, above the lowest.
        scale: ``"linear"`` or ``"log"``; static.
        step: of a linear scale: from one to the next, whole, >= 1.

    Example:
        >>> import jax, numpy as np, diffevo_jax as de
        >>> space = de.problems.Space({"dice": de.problems.Integer(1, 6)}, start="uniform")
        >>> thrown = space.decode(space.sample(jax.random.key(0), 6_000))["dice"]
        >>> np.round(np.bincount(thrown)[1:], -2).tolist()
        [1000, 1000, 1000, 1000, 1000, 1000]
    """

    low: Number = pytree.number()
    high: Number = pytree.number()
    scale: str = pytree.static(default="linear")
    step: Number = pytree.number(low=1.0, default=1.0)

    @property
    def ordered(self) -> tuple[tuple[str, str], ...]:
        """Of traced ends that are not in order, or not >= 1 on a log scale, each counts."""
        ends = (("low", "high"),)
        return (*ends, ("smallest", "low")) if self.scale == "log" else ends

    @property
    def smallest(self) -> float:
        """The smallest number that a log scale has."""
        return 1.0

    @property
    def width(self) -> int:
        """It takes one number of unit scale."""
        return 1

    @property
    def shape(self) -> tuple[int, ...]:
        """It is decoded to a number."""
        return ()

    @property
    def dtype(self) -> str:
        """JAX's default for integers."""
        return str(jnp.result_type(int))

    def box(self) -> Box:
        """Half a step further than the ends, which are whole where they are traced too."""
        low, high = _ends(self)
        low = jnp.ceil(low)
        box = _grid(low, jnp.maximum(jnp.floor(high), low), jnp.round(self.step))
        return box._replace(log=self.scale == "log")

    def check_as(self, name: str) -> None:
        """Raise ValueError if the ends, as far as they are known, are no whole numbers."""
        known, step = _check_ends(name, self), pytree.concrete(self.step)
        farthest = _apart()
        for end, value in zip(("low", "high"), known or (), strict=False):
            if value != round(value) or abs(value) > farthest:
                raise ValueError(
                    f"{name}: got {end} {value:.10g}, want a whole number within "
                    f"{farthest:.10g}"
                )
        if step is not None and step != np.round(step):
            raise ValueError(f"{name}: got step {step:g}, want a whole number")
        if step is not None and step != 1 and self.scale == "log":
            raise ValueError(f"{name}: got step {step:g} on a log scale, want 1")
        if known is not None and step is not None:
            _check_count(name, known, float(step))

    def to_python(self, values: np.ndarray) -> np.ndarray:
        """Values on the host (N,)."""
        return np.asarray(values, np.int64)

    def from_python(self, values: list[Any], name: str = "x") -> np.ndarray:
        """Values as :meth:`to_python` gives them, as arrays (N,).

        Raises:
            TypeError: a value is no number.
            ValueError: a value is not whole, beyond the ends, or not on a step.
        """
        low, high, step = (round(float(n)) for n in (self.low, self.high, self.step))
        of = "" if step == 1 else f", in steps of {step}"
        for value in values:
            number = _number(value, name)
            if not low <= number <= high or number % 1 or (number - low) % step:
                want = f"a whole number from {low} to {high}{of}"
                raise _wrong(value, name, want)
        return np.asarray(values, self.dtype)


@pytree.dataclass
class Categorical:
    """One of several choices, between which there is no order.

    It takes as many numbers of unit scale as there are choices, each in a box; the largest
    is the choice, the first of those that are equal. It is decoded to the index of its
    choice, int32, since a string is no array; :meth:`Space.as_python
    <diffevo_jax.problems.Space.as_python>` has the choices themselves.

    Args:
        choices: two or more strings, numbers, truth values or None, all different; static.

    Raises:
        TypeError: there is no sequence of choices.

    Example:
        >>> import jax.numpy as jnp, diffevo_jax as de
        >>> space = de.problems.Space({"kind": de.problems.Categorical(("adam", "sgd"))})
        >>> solutions = space.decode(jnp.array([[0.3, 0.2], [-1.0, 0.5]]))
        >>> solutions["kind"].tolist(), space.as_python(solutions)
        ([0, 1], [{'kind': 'adam'}, {'kind': 'sgd'}])
    """

    choices: tuple[Choice, ...] = pytree.static()

    def __init__(self, choices: Iterable[Choice]) -> None:
        if isinstance(choices, str) or not isinstance(choices, Iterable):
            raise TypeError(f"choices: got {choices!r}, want a sequence of choices")
        plain = tuple(c.item() if isinstance(c, np.generic) else c for c in choices)
        object.__setattr__(self, "choices", plain)

    @property
    def width(self) -> int:
        """It takes a number of unit scale for each choice."""
        return len(self.choices)

    @property
    def shape(self) -> tuple[int, ...]:
        """It is decoded to an index."""
        return ()

    @property
    def dtype(self) -> str:
        """Of an index."""
        return "int32"

    def box(self) -> Box:
        """The box of each number."""
        return Box(-1.0, 1.0)

    def check(self) -> None:
        """Raise ValueError unless there are two or more choices, all different."""
        told = [(type(choice), choice) for choice in self.choices]
        if len(told) < 2 or len(set(told)) < len(told):
            want = "two or more, all different; Fixed is for one"
            raise ValueError(f"Categorical.choices: got {self.choices!r}, want {want}")

    def check_as(self, name: str) -> None:
        """It has no numbers that may be wrong."""

    def to_python(self, values: np.ndarray) -> np.ndarray:
        """The choices (N,) that indices on the host mean; strings, or objects."""
        kinds = {type(choice) for choice in self.choices}
        dtype = None if len(kinds) == 1 and kinds <= {str, bool, int, float} else object
        known = np.array(self.choices, dtype)
        if kinds == {int} and known.dtype.kind not in "iu":  # no integers hold all of them
            known = np.array(self.choices, object)
        return known[np.asarray(values)]

    def from_python(self, values: list[Any], name: str = "x") -> np.ndarray:
        """Indices (N,) of choices.

        Raises:
            ValueError: a value is no choice.
        """
        told = [(type(choice), choice) for choice in self.choices]
        plain = [v.item() if isinstance(v, np.generic) else v for v in values]
        for value in plain:
            if (type(value), value) not in told:
                raise _wrong(value, name, f"one of {self.choices}")
        return np.array([told.index((type(v), v)) for v in plain], np.int32)


@pytree.dataclass
class Fixed:
    """What is the same in every solution: it is part of them, and takes no dimension.

    Args:
        value: a number or an array, a leaf; or a string, which is decoded to the index 0 as
            the only choice of a category would be.
        label: the string, static; not to be given.

    Example:
        >>> import jax.numpy as jnp, diffevo_jax as de
        >>> space = de.problems.Space(
        ...     {"rate": de.problems.Range(0.0, 1.0), "depth": de.problems.Fixed(3)})
        >>> space.dim, space.decode(jnp.zeros((2, 1)))["depth"].tolist()
        (1, [3, 3])
    """

    value: PyTree
    label: str | None = pytree.static()

    def __init__(self, value: PyTree, label: str | None = None) -> None:
        text = isinstance(value, str)
        object.__setattr__(self, "value", np.int32(0) if text else value)
        object.__setattr__(self, "label", str(value) if text else label)

    @property
    def width(self) -> int:
        """It takes no number of unit scale."""
        return 0

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the value."""
        return tuple(jnp.shape(self.value))

    @property
    def dtype(self) -> str:
        """Of the value."""
        return str(jnp.result_type(self.value))

    def constant(self) -> jax.Array:
        """The value as an array."""
        return jnp.asarray(self.value, self.dtype)

    def box(self) -> Box:
        """It has no numbers; the box of none."""
        return Box(-1.0, 1.0)

    def check(self) -> None:
        """Raise TypeError unless the value is a number, an array or a string."""
        number = isinstance(self.value, bool | int | float | np.generic)
        if not number and not isinstance(self.value, np.ndarray | jax.Array):
            got = f"{pytree.short(self.value)} ({type(self.value).__name__})"
            raise TypeError(f"Fixed.value: got {got}, want a number, array or string")
        if not np.size(self.value):
            raise ValueError("Fixed.value: got an array without elements, want some")

    def check_as(self, name: str) -> None:
        """It has no ends that may be wrong."""

    def to_python(self, values: np.ndarray) -> np.ndarray:
        """Values on the host ``(N, ...)``: as they were given."""
        if self.label is not None:
            return np.full(len(values), self.label)
        return np.broadcast_to(np.asarray(self.value), np.shape(values))

    def from_python(self, values: list[Any], name: str = "x") -> np.ndarray:
        """The value for each of N.

        Raises:
            ValueError: a value is another one, beyond rounding.
        """
        value = np.asarray(self.value)
        want = self.label if self.label is not None else value
        for given in values:
            if not _same(given, want):
                raise _wrong(given, name, f"{pytree.short(want)}, which is fixed")
        return np.broadcast_to(value, (len(values), *value.shape))


#: What a leaf of a space may be beside an array.
Variable = Range | Integer | Categorical | Fixed


def _wrong(value: object, name: str, want: str) -> ValueError:
    return ValueError(f"solutions: got {pytree.short(value)} for {name!r}, want {want}")


def _number(value: PyTree, name: str) -> int | float:
    """A number of Python, NumPy or JAX as one of Python; it may be NaN.

    Raises:
        TypeError: it is none, such as a truth value or a string.
    """
    plain = value.item() if np.shape(value) == () and hasattr(value, "item") else value
    if isinstance(plain, bool) or not isinstance(plain, int | float):
        got = f"{pytree.short(value)} ({type(value).__name__})"
        raise TypeError(f"solutions: got {got} for {name!r}, want a number")
    return plain


def _same(value: object, want: str | np.ndarray) -> bool:
    """Whether a value is the one that is wanted, if numbers to rounding."""
    if isinstance(want, str) or isinstance(value, str):
        return bool(np.array_equal(np.asarray(value), np.asarray(want)))
    given, known = np.asarray(value), np.asarray(want)
    if given.shape != known.shape or given.dtype.kind not in "biuf":
        return False
    return bool(np.allclose(given, known, 1e-6, 0.0, equal_nan=True))


def _smallest() -> float:
    return float(jnp.finfo(jnp.result_type(float)).tiny)


def _apart() -> float:
    """Whole numbers up to this are told apart after a logarithm and back."""
    return float(2.0 ** (jnp.finfo(jnp.result_type(float)).nmant - 3))


def _ends(variable: Range | Integer) -> tuple[jax.Array, jax.Array]:
    """Both ends, in order; > 0 on a log scale."""
    low, high = (jnp.asarray(end, float) for end in (variable.low, variable.high))
    low, high = jnp.minimum(low, high), jnp.maximum(low, high)
    if variable.scale == "log":
        low, high = (jnp.maximum(end, variable.smallest) for end in (low, high))
    return low, high


def _grid(low: jax.Array, high: jax.Array, step: jax.Array) -> Box:
    """Values from low to at most high, each in the middle of a step."""
    count = jnp.floor((high - low) / step * (1 + 8 * jnp.finfo(low.dtype).eps))
    count = jnp.clip(count, 0, 2 * _apart())
    last = jnp.minimum(low + count * step, high)  # rounding
    return Box(low - 0.5 * step, low + (count + 0.5) * step, low, step, count, last)


def _check_ends(name: str, variable: Range | Integer) -> tuple[float, float] | None:
    """Raise ValueError unless known ends make a range; the ends, or None if they trace."""
    if variable.scale not in SCALES:
        raise ValueError(f"{name}: got scale {variable.scale!r}, want one of {SCALES}")
    low, high = pytree.concrete(variable.low), pytree.concrete(variable.high)
    if low is None or high is None:
        return None
    working = np.dtype(jnp.result_type(float))
    if not 0.5 * high.astype(working) - 0.5 * low.astype(working) >= _smallest():
        want = f"want low < high, in {working}"
        raise ValueError(f"{name}: got low {low:g} with high {high:g}, {want}")
    if variable.scale == "log" and not low >= variable.smallest:
        want = "want a number > 0" if isinstance(variable, Range) else "want a number >= 1"
        raise ValueError(f"{name}: got low {low:g} on a log scale, {want}")
    return float(low), float(high)


def _check_count(name: str, ends: tuple[float, float], step: float) -> None:
    count = (ends[1] - ends[0]) / step
    if not 1 - 1e-6 <= count <= 2 * _apart() or not math.isfinite(count):
        raise ValueError(
            f"{name}: got step {step:g} from {ends[0]:g} to {ends[1]:g}, want 1 to "
            f"{2 * _apart():.10g} steps"
        )
    working = np.dtype(jnp.result_type(float))
    apart = float(np.spacing(np.asarray(max(map(abs, ends)), working)))
    if step < 4 * apart:
        raise ValueError(
            f"{name}: got step {step:g} from {ends[0]:.10g} to {ends[1]:.10g}, where two "
            f"numbers of {working} are {apart:g} apart, want a step >= {4 * apart:g}"
        )
