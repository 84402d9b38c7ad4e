"""Traffic policies of DestinationRules, in neutral words.

Precedence, as in Istio (pilot/pkg/networking/util, MergeTrafficPolicy): the subset's policy over the rule's, field
by field of the first level. In each of the two, the settings of a port replace what there is of load balancing,
connections, outliers and TLS, all four (api: "settings at the destination level will not be inherited when overridden
by port-level settings").
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec

from xds_server.diagnostics import Diagnostic, diagnostic
from xds_server.kube.istio import destination_rule as dr
from xds_server.kube.istio.mesh_config import MeshConfig
from xds_server.kube.units import Duration
from xds_server.mesh import checks
from xds_server.mesh.model import (
    Algorithm,
    BackendPolicy,
    Connections,
    HashKey,
    Http2Keepalive,
    Keepalive,
    LoadBalancing,
    Outlier,
    RetryBudget,
    Tunnel,
    Warmup,
)
from xds_server.mesh.origin import Origin

T = TypeVar("T")


class Layer(NamedTuple):
    """A trafficPolicy, and where it is written."""

    policy: dr.TrafficPolicy
    origin: Origin


class Setting(NamedTuple, Generic[T]):
    """A field of the first level, and where it is written."""

    value: T
    origin: Origin

    def note(self, code: str, *path: str, **values: Any) -> Diagnostic:
        return diagnostic(code, self.origin.ref, (*self.origin.path, *path), **values)


class Effective(msgspec.Struct, frozen=True):
    """What holds for one port of a service, or of a subset of it."""

    load_balancer: Setting[dr.LoadBalancerSettings] | None = None
    connection_pool: Setting[dr.ConnectionPoolSettings] | None = None
    outlier_detection: Setting[dr.OutlierDetection] | None = None
    tls: Setting[dr.ClientTLSSettings] | None = None
    retry_budget: Setting[dr.RetryBudget] | None = None
    tunnel: Setting[dr.TunnelSettings] | None = None
    proxy_protocol: Setting[dr.ProxyProtocol] | None = None


NOTHING_SAID = Effective()

_ALGORITHMS = {
    "UNSPECIFIED": Algorithm.LEAST_REQUEST,
    "LEAST_CONN": Algorithm.LEAST_REQUEST,
    "LEAST_REQUEST": Algorithm.LEAST_REQUEST,
    "ROUND_ROBIN": Algorithm.ROUND_ROBIN,
    "RANDOM": Algorithm.RANDOM,
    "PASSTHROUGH": Algorithm.PASSTHROUGH,
}
_PORT_LEVEL = {
    "load_balancer": "loadBalancer",
    "connection_pool": "connectionPool",
    "outlier_detection": "outlierDetection",
    "tls": "tls",
}
_FIRST_LEVEL = {
    **_PORT_LEVEL,
    "retry_budget": "retryBudget",
    "tunnel": "tunnel",
    "proxy_protocol": "proxyProtocol",
}
_DEFAULT_PING_TIMEOUT = Duration(20 * 10**9)  # gRPC's (https://grpc.io/docs/guides/keepalive/)


def effective(layers: Sequence[Layer], port: int) -> Effective:
    """layers: the rule's, then the subset's."""
    chosen: dict[str, Setting[object]] = {}
    for policy, origin in layers:
        chosen |= _settings(policy, origin, _FIRST_LEVEL)
        for index, at_port in enumerate(policy.port_level_settings):
            if at_port.port is not None and at_port.port.number == port:
                where = Origin(origin.ref, (*origin.path, "portLevelSettings", index))
                chosen = {field: setting for field, setting in chosen.items() if field not in _PORT_LEVEL}
                chosen |= _settings(at_port, where, _PORT_LEVEL)
    return Effective(**chosen)  # type: ignore[arg-type]  # the two tables name the fields of Effective


def _settings(
    policy: dr.TrafficPolicy | dr.PortTrafficPolicy, origin: Origin, fields: dict[str, str]
) -> dict[str, Setting[object]]:
    return {
        field: Setting(value, Origin(origin.ref, (*origin.path, name)))
        for field, name in fields.items()
        if (value := getattr(policy, field)) is not None
    }


def backend_policy(chosen: Effective) -> BackendPolicy:
    """All but `tls`, which needs the service as well."""
    balancer, pool, outlier, budget = (
        chosen.load_balancer,
        chosen.connection_pool,
        chosen.outlier_detection,
        chosen.retry_budget,
    )
    return BackendPolicy(
        load_balancing=load_balancing(balancer.value) if balancer else LoadBalancing(),
        connections=connections(pool.value) if pool else Connections(),
        outlier=outlier_detection(outlier.value) if outlier else None,
        retry_budget=_retry_budget(budget.value) if budget else None,
        proxy_protocol=int(chosen.proxy_protocol.value.version.removeprefix("V")) if chosen.proxy_protocol else 0,
    )


def policy_notes(chosen: Effective, http2: bool) -> list[Diagnostic]:
    """What is written but cannot take effect. http2: whether HTTP/2 is spoken to the backend, or may be."""
    notes = []
    if chosen.load_balancer:
        notes += _balancer_notes(chosen.load_balancer)
    if chosen.connection_pool and (http := chosen.connection_pool.value.http):
        note = chosen.connection_pool.note
        if http.http2_keep_alive and not http.http2_keep_alive.interval:
            notes.append(
                note("XDS4009", "http", "http2KeepAlive", field="http2KeepAlive", reason="without an interval")
            )
        for field, value in (
            ("http2KeepAlive", http.http2_keep_alive),
            ("maxConcurrentStreams", http.max_concurrent_streams),
        ):
            if value is not None and not http2:
                notes.append(note("XDS4009", "http", field, field=field, reason="without HTTP/2"))
    return notes


def _balancer_notes(setting: Setting[dr.LoadBalancerSettings]) -> list[Diagnostic]:
    balancer, hashing = setting.value, setting.value.consistent_hash
    notes = []
    if hashing is not None:
        if hash_key(hashing) is None:
            reason = "without httpHeaderName, httpCookie, httpQueryParameterName or useSourceIp: true"
            notes.append(setting.note("XDS4009", "consistentHash", field="consistentHash", reason=reason))
        path, size, problem = _table_size(hashing)
        if problem:
            notes.append(setting.note("XDS4011", "consistentHash", *path, value=size, reason=problem))
    algorithm = load_balancing(balancer).algorithm
    if algorithm not in (Algorithm.LEAST_REQUEST, Algorithm.ROUND_ROBIN):
        for field, value in (("warmup", balancer.warmup), ("warmupDurationSecs", balancer.warmup_duration_secs)):
            if value is not None:
                reason = "with other algorithms than LEAST_REQUEST and ROUND_ROBIN"
                notes.append(setting.note("XDS4009", field, field=field, reason=reason))
    return notes


def _table_size(hashing: dr.ConsistentHash) -> tuple[tuple[str, ...], int, str | None]:
    """Where it is written, the size, and what is wrong with it."""
    if hashing.maglev is not None:
        size = hashing.maglev.table_size or 0
        return ("maglev", "tableSize"), size, checks.maglev_size(size) if size else None
    if hashing.ring_hash is not None and hashing.ring_hash.minimum_ring_size is not None:
        size = hashing.ring_hash.minimum_ring_size
        return ("ringHash", "minimumRingSize"), size, checks.ring_size(size)
    size = hashing.minimum_ring_size or 0
    return ("minimumRingSize",), size, checks.ring_size(size)


def load_balancing(balancer: dr.LoadBalancerSettings) -> LoadBalancing:
    warmup = None
    if balancer.warmup is not None:
        warmup = Warmup(
            balancer.warmup.duration,
            10.0 if balancer.warmup.minimum_percent is None else balancer.warmup.minimum_percent,
            1.0 if balancer.warmup.aggression is None else balancer.warmup.aggression,
        )
    elif balancer.warmup_duration_secs is not None:
        warmup = Warmup(balancer.warmup_duration_secs)
    hashing = balancer.consistent_hash
    if hashing is None:
        return LoadBalancing(_ALGORITHMS[balancer.simple or "UNSPECIFIED"], warmup=warmup)
    _, size, problem = _table_size(hashing)
    algorithm = Algorithm.MAGLEV if hashing.maglev is not None else Algorithm.RING_HASH
    return LoadBalancing(algorithm, hash_key(hashing), 0 if problem else size, warmup)


def hash_key(hashing: dr.ConsistentHash) -> HashKey | None:
    if hashing.http_header_name:
        return HashKey(header=hashing.http_header_name)
    if hashing.http_cookie is not None:
        cookie = hashing.http_cookie
        attributes = tuple((item.name, item.value) for item in cookie.attributes)
        return HashKey(
            cookie=cookie.name,
            cookie_path=cookie.path,
            cookie_ttl=cookie.ttl,
            cookie_attributes=attributes,
        )
    if hashing.http_query_parameter_name:
        return HashKey(query_parameter=hashing.http_query_parameter_name)
    return HashKey(source_ip=True) if hashing.use_source_ip else None


def with_mesh_defaults(policy: BackendPolicy, chosen: Effective, config: MeshConfig) -> BackendPolicy:
    """The policy with the mesh's connection settings in the place of what nobody has said."""
    said = (chosen.connection_pool.value.tcp if chosen.connection_pool else None) or dr.TCPSettings()
    values: dict[str, object] = {}
    if config.connect_timeout is not None and said.connect_timeout is None:
        values["connect_timeout"] = config.connect_timeout
    if config.tcp_keepalive is not None and said.tcp_keepalive is None:
        values["keepalive"] = _keepalive(config.tcp_keepalive)
    if not values:
        return policy
    return msgspec.structs.replace(policy, connections=msgspec.structs.replace(policy.connections, **values))


def _keepalive(value: dr.TCPKeepalive) -> Keepalive:
    return Keepalive(value.probes, value.time, value.interval)


def connections(pool: dr.ConnectionPoolSettings) -> Connections:
    tcp = pool.tcp or dr.TCPSettings()
    http = pool.http or dr.HTTPSettings()
    keepalive = tcp.tcp_keepalive
    default = Connections()
    return Connections(
        max_connections=tcp.max_connections,
        connect_timeout=tcp.connect_timeout or default.connect_timeout,
        keepalive=_keepalive(keepalive) if keepalive else None,
        max_duration=tcp.max_connection_duration,
        tcp_idle_timeout=tcp.idle_timeout,
        max_pending_requests=http.http1_max_pending_requests,
        max_requests=http.http2_max_requests,
        max_requests_per_connection=http.max_requests_per_connection,
        max_retries=http.max_retries,
        http_idle_timeout=http.idle_timeout,
        max_concurrent_streams=http.max_concurrent_streams,
        upgrade_to_http2={"UPGRADE": True, "DO_NOT_UPGRADE": False}.get(http.h2_upgrade_policy),
        use_client_protocol=http.use_client_protocol,
        http2_keepalive=_http2_keepalive(http.http2_keep_alive),
    )


def _http2_keepalive(keepalive: dr.HTTP2KeepAlive | None) -> Http2Keepalive | None:
    if keepalive is None or keepalive.interval is None:
        return None
    return Http2Keepalive(keepalive.interval, keepalive.timeout or _DEFAULT_PING_TIMEOUT)


def _retry_budget(budget: dr.RetryBudget) -> RetryBudget:
    percent = 20.0 if budget.percent is None else budget.percent
    return RetryBudget(percent, 3 if budget.min_retry_concurrency is None else budget.min_retry_concurrency)


def outlier_detection(outlier: dr.OutlierDetection) -> Outlier:
    five_hundreds = outlier.consecutive_5xx_errors
    if five_hundreds is None:
        five_hundreds = outlier.consecutive_errors
    return Outlier(
        consecutive_5xx=five_hundreds,
        consecutive_gateway=outlier.consecutive_gateway_errors,
        consecutive_local_origin=outlier.consecutive_local_origin_failures,
        split_local_origin=outlier.split_external_local_origin_errors,
        interval=_positive(outlier.interval),
        base_ejection_time=_positive(outlier.base_ejection_time),
        max_ejection_percent=outlier.max_ejection_percent,
        min_health_percent=outlier.min_health_percent or 0,
        error_statuses=tuple(sorted(set(outlier.outlier_detection_http_error_codes))),
    )


def _positive(duration: Duration | None) -> Duration | None:
    return duration if duration is not None and duration.nanoseconds > 0 else None


class TcpOptions(msgspec.Struct, frozen=True, gc=False):
    """What the policy of a destination says about the connections that are passed on to it."""

    idle_timeout: Duration | None = None
    max_duration: Duration | None = None
    hash_source_ip: bool = False
    tunnel: Tunnel | None = None


def tcp_options(chosen: Effective) -> TcpOptions:
    tcp = (chosen.connection_pool.value.tcp if chosen.connection_pool else None) or dr.TCPSettings()
    key = load_balancing(chosen.load_balancer.value).hash_key if chosen.load_balancer else None
    tunnel = None
    if chosen.tunnel:
        settings = chosen.tunnel.value
        host = f"[{settings.target_host}]" if ":" in settings.target_host else settings.target_host
        tunnel = Tunnel(f"{host}:{settings.target_port}", settings.protocol.upper() == "POST")
    return TcpOptions(tcp.idle_timeout, tcp.max_connection_duration, key is not None and key.source_ip, tunnel)
