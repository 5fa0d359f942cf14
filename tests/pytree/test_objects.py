"""Objects that are compared by class and public attributes."""

import array
import collections
import dataclasses
import enum
import functools
import pathlib
import threading
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from flax import linen, struct

from diffevo_jax.pytree.objects import Snapshot, described, frozen


class Thing:
    shape = "round"

    def __init__(self, **attributes):
        vars(self).update(attributes)

    @property
    def hidden(self):
        return vars(self).get("_hidden")


class OtherThing(Thing):
    pass


class Helper:
    def __init__(self, g=1.0):
        self.g = g

    def get(self):
        return self.g

    wrapped = functools.wraps(get)(lambda self: self.get())


class Gain(Helper):
    def __call__(self, x):
        return self.g * x


class Equal(Helper):
    """Compared by an equality of its own."""

    def __eq__(self, other):
        return isinstance(other, Equal) and self.g == other.g

    def __hash__(self):
        return hash(self.g)


class Listed(list):
    pass


class Named(str):
    pass


class Mode(enum.Enum):
    FAST = "fast"


@dataclasses.dataclass
class Settings:
    size: int = 1
    scale: dataclasses.InitVar[float] = 1.0
    unset: float = dataclasses.field(init=False)

    def __post_init__(self, scale):
        self._scale = scale


class Slots:
    __slots__ = ("__hidden",)

    def __init__(self, hidden):
        self.__hidden = hidden


def with_attribute(value, g=1.0):
    value.g = g
    return value


@struct.dataclass
class Part:
    weight: jax.Array
    gain: float = 1.0


def alike(first, second) -> bool:
    same = Snapshot(first) == Snapshot(second)
    if same:
        assert hash(Snapshot(first)) == hash(Snapshot(second))
    return same


FUNCTION = lambda x: x
SAME = [
    (1, 1),
    (1.5, 1.5),
    (float("nan"), float("nan")),
    ("a", "a"),
    ([1, (2.0, {"a": None})], [1, (2.0, {"a": None})]),
    ({1, 2}, {2, 1}),
    (jnp.arange(3), jnp.arange(3)),
    (np.arange(3), np.arange(3)),
    (jax.random.key(1), jax.random.key(1)),
    (np.dtype("int8"), np.dtype("int8")),
    (FUNCTION, FUNCTION),
    (Part(jnp.ones(2)), Part(jnp.ones(2))),
    (SimpleNamespace(_x=3), SimpleNamespace(_x=3)),
    (jnp.float32, jnp.float32),
    (Settings(), Settings()),
    (linen.Dense(3), linen.Dense(3)),
    (collections.deque([1]), collections.deque([1])),
    (bytearray(b"a"), bytearray(b"a")),
    (Helper().get, Helper().get),
    (functools.partial(max, 1), functools.partial(max, 1)),
    (max, max),
    (Helper, Helper),
    (Equal(), Equal()),
    (with_attribute(Listed([1])), with_attribute(Listed([1]))),
    (pathlib.Path("a"), pathlib.Path("a")),
    (Mode.FAST, Mode.FAST),
    (Slots(1), Slots(1)),
    (np.array([Helper()]), np.array([Helper()])),
]
DIFFERENT = [
    (1, 2),
    (1, 1.0),
    (1, True),
    (0.0, -0.0),
    ("a", "b"),
    ([1], (1,)),
    ({"a": 1}, {"b": 1}),
    (jnp.arange(3), jnp.arange(3.0)),
    (jnp.arange(3), np.arange(3, dtype=np.int32)),
    (jnp.arange(3), jnp.array([0, 1, 3])),
    (jnp.float32(1), jnp.asarray(1.0)),
    (jax.random.key(1), jax.random.key(2)),
    (lambda x: x, lambda x: x),
    (functools.partial(max, 1), functools.partial(max, 2)),
    (jax.jit(lambda x: x), jax.jit(lambda x: x + 1)),
    (Part(jnp.ones(2)), Part(jnp.ones(2), gain=2.0)),
    (SimpleNamespace(_x=3), SimpleNamespace(_x=4)),
    (threading.Lock(), threading.Lock()),
    (Settings(scale=1.0), Settings(scale=2.0)),
    (linen.Dense(3), linen.Dense(4)),
    (Helper(1.0).get, Helper(2.0).get),
    (Helper().get, Gain().get),
    (max, min),
    (Helper, Gain),
    (Named("a"), with_attribute(Named("a"))),
    (Slots(1), Slots(2)),
    (np.ma.masked_array([1, 2], [0, 1]), np.ma.masked_array([1, 2], [1, 0])),
]


class Drawn:
    """A class whose parts are all of its own, to be changed."""

    def __init__(self):
        class Held:
            g = 1.0

        class Env:
            gain = Gain()
            Cfg = Held

        self.env, self.held = Env(), Held


def changed_attribute(part):
    part.g = 5.0


#: What an attribute is, and how it is changed in place.
CHANGES = {
    "dataclass": (Settings, lambda part: setattr(part, "_scale", 5.0)),
    "dataclass_field_set_later": (Settings, lambda part: setattr(part, "unset", 5.0)),
    "deque": (lambda: collections.deque([1]), lambda part: part.append(2)),
    "bytearray": (lambda: bytearray(b"a"), lambda part: part.extend(b"b")),
    "array": (lambda: array.array("d", [1.0]), lambda part: part.append(2.0)),
    "method": (lambda: Helper().get, lambda part: changed_attribute(part.__self__)),
    "wrapped_method": (
        lambda: Helper().wrapped,
        lambda part: changed_attribute(part.__self__),
    ),
    "wrapped_partial": (
        lambda: functools.update_wrapper(functools.partial(np.add, np.zeros(2)), max),
        lambda part: part.args[0].__setitem__(0, 5.0),
    ),
    "method_of_c": (lambda: [1].count, lambda part: part.__self__.append(1)),
    "partial": (
        lambda: functools.partial(np.add, np.zeros(2)),
        lambda part: part.args[0].__setitem__(0, 5.0),
    ),
    "partial_keyword": (
        lambda: functools.partial(np.add, out=np.zeros(2)),
        lambda part: part.keywords["out"].__setitem__(0, 5.0),
    ),
    "class": (lambda: Drawn().held, changed_attribute),
    "class_of_object": (lambda: Drawn().held(), lambda part: changed_attribute(type(part))),
    "callable": (Gain, changed_attribute),
    "wrapping_callable": (
        lambda: functools.update_wrapper(Gain(), Helper.get),
        changed_attribute,
    ),
    "own_equality": (Equal, changed_attribute),
    "list_with_attribute": (lambda: Listed([1]), changed_attribute),
    "dict_with_attribute": (collections.UserDict, changed_attribute),
    "array_of_objects": (
        lambda: np.array([Helper()]),
        lambda part: changed_attribute(part[0]),
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_part_changed_in_place_makes_another_object(name):
    make, change = CHANGES[name]
    thing = Thing(held=make())
    before = Snapshot(thing)
    assert before == Snapshot(thing)
    change(thing.held)
    assert before != Snapshot(thing)


@pytest.mark.parametrize("name", ["gain", "Cfg"])
def test_a_part_of_the_class_changed_in_place_makes_another_object(name):
    env = Drawn().env
    before = Snapshot(env)
    changed_attribute(getattr(env, name))
    assert before != Snapshot(env)


@pytest.mark.parametrize("kind", ["DataFrame", "Series", "Index"])
def test_a_table_is_refused_by_the_name_of_its_attribute(kind):
    table = getattr(pd, kind)({"a": [1.0]} if kind == "DataFrame" else [1.0])
    with pytest.raises(TypeError, match=rf"env\.inner\[0\]: got a {kind} of pandas, want"):
        Snapshot(Thing(inner=[table]), "env")
    Snapshot(Thing(_inner=[table]), "env")


@pytest.mark.parametrize("pair", SAME, ids=range(len(SAME)))
def test_equal_attributes_make_equal_objects(pair):
    assert alike(*(Thing(held=value) for value in pair))


@pytest.mark.parametrize("pair", DIFFERENT, ids=range(len(DIFFERENT)))
def test_other_attributes_make_other_objects(pair):
    assert not alike(*(Thing(held=value) for value in pair))


def test_class_names_and_properties_count_and_private_names_do_not():
    assert not alike(Thing(), OtherThing())
    assert not alike(Thing(a=1), Thing(b=1))
    assert alike(Thing(_cache=1), Thing(_cache=2))
    assert not alike(Thing(_hidden=1), Thing(_hidden=2))  # a property shows it


def test_what_the_class_holds_counts(monkeypatch):
    before = Snapshot(Thing())
    monkeypatch.setattr(Thing, "shape", "flat")
    assert before != Snapshot(Thing())


def test_a_snapshot_stays_when_the_object_changes():
    thing = Thing(numbers=np.zeros(2), parts=[1], inner=SimpleNamespace(x=1))
    before = Snapshot(thing)
    for change in (
        lambda: thing.numbers.__setitem__(0, 1.0),
        lambda: thing.parts.append(2),
        lambda: setattr(thing.inner, "x", 2),
    ):
        known = Snapshot(thing)
        change()
        assert known != Snapshot(thing)
    assert before == Snapshot(
        Thing(numbers=np.zeros(2), parts=[1], inner=SimpleNamespace(x=1))
    )


def test_objects_in_a_circle_are_compared():
    def circle(number):
        thing = Thing(number=number)
        thing.other = SimpleNamespace(back=thing)
        return thing

    assert alike(circle(1), circle(1))
    assert not alike(circle(1), circle(2))


def test_slots_are_attributes():
    class Slotted:
        __slots__ = ("size",)

        def __init__(self, size):
            self.size = size

    assert alike(Slotted(1), Slotted(1))
    assert not alike(Slotted(1), Slotted(2))
    assert frozen(Slotted(3)).size == 3


def test_changes_do_not_reach_a_frozen_copy(monkeypatch):
    thing = Thing(numbers=np.zeros(2), _private=[1], lock=threading.Lock())
    copied = frozen(thing)
    thing.numbers[0] = 1.0
    thing._private.append(2)
    monkeypatch.setattr(Thing, "shape", "flat")
    assert copied.numbers[0] == 0.0
    assert copied._private == [1]
    assert copied.shape == "round"
    assert copied.lock is thing.lock
    assert isinstance(copied, Thing)


def test_a_traced_attribute_is_refused():
    with pytest.raises(TypeError, match=r"env\.inner\[0\]: got a traced array"):
        jax.make_jaxpr(lambda x: Snapshot(Thing(inner=[x]), "env").hashed)(1.0)


def test_objects_are_described_without_addresses():
    assert described(Thing(a=1, b=jnp.ones(9), _c=3)) == "Thing(a=1, b=float32[9])"
    assert described(3) == "3"
