"""Records of runs: what a file that anybody can write may hold."""

import pytest

from diffevo_jax.pytree.records import read_record


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"seeds": 8, "more": 1}', "got more than 20 bytes"),
        (b"[8]", "got a list, want names and values"),
        (b'{"seeds"', "Expecting"),
        (b"\xff", "can't decode"),
    ],
    ids=["long", "list", "cut", "bytes"],
)
def test_what_is_no_record_is_refused(content, message) -> None:
    with pytest.raises(ValueError, match=message):
        read_record(content, 20)


def test_a_record_that_is_nested_too_deeply_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="recursion"):
        read_record(b"[" * 100_000)


def test_a_record_of_just_so_many_bytes_is_read() -> None:
    assert read_record(b'{"seeds": 8}', 12) == read_record(b'{"seeds": 8}') == {"seeds": 8}
