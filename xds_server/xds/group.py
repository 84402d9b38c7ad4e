"""What one proxy group is offered, and what its proxies said of it. Pure: no stream, no clock."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from xds_server.diagnostics import Diagnostic, diagnostic
from xds_server.envoy.resource import EMPTY, TYPES, Resource, Resources
from xds_server.incremental import changed, fixed
from xds_server.memo import Memo
from xds_server.xds.intern import Intern, settled
from xds_server.xds.request import Meaning
from xds_server.xds.session import Verdict
from xds_server.xds.substitute import Published, substitute
from xds_server.xds.table import EMPTY_TABLE, EMPTY_TABLES, Held, Table, Tables

_SHORT = {type_url: short for short, type_url in TYPES.items()}
_DUMP = "goo.gle/debug"  # Envoy prints the whole message behind this mark: keys and passwords may be in it
_WORDS = 500


class Refusal(msgspec.Struct, frozen=True, eq=False):
    """node: the id of the proxy that refused it first; message: its words, shortened."""

    resource: Resource
    node: str
    message: str

    def diagnostic(self) -> Diagnostic:
        origins = self.resource.origins
        made_by = ", ".join(dict.fromkeys(str(origin.ref) for origin in origins)) or "the server itself"
        return diagnostic(
            "XDS7001",
            origins[0].ref if origins else None,
            origins[0].path if origins else (),
            proxy=self.node,
            type=_SHORT.get(self.resource.type_url, self.resource.type_url),
            name=self.resource.name,
            words=self.message,
            suggestion=f"correct what it was made from: {made_by}",
        )


def words(message: str) -> str:
    """The part of a client's message that may be shown: without the dump of the refused message in it."""
    before, _, dump = message.partition(_DUMP)
    after = dump.rpartition("\n: ")[2] if "\n: " in dump else ""
    return (before + after).strip()[:_WORDS]


class Settled(NamedTuple):
    """What a group is to be offered in place of what it was offered before."""

    resources: Resources
    tables: Tables


class Group:
    """The newest configuration of the group, without what its proxies refuse.

    resources: the newest translation.
    remembered: what the group got from the server before this one; it counts as accepted until it is refused.
    """

    def __init__(self, remembered: Iterable[Resource] = ()) -> None:
        self.published: Published | None = None
        self.refusals: dict[Resource, Refusal] = {}
        self._unexplained: dict[str, Diagnostic] = {}
        self._last = Settled(EMPTY, EMPTY_TABLES)
        self._accepted: dict[str, dict[str, Resource]] = {type_url: {} for type_url in TYPES.values()}
        self._strangers: set[tuple[str, str]] = set()  # what is accepted and not offered
        for resource in remembered:
            self._accepted[resource.type_url][resource.name] = resource
            self._strangers.add((resource.type_url, resource.name))
        self._before = Tables({t: Table(fixed(rows)) for t, rows in self._accepted.items()})
        self._last_accepted: dict[str, object] = {}

    @property
    def resources(self) -> Resources:
        return self._last.resources

    def settle(self, resources: Resources, memo: Memo, intern: Intern) -> Settled:
        """What to offer of a new translation. Changes nothing, and may be called in a thread: it looks at everything
        that is new."""
        last = self._last
        return Settled(resources, settled(resources, last.resources, last.tables, memo, intern))

    def offer(self, new: Settled) -> bool:
        """False if nothing in it differs from what is offered already."""
        before, tables = self._last.tables, new.tables
        self._last = new
        if tables is before:
            return False
        self._find_strangers(before)
        self.refusals = {r: refusal for r, refusal in self.refusals.items() if self._offers(r)}
        self._publish(tables, self.published.tables if self.published else self._before)
        self._prune()
        return True

    def judge(self, node: str, verdict: Verdict) -> bool:
        """Takes what a proxy said of a response. True if the group is offered something else because of it.

        A resource that one proxy accepted is not withheld from the others because of one that refuses it.
        """
        if verdict.meaning is Meaning.ACK:
            self._accept(verdict)
            self._unexplained.pop(verdict.type_url, None)
            if not self.refusals:
                return False
        elif not verdict.culprits and not verdict.searching:
            type_, said = _SHORT.get(verdict.type_url, verdict.type_url), words(verdict.message)
            self._unexplained[verdict.type_url] = diagnostic("XDS7002", None, proxy=node, type=type_, words=said)
        refusals = dict(self.refusals)
        if verdict.meaning is Meaning.ACK:
            for resource in verdict.change.resources:
                refusals.pop(resource, None)
        for resource in verdict.culprits:
            accepted = self._accepted[resource.type_url].get(resource.name)
            if accepted is not resource and self._offers(resource):
                if accepted and accepted.version == resource.version:
                    # The server before this one kept it before any proxy had answered.
                    del self._accepted[resource.type_url][resource.name]
                refusals.setdefault(resource, Refusal(resource, node, words(verdict.message)))
        if refusals.keys() == self.refusals.keys():
            return False
        self.refusals = refusals
        if self.published:
            self._publish(self.published.tables, self.published.before)
        return True

    def diagnostics(self) -> tuple[Diagnostic, ...]:
        """What the proxies refuse."""
        return (*(refusal.diagnostic() for refusal in self.refusals.values()), *self._unexplained.values())

    def _offers(self, resource: Resource) -> bool:
        table = self._last.tables.by_type.get(resource.type_url, EMPTY_TABLE)
        return table.rows.get(resource.name) is resource

    def _publish(self, tables: Tables, before: Tables | None) -> None:
        accepted = tuple((t, Held(dict(rows))) for t, rows in self._accepted.items()) if self.refusals else ()
        self.published = Published(tables, frozenset(self.refusals), accepted, before)

    def _accept(self, verdict: Verdict) -> None:
        if self._last_accepted.get(verdict.type_url) is verdict.change:
            return  # streams that are alike accept the same value
        self._last_accepted[verdict.type_url] = verdict.change
        offered = self._last.tables.by_type.get(verdict.type_url, EMPTY_TABLE).rows
        for resource in verdict.change.resources:
            self._accepted[verdict.type_url][resource.name] = resource
            if resource.name not in offered:
                self._strangers.add((verdict.type_url, resource.name))

    def _find_strangers(self, before: Tables) -> None:
        for type_url, table in self._last.tables.by_type.items():
            for name in changed(before.by_type.get(type_url, EMPTY_TABLE).rows, table.rows):
                if name in table.rows:
                    self._strangers.discard((type_url, name))
                elif name in self._accepted[type_url]:
                    self._strangers.add((type_url, name))

    def _prune(self) -> None:
        """Forgets accepted resources that neither are offered nor are needed by an accepted one that is."""
        if not self._strangers:
            return
        offered = {type_url: table.rows for type_url, table in self._last.tables.by_type.items()}
        keep: set[tuple[str, str]] = set()
        todo = [(t, name) for t, rows in self._accepted.items() for name in rows if name in offered[t]]
        while todo:
            key = todo.pop()
            accepted = self._accepted.get(key[0], {}).get(key[1])
            if key not in keep and accepted:
                keep.add(key)
                todo += accepted.references
        for type_url, name in self._strangers - keep:
            self._accepted[type_url].pop(name, None)
        self._strangers &= keep


def offered(published: Published) -> tuple[Resource, ...]:
    """All that is offered, each resource in the form that proxies accept."""
    tables = published.tables
    if published.refused:
        tables = substitute(tables, published.refused, published.accepted)
    return tuple(resource for table in tables.by_type.values() for resource in table.rows.values())
