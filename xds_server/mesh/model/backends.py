"""Where requests can go, and with which policy."""

from __future__ import annotations

import enum

import msgspec

from xds_server.kube.units import Duration
from xds_server.mesh.model.base import Labels, Value
from xds_server.mesh.model.services import Discovery, Endpoint, ServicePort
from xds_server.mesh.origin import Origin


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
    """table_size: ring size of RING_HASH, table size of MAGLEV; 0 for the default."""

    algorithm: Algorithm = Algorithm.LEAST_REQUEST
    hash_key: HashKey | None = None
    table_size: int = 0
    warmup: Warmup | None = None


class Keepalive(msgspec.Struct, frozen=True, gc=False):
    probes: int | None = None
    time: Duration | None = None
    interval: Duration | None = None


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


class RetryBudget(msgspec.Struct, frozen=True, gc=False):
    percent: float
    min_concurrency: int = 3


class Outlier(msgspec.Struct, frozen=True, gc=False):
    """None: Envoy's default. 0 for a consecutive_* switches that check off."""

    consecutive_5xx: int | None = None
    consecutive_gateway: int | None = None
    consecutive_local_origin: int | None = None
    split_local_origin: bool = False
    interval: Duration | None = None
    base_ejection_time: Duration | None = None
    max_ejection_percent: int | None = None
    min_health_percent: int = 0


class ClientTLS(msgspec.Struct, frozen=True, gc=False):
    """TLS towards a backend. Names are those of secrets (`mesh.names`), empty for none.
    trust: the secret of certificate authorities, empty for the system's. verify: check the certificate."""

    sni: str = ""
    certificate: str = ""
    trust: str = ""
    subject_alt_names: tuple[str, ...] = ()
    verify: bool = True


class BackendPolicy(msgspec.Struct, frozen=True, gc=False):
    load_balancing: LoadBalancing = LoadBalancing()
    connections: Connections = Connections()
    outlier: Outlier | None = None
    retry_budget: RetryBudget | None = None
    tls: ClientTLS | None = None


class Backend(Value, frozen=True, eq=False, gc=False):
    """Where requests can go: one port of a service, or one subset of it. `name` is the cluster's.
    fixed: the names to resolve, with `Discovery.DNS` and `DNS_ROUND_ROBIN`, or the addresses, with `FIXED`;
    else the endpoints come apart, as `BackendEndpoints`, so that a change of them does not touch the backend.
    source_address: the proxy's own end of its connections to the backend."""

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


class BackendEndpoints(Value, frozen=True, eq=False, gc=False):
    """The endpoints of the backend `name`, sorted."""

    name: str
    endpoints: tuple[Endpoint, ...]
    origins: tuple[Origin, ...]
