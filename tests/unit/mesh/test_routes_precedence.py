"""Which route of several comes first, and which one no request can reach."""

from __future__ import annotations

import re
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xds_server.diagnostics import ObjectRef
from xds_server.mesh.model import HeaderMatch, Match, QueryMatch, Respond, Route, StringMatch, StringMatchKind
from xds_server.mesh.origin import Origin
from xds_server.mesh.route_tables import merged
from xds_server.mesh.routes.precedence import by_specificity, covers, literal_beginning, may_share_requests, rank
from xds_server.mesh.routes.virtual_service import HttpRoutes

EXACT, PREFIX, PATH_PREFIX, REGEX, PRESENT = StringMatchKind
REF = ObjectRef("networking.istio.io", "VirtualService", "default", "web")


def path(kind: StringMatchKind, value: str, ignore_case: bool = False) -> Match:
    return Match(StringMatch(kind, value, ignore_case))


def header(name: str, value: str = "", kind: StringMatchKind = EXACT, invert: bool = False) -> HeaderMatch:
    return HeaderMatch(name, StringMatch(PRESENT if not value else kind, value), invert)


# --- a model of what Envoy does, with no thought for speed ------------------------------------------------


class Request(NamedTuple):
    path: str
    headers: dict[str, str]
    query: dict[str, str]


def string_holds(match: StringMatch, value: str) -> bool:
    wanted = match.value
    if match.ignore_case:
        value, wanted = value.lower(), wanted.lower()
    if match.kind is EXACT:
        return value == wanted
    if match.kind is PREFIX:
        return value.startswith(wanted)
    if match.kind is PATH_PREFIX:
        wanted = wanted.rstrip("/")
        return value == wanted or value.startswith(wanted + "/")
    return match.kind is PRESENT or re.fullmatch(match.value, value) is not None


def holds(match: Match, request: Request) -> bool:
    headers = all(
        (each.name in request.headers and string_holds(each.match, request.headers[each.name])) is not each.invert
        for each in match.headers
    )
    query = all(
        each.name in request.query and string_holds(each.match, request.query[each.name]) for each in match.query
    )
    return string_holds(match.path, request.path) and headers and query


def answer(routes: list[Route], request: Request) -> str:
    return next((route.name for route in routes if holds(route.match, request)), "404")


PATHS = ["/", "/a", "/a/", "/A", "/a/b", "/a/bc", "/a/b/c", "/b"]
paths = st.one_of(
    st.builds(StringMatch, st.sampled_from([EXACT, PREFIX, PATH_PREFIX]), st.sampled_from(PATHS), st.booleans()),
    st.builds(StringMatch, st.just(REGEX), st.sampled_from([".*", "/a/.*", "/a/b?", r"/\w+", "(?i)/A", "/a|/b"])),
)
values = st.one_of(
    st.builds(StringMatch, st.sampled_from([EXACT, PREFIX]), st.sampled_from(["x", "xy", "z"])),
    st.just(StringMatch(PRESENT)),
)
headers = st.lists(st.builds(HeaderMatch, st.sampled_from([":method", "h"]), values, st.booleans()), max_size=2)
queries = st.lists(st.builds(QueryMatch, st.just("q"), values), max_size=1)
matches = st.builds(Match, paths, headers.map(tuple), queries.map(tuple))
some = st.dictionaries(st.sampled_from([":method", "h"]), st.sampled_from(["x", "xy", "xyz", "z"]))
requests = st.builds(
    Request, st.sampled_from([*PATHS, "/a/x", "/c"]), some, st.dictionaries(st.just("q"), st.sampled_from(["x", "z"]))
)
lists_of_matches = st.lists(st.lists(matches, max_size=5), min_size=1, max_size=3)


def routes_of(lists: list[list[Match]]) -> list[tuple[Route, ...]]:
    return [
        tuple(
            Route(f"{number}.{index}", match, Respond(200), Origin(REF, (number, index)))
            for index, match in enumerate(found)
        )
        for number, found in enumerate(lists)
    ]


@given(matches, matches, requests)
def test_what_covers_takes_all_and_what_is_apart_shares_nothing(one: Match, other: Match, request: Request) -> None:
    if covers(one, other) and holds(other, request):
        assert holds(one, request)
    if holds(one, request) and holds(other, request):
        assert may_share_requests(one, other)


@given(lists_of_matches, requests)
def test_each_list_taken_alone_answers_as_before(lists: list[list[Match]], request: Request) -> None:
    parts = routes_of(lists)
    order = list(by_specificity(parts))
    assert sorted(route.name for route in order) == sorted(route.name for part in parts for route in part)
    for number, part in enumerate(parts):
        alone = [route for route in order if route.name.startswith(f"{number}.")]
        assert answer(alone, request) == answer(list(part), request)


@given(lists_of_matches)
def test_lists_in_order_give_a_list_in_order_and_equals_follow_the_first_list(lists: list[list[Match]]) -> None:
    parts = routes_of([sorted(found, key=rank) for found in lists])
    order = list(by_specificity(parts))
    assert [(rank(r.match), r.name) for r in order] == sorted((rank(r.match), r.name) for r in order)


@given(lists_of_matches, requests)
def test_only_what_no_request_reaches_is_left_out(lists: list[list[Match]], request: Request) -> None:
    parts = routes_of(lists)
    found = merged(tuple(HttpRoutes(part, frozenset(), ()) for part in parts))
    if len(parts) > 1:
        assert answer(list(found.routes), request) == answer(list(by_specificity(parts)), request)
        assert len(found.routes) + len(found.diagnostics) == sum(map(len, parts))


# --- the order, by examples -------------------------------------------------------------------------------


ORDERED = {
    "an exact path before a longer prefix": (path(EXACT, "/a"), path(PREFIX, "/a/long/prefix")),
    "a longer prefix before a shorter one": (path(PREFIX, "/a/b"), path(PREFIX, "/a")),
    "an expression before the prefix that it begins with": (path(REGEX, r"/a/\d+"), path(PREFIX, "/a/")),
    "a longer prefix before an expression": (path(PREFIX, "/a/b"), path(REGEX, "/a.*")),
    "an expression of anything before what takes all": (path(REGEX, ".*x"), path(PREFIX, "/")),
    "a method before more headers": (
        Match(headers=(header(":method", "GET"),)),
        Match(headers=(header("a", "1"), header("b", "1"))),
    ),
    "more headers before fewer": (
        Match(headers=(header("a", "1"), header("b", "1"))),
        Match(headers=(header("a", "1"),)),
    ),
    "headers before a query": (
        Match(headers=(header("a", "1"),)),
        Match(query=(QueryMatch("q", StringMatch(EXACT, "1")),)),
    ),
    "a condition before none": (Match(query=(QueryMatch("q", StringMatch(PRESENT)),)), Match()),
}


@pytest.mark.parametrize(("first", "second"), ORDERED.values(), ids=ORDERED)
def test_the_more_specific_comes_first(first: Match, second: Match) -> None:
    assert rank(first) < rank(second)


COVERED = {
    "every path": (path(PREFIX, "/"), path(REGEX, "/x.*"), True),
    "an expression for everything": (path(REGEX, ".*"), path(EXACT, "/a"), True),
    "a prefix covers what begins with it": (path(PREFIX, "/a"), path(EXACT, "/ab"), True),
    "by segments it does not": (path(PATH_PREFIX, "/a"), path(EXACT, "/ab"), False),
    "the segment itself": (path(PATH_PREFIX, "/a/"), path(EXACT, "/a"), True),
    "a prefix covers an expression that begins with it": (path(PREFIX, "/a"), path(REGEX, r"/a/\d+"), True),
    "not one that may begin otherwise": (path(PREFIX, "/ab"), path(REGEX, "/ab?c"), False),
    "an expression covers a path that it matches": (path(REGEX, "/a/."), path(EXACT, "/a/b"), True),
    "an expression covers itself": (path(REGEX, "/a|/b"), path(REGEX, "/a|/b"), True),
    "case does not matter to the first": (path(PREFIX, "/A", True), path(EXACT, "/ab"), True),
    "case does not matter to the second": (path(PREFIX, "/a"), path(EXACT, "/ab", True), False),
    "a condition more": (Match(headers=(header("a", "1"),)), Match(), False),
    "a condition less": (Match(), Match(headers=(header("a", "1"),)), True),
    "any value covers one": (Match(headers=(header("a"),)), Match(headers=(header("a", "1"),)), True),
    "an inverted condition covers itself alone": (
        Match(headers=(header("a", "1", invert=True),)),
        Match(headers=(header("a", "2"),)),
        False,
    ),
}


@pytest.mark.parametrize(("one", "other", "expected"), COVERED.values(), ids=COVERED)
def test_covering(one: Match, other: Match, expected: bool) -> None:
    assert covers(one, other) is expected


@pytest.mark.parametrize(
    ("regex", "expected"),
    [
        ("/api/v1", "/api/v1"),
        (r"/api/v\d+", "/api/v"),
        ("/api/x*", "/api/"),
        ("/a|/b", ""),
        ("(?i)/a", ""),
        (r"/a\.b", "/a.b"),
        (r"/a\.?b", "/a"),
        (".*", ""),
    ],
)
def test_the_literal_beginning_of_an_expression(regex: str, expected: str) -> None:
    assert literal_beginning(regex) == expected
