"""Where requests can go, and with which policy."""

from __future__ import annotations

import enum

import msgspec

from xds_server.kube.units import Duration
from xds_server.mesh.model.base import Labels, Value
from xds_server.mesh.model.services import Discovery, Endpoint, Locality, ServicePort
from xds_server.mesh.origin import Origin

LocalityWeights = tuple[tuple[Locality, int], ...]
"""Sorted by locality."""


class Algorithm(enum.Enum):
    LEAST_REQUEST = "least_request"
    ROUND_ROBIN = "round_robin"
    RANDOM = "random"
    RING_HASH = "ring_hash"
    MAGLEV = "maglev"
    PASSTHROUGH = "passthrough"


class HashKey(msgspec.Struct, frozen=True, gc=False):
    """What consistent hashing looks at: exactly one of header, cookie, query_parameter, source_ip."""

    header: str = ""
    cookie: str = ""
    cookie_path: str = ""
    cookie_ttl: Duration | None = None
    cookie_attributes: Labels = ()
    query_parameter: str = ""
    source_ip: bool = False


class Warmup(msgspec.Struct, frozen=True, gc=False):
    """Percentages from 0 to 100."""

    duration: Duration
    minimum_percent: float = 10.0
    aggression: float = 1.0


class LoadBalancing(msgspec.Struct, frozen=True, gc=False):
    """table_size: ring size of RING_HASH, table size of MAGLEV; 0 for the default.
    weighted_localities: the localities' weights are shares of the traffic, whatever endpoints they have."""

    algorithm: Algorithm = Algorithm.LEAST_REQUEST
    hash_key: HashKey | None = None
    table_size: int = 0
    warmup: Warmup | None = None
    weighted_localities: bool = False


class Keepalive(msgspec.Struct, frozen=True, gc=False):
    probes: int | None = None
    time: Duration | None = None
    interval: Duration | None = None


class Http2Keepalive(msgspec.Struct, frozen=True, gc=False):
    """A ping each interval; the connection is closed when none is answered within the timeout."""

    interval: Duration
    timeout: Duration


class Connections(msgspec.Struct, frozen=True, gc=False):
    """Limits and time-outs of a connection pool; None: no limit, or Envoy's default for the times."""

    max_connections: int | None = None
    connect_timeout: Duration = Duration(10 * 10**9)
    keepalive: Keepalive | None = None
    max_duration: Duration | None = None
    tcp_idle_timeout: Duration | None = None
    max_pending_requests: int | None = None
    max_requests: int | None = None
    max_requests_per_connection: int | None = None
    max_retries: int | None = None
    http_idle_timeout: Duration | None = None
    max_concurrent_streams: int | None = None
    upgrade_to_http2: bool | None = None
    use_client_protocol: bool = False
    http2_keepalive: Http2Keepalive | None = None


class RetryBudget(msgspec.Struct, frozen=True, gc=False):
    percent: float
    min_concurrency: int = 3


class Outlier(msgspec.Struct, frozen=True, gc=False):
    """None: Envoy's default. 0 for a consecutive_* switches that check off.
    error_statuses: the HTTP statuses that count as errors, in the place of all of 500 to 599.
    all_failed: an endpoint is also ejected when it failed every request of an interval in which it got so many."""

    consecutive_5xx: int | None = None
    consecutive_gateway: int | None = None
    consecutive_local_origin: int | None = None
    split_local_origin: bool = False
    interval: Duration | None = None
    base_ejection_time: Duration | None = None
    max_ejection_percent: int | None = None
    min_health_percent: int = 0
    error_statuses: tuple[int, ...] = ()
    all_failed: int = 0


class ClientTLS(msgspec.Struct, frozen=True, gc=False):
    """TLS towards a backend. Names are those of secrets (`mesh.names`), empty for none.
    trust: the secret of certificate authorities, empty for the system's. verify: check the certificate."""

    sni: str = ""
    certificate: str = ""
    trust: str = ""
    subject_alt_names: tuple[str, ...] = ()
    verify: bool = True


class BackendPolicy(msgspec.Struct, frozen=True, gc=False):
    """proxy_protocol: the version of the PROXY header that connections begin with, 0 for none."""

    load_balancing: LoadBalancing = LoadBalancing()
    connections: Connections = Connections()
    outlier: Outlier | None = None
    retry_budget: RetryBudget | None = None
    tls: ClientTLS | None = None
    proxy_protocol: int = 0


class Backend(Value, frozen=True, eq=False, gc=False):
    """Where requests can go: one port of a service, or one subset of it. `name` is the cluster's.
    fixed: the names to resolve, with `Discovery.DNS` and `DNS_ROUND_ROBIN`, or the addresses, with `FIXED`;
    else the endpoints come apart, as `BackendEndpoints`, so that a change of them does not touch the backend.
    source_address: the proxy's own end of its connections to the backend.
    locality_weights: shares of the traffic, for localities that do not weigh as much as their endpoints."""

    name: str
    host: str
    port: ServicePort
    policy: BackendPolicy
    discovery: Discovery
    origins: tuple[Origin, ...]
    subset: str = ""
    external: bool = False
    fixed: tuple[Endpoint, ...] = ()
    source_address: str = ""
    locality_weights: LocalityWeights = ()


class BackendEndpoints(Value, frozen=True, eq=False, gc=False):
    """The endpoints of the backend `name`, sorted. locality_weights: as of a backend."""

    name: str
    endpoints: tuple[Endpoint, ...]
    origins: tuple[Origin, ...]
    locality_weights: LocalityWeights = ()
