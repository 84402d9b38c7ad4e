"""Whatever came before, a collection is what it would be if it were made from nothing; and little is looked at."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xds_server.incremental import (
    EMPTY,
    Fixed,
    Lookups,
    changed,
    derived,
    edited,
    fixed,
    layered,
    mapped,
    partitioned,
    pieces,
    pieces_of_each,
    rekeyed,
    stable,
    united,
)
from xds_server.memo import Generations, Memo, no_memo

Rows = Fixed[str, Any]


def test_an_edited_copy_leaves_the_old_alone_and_knows_what_differs() -> None:
    old: Rows = fixed({"a": 1, "b": 2})
    new = edited(old, {"a": 3, "b": None, "c": 4})
    assert (dict(old), dict(new)) == ({"a": 1, "b": 2}, {"a": 3, "c": 4})
    assert set(changed(old, new)) == {"a", "b", "c"}


def test_a_copy_without_a_difference_is_the_same_object() -> None:
    old: Rows = fixed({"a": 1})
    assert edited(old, {"a": 1, "b": None}) is old
    assert changed(old, old) == ()


@pytest.mark.parametrize("after", [{"a": 1, "b": 5}, {"b": 2}, {"b": 2, "a": 1, "c": 3}, {}], ids=str)
def test_strangers_are_compared(after: dict[str, int]) -> None:
    before = {"a": 1, "b": 2}
    expected = {key for key in before | after if before.get(key) != after.get(key)}
    assert set(changed(fixed(before), fixed(after))) == expected


few = st.lists(st.dictionaries(st.integers(-9, 310), st.none() | st.integers(0, 5), max_size=4), max_size=30)


@given(few)
def test_a_large_mapping_is_edited_as_a_small_one_is(steps: list[dict[int, int | None]]) -> None:
    model: dict[int, int] = dict.fromkeys(range(300), 9)
    history: list[tuple[Fixed[int, int], dict[int, int]]] = [(fixed(model), dict(model))]
    for edits in steps:
        rows = edited(history[-1][0], edits)
        for key, value in edits.items():
            if value is None:
                model.pop(key, None)
            else:
                model[key] = value
        history.append((rows, dict(model)))
    last, rows = history[-1][1], history[-1][0]
    assert (dict(rows), dict(rows.items()), len(rows), set(rows)) == (last, last, len(last), last.keys())
    assert sorted(rows.values()) == sorted(last.values())
    assert [(key in rows, rows.get(key), rows.get(key, -1)) for key in range(-9, 311)] == [
        (key in last, last.get(key), last.get(key, -1)) for key in range(-9, 311)
    ]
    for gone in range(300):
        if gone not in last:
            with pytest.raises(KeyError):
                rows[gone]
    for old, before in (history[0], history[len(history) // 2], *history[-2:]):
        assert dict(old.items()) == before, "an older one stays as it was"
        assert set(changed(old, rows)) == {key for key in before | last if before.get(key) != last.get(key)}


def test_a_small_edit_of_a_large_mapping_copies_little() -> None:
    rows = fixed((number, number) for number in range(100_000))
    one = edited(rows, {7: 0, 100_000: 1, 8: None})
    parts = [part for part in gc.get_referents(one) if part is not rows]
    assert sys.getsizeof(rows) > 100 * sum(map(sys.getsizeof, parts))


def test_a_collection_that_is_put_together_again_stays_while_it_is_the_same() -> None:
    memo = Generations()
    first = stable(memo, "x", fixed({"a": 1}))
    assert stable(memo, "x", fixed({"a": 1})) is first
    other = stable(memo, "x", fixed({"a": 2}))
    assert dict(other) == {"a": 2}
    assert stable(memo, "x", fixed({"a": 2})) is other


def test_layers_are_made_of_what_is_below() -> None:
    memo = Generations()
    below, above = fixed((str(number), number) for number in range(1000)), fixed({"5": -5, "own": 0})
    both = layered(memo, "x", below, above)
    assert (both["4"], both["5"], both["own"], len(both)) == (4, -5, 0, 1001)
    assert layered(memo, "x", below, above) is both
    assert layered(memo, "y", below, EMPTY) is below
    hidden = layered(memo, "x", edited(below, {"5": 50}), above)
    assert hidden is both, "what is hidden makes no difference"
    more = layered(memo, "x", edited(below, {"5": 50, "6": 60}), above)
    assert (set(changed(both, more)), more["5"], more["6"]) == ({"6"}, -5, 60)
    bare = layered(memo, "x", below, edited(above, {"5": None}))
    assert (set(changed(more, bare)), bare["5"]) == ({"5", "6"}, 5)


pairs = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 9)), max_size=3)
lists = st.lists(st.dictionaries(st.sampled_from("abcd"), st.none() | pairs, max_size=4), min_size=1, max_size=6)


@given(lists)
def test_a_row_may_give_a_key_several_times(steps: list[dict[str, Any]]) -> None:
    memo = Generations()
    rows: Fixed[str, Any] = fixed()
    for edits in steps:
        rows = edited(rows, edits)
        found, several = rekeyed(memo, "pairs", {"": rows}, lambda row: row)
        full, all_several = rekeyed(no_memo, "pairs", {"": rows}, lambda row: row)
        assert (dict(found), several) == (dict(full), all_several)


class Asked:
    """Counts what is asked of a function that looks its value up."""

    def __init__(self) -> None:
        self.keys: list[str] = []

    def rows(self, memo: Memo, items: Rows, prices: Rows, context: object = None) -> Rows:
        lookups = Lookups(prices)
        known = lookups.views[0]

        def price(key: str, wanted: str) -> int | None:
            self.keys.append(key)
            found = known.get(wanted)
            return found if found is None else int(found)

        return derived(memo, "prices", price, items, lookups, context)

    def taken(self) -> list[str]:
        found, self.keys = sorted(self.keys), []
        return found


def test_only_what_differs_is_asked_again() -> None:
    memo, asked = Generations(), Asked()
    items, prices = fixed({"a": "x", "b": "y", "c": "gone"}), fixed({"x": 1, "y": 2, "a": 9})
    assert asked.rows(memo, items, prices) == {"a": 1, "b": 2}
    asked.taken()
    cases: list[tuple[Rows, Rows, list[str]]] = [
        (items, prices, []),
        (edited(items, {"a": "y"}), prices, ["a"]),
        (edited(items, {"a": "y", "d": "x"}), prices, ["d"]),
        (edited(items, {"a": "y", "d": "x"}), edited(prices, {"y": 3}), ["a", "b"]),
        (edited(items, {"a": "y", "d": "x"}), edited(prices, {"y": 3, "gone": 4}), ["c"]),
        (items, edited(prices, {"x": None}), ["a", "b", "c"]),
    ]
    for now, at, expected in cases:
        memo.turn()
        found = asked.rows(memo, now, at)
        assert set(expected) <= set(asked.taken()) <= {*now}
        assert dict(found) == {key: at[wanted] for key, wanted in now.items() if wanted in at}


def test_another_context_asks_everything_again() -> None:
    memo, asked = Generations(), Asked()
    items, prices = fixed({"a": "x"}), fixed({"x": 1})
    asked.rows(memo, items, prices, 1)
    asked.rows(memo, items, prices, 1)
    assert asked.taken() == ["a"]
    asked.rows(memo, items, prices, 2)
    assert asked.taken() == ["a"]


def test_an_equal_result_keeps_its_object() -> None:
    memo = Generations()

    def pair(key: str, value: int) -> tuple[str, bool]:
        return (key, value > 0)

    items: Rows = fixed({"a": 1, "b": 2})
    first = derived(memo, "pairs", pair, items)
    assert derived(memo, "pairs", pair, edited(items, {"a": 7})) is first


def test_who_looks_at_all_keys_is_asked_when_one_comes() -> None:
    memo = Generations()
    words: Rows = fixed({"x": 1})

    def count(now: Rows) -> Rows:
        lookups = Lookups(now)
        return derived(memo, "count", lambda key, _: len(list(lookups.views[0])), items, lookups)

    items: Rows = fixed({"a": 0})
    assert count(words) == {"a": 1}
    assert count(edited(words, {"y": 2})) == {"a": 2}


def test_after_an_exception_everything_is_made_anew() -> None:
    memo = Generations()

    def fragile(key: str, value: int) -> int:
        return 10 // value

    items: Rows = fixed({"a": 5, "b": 2})
    derived(memo, "fragile", fragile, items)
    with pytest.raises(ZeroDivisionError):
        derived(memo, "fragile", fragile, edited(items, {"a": 0}))
    assert derived(memo, "fragile", fragile, edited(items, {"a": 1})) == {"a": 10, "b": 5}


def test_two_functions_of_one_name_do_no_harm() -> None:
    memo = Generations()
    items: Rows = fixed({"a": 1})
    assert derived(memo, "same", lambda key, value: value + 1, items) == {"a": 2}
    assert derived(memo, "same", lambda key, value: value - 1, items) == {"a": 0}


def test_most_pieces_are_shared() -> None:
    memo = Generations()
    rows: Rows = fixed((f"{n:04}", n) for n in range(1000))

    def ordered(now: Rows) -> Any:
        return pieces(memo, "ordered", now, lambda n: (n,))

    before = {id(piece) for piece in ordered(rows).pieces}
    after = ordered(edited(rows, {"0500": -1, "0500b": 0}))
    assert list(after) == [*range(500), -1, 0, *range(501, 1000)]
    assert sum(id(piece) not in before for piece in after.pieces) == 1


keys = st.text("abc", min_size=1, max_size=2)
numbers = st.integers(0, 5)
steps = st.lists(st.dictionaries(keys, st.none() | numbers, max_size=8), min_size=1, max_size=8)
many = st.lists(st.dictionaries(st.integers(0, 400), st.none() | numbers, max_size=200), min_size=1, max_size=5)


def by_parity(key: str, value: int) -> Iterator[tuple[int, str, int]]:
    if value:
        yield value % 2, key, value
        yield 7, key, value


def divisors(value: int) -> Iterator[int]:
    return (n for n in range(1, value + 1) if value % n == 0)


def named(value: int) -> Iterator[tuple[int, int]]:
    yield value % 3, value


def everything(memo: Memo, rows: Fixed[Any, int], other: Fixed[Any, int]) -> list[object]:
    lookups = Lookups(other)

    def product(key: Any, value: int) -> int | None:
        return value * lookups.views[0].get(key, 1) or None

    both = {"one": rows, "other": other}
    groups = partitioned(memo, "parity", by_parity, rows)
    each = pieces_of_each(memo, "each", groups, lambda value: (value,) * (value % 2))
    squares = mapped(memo, "squares", each, lambda piece: tuple(n * n for n in piece))
    found: list[Mapping[Any, Any]] = [
        derived(memo, "product", product, rows, lookups),
        {group: dict(members) for group, members in groups.items()},
        {group: list(values) for group, values in each.items()},
        {group: list(chain.from_iterable(parts)) for group, parts in squares.items()},
        united(memo, "divisors", both, divisors),
        rekeyed(memo, "remainder", both, named)[0],
        layered(memo, "layers", rows, other),
    ]
    return [*map(dict, found), list(pieces(memo, "ordered", rows, lambda value: (value,) * (value % 2)))]


@pytest.mark.parametrize("turns", [True, False], ids=["turn by turn", "in one turn"])
@given(one=steps, other=steps)
def test_what_is_made_from_the_last_is_what_is_made_from_nothing(turns: bool, one: Any, other: Any) -> None:
    equal_step_by_step(one, other, turns)


@given(one=many)
def test_so_it_is_with_many_rows(one: Any) -> None:
    equal_step_by_step(one, [{}], True)


def equal_step_by_step(one: list[dict[Any, int | None]], other: list[dict[Any, int | None]], turns: bool) -> None:
    memo = Generations()
    rows: Fixed[Any, int] = fixed()
    more: Fixed[Any, int] = fixed()
    for number, edits in enumerate(one):
        rows = edited(rows, edits)
        more = edited(more, other[number % len(other)])
        assert everything(memo, rows, more) == everything(no_memo, rows, more)
        if turns:
            memo.turn()
