"""The gRPC API `xds_server.introspection.v1.Introspection` (protos/): the proxies, and what made their resources."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from typing import Any, NamedTuple, Protocol

import grpc

from xds_server.admin import introspection_pb2 as api
from xds_server.diagnostics import ObjectRef, format_path
from xds_server.envoy.resource import TYPES
from xds_server.fleet import ProxyStatus
from xds_server.kube.meta import Source
from xds_server.mesh.origin import Origin
from xds_server.sources.yaml import locate
from xds_server.xds.states import ResourceStatus

SERVICE = api.DESCRIPTOR.services_by_name["Introspection"].full_name
MAX_RESOURCES = 1000
"""A trace names at most so many; a narrower question finds the rest."""

_SHORT = {type_url: short for short, type_url in TYPES.items()}


class Stream(Protocol):
    """A proxy's stream."""

    node: str

    def status(self) -> ProxyStatus: ...
    def resources(self) -> Iterator[ResourceStatus]: ...


class Known(NamedTuple):
    """streams: those of real proxies, now. sources: where each object was read. stale: why what the proxies get may be
    out of date."""

    streams: Callable[[], Iterable[Stream]]
    sources: Callable[[], Mapping[ObjectRef, Source]]
    stale: Callable[[], Iterable[str]] = tuple


def handler(known: Known, allowed: Callable[[Any], bool]) -> grpc.GenericRpcHandler:
    """allowed: whether a caller (its gRPC context) may be told."""

    async def list_proxies(_: api.ListProxiesRequest, context: Any) -> api.ListProxiesResponse:
        await _guard(context, allowed)
        proxies = [proxy(stream.status()) for stream in known.streams()]
        return api.ListProxiesResponse(proxies=proxies, stale=known.stale())

    async def trace(request: api.TraceRequest, context: Any) -> api.TraceResponse:
        await _guard(context, allowed)
        if request.type and request.type not in TYPES:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"type must be one of {', '.join(TYPES)}")
        return api.TraceResponse(resources=list(traced(request, known)))

    return grpc.method_handlers_generic_handler(
        SERVICE,
        {
            "ListProxies": _unary(list_proxies, api.ListProxiesRequest, api.ListProxiesResponse),
            "Trace": _unary(trace, api.TraceRequest, api.TraceResponse),
        },
    )


def _unary(method: Any, request: Any, response: Any) -> grpc.RpcMethodHandler[Any, Any]:
    return grpc.unary_unary_rpc_method_handler(
        method, request_deserializer=request.FromString, response_serializer=response.SerializeToString
    )


async def _guard(context: Any, allowed: Callable[[Any], bool]) -> None:
    if not allowed(context):
        await context.abort(grpc.StatusCode.PERMISSION_DENIED, "only clients on the server's machine are told")


def proxy(status: ProxyStatus) -> api.Proxy:
    return api.Proxy(
        node=status.node,
        kind=status.proxy.kind,
        namespace=status.proxy.namespace,
        user_agent=status.user_agent,
        variant=status.variant,
        peer=status.peer,
        connected_seconds=status.connected,
        types=[
            api.TypeState(
                type=_SHORT[found.type_url],
                state=found.state,
                version=found.version,
                error=found.error,
                answered_seconds=found.since,
                refused=found.refused,
            )
            for found in status.types
        ],
    )


def traced(request: api.TraceRequest, known: Known) -> Iterator[api.Resource]:
    """The resources that the request asks for, at most `MAX_RESOURCES`."""
    place = _places(known.sources())
    count = 0
    for stream in known.streams():
        if not stream.node.startswith(request.node):
            continue
        for found in stream.resources():
            resource = found.resource
            short = _SHORT[resource.type_url]
            if request.type not in ("", short) or request.name not in resource.name:
                continue
            count += 1
            if count > MAX_RESOURCES:
                return
            yield api.Resource(
                node=stream.node,
                type=short,
                name=resource.name,
                version=resource.version,
                accepted=found.version,
                state=found.state,
                origins=[_origin(origin, place) for origin in resource.origins],
            )


def _origin(origin: Origin, place: Callable[[Origin], str]) -> api.Origin:
    return api.Origin(object=str(origin.ref), field=format_path(origin.path), place=place(origin))


def _places(sources: Mapping[ObjectRef, Source]) -> Callable[[Origin], str]:
    """Finds where an origin is written; a document is read once for each field that is asked for."""

    @cache
    def place(origin: Origin) -> str:
        source = sources.get(origin.ref)
        if source is None:
            return ""
        return str(locate(source, origin.path)) if source.file else str(source)

    return place
