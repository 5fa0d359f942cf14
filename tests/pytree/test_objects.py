"""Objects that are compared by class and public attributes."""

import functools
import threading
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct

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
]


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
