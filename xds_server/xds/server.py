"""The gRPC server: the only module that knows grpc. It moves bytes between streams and their sessions."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

import grpc
import msgspec
import structlog
from envoy.service.status.v3.csds_pb2 import ClientStatusRequest, ClientStatusResponse
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from xds_server.envoy.resource import CLUSTER, ENDPOINT, LISTENER, ROUTE, SECRET
from xds_server.fleet import Fleet
from xds_server.mesh.proxy import Proxy
from xds_server.version import __version__
from xds_server.xds import status
from xds_server.xds.delta import DELTA
from xds_server.xds.identity import IdentityError, admit
from xds_server.xds.limits import Allowance
from xds_server.xds.request import ProtocolError
from xds_server.xds.sotw import SOTW
from xds_server.xds.stream import Stream, TooManyRequests
from xds_server.xds.variant import Variant

log = structlog.get_logger()

BURST = 5.0
LOOPBACK = ("ipv4:127.", "ipv6:[::1]", "ipv6:%5B::1%5D", "unix:")

SERVICES = {
    "envoy.service.discovery.v3.AggregatedDiscoveryService": ("AggregatedResources", ""),
    "envoy.service.cluster.v3.ClusterDiscoveryService": ("Clusters", CLUSTER),
    "envoy.service.endpoint.v3.EndpointDiscoveryService": ("Endpoints", ENDPOINT),
    "envoy.service.listener.v3.ListenerDiscoveryService": ("Listeners", LISTENER),
    "envoy.service.route.v3.RouteDiscoveryService": ("Routes", ROUTE),
    "envoy.service.secret.v3.SecretDiscoveryService": ("Secrets", SECRET),
}
"""Service -> what its methods `Stream...` and `Delta...` are called after, and the one type that it serves ("": all).
There is no `Fetch...`: it would be a second door to guard."""


def is_local(context: Any) -> bool:
    """Whether the caller is on this machine."""
    return bool(context.peer().startswith(LOOPBACK))


class Options(msgspec.Struct, frozen=True):
    """host, port: where to listen; port 0 picks a free one. identifier: `control_plane.identifier`.
    max_streams: streams at the same time; more are answered RESOURCE_EXHAUSTED.
    streams_per_second: new streams, on average; requests_per_second: requests on one stream, on average. Faster ones
    are answered RESOURCE_EXHAUSTED; a burst of five seconds' worth is allowed. 0 for no limit.
    introspection: CSDS, for clients on this machine only: it tells what every proxy has.
    max_request_bytes: a reconnecting Envoy lists all that it has, 21 MB were seen (envoy#36169).
    max_age: seconds after which a client is asked to connect anew, up to 30 % later by chance; 0 for never.
    credentials: TLS; None is plaintext. trust_domain: that of the clients' certificates, each of which is good for the
    nodes of its service account; empty when clients have none.
    """

    host: str = "127.0.0.1"
    port: int = 15010
    identifier: str = f"xds-server/{__version__}"
    max_streams: int = 20_000
    streams_per_second: float = 2_000.0
    requests_per_second: float = 10_000.0
    introspection: bool = True
    max_request_bytes: int = 128 * 2**20
    max_age: float = 0.0
    credentials: grpc.ServerCredentials | None = None
    trust_domain: str = ""


class XdsServer:
    """Serves a fleet over gRPC."""

    def __init__(self, fleet: Fleet, options: Options | None = None) -> None:
        self._fleet = fleet
        self._options = options or Options()
        self._streams: dict[Stream, None] = {}
        self._ages: dict[Stream, asyncio.TimerHandle] = {}
        self._more: dict[str, grpc.GenericRpcHandler] = {}
        self._draining = False
        self._server: grpc.aio.Server | None = None
        self._health = health.aio.HealthServicer()
        self._ready: asyncio.Task[None] | None = None
        self._new_streams = _allowance(self._options.streams_per_second)

    def add(self, service: str, handler: grpc.GenericRpcHandler) -> None:
        """Serves one more gRPC service on the same port; before `start`."""
        self._more[service] = handler

    def streams(self) -> tuple[Stream, ...]:
        return tuple(self._streams)

    async def start(self) -> int:
        """Listens. Returns the bound port. Raises OSError when the address cannot be had."""
        options = self._options
        self._server = server = grpc.aio.server(options=channel_options(options))
        for service, (noun, only) in SERVICES.items():
            handlers: dict[str, Any] = {
                prefix + noun: grpc.stream_stream_rpc_method_handler(partial(self._serve, variant, only))
                for prefix, variant in (("Stream", SOTW), ("Delta", DELTA))
            }
            server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        if options.introspection:
            server.add_generic_rpc_handlers((self._status_handler(),))
        server.add_generic_rpc_handlers(tuple(self._more.values()))
        own = (*SERVICES, *([status.SERVICE] * options.introspection), health.SERVICE_NAME, reflection.SERVICE_NAME)
        names = (*own, *self._more)
        reflection.enable_server_reflection(names, server)
        await self._health.set("", health_pb2.HealthCheckResponse.NOT_SERVING)
        address = f"{options.host}:{options.port}"
        try:
            if options.credentials:
                port = server.add_secure_port(address, options.credentials)
            else:
                port = server.add_insecure_port(address)
        except RuntimeError as error:
            raise OSError(f"cannot listen on {address}: {error}") from None
        await server.start()
        self._ready = asyncio.create_task(self._become_ready())
        return port

    async def drain(self, grace_seconds: float) -> None:
        """Stops: no new streams, and those that run end one after the other within the grace period, so that the
        proxies do not all reconnect at once."""
        if self._server is None:
            return
        self._draining = True
        if self._ready:
            self._ready.cancel()
        await self._health.enter_graceful_shutdown()
        stopping = asyncio.create_task(self._server.stop(grace_seconds))
        streams = list(self._streams)
        for stream in streams:
            stream.end(grpc.StatusCode.UNAVAILABLE, "the server is going away")
            if grace_seconds:
                await asyncio.sleep(min(0.01, grace_seconds / 2 / len(streams)))
        await stopping

    async def _become_ready(self) -> None:
        await self._fleet.answering.wait()
        await self._health.set("", health_pb2.HealthCheckResponse.SERVING)

    async def _serve(self, variant: Variant, only: str, _: Any, context: Any) -> None:
        refusal = self._refusal()
        if refusal:
            self._fleet.tally.refused_streams[refusal[0].name] += 1
            await context.abort(*refusal)
        stream = Stream(
            self._fleet,
            variant,
            only,
            self._options.identifier,
            _Call(context),
            self._admission(context),
            _allowance(self._options.requests_per_second),
        )
        self._streams[stream] = None
        if self._options.max_age:
            # After the GOAWAY, so that the next stream is on another connection; not all at once.
            self._retire_in(self._options.max_age * random.uniform(1.1, 1.3), stream)
        try:
            await stream.run()
        except TooManyRequests:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "too many requests on this stream")
        except ProtocolError as error:
            log.warning("a client broke the protocol", peer=context.peer(), error=str(error))
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        except IdentityError as error:
            self._fleet.tally.refused_streams[grpc.StatusCode.PERMISSION_DENIED.name] += 1
            log.warning("a client claims to be another", peer=context.peer(), node=stream.node, error=str(error))
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, str(error))
        finally:
            del self._streams[stream]
            if alarm := self._ages.pop(stream, None):
                alarm.cancel()

    def _retire_in(self, seconds: float, stream: Stream) -> None:
        self._ages[stream] = asyncio.get_running_loop().call_later(seconds, self._retire, stream)

    def _retire(self, stream: Stream) -> None:
        """Ends an old stream. A client takes that for a failure if it was not answered anything yet (gRFC A57), so
        such a stream stays."""
        if any(kind.sent for kind in stream.status().types):
            stream.end(grpc.StatusCode.UNAVAILABLE, "this connection is old; connect again")
        else:
            self._retire_in(1.0, stream)

    def _refusal(self) -> tuple[grpc.StatusCode, str] | None:
        """Why a new stream cannot be taken now."""
        if self._draining:
            return grpc.StatusCode.UNAVAILABLE, "the server is going away"
        if len(self._streams) >= self._options.max_streams:
            return grpc.StatusCode.RESOURCE_EXHAUSTED, "too many streams"
        if not self._new_streams.take(asyncio.get_running_loop().time()):
            return grpc.StatusCode.RESOURCE_EXHAUSTED, "too many new streams; try again later"
        return None

    def _status_handler(self) -> grpc.GenericRpcHandler:
        """The methods of CSDS."""
        types = {
            "request_deserializer": ClientStatusRequest.FromString,
            "response_serializer": ClientStatusResponse.SerializeToString,
        }
        return grpc.method_handlers_generic_handler(
            status.SERVICE,
            {
                "FetchClientStatus": grpc.unary_unary_rpc_method_handler(self._fetch_status, **types),
                "StreamClientStatus": grpc.stream_stream_rpc_method_handler(self._stream_status, **types),
            },
        )

    async def _fetch_status(self, request: ClientStatusRequest, context: Any) -> ClientStatusResponse:
        if not is_local(context):
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, "only clients on the server's machine are told")
        try:
            return status.client_status(request, ((stream.node, stream.resources()) for stream in self._streams))
        except status.UnsupportedMatch as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))

    async def _stream_status(self, requests: Any, context: Any) -> AsyncIterator[ClientStatusResponse]:
        async for request in requests:
            yield await self._fetch_status(request, context)

    def _admission(self, context: Any) -> Callable[[Proxy], None]:
        trust_domain = self._options.trust_domain
        return partial(admit, context.auth_context(), trust_domain) if trust_domain else lambda _: None


def _allowance(per_second: float) -> Allowance:
    return Allowance(per_second, max(1.0, per_second * BURST))


class _Call:
    """A gRPC call as a stream's transport: raw bytes in and out."""

    broken: tuple[type[Exception], ...] = (grpc.aio.InternalError, grpc.aio.UsageError)

    def __init__(self, context: Any) -> None:
        self.read = context.read
        self.write = context.write
        self.abort = context.abort
        self.peer = context.peer


def channel_options(options: Options) -> list[tuple[str, int]]:
    """gRPC's own options, each with the reason why it is not the default."""
    unlimited = 2**31 - 1
    settings = {
        # Two servers on one port would share its connections in silence.
        "grpc.so_reuseport": 0,
        # Without these a herd of reconnecting proxies is answered CANCELLED (1,263 of 5,000 were).
        "grpc.server.max_pending_requests": options.max_streams * 2,
        "grpc.server.max_pending_requests_hard_limit": options.max_streams * 2,
        "grpc.max_concurrent_streams": unlimited,
        "grpc.max_receive_message_length": options.max_request_bytes,
        "grpc.max_send_message_length": -1,
        # A PING after each push, to measure the bandwidth, costs a third of the push.
        "grpc.http2.bdp_probe": 0,
        # Envoy and gRPC ping more often than gRPC's default of one in 5 minutes allows (go-control-plane#449).
        "grpc.http2.min_ping_interval_without_data_ms": 4_000,
        "grpc.http2.max_ping_strikes": 0,
        "grpc.keepalive_permit_without_calls": 1,
        # Our own pings find dead peers, whose streams would keep memory for hours (envoy#6323).
        "grpc.keepalive_time_ms": 30_000,
        "grpc.keepalive_timeout_ms": 10_000,
        "grpc.http2.max_pings_without_data": 0,
    }
    if options.max_age:
        # GOAWAY, which gRPC spreads by +-10 %. It would end the streams too, also those that were not answered yet.
        settings["grpc.max_connection_age_ms"] = int(options.max_age * 1000)
        settings["grpc.max_connection_age_grace_ms"] = unlimited
    return list(settings.items())
