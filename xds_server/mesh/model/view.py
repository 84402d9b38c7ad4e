"""All that one proxy gets."""

from __future__ import annotations

from xds_server.diagnostics import Found
from xds_server.incremental import EMPTY, Fixed
from xds_server.mesh.model.backends import Backend, BackendEndpoints
from xds_server.mesh.model.base import Value
from xds_server.mesh.model.listeners import ApiListener, GrpcServer, Listener, NameTable, Secret
from xds_server.mesh.model.routes import RouteTable


class View(Value, frozen=True, eq=False, gc=False):
    """All that one proxy group needs, by name, complete in itself: every name it uses is defined in it."""

    listeners: Fixed[str, Listener] = EMPTY
    api_listeners: Fixed[str, ApiListener] = EMPTY
    grpc_servers: Fixed[str, GrpcServer] = EMPTY
    name_tables: Fixed[str, NameTable] = EMPTY
    route_tables: Fixed[str, RouteTable] = EMPTY
    backends: Fixed[str, Backend] = EMPTY
    endpoints: Fixed[str, BackendEndpoints] = EMPTY
    secrets: Fixed[str, Secret] = EMPTY
    found: Found = ()
