"""Whatever JSON a provider sends is read, and every element keeps the bytes it came with."""

from __future__ import annotations

import contextlib
import json
import tracemalloc
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate import jsontext

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)
styles = st.sampled_from([{"separators": (",", ":")}, {"indent": 2}, {"indent": "\t", "ensure_ascii": False}, {}])


def _without(value: Any) -> Any:
    """Return ``value`` with objects as None."""
    if isinstance(value, list):
        return [_without(item) for item in value]
    return None if isinstance(value, dict) else value


def _shallow(value: dict[str, Any]) -> dict[str, Any]:
    return {name: _without(held) for name, held in value.items()}


def _write(value: Any, style: dict[str, Any]) -> bytes:
    return json.dumps(value, **style).encode("utf-8", "replace")


@settings(deadline=None)  # a busy machine is no failure
@given(st.lists(values, max_size=5), styles)
def test_elements_keep_their_bytes(items: list[Any], style: dict[str, Any]) -> None:
    raw = _write(items, style)
    found = jsontext.elements(raw)
    assert [value for value, _ in found] == json.loads(raw)
    rest = raw
    for value, exact in found:
        before, _, rest = rest.partition(exact)
        assert before.strip(b"[, \t\n") == b""
        assert json.loads(exact) == value
    assert rest.strip(b"] \t\n") in (b"", b"[")


@settings(deadline=None)  # a busy machine is no failure
@given(st.binary(max_size=200) | st.text(alphabet='[]{}",:\\u0 1e-+.tnNaI\n', max_size=40).map(str.encode))
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    for read in (jsontext.loads, jsontext.elements, lambda body: jsontext.cut(body, "a")):
        with contextlib.suppress(jsontext.NotJsonError):
            read(raw)


@pytest.mark.parametrize(
    "raw",
    [
        b"", b" ", b"[", b"[1", b"[1,", b"[1,]", b"[,1]", b"[1 2]", b"[1] 2", b"[1]]", b"{}", b"1", b"null", b"nul",
        b"[NaN]", b"[-Infinity]", b"[1}", b"\xef\xbb\xbf[1]", b"\xff[1]", b'["\x01"]', b"[01]", b"['a']",
        b"[" * 100_000, b"[" * 100_000 + b"]" * 100_000,
    ],
)  # fmt: skip
def test_what_is_no_array_is_refused(raw: bytes) -> None:
    with pytest.raises(jsontext.NotJsonError):
        jsontext.elements(raw)


@pytest.mark.parametrize("raw", [b"", b"[] []", b"NaN", b"[NaN]", b'{"a":Infinity}', b"{'a':1}", b'{"a":1,}', b"\xff"])
def test_what_is_no_json_is_refused(raw: bytes) -> None:
    with pytest.raises(jsontext.NotJsonError):
        jsontext.loads(raw)


def test_a_fault_is_named_without_quoting_the_text() -> None:
    with pytest.raises(jsontext.NotJsonError) as caught:
        jsontext.loads(b'{"password": "hunter2" "x"}')
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_number_of_ten_thousand_digits_is_read() -> None:
    digits = "7" * 10_000
    assert jsontext.loads(f'{{"n":{digits}}}'.encode())["n"] == Decimal(digits)
    [(value, exact)] = jsontext.elements(f"[ -{digits} ]".encode())
    assert value == Decimal("-" + digits)
    assert exact == f"-{digits}".encode()


def test_a_number_is_the_same_value_whatever_stands_beside_it() -> None:
    longest = -int("7" * 4300)
    alone = jsontext.loads(b"[%d]" % longest)
    beside = jsontext.loads(b"[%d,%s]" % (longest, b"7" * 4301))
    assert alone == beside[:1] == [longest]
    assert type(alone[0]) is type(beside[0]) is int


def test_nan_is_refused_next_to_a_long_number_too() -> None:
    with pytest.raises(jsontext.NotJsonError):
        jsontext.loads(b"[%s,NaN]" % (b"7" * 10_000))


def test_depth_two_hundred_and_lone_surrogates_are_read() -> None:
    nested = b"[" * 200 + b"]" * 200
    assert jsontext.elements(b"[%s]" % nested) == [(jsontext.loads(nested), nested)]
    assert jsontext.loads(b'"\\ud800"') == "\ud800"


def test_an_array_of_more_than_was_asked_for_is_not_walked_to_its_end() -> None:
    assert len(jsontext.elements(b"[1,2,3]", count_max=3)) == 3
    with pytest.raises(jsontext.TooManyError):
        jsontext.elements(b"[1,2,3,4, and this is not read any more", count_max=3)


def _depth(value: Any) -> int:
    if not isinstance(value, list | dict):
        return 0
    return 1 + max(map(_depth, value.values() if isinstance(value, dict) else value), default=0)


@settings(deadline=None)  # a busy machine is no failure
@given(values | st.lists(st.text(alphabet='[]{}"\\')), styles, st.integers(1, 8))
def test_json_is_as_deep_as_it_is(value: Any, style: dict[str, Any], depth_max: int) -> None:
    assert jsontext.is_deeper(_write(value, style), depth_max) == (_depth(value) > depth_max)


@pytest.mark.parametrize("depth", [1, 2, 3, 4, 5, 128, 500])
def test_the_depth_that_is_allowed_is_not_too_deep_and_one_more_is(depth: int) -> None:
    nest = b"[" * depth + b"]" * depth
    array = b"[%s]" % b",".join([nest[1:-1] or b"0"] * 3)
    for raw in (nest, array, nest.replace(b"[", b'{"[":').replace(b"]", b"}")):
        assert not jsontext.is_deeper(raw, depth)
        assert depth == 1 or jsontext.is_deeper(raw, depth - 1)


@pytest.mark.parametrize(
    ("raw", "values", "rest"),
    [
        (b'{"s":1}', [1], b"{}"),
        (b'{"s":1,"a":2}', [1], b'{"a":2}'),
        (b'{"a":2,"s":1}', [1], b'{"a":2}'),
        (b'{"a":1.0, "s" : "x" ,"b":1e5}', ["x"], b'{"a":1.0, "b":1e5}'),
        (b'\n{\n  "a": 1,\n  "s": [1]\n}\n', [[1]], b'\n{\n  "a": 1\n}\n'),
        (b'{"a":1}', [], b'{"a":1}'),
        (b"{}", [], b"{}"),
        (b'{"a":{"s":1}}', [], b'{"a":{"s":1}}'),
        (b'{"a":"s"}', [], b'{"a":"s"}'),
        (b'{"a":"\\"s","s":1}', [1], b'{"a":"\\"s"}'),
        (b'{"a":{"s":1},"s":2}', [2], b'{"a":{"s":1}}'),
        (b'{"s":1,"s":2}', [1, 2], b"{}"),
        (b'{"s":1,"a":0,"s":2,"b":0,"s":3}', [1, 2, 3], b'{"a":0,"b":0}'),
        (b'{"\\u0073":1,"a":2}', [1], b'{"a":2}'),
        (b'{"s":1,"\\u0073":2,"a":3}', [1, 2], b'{"a":3}'),
    ],
)
def test_a_member_is_cut_out_and_nothing_else(raw: bytes, values: list[Any], rest: bytes) -> None:
    found = jsontext.cut(raw, "s")
    assert (found.values, found.rest) == (values, rest)
    assert found.others == _shallow(jsontext.loads(rest))
    assert jsontext.values(raw, "s") == values


@settings(deadline=None)  # a busy machine is no failure
@given(st.dictionaries(st.text(max_size=5) | st.just("s"), values, max_size=5), styles)
def test_cutting_the_quick_way_and_the_thorough_way_agree(value: dict[str, Any], style: dict[str, Any]) -> None:
    raw = _write(value, style)
    written = json.loads(raw)
    found = jsontext.cut(raw, "s")
    # An escaped spelling of the name sends the same object down the other path.
    escaped = jsontext.cut(raw.replace(b'"s"', b'"\\u0073"'), "s")
    assert found.rest == escaped.rest.replace(b'"\\u0073"', b'"s"')
    assert found.values == escaped.values == ([_without(written["s"])] if "s" in written else [])
    others = {name: held for name, held in written.items() if name != "s"}
    assert json.loads(found.rest) == others
    assert found.others == escaped.others == _shallow(others)


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"[]", b"1", b'"s"', b"{", b'{"s"', b'{"s":', b'{"s":1', b'{"s":1,', b'{"s":1,}', b'{"s" 1}', b'{"s":1]',
        b"{s:1}", b'{"s":1} x', b'{"s":1,"s":2', b'{"s":1,"s":2]', b'{"s":1,"s" 2}', b'{"s":1,"s":2} x', b'{"s":1,"s":2,}',
        b'{"s":NaN}', b'{"s":"s","s":NaN}', b'{"s":' + b"[" * 100_000, b"\xff{}",
    ],
)  # fmt: skip
def test_what_is_no_object_is_not_cut(raw: bytes) -> None:
    for read in (jsontext.cut, jsontext.values):
        with pytest.raises(jsontext.NotJsonError):
            read(raw, "s")


@settings(deadline=None)  # a busy machine is no failure
@given(st.text(alphabet=st.characters(exclude_categories=())))
def test_storable_text_has_neither_nul_nor_lone_surrogate(text: str) -> None:
    stored = jsontext.storable(text)
    assert jsontext.is_storable(stored)
    stored.encode()
    if jsontext.is_storable(text):
        assert stored == text


@pytest.mark.parametrize("text", ["\x00", "a\x00b", "\ud800", chr(0xDFFF), "x\udc00y"])
def test_what_postgres_refuses_is_not_storable(text: str) -> None:
    assert not jsontext.is_storable(text)


@pytest.mark.parametrize("one", ['{"n":1234,"to":"ada@example.com"}', '"ab"', '{"[":"\\""}'])
def test_a_large_body_is_looked_at_in_little_memory(one: str) -> None:
    """What a stranger's request costs before it is known to be authentic: ten of them must not take the gate's memory."""
    raw = b'{"secret":"s","data":[%s]}' % ",".join([one] * (2_000_000 // (len(one) + 1))).encode()
    looks: list[Callable[[], object]] = [lambda: jsontext.is_deeper(raw, 128)]
    if one != '"ab"':  # texts are kept
        looks += [lambda: jsontext.values(raw, "secret"), lambda: jsontext.cut(raw, "secret")]
    for look in looks:
        tracemalloc.start()
        look()
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 10 * len(raw), f"{peak / len(raw):.1f} times the body"


def test_what_is_no_object_is_never_taken_for_the_one_read_before() -> None:
    """Found by the fuzzer: members kept while one body was cut would have been those of the next, if that was `null`."""
    jsontext.cut(b'{"secret": {"of": "somebody else"}, "other": {"a": 1}}', "secret")
    jsontext.cut(b'{"secret": 1, "secret": {"twice": 1}}', "secret")
    for text in (b"null", b" null ", b"[]", b"1", b'[{"secret": 1}]'):
        for read in (jsontext.cut, jsontext.values):
            with pytest.raises(jsontext.NotJsonError):
                read(text, "secret")


@pytest.mark.parametrize(
    ("raw", "held"),
    [
        (b'{"s":1,"a":{"b":2}}', [("s", 1), ("a", None)]),
        (b'{"a":1}', None),
        (b'[{"a":1},{"s":[{}]}]', [None, [("s", [None])]]),
        (b'{"s":1,"\\u0073":2}', [("s", 1), ("s", 2)]),
        (b'{"a":{"s":{"s":1}},"s":2}', [("a", [("s", [("s", 1)])]), ("s", 2)]),
        (b'"s"', "s"),
    ],
)
def test_only_objects_with_the_member_are_held_and_what_is_repeated_stays_so(raw: bytes, held: Any) -> None:
    assert jsontext.Holding("s").loads(raw) == held


@pytest.mark.parametrize("raw", [b"", b'{"s":1', b'{"s":NaN}', b"\xff", b'{"s":1}{"s":1}', b'{"s":' * 100_000])
def test_holding_reads_nothing_that_is_no_json(raw: bytes) -> None:
    with pytest.raises(jsontext.NotJsonError):
        jsontext.Holding("s").loads(raw)
