"""Ids: UUIDv7 inside, TypeIDs outside."""

import random
import uuid

import pytest

from tellwire.ids import IdMaker, decode, encode, time_ms


class SetClock:
    """A clock that stands where it is put."""

    def __init__(self, ms: int) -> None:
        self.ms = ms

    def now_ms(self) -> int:
        return self.ms


def test_ids_are_uuid_version_7_of_their_time() -> None:
    """The first 48 bits are the milliseconds; version and variant are those of RFC 9562."""
    raw = IdMaker(SetClock(1_767_225_600_123).now_ms, random.Random(1))()
    parsed = uuid.UUID(bytes=raw)
    assert (parsed.version, parsed.variant) == (7, uuid.RFC_4122)
    assert int.from_bytes(raw[:6], "big") == time_ms(raw) == 1_767_225_600_123


def test_ids_only_ever_grow() -> None:
    """Within a millisecond, over milliseconds and when the clock jumps back, each id is above the last."""
    clock = SetClock(1_000_000)
    make = IdMaker(clock.now_ms, random.Random(2))
    made = []
    for step in (0, 0, 0, 1, -500, 0, 0, 2_000, -1):
        clock.ms += step
        made += [make() for _ in range(100)]
    assert made == sorted(set(made))
    shown = [encode("evt", raw) for raw in made]
    assert shown == sorted(shown)


def test_two_makers_differ() -> None:
    """Two processes that start in the same millisecond do not make the same ids."""
    clock = SetClock(5)
    assert IdMaker(clock.now_ms)() != IdMaker(clock.now_ms)()


@pytest.mark.parametrize(
    ("text", "hexadecimal"),
    [
        ("prefix_00000000000000000000000000", "00000000000000000000000000000000"),
        ("prefix_00000000000000000000000001", "00000000000000000000000000000001"),
        ("prefix_0000000000000000000000000g", "00000000000000000000000000000010"),
        ("prefix_7zzzzzzzzzzzzzzzzzzzzzzzzz", "ffffffffffffffffffffffffffffffff"),
        ("prefix_0123456789abcdefghjkmnpqrs", "0110c8531d0952d8d73e1194e95b5f19"),
    ],
)
def test_typeid_vectors(text: str, hexadecimal: str) -> None:
    """The valid examples of the TypeID specification are read and written."""
    raw = bytes.fromhex(hexadecimal)
    assert encode("prefix", raw) == text
    assert decode("prefix", text) == raw


GOOD = "evt_01h455vb4pex5vsknk084sn02q"


@pytest.mark.parametrize(
    "text",
    ["", "evt", "evt_", GOOD[:-1], GOOD + "0", GOOD + "\n", GOOD.upper(), "ep" + GOOD[3:], "evt_8" + "z" * 25]
    + [GOOD[:-1] + letter for letter in "ilou-_ é٣"]
    + ["_" + GOOD, GOOD[4:], " " + GOOD, "evt__" + GOOD[5:], "\0" * 30],
)
def test_what_is_no_id_decodes_to_none(text: str) -> None:
    """Another prefix, another length, letters outside the alphabet or too large a value: no id."""
    assert decode("evt", GOOD) is not None
    assert decode("evt", text) is None
