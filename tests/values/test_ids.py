"""Ids: of version 7, unlike each other, and rising in the order in which a process makes them."""

import time

from riverrun.base.ids import uuid7


def test_ids_rise_with_the_clock() -> None:
    before = time.time_ns() // 1_000_000
    made = [uuid7() for _ in range(20_000)]
    after = time.time_ns() // 1_000_000
    assert len(set(made)) == len(made)
    assert {(each.version, each.variant) for each in made} == {(7, "specified in RFC 4122")}
    assert all(before <= each.int >> 80 <= after for each in made)
    # two within a quarter of a microsecond may stand the wrong way round
    rising = sum(one < other for one, other in zip(made, made[1:], strict=False))
    assert rising > 0.95 * len(made)
