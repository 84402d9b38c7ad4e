"""Which of several routes is the more specific one, and which can never be reached.

The order is that of the Gateway API: an exact path, then the longer prefix, then more conditions on method, headers and
query. A regular expression ranks as the literal text that it begins with, just before a prefix of that text. What takes
every path comes last.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from heapq import heappop, heappush

from xds_server.mesh import checks
from xds_server.mesh.model import HeaderMatch, Match, QueryMatch, Route, StringMatch, StringMatchKind

EXACT, PREFIX, PATH_PREFIX, REGEX, PRESENT = StringMatchKind
_EVERY_PATH = ("", "/")
_WHOLE = (".*", "/.*", "*")
_LITERAL = re.compile(r"(?:[\w/\-~%@:=&,;! ]|\\[./\-])*")

_LAST = chr(0x10FFFF)  # behind everything

Rank = tuple[int, int, int, int, int, int]


def takes_every_path(path: StringMatch) -> bool:
    return path.value in (_WHOLE if path.kind is REGEX else _EVERY_PATH) and path.kind is not EXACT


def rank(match: Match) -> Rank:
    """The smaller, the more specific."""
    methods = sum(header.name == ":method" for header in match.headers)
    conditions = (-methods, methods - len(match.headers), -len(match.query))
    path = match.path
    if path.kind is EXACT:
        return (0, -len(path.value), 0, *conditions)
    if takes_every_path(path):
        return (2, 0, 0, *conditions)
    if path.kind is REGEX:
        return (1, -len(literal_beginning(path.value)), 0, *conditions)
    return (1, -len(path.value), 1, *conditions)


def literal_beginning(regex: str) -> str:
    """The text that everything which the expression matches begins with; perhaps less of it."""
    if "|" in regex or regex.startswith("(?"):
        return ""
    found = _LITERAL.match(regex)
    literal = found.group() if found else ""
    if regex[len(literal) : len(literal) + 1] in ("*", "?", "{"):  # the last character may be missing
        literal = literal[:-2] if literal[-2:-1] == "\\" else literal[:-1]
    return literal.replace("\\", "")


def covers(one: Match, other: Match) -> bool:
    """Whether every request that `other` takes is one that `one` takes. False when that is not known."""
    return (
        _path_covers(one.path, other.path)
        and all(any(_header_covers(mine, theirs) for theirs in other.headers) for mine in one.headers)
        and all(any(_query_covers(mine, theirs) for theirs in other.query) for mine in one.query)
    )


def _path_covers(one: StringMatch, other: StringMatch) -> bool:
    if takes_every_path(one) or one == other:
        return True
    if other.ignore_case and not one.ignore_case:
        return False
    mine, theirs = _texts(one, other)
    if one.kind is PREFIX:
        return theirs.startswith(mine)
    if one.kind is PATH_PREFIX:
        inside = theirs.startswith(mine.rstrip("/") + "/")
        return inside or (other.kind in (EXACT, PATH_PREFIX) and theirs.rstrip("/") == mine.rstrip("/"))
    if one.kind is REGEX:
        return other.kind is EXACT and checks.matches_whole(one.value, other.value)
    return other.kind is EXACT and mine == theirs


def _texts(one: StringMatch, other: StringMatch) -> tuple[str, str]:
    """What the values are known to be or to begin with, ready to be compared."""
    texts = [literal_beginning(path.value) if path.kind is REGEX else path.value for path in (one, other)]
    if one.ignore_case or other.ignore_case:
        texts = [text.lower() for text in texts]
    return texts[0], texts[1]


def _header_covers(one: HeaderMatch, other: HeaderMatch) -> bool:
    if one.name.lower() != other.name.lower() or one.invert is not other.invert:
        return False
    return one.match == other.match or (not one.invert and _value_covers(one.match, other.match))


def _query_covers(one: QueryMatch, other: QueryMatch) -> bool:
    return one.name == other.name and _value_covers(one.match, other.match)


def _value_covers(one: StringMatch, other: StringMatch) -> bool:
    if one == other or one.kind is PRESENT:
        return True
    if one.kind is not PREFIX or other.kind not in (EXACT, PREFIX) or (other.ignore_case and not one.ignore_case):
        return False
    mine, theirs = _texts(one, other)
    return theirs.startswith(mine)


def may_share_requests(one: Match, other: Match) -> bool:
    """False only when no request can match both."""
    return _paths_meet(one.path, other.path) and not any(
        mine.name.lower() == theirs.name.lower() and not mine.invert and not theirs.invert and _differ(mine, theirs)
        for mine in one.headers
        for theirs in other.headers
    )


def _differ(one: HeaderMatch, other: HeaderMatch) -> bool:
    mine, theirs = one.match, other.match
    return mine.kind is EXACT and theirs.kind is EXACT and _texts(mine, theirs)[0] != _texts(mine, theirs)[1]


def _paths_meet(one: StringMatch, other: StringMatch) -> bool:
    mine, theirs = _texts(one, other)
    if one.kind is EXACT and other.kind is EXACT:
        return mine == theirs
    if REGEX in (one.kind, other.kind) and EXACT in (one.kind, other.kind):
        regex, exact = (one, other) if one.kind is REGEX else (other, one)
        return exact.ignore_case or checks.matches_whole(regex.value, exact.value)
    if one.kind is EXACT:
        return mine.startswith(theirs.rstrip("/"))
    if other.kind is EXACT:
        return theirs.startswith(mine.rstrip("/"))
    return mine.startswith(theirs.rstrip("/")) or theirs.startswith(mine.rstrip("/"))


class Taken:
    """Routes that were met already, so that those which they cover can be found; lives only while a list is made.

    A route is looked up by the beginnings of its path, for a table may have thousands of them.
    """

    def __init__(self) -> None:
        self._by_path: dict[str, list[Route]] = {}
        self._by_regex: dict[str, list[Route]] = {}
        self._without_case: list[Route] = []

    def add(self, route: Route) -> None:
        path = route.match.path
        if takes_every_path(path):
            self._by_path.setdefault("", []).append(route)
        elif path.kind is REGEX:
            self._by_regex.setdefault(path.value, []).append(route)
        elif path.ignore_case:
            self._without_case.append(route)
        else:
            self._by_path.setdefault(path.value.rstrip("/"), []).append(route)

    def covering(self, route: Route) -> Route | None:
        """A route before this one that takes all of its requests."""
        return next((before for before in self._candidates(route) if covers(before.match, route.match)), None)

    def _candidates(self, route: Route) -> Iterator[Route]:
        path = route.match.path
        text = literal_beginning(path.value) if path.kind is REGEX else path.value
        for beginning in dict.fromkeys(text[:end].rstrip("/") for end in range(len(text) + 1)):
            yield from self._by_path.get(beginning, ())
        if path.kind is REGEX:
            yield from self._by_regex.get(path.value, ())
        elif path.kind is EXACT:
            for found in self._by_regex.values():
                yield from found
        yield from self._without_case


def by_specificity(parts: Iterable[tuple[Route, ...]]) -> Iterator[Route]:
    """One list from several: always the most specific of the routes that may come next, of equal ones that of the
    first list. Two routes of one list keep their order if any request could match both, so that each list, taken
    alone, answers every request as before."""
    lists = list(parts)
    ready: list[tuple[Rank, int, int]] = []  # a heap
    followers: list[list[list[int]]] = []
    waits: list[list[int]] = []
    for number, routes in enumerate(lists):
        followers.append(_followers(routes))
        waits.append([0] * len(routes))
        for found in followers[number]:
            for later in found:
                waits[number][later] += 1
        for place, route in enumerate(routes):
            if not waits[number][place]:
                heappush(ready, (rank(route.match), number, place))
    while ready:
        _, number, place = heappop(ready)
        yield lists[number][place]
        for later in followers[number][place]:
            waits[number][later] -= 1
            if not waits[number][later]:
                heappush(ready, (rank(lists[number][later].match), number, later))


def _followers(routes: tuple[Route, ...]) -> list[list[int]]:
    """For each route the later ones that must stay behind it.

    Paths can only meet when one begins with the other, so a route is compared with those alone."""
    by_text: dict[str, list[int]] = {}
    for place, route in enumerate(routes):
        by_text.setdefault(_beginning(route), []).append(place)
    ordered = sorted(by_text)
    result = []
    for place, route in enumerate(routes):
        text = _beginning(route)
        near = [text[:end] for end in range(len(text)) if text[:end] in by_text]
        near += ordered[bisect_left(ordered, text) : bisect_left(ordered, text + _LAST)]
        later = sorted(other for each in near for other in by_text[each] if other > place)
        result.append([other for other in later if may_share_requests(route.match, routes[other].match)])
    return result


def _beginning(route: Route) -> str:
    path = route.match.path
    return (literal_beginning(path.value) if path.kind is REGEX else path.value).lower().rstrip("/")
