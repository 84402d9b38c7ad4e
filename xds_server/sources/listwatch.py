"""List and watch of one kind of object as a state machine: events in, commands out, no I/O, no clock, no chance.

    Empty ----> Listing (page by page) ----+
      |                                    +--> Watching --> (ended, broken) --> Watching from the last version
      +-------> Streaming (WatchList) -----+        |
      ^                                             | 410: the version is too old
      +---------------------------------------------+

What was seen stays valid until a list is complete; then it is replaced in one step, so that nothing is ever lost by
a list that breaks off. https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping

import msgspec

from xds_server.diagnostics import ObjectRef
from xds_server.kube.meta import Raw

FIRST_WAIT, LONGEST_WAIT = 0.1, 3.0
"""Seconds before the first and before a late attempt, give or take half. Few replicas watch a few dozen kinds, so
that a long wait would spare the API server little and cost the proxies much."""
FORBIDDEN_WAIT = 5.0
ABSENT_WAIT = 5.0
"""Seconds until a kind that is forbidden, or not installed, is tried again."""
WATCH_SECONDS = 300
"""The shortest time that a watch is asked to last; the longest is twice that. They end at different times."""
SHORT_SECONDS = 1.0
"""A watch that ends sooner, without an event, is a failure, so that nobody spins."""
STREAMS_TRIED = 2
"""After so many streamed lists that did not complete, lists are read by pages."""
ROUNDS_UNTIL_ABSENT, ROUNDS_UNTIL_GONE = 2, 4
"""How often all versions of a kind must be answered 404 before it counts as not installed: an API server that starts
says 404 for a moment. The second is for a kind that was there."""


class Phase(enum.Enum):
    EMPTY = "empty"  # nothing is asked now; a list comes next
    LISTING = "listing"
    STREAMING = "streaming"  # a watch that begins with all objects
    WATCHING = "watching"


class Page(msgspec.Struct, frozen=True, eq=False):
    """A part of a list. more: the token for the next part, empty in the last."""

    items: tuple[Raw, ...]
    version: str
    more: str = ""


class Began(msgspec.Struct, frozen=True):
    """A watch was accepted."""


class Put(msgspec.Struct, frozen=True, eq=False):
    """The object was added or modified. Its source holds the resource version."""

    item: Raw


class Gone(msgspec.Struct, frozen=True):
    ref: ObjectRef
    version: str


class Bookmark(msgspec.Struct, frozen=True):
    """Everything up to the version was told. complete: all initial objects were."""

    version: str
    complete: bool = False


class Refused(msgspec.Struct, frozen=True):
    """An HTTP status, or that of an ERROR event. retry_after: seconds."""

    status: int
    message: str = ""
    retry_after: float = 0.0


class Ended(msgspec.Struct, frozen=True):
    """The stream ended in order, after so many seconds."""

    seconds: float


class Broken(msgspec.Struct, frozen=True):
    """No connection, a connection that broke or was silent for too long, or an answer that cannot be read.

    seconds: how long there was one.
    """

    reason: str
    seconds: float = 0.0


class Due(msgspec.Struct, frozen=True):
    """A wait is over."""


Event = Page | Began | Put | Gone | Bookmark | Refused | Ended | Broken | Due


class List(msgspec.Struct, frozen=True):
    """Ask for a page. api_version: an index. token: of the page, empty for the first. is_paged: or all at once."""

    api_version: int
    token: str = ""
    is_paged: bool = True


class Watch(msgspec.Struct, frozen=True):
    """Watch for so many seconds. version: after which; empty to be told all objects first."""

    api_version: int
    version: str
    seconds: int


class Wait(msgspec.Struct, frozen=True):
    seconds: float


class Replace(msgspec.Struct, frozen=True, eq=False):
    """These are all objects there are."""

    items: tuple[Raw, ...]


class Change(msgspec.Struct, frozen=True, eq=False):
    """An object is there, or is gone."""

    put: Raw | None
    ref: ObjectRef


Command = List | Watch | Wait | Replace | Change


class ListWatch:
    """api_versions: how many versions of the kind can be asked for, the best first.

    phase; is_synced: all objects were told once, or the kind is not installed; is_absent: it is not; is_forbidden;
    trouble: why there is no contact, empty while there is.
    """

    def __init__(self, api_versions: int = 1, streams_lists: bool = True) -> None:
        self.phase = Phase.EMPTY
        self.is_synced = False
        self.is_absent = False
        self.is_forbidden = False
        self.trouble = ""
        self._api_versions = api_versions
        self._api_version = 0
        self._not_found = 0  # answers 404 in a row
        self._streams_left = STREAMS_TRIED if streams_lists else 0
        self._is_paged = True
        self._version = ""  # after which to watch; empty: list first
        self._items: dict[ObjectRef, Raw] = {}  # of a list that is not complete
        self._failures = 0  # in a row

    def start(self, chance: float) -> list[Command]:
        """The first commands. chance: a number from 0 to 1, here and in `receive` chosen at random each time."""
        return [self._request(chance)]

    def receive(self, event: Event, chance: float) -> list[Command]:
        """What to do now. After a request only its answer may come, after a `Wait` only `Due`."""
        return _TAKES[type(event)](self, event, chance)

    def _request(self, chance: float) -> Command:
        seconds = WATCH_SECONDS + round(WATCH_SECONDS * chance)
        if self._version:
            self.phase = Phase.WATCHING
            return Watch(self._api_version, self._version, seconds)
        self._items = {}
        if self._streams_left:
            self.phase = Phase.STREAMING
            return Watch(self._api_version, "", seconds)
        self.phase = Phase.LISTING
        return List(self._api_version, is_paged=self._is_paged)

    def _page(self, page: Page, chance: float) -> list[Command]:
        self._items.update((item.ref, item) for item in page.items)
        if page.more:
            return [List(self._api_version, page.more)]
        return [self._completed(page.version), self._request(chance)]

    def _completed(self, version: str) -> Command:
        items, self._items = tuple(self._items.values()), {}
        self.phase = Phase.WATCHING
        self._version = version
        self._is_paged = True
        self.is_synced, self.is_absent = True, False
        self._not_found = 0
        self._in_contact()
        return Replace(items)

    def _is_well(self) -> None:
        """A watch told something. A list alone is not enough: its version may be refused by the watch after it."""
        self._failures = 0
        self._in_contact()

    def _in_contact(self) -> None:
        self.trouble, self.is_forbidden = "", False

    def _began(self, _: Began, __: float) -> list[Command]:
        if self.phase is Phase.WATCHING:
            self._in_contact()  # no more than that: an expired version is told after it
        return []

    def _put(self, event: Put, _: float) -> list[Command]:
        item = event.item
        if self.phase is Phase.STREAMING:
            self._items[item.ref] = item
            return []
        self._version = item.source.resource_version
        self._is_well()
        return [Change(item, item.ref)]

    def _gone(self, event: Gone, _: float) -> list[Command]:
        if self.phase is Phase.STREAMING:
            self._items.pop(event.ref, None)
            return []
        self._version = event.version
        self._is_well()
        return [Change(None, event.ref)]

    def _bookmark(self, event: Bookmark, _: float) -> list[Command]:
        if self.phase is Phase.STREAMING:
            return [self._completed(event.version)] if event.complete else []
        self._version = event.version
        self._is_well()
        return []

    def _ended(self, event: Ended, chance: float) -> list[Command]:
        if self.phase is Phase.WATCHING and (event.seconds >= SHORT_SECONDS or self._failures == 0):
            # One that was short but told something is no failure; the next must tell something as well.
            self._failures = 0 if event.seconds >= SHORT_SECONDS else 1
            return [self._request(chance)]
        return self._failed("the stream ended too soon", chance)

    def _broken(self, event: Broken, chance: float) -> list[Command]:
        if self.phase is Phase.WATCHING and event.seconds >= SHORT_SECONDS:
            self._failures = 0
        return self._failed(event.reason, chance)

    def _due(self, _: Due, chance: float) -> list[Command]:
        return [self._request(chance)]

    def _failed(self, reason: str, chance: float, at_least: float = 0.0) -> list[Command]:
        """Tries again after a while: a watch from where it was, a list from its beginning."""
        if self.phase is Phase.STREAMING:
            self._streams_left -= 1
        if self._failures:
            self.trouble = reason  # once is nothing: a server restarts, a proxy in between closes connections
        wait = min(LONGEST_WAIT, FIRST_WAIT * 2**self._failures)
        self._failures += 1
        self._items = {}
        self.phase = Phase.EMPTY
        return [Wait(at_least + wait * (0.5 + chance))]

    def _refused(self, event: Refused, chance: float) -> list[Command]:
        reason = f"{event.status} {event.message}".strip()
        match event.status:
            case 403:
                self.is_forbidden = True
                self._failures += 1  # said at once
                return self._failed(reason, chance, FORBIDDEN_WAIT)
            case 404:
                return self._absent(reason, chance)
            case 410:
                return self._expired(reason, chance)
            case 400 | 422 if self.phase is Phase.STREAMING:
                self._streams_left = 0  # WatchList is not served here
                return [self._request(chance)]
            case 400 | 422 | 504:
                self._version = ""  # 504: the version is from the future, of a cluster that was restored
        return self._failed(reason, chance, event.retry_after)

    def _expired(self, reason: str, chance: float) -> list[Command]:
        """The version, or the token of a page, is too old. A list that took too long is read at once."""
        if self.phase is Phase.LISTING:
            self._is_paged = False
        self._version = ""
        if self._failures:
            return self._failed(reason, chance)
        self._failures = 1
        return [self._request(chance)]

    def _absent(self, reason: str, chance: float) -> list[Command]:
        """The kind is not installed, or not in this version."""
        self._version = ""
        self._api_version = (self._api_version + 1) % self._api_versions
        self._not_found += 1
        if self._not_found % self._api_versions:
            return [self._request(chance)]
        was_there = self.is_synced and not self.is_absent
        if self._not_found < self._api_versions * (ROUNDS_UNTIL_GONE if was_there else ROUNDS_UNTIL_ABSENT):
            return self._failed(reason, chance)
        is_new = not self.is_absent
        self.phase = Phase.EMPTY
        self.is_synced = self.is_absent = True
        self._failures = 0
        self._in_contact()
        return [*([Replace(())] if is_new else []), Wait(ABSENT_WAIT * (0.5 + chance))]


_TAKES: Mapping[type, Callable[..., list[Command]]] = {
    Page: ListWatch._page,
    Began: ListWatch._began,
    Put: ListWatch._put,
    Gone: ListWatch._gone,
    Bookmark: ListWatch._bookmark,
    Refused: ListWatch._refused,
    Ended: ListWatch._ended,
    Broken: ListWatch._broken,
    Due: ListWatch._due,
}


def differences(known: dict[ObjectRef, bytes], command: Replace | Change) -> tuple[list[Raw], list[ObjectRef]]:
    """The objects that are new or different, and those that are gone.

    known: the digest of each object so far; brought up to date.
    """
    if isinstance(command, Replace):
        items = command.items
        gone = list(known.keys() - {item.ref for item in items})
    else:
        items = (command.put,) if command.put is not None else ()
        gone = [command.ref] if command.put is None and command.ref in known else []
    puts = [item for item in items if known.get(item.ref) != item.digest]
    for ref in gone:
        del known[ref]
    known.update((item.ref, item.digest) for item in puts)
    return puts, gone
