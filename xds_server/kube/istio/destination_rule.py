"""Istio's DestinationRule: subsets of a host, and how to talk to it."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, field

from xds_server.kube.istio.virtual_service import PortSelector
from xds_server.kube.meta import Ignored, Model, Object
from xds_server.kube.rules import at_most_one, check
from xds_server.kube.units import (
    Count,
    Duration,
    NonEmpty,
    Percent,
    Port,
    PositiveDuration,
    UInt32,
    UInt64,
    WholePercent,
)

NonNegative = Annotated[float, Meta(ge=0)]
ErrorStatus = Annotated[int, Meta(ge=100, le=599)]


class CookieAttribute(Model, frozen=True, eq=False, gc=False):
    name: NonEmpty
    value: str = ""


class HTTPCookie(Model, frozen=True, eq=False, gc=False):
    """ttl 0s: a session cookie; None: the cookie is not generated."""

    name: NonEmpty
    path: str = ""
    ttl: Duration | None = None
    attributes: tuple[CookieAttribute, ...] = ()


class RingHash(Model, frozen=True, eq=False, gc=False):
    minimum_ring_size: UInt64 | None = None


class Maglev(Model, frozen=True, eq=False, gc=False):
    table_size: UInt64 | None = None


class ConsistentHash(Model, frozen=True, eq=False, gc=False):
    """minimum_ring_size is deprecated in favour of ring_hash."""

    http_header_name: str | None = None
    http_cookie: HTTPCookie | None = None
    use_source_ip: bool | None = None
    http_query_parameter_name: str | None = None
    ring_hash: RingHash | None = None
    maglev: Maglev | None = None
    minimum_ring_size: UInt64 | None = None

    def __post_init__(self) -> None:
        check(
            at_most_one(self, "http_header_name", "http_cookie", "use_source_ip", "http_query_parameter_name"),
            at_most_one(self, "ring_hash", "maglev"),
        )


class Distribute(Model, frozen=True, eq=False, gc=False):
    """to: percent of the traffic by locality."""

    from_: str = field(name="from", default="")
    to: dict[str, UInt32] = {}


class Failover(Model, frozen=True, eq=False, gc=False):
    from_: str = field(name="from", default="")
    to: str = ""


class LocalityLbSetting(Model, frozen=True, eq=False, gc=False):
    NULLABLE = frozenset({"enabled"})

    distribute: tuple[Distribute, ...] = ()
    failover: tuple[Failover, ...] = ()
    failover_priority: tuple[str, ...] = ()
    enabled: bool | None = None

    def __post_init__(self) -> None:
        check(at_most_one(self, "distribute", "failover"))


class ZoneAwareLbSetting(Model, frozen=True, eq=False, gc=False):
    NULLABLE = frozenset({"enabled", "minClusterSize"})

    enabled: bool | None = None
    failover: tuple[Failover, ...] = ()
    failover_priority: tuple[str, ...] = ()
    min_cluster_size: Annotated[int, Meta(ge=1)] | None = None


class Warmup(Model, frozen=True, eq=False, gc=False):
    NULLABLE = frozenset({"aggression", "minimumPercent"})

    duration: PositiveDuration
    minimum_percent: Percent | None = None
    aggression: NonNegative | None = None


class LoadBalancerSettings(Model, frozen=True, eq=False, gc=False):
    """warmup_duration_secs is deprecated in favour of warmup, LEAST_CONN in favour of LEAST_REQUEST."""

    simple: Literal["UNSPECIFIED", "LEAST_CONN", "RANDOM", "PASSTHROUGH", "ROUND_ROBIN", "LEAST_REQUEST"] | None = None
    consistent_hash: ConsistentHash | None = None
    locality_lb_setting: LocalityLbSetting | None = None
    zone_aware_lb_setting: ZoneAwareLbSetting | None = None
    warmup_duration_secs: PositiveDuration | None = None
    warmup: Warmup | None = None

    def __post_init__(self) -> None:
        check(at_most_one(self, "simple", "consistent_hash"))


class TCPKeepalive(Model, frozen=True, eq=False, gc=False):
    probes: UInt32 | None = None
    time: PositiveDuration | None = None
    interval: PositiveDuration | None = None


class TCPSettings(Model, frozen=True, eq=False, gc=False):
    max_connections: Count | None = None
    connect_timeout: PositiveDuration | None = None
    tcp_keepalive: TCPKeepalive | None = None
    max_connection_duration: PositiveDuration | None = None
    idle_timeout: PositiveDuration | None = None


class HTTP2KeepAlive(Model, frozen=True, eq=False, gc=False):
    interval: PositiveDuration | None = None
    timeout: PositiveDuration | None = None


class HTTPSettings(Model, frozen=True, eq=False, gc=False):
    http1_max_pending_requests: Count | None = None
    http2_max_requests: Count | None = None
    max_requests_per_connection: Count | None = None
    max_retries: Count | None = None
    idle_timeout: PositiveDuration | None = None
    h2_upgrade_policy: Literal["DEFAULT", "DO_NOT_UPGRADE", "UPGRADE"] = "DEFAULT"
    use_client_protocol: bool = False
    max_concurrent_streams: Count | None = None
    http2_keep_alive: HTTP2KeepAlive | None = None


class ConnectionPoolSettings(Model, frozen=True, eq=False, gc=False):
    tcp: TCPSettings | None = None
    http: HTTPSettings | None = None


class OutlierDetection(Model, frozen=True, eq=False, gc=False):
    """consecutive_errors is deprecated in favour of consecutive_5xx_errors and consecutive_gateway_errors."""

    NULLABLE = frozenset({"consecutive5xxErrors", "consecutiveGatewayErrors", "consecutiveLocalOriginFailures"})

    consecutive_errors: Count | None = None
    consecutive_5xx_errors: UInt32 | None = field(name="consecutive5xxErrors", default=None)
    consecutive_gateway_errors: UInt32 | None = None
    consecutive_local_origin_failures: UInt32 | None = None
    split_external_local_origin_errors: bool = False
    interval: PositiveDuration | None = None
    base_ejection_time: PositiveDuration | None = None
    max_ejection_percent: WholePercent | None = None
    min_health_percent: WholePercent | None = None
    outlier_detection_http_error_codes: tuple[ErrorStatus, ...] = ()


class ClientTLSSettings(Model, frozen=True, eq=False, gc=False):
    NULLABLE = frozenset({"insecureSkipVerify"})

    mode: Literal["DISABLE", "SIMPLE", "MUTUAL", "ISTIO_MUTUAL"] = "DISABLE"
    client_certificate: str = ""
    private_key: str = ""
    ca_certificates: str = ""
    ca_crl: str = ""
    credential_name: str = ""
    subject_alt_names: tuple[str, ...] = ()
    sni: str = ""
    insecure_skip_verify: bool | None = None


class TunnelSettings(Model, frozen=True, eq=False, gc=False):
    target_host: str
    target_port: Port
    protocol: str = ""


class ProxyProtocol(Model, frozen=True, eq=False, gc=False):
    version: Literal["V1", "V2"] = "V1"


class RetryBudget(Model, frozen=True, eq=False, gc=False):
    NULLABLE = frozenset({"percent"})

    percent: Percent | None = None
    min_retry_concurrency: UInt32 | None = None
    budget_interval: Duration | None = None


class PortTrafficPolicy(Model, frozen=True, eq=False, gc=False):
    port: PortSelector | None = None
    load_balancer: LoadBalancerSettings | None = None
    connection_pool: ConnectionPoolSettings | None = None
    outlier_detection: OutlierDetection | None = None
    tls: ClientTLSSettings | None = None


class TrafficPolicy(Model, frozen=True, eq=False, gc=False):
    load_balancer: LoadBalancerSettings | None = None
    connection_pool: ConnectionPoolSettings | None = None
    outlier_detection: OutlierDetection | None = None
    tls: ClientTLSSettings | None = None
    port_level_settings: tuple[PortTrafficPolicy, ...] = ()
    tunnel: TunnelSettings | None = None
    proxy_protocol: ProxyProtocol | None = None
    retry_budget: RetryBudget | None = None


class Subset(Model, frozen=True, eq=False, gc=False):
    name: NonEmpty
    labels: dict[str, str] = {}
    traffic_policy: TrafficPolicy | None = None


class WorkloadSelector(Model, frozen=True, eq=False, gc=False):
    match_labels: dict[str, str] = {}


class DestinationRuleSpec(Model, frozen=True, eq=False, gc=False):
    host: NonEmpty
    traffic_policy: TrafficPolicy | None = None
    subsets: tuple[Subset, ...] = ()
    export_to: tuple[str, ...] = ()
    workload_selector: WorkloadSelector | None = None


class DestinationRule(Object, frozen=True, eq=False, gc=False):
    GROUP = "networking.istio.io"
    KIND = "DestinationRule"

    spec: DestinationRuleSpec
    status: Ignored | None = None
