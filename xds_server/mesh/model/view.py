"""All that one proxy gets."""

from __future__ import annotations

from xds_server.diagnostics import Diagnostic
from xds_server.mesh.model.backends import Backend, BackendEndpoints
from xds_server.mesh.model.base import Value
from xds_server.mesh.model.listeners import ApiListener, GrpcServer, Listener, NameTable, Secret
from xds_server.mesh.model.routes import RouteTable


class View(Value, frozen=True, eq=False, gc=False):
    """All that one proxy group needs, complete in itself: every name it uses is defined in it."""

    listeners: tuple[Listener, ...] = ()
    api_listeners: tuple[ApiListener, ...] = ()
    grpc_servers: tuple[GrpcServer, ...] = ()
    name_tables: tuple[NameTable, ...] = ()
    route_tables: tuple[RouteTable, ...] = ()
    backends: tuple[Backend, ...] = ()
    endpoints: tuple[BackendEndpoints, ...] = ()
    secrets: tuple[Secret, ...] = ()
    diagnostics: tuple[Diagnostic, ...] = ()
