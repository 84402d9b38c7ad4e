"""The list/watch machine, by tables: what it is told and what it does."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xds_server.diagnostics import ObjectRef
from xds_server.kube.meta import Raw, Source
from xds_server.sources.listwatch import (
    ABSENT_WAIT,
    FORBIDDEN_WAIT,
    LONGEST_WAIT,
    WATCH_SECONDS,
    Began,
    Bookmark,
    Broken,
    Change,
    Command,
    Due,
    Ended,
    Event,
    Gone,
    List,
    ListWatch,
    Page,
    Phase,
    Put,
    Refused,
    Replace,
    Wait,
    Watch,
    differences,
)

HALF = 0.5
"""The chance that makes every wait exactly what the table says."""


def raw(name: str, version: int = 1, digest: bytes = b"") -> Raw:
    ref = ObjectRef("", "Service", "default", name)
    return Raw(ref, "v1", b"{}", Source(cluster="c", resource_version=str(version)), digest or name.encode())


def put(name: str, version: int) -> Put:
    return Put(raw(name, version))


def gone(name: str, version: int) -> Gone:
    return Gone(raw(name).ref, str(version))


def words(command: Command) -> str:
    """A command in a few words, for tables."""
    match command:
        case List():
            return f"list {command.token}".strip() if command.is_paged else "list at once"
        case Watch():
            return f"watch {command.version}" if command.version else "stream"
        case Wait():
            return f"wait {command.seconds:g}"
        case Replace():
            return f"replace {','.join(sorted(item.ref.name for item in command.items))}".strip()
        case Change():
            return f"{'put' if command.put else 'gone'} {command.ref.name}"


class Run:
    """A machine that was told events, and what it did."""

    def __init__(self, *events: Event, versions: int = 1, streams: bool = False) -> None:
        self.machine = ListWatch(versions, streams)
        self.log = [words(command) for command in self.machine.start(HALF)]
        self.tell(*events)

    def tell(self, *events: Event) -> list[str]:
        new = [words(command) for event in events for command in self.machine.receive(event, HALF)]
        self.log += new
        return new


LISTED = (Page((raw("a"),), "5"), Began())
EXPIRED = Refused(410, "too old")
LOST = Broken("connection refused")


@pytest.mark.parametrize(
    ("events", "log"),
    [
        pytest.param([Page((raw("a"), raw("b")), "5")], ["list", "replace a,b", "watch 5"], id="a list of one page"),
        pytest.param(
            [Page((raw("a"),), "5", "t1"), Page((raw("b"),), "5", "t2"), Page((), "5")],
            ["list", "list t1", "list t2", "replace a,b", "watch 5"],
            id="a list of pages is told when it is complete",
        ),
        pytest.param([Page((), "5")], ["list", "replace", "watch 5"], id="an empty list"),
        pytest.param(
            [*LISTED, put("b", 6), put("a", 7), gone("b", 8), Ended(300)],
            ["list", "replace a", "watch 5", "put b", "put a", "gone b", "watch 8"],
            id="a watch that ended goes on where it was",
        ),
        pytest.param(
            [*LISTED, Bookmark("9"), Ended(300)],
            ["list", "replace a", "watch 5", "watch 9"],
            id="a bookmark moves the version",
        ),
        pytest.param(
            [*LISTED, put("b", 6), Broken("cut"), Due()],
            ["list", "replace a", "watch 5", "put b", "wait 0.1", "watch 6"],
            id="a watch that broke goes on where it was",
        ),
        pytest.param(
            [*LISTED, EXPIRED, Page((raw("b"),), "20")],
            ["list", "replace a", "watch 5", "list", "replace b", "watch 20"],
            id="an expired version: a list replaces everything at once",
        ),
        pytest.param(
            [*LISTED, EXPIRED, Page((raw("a"),), "20"), Began(), EXPIRED],
            ["list", "replace a", "watch 5", "list", "replace a", "watch 20", "wait 0.2"],
            id="versions that expire at once do not make it spin",
        ),
        pytest.param(
            [Page((raw("a"),), "5", "t1"), LOST, Due(), Page((raw("b"),), "6")],
            ["list", "list t1", "wait 0.1", "list", "replace b", "watch 6"],
            id="a list that broke off begins anew, and its first part is forgotten",
        ),
        pytest.param(
            [Page((raw("a"),), "5", "t1"), EXPIRED, Page((raw("a"), raw("b")), "9")],
            ["list", "list t1", "list at once", "replace a,b", "watch 9"],
            id="a list that took too long is read at once",
        ),
        pytest.param(
            [*LISTED, Refused(429, "slow down", retry_after=7), Due()],
            ["list", "replace a", "watch 5", "wait 7.1", "watch 5"],
            id="429 with Retry-After",
        ),
        pytest.param(
            [Refused(503, "", retry_after=2), Due()], ["list", "wait 2.1", "list"], id="503 with Retry-After, first"
        ),
        pytest.param(
            [*LISTED, Refused(500, "etcd"), Due(), Began(), put("b", 6)],
            ["list", "replace a", "watch 5", "wait 0.1", "watch 5", "put b"],
            id="an ERROR event that is not 410 is tried again",
        ),
        pytest.param(
            [*LISTED, Refused(504, "Too large resource version"), Due(), Page((raw("b"),), "2")],
            ["list", "replace a", "watch 5", "wait 0.1", "list", "replace b", "watch 2"],
            id="a version from the future, of a cluster that was restored",
        ),
        pytest.param(
            [*LISTED, Ended(0), Ended(0)],
            ["list", "replace a", "watch 5", "watch 5", "wait 0.2"],
            id="watches that end at once do not make it spin",
        ),
        pytest.param(
            [*LISTED, *[Ended(3)] * 3],
            ["list", "replace a", "watch 5", *["watch 5"] * 3],
            id="a server that ends watches every few seconds is well",
        ),
        pytest.param(
            [LOST, Due(), LOST, Due(), LOST, Due(), LOST, Due(), LOST, Due(), LOST, Due(), LOST],
            [
                word
                for wait in (0.1, 0.2, 0.4, 0.8, 1.6, LONGEST_WAIT, LONGEST_WAIT)
                for word in ("list", f"wait {wait:g}")
            ],
            id="waits grow up to a limit",
        ),
        pytest.param(
            [*LISTED, LOST, Due(), Broken("cut", seconds=60), Due(), Broken("cut", seconds=60)],
            ["list", "replace a", "watch 5", "wait 0.1", "watch 5", "wait 0.1", "watch 5", "wait 0.1"],
            id="a watch that held for a while ends the growth",
        ),
        pytest.param(
            [Refused(403, "no"), Due(), Page((), "5")],
            ["list", f"wait {FORBIDDEN_WAIT + 0.2:g}", "list", "replace", "watch 5"],
            id="forbidden, until the right is given",
        ),
    ],
)
def test_lists_and_watches(events: list[Event], log: list[str]) -> None:
    assert Run(*events).log == log


@pytest.mark.parametrize(
    ("events", "log"),
    [
        pytest.param(
            [Began(), put("a", 3), put("b", 4), gone("a", 5), Bookmark("6"), Bookmark("7", complete=True), put("c", 8)],
            ["stream", "replace b", "put c"],
            id="a streamed list goes on as a watch",
        ),
        pytest.param(
            [Began(), put("a", 3), Broken("cut"), Due(), Began(), Bookmark("9", complete=True), Ended(300)],
            ["stream", "wait 0.1", "stream", "replace", "watch 9"],
            id="a streamed list that broke off begins anew",
        ),
        pytest.param(
            [Refused(422, "sendInitialEvents is forbidden"), Page((raw("a"),), "5")],
            ["stream", "list", "replace a", "watch 5"],
            id="a server without WatchList",
        ),
        pytest.param(
            [Began(), Broken("silent"), Due(), Began(), Broken("silent"), Due()],
            ["stream", "wait 0.1", "stream", "wait 0.2", "list"],
            id="streamed lists that never complete",
        ),
        pytest.param(
            [Began(), put("a", 3), Ended(60), Due()],
            ["stream", "wait 0.1", "stream"],
            id="a stream that ends in order before it is complete",
        ),
    ],
)
def test_streamed_lists(events: list[Event], log: list[str]) -> None:
    assert Run(*events, streams=True).log == log


NOT_FOUND = Refused(404, "page not found")


def test_an_older_version_is_found_where_the_best_is_not_served() -> None:
    run = Run(NOT_FOUND, Page((raw("a"),), "5"), versions=3)
    assert run.log == ["list", "list", "replace a", "watch 5"]
    assert [run.machine.start(HALF)[0]] == [Watch(1, "5", WATCH_SECONDS + WATCH_SECONDS // 2)]


def test_a_kind_that_is_not_installed_counts_as_empty_when_it_is_confirmed_and_is_noticed_when_it_comes() -> None:
    run = Run(NOT_FOUND, NOT_FOUND, versions=2)
    assert run.log == ["list", "list", "wait 0.1"]
    assert not run.machine.is_synced
    assert run.tell(Due(), NOT_FOUND, NOT_FOUND) == ["list", "list", "replace", f"wait {ABSENT_WAIT:g}"]
    assert (run.machine.is_synced, run.machine.is_absent, run.machine.trouble) == (True, True, "")
    assert run.tell(Due(), NOT_FOUND, NOT_FOUND) == ["list", "list", f"wait {ABSENT_WAIT:g}"]
    assert run.tell(Due(), Page((raw("a"),), "5")) == ["list", "replace a", "watch 5"]
    assert not run.machine.is_absent


def test_a_kind_that_was_there_must_be_missing_for_longer() -> None:
    run = Run(*LISTED, Ended(60))
    assert run.tell(NOT_FOUND, Due(), NOT_FOUND, Due(), NOT_FOUND, Due()) == [
        *("wait 0.1", "list", "wait 0.2", "list", "wait 0.4", "list")
    ]
    assert run.tell(NOT_FOUND) == ["replace", f"wait {ABSENT_WAIT:g}"]


def test_a_starting_server_that_does_not_know_the_kind_for_a_moment_loses_nothing() -> None:
    run = Run(*LISTED, LOST, Due(), NOT_FOUND, Due())
    assert "replace" not in run.log
    assert run.tell(Page((raw("a"),), "9"), Began()) == ["replace a", "watch 9"]
    assert run.machine.trouble == ""


@pytest.mark.parametrize(
    ("events", "state"),
    [
        pytest.param([], (False, ""), id="nothing was told"),
        pytest.param([LOST], (False, ""), id="one failure is nothing"),
        pytest.param([LOST, Due(), LOST], (False, "connection refused"), id="two are trouble"),
        pytest.param([*LISTED, LOST, Due(), LOST], (True, "connection refused"), id="what was known is lost"),
        pytest.param([*LISTED, LOST, Due(), LOST, Due(), Began()], (True, ""), id="and found again"),
        pytest.param([*LISTED, Refused(403, "no rights")], (True, "403 no rights"), id="a right is taken away"),
        pytest.param([Refused(403, "no rights"), Due(), *LISTED], (True, ""), id="a right is given"),
    ],
)
def test_what_is_known_and_what_is_lost(events: list[Event], state: tuple[bool, str]) -> None:
    machine = Run(*events).machine
    assert (machine.is_synced, machine.trouble) == state


@pytest.mark.parametrize(("chance", "seconds"), [(0.0, 0.05), (0.5, 0.1), (1.0, 0.15)])
def test_waits_are_spread_by_chance(chance: float, seconds: float) -> None:
    machine = ListWatch(streams_lists=False)
    machine.start(chance)
    [wait] = machine.receive(LOST, chance)
    assert isinstance(wait, Wait)
    assert wait.seconds == pytest.approx(seconds)


def test_a_list_tells_only_what_differs() -> None:
    known: dict[ObjectRef, bytes] = {}
    a, b = raw("a"), raw("b")
    assert differences(known, Replace((a, b))) == ([a, b], [])
    assert differences(known, Replace((raw("a", 9), raw("b", 9)))) == ([], [])
    changed = raw("b", 10, b"new")
    assert differences(known, Replace((changed,))) == ([changed], [a.ref])
    assert known == {b.ref: b"new"}


def test_a_change_tells_only_what_differs() -> None:
    known: dict[ObjectRef, bytes] = {}
    a = raw("a")
    assert differences(known, Change(a, a.ref)) == ([a], [])
    assert differences(known, Change(raw("a", 9), a.ref)) == ([], []), "nothing but its version"
    assert differences(known, Change(None, a.ref)) == ([], [a.ref])
    assert differences(known, Change(None, a.ref)) == ([], []), "it was never told"
    assert known == {}


@dataclasses.dataclass
class Server:
    """An API server that keeps its word: objects with versions, and a history that can be compacted."""

    version: int = 1
    compacted: int = 0

    def __post_init__(self) -> None:
        self.objects: dict[str, int] = {}
        self.history: list[Put | Gone] = []
        self.states = {frozenset[str]()}

    def change(self, name: str, delete: bool) -> None:
        if delete and name not in self.objects:
            return
        self.version += 1
        if delete:
            del self.objects[name]
            self.history.append(gone(name, self.version))
        else:
            self.objects[name] = self.version
            self.history.append(put(name, self.version))
        self.states.add(frozenset(self.objects))

    def items(self) -> list[Raw]:
        return [raw(name, version, str(version).encode()) for name, version in self.objects.items()]

    def after(self, version: int) -> list[Event]:
        if version < self.compacted:
            return [Began(), EXPIRED]
        return [Began(), *(event for event in self.history if _version(event) > version)]


def _version(event: Put | Gone) -> int:
    return int(event.version if isinstance(event, Gone) else event.item.source.resource_version)


ACTIONS = st.one_of(
    st.tuples(st.just("change"), st.sampled_from("abcd"), st.booleans()),
    st.tuples(st.just("answer"), st.integers(0, 4), st.booleans()),
    st.tuples(st.just("compact"), st.just(0), st.booleans()),
)


@given(st.lists(ACTIONS, max_size=60), st.booleans())
def test_whatever_breaks_it_ends_with_what_the_server_has(
    actions: list[tuple[str, object, bool]], streams: bool
) -> None:
    """Changes, answers that break off after some events, and compaction, in any order; then quiet. At every moment
    the objects are some that the server had at one time."""
    server = Server()
    client = Client(ListWatch(streams_lists=streams), server)
    for kind, argument, flag in actions:
        if kind == "change":
            server.change(str(argument), flag)
        elif kind == "compact":
            server.compacted = server.version
        else:
            client.step(int(str(argument)), is_cut=flag)
            assert frozenset(client.have) in server.states
    for _ in range(10):
        client.step(1000, is_cut=False)
    assert client.have == set(server.objects)
    assert client.machine.phase is Phase.WATCHING


class Client:
    """Asks the server what the machine says. have: the names of the objects that it was told of."""

    def __init__(self, machine: ListWatch, server: Server) -> None:
        self.machine, self.server = machine, server
        self.have: set[str] = set()
        self.pages: list[Raw] = []
        self.request: Command
        self._obey(machine.start(HALF))

    def step(self, events: int, is_cut: bool) -> None:
        """Answers one request, with at most so many events."""
        answer = self._answer()[:events]
        if is_cut or not answer:
            answer.append(Broken("cut"))
        for event in answer:
            if self._obey(self.machine.receive(event, HALF)):
                return
        self._obey(self.machine.receive(Ended(60), HALF))

    def _answer(self) -> list[Event]:
        request, server = self.request, self.server
        if isinstance(request, Wait):
            return [Due()]
        if isinstance(request, List):
            items = server.items()
            if request.token:
                return [Page(tuple(self.pages), request.token)]
            self.pages = items[2:]
            is_whole = not request.is_paged or not self.pages
            return [
                Page(
                    tuple(items if is_whole else items[:2]),
                    str(server.version),
                    "" if is_whole else str(server.version),
                )
            ]
        assert isinstance(request, Watch)
        if request.version:
            return server.after(int(request.version))
        return [Began(), *map(Put, server.items()), Bookmark(str(server.version), complete=True)]

    def _obey(self, commands: list[Command]) -> bool:
        has_request = False
        for command in commands:
            if isinstance(command, Replace):
                self.have = {item.ref.name for item in command.items}
            elif isinstance(command, Change):
                (self.have.add if command.put else self.have.discard)(command.ref.name)
            else:
                self.request, has_request = command, True
        return has_request
