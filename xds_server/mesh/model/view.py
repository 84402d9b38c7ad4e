"""All that one proxy gets."""

from __future__ import annotations

from xds_server.diagnostics import Diagnostic
from xds_server.incremental import Fixed
from xds_server.mesh.model.backends import Backend, BackendEndpoints
from xds_server.mesh.model.base import Value
from xds_server.mesh.model.listeners import ApiListener, GrpcServer, Listener, NameTable, Secret
from xds_server.mesh.model.routes import RouteTable


class View(Value, frozen=True, eq=False, gc=False):
    """All that one proxy group needs, by name, complete in itself: every name it uses is defined in it."""

    listeners: Fixed[str, Listener] = Fixed()
    api_listeners: Fixed[str, ApiListener] = Fixed()
    grpc_servers: Fixed[str, GrpcServer] = Fixed()
    name_tables: Fixed[str, NameTable] = Fixed()
    route_tables: Fixed[str, RouteTable] = Fixed()
    backends: Fixed[str, Backend] = Fixed()
    endpoints: Fixed[str, BackendEndpoints] = Fixed()
    secrets: Fixed[str, Secret] = Fixed()
    diagnostics: tuple[Diagnostic, ...] = ()
