"""Objects in, xDS out. The server, the command line and the tests all call this one function."""

from __future__ import annotations

import msgspec

from xds_server.diagnostics import Diagnostic, Found, in_order
from xds_server.envoy.build import build
from xds_server.envoy.resource import Resources
from xds_server.incremental import layered
from xds_server.kube.snapshot import Snapshot
from xds_server.memo import Memo, no_memo
from xds_server.mesh.model import View
from xds_server.mesh.proxy import EVERY_GATEWAY, Proxy
from xds_server.mesh.resolve import Mesh, resolve
from xds_server.mesh.topology import placed_proxy
from xds_server.mesh.view import view


class Translation(msgspec.Struct, frozen=True, eq=False):
    """What one proxy group gets, and everything that is wrong with the objects it was made from."""

    resources: Resources
    found: Found

    @property
    def diagnostics(self) -> tuple[Diagnostic, ...]:
        """All that was found, in order; put together each time."""
        return in_order(self.found)


def translate(snapshot: Snapshot, proxy: Proxy = EVERY_GATEWAY, memo: Memo = no_memo) -> Translation:
    """Pure and deterministic: the same objects, in any order and any process, give the same bytes.

    With a memo that lives from call to call, only what changed is computed again.
    """
    mesh = memo(resolve, snapshot, memo)
    return memo(_translation, snapshot, mesh, placed_proxy(mesh.registry, proxy), memo)


def view_of(snapshot: Snapshot, proxy: Proxy = EVERY_GATEWAY) -> View:
    """The half-way stage: what the objects mean to a proxy, before it is written down for Envoy."""
    mesh = resolve(snapshot, no_memo)
    return view(mesh, placed_proxy(mesh.registry, proxy), no_memo).whole()


def _translation(snapshot: Snapshot, mesh: Mesh, proxy: Proxy, memo: Memo) -> Translation:
    seen = view(mesh, proxy, memo)
    shared, bugs = memo(build, seen.shared, memo, seen.key)
    own, more_bugs = memo(build, seen.own, no_memo)
    by_type = {
        type_url: layered(memo, (type_url, proxy), rows, own.by_type[type_url])
        for type_url, rows in shared.by_type.items()
    }
    return Translation(Resources(by_type), (snapshot.diagnostics, *mesh.found, *seen.found, bugs, more_bugs))
