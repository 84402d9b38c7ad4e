"""Writes a proxy's view down as Envoy's resources."""

from __future__ import annotations

from xds_server.boundary import attempt
from xds_server.diagnostics import Diagnostic, ObjectRef, diagnostic
from xds_server.envoy.clusters import cluster
from xds_server.envoy.endpoints import load_assignment
from xds_server.envoy.listeners import api_listener, listener
from xds_server.envoy.name_tables import name_table
from xds_server.envoy.resource import Resource, Resources, keyed
from xds_server.envoy.routes import route_configuration
from xds_server.envoy.secrets import secret
from xds_server.memo import Memo
from xds_server.mesh.model import View
from xds_server.mesh.origin import Origin


def build(view: View, memo: Memo) -> tuple[Resources, tuple[Diagnostic, ...]]:
    """The resources of one proxy group; the diagnostics are bugs, one for each value left out.

    Of several resources with one name, which would cost the proxy them all, the first is taken.
    """
    results: list[Resource | Diagnostic] = [
        *(attempt(memo, _ref(value.origins), cluster, value) for value in view.backends),
        *(attempt(memo, _ref(value.origins), load_assignment, value) for value in view.endpoints),
        *(attempt(memo, _ref(value.origins), listener, value) for value in view.listeners),
        *(attempt(memo, _ref(value.origins), api_listener, value) for value in view.api_listeners),
        *(attempt(memo, _ref(value.origins), name_table, value) for value in view.name_tables),
        *(attempt(memo, value.origin.ref, secret, value) for value in view.secrets),
    ]
    for table in view.route_tables:
        result = attempt(memo, _ref(table.origins), route_configuration, table, memo)
        results.extend((result,) if isinstance(result, Diagnostic) else (result[0], *result[1]))
    kept: dict[tuple[str, str], Resource] = {}
    bugs: list[Diagnostic] = []
    for each in results:
        if isinstance(each, Diagnostic):
            bugs.append(each)
        elif kept.setdefault((each.type_url, each.name), each).version != each.version:
            bugs.append(_twice(each))
    return keyed(kept.values()), tuple(bugs)


def _twice(resource: Resource) -> Diagnostic:
    kind = resource.type_url.rpartition(".")[2]
    return diagnostic("XDS1010", _ref(resource.origins), detail=f"two {kind}s are named {resource.name!r}")


def _ref(origins: tuple[Origin, ...]) -> ObjectRef | None:
    return origins[0].ref if origins else None
