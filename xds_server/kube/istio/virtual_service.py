"""Istio's VirtualService: which request, connection or SNI goes to which destination."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, field

from xds_server.kube.meta import Ignored, Model, Object
from xds_server.kube.rules import at_most_one, check
from xds_server.kube.units import Count, NonEmpty, Percent, Port, PositiveDuration, WholePercent

HttpStatus = Annotated[int, Meta(ge=200, le=599)]


class StringMatch(Model, frozen=True, eq=False, gc=False):
    """None of the three: the header or parameter is present."""

    exact: str | None = None
    prefix: str | None = None
    regex: str | None = None

    def __post_init__(self) -> None:
        check(at_most_one(self, "exact", "prefix", "regex"))


class HTTPMatchRequest(Model, frozen=True, eq=False, gc=False):
    name: str = ""
    uri: StringMatch | None = None
    scheme: StringMatch | None = None
    method: StringMatch | None = None
    authority: StringMatch | None = None
    headers: dict[str, StringMatch] = {}
    without_headers: dict[str, StringMatch] = {}
    query_params: dict[str, StringMatch] = {}
    ignore_uri_case: bool = False
    port: Port | None = None
    source_labels: dict[str, str] = {}
    source_namespace: str = ""
    gateways: tuple[str, ...] = ()
    stat_prefix: str = ""


class PortSelector(Model, frozen=True, eq=False, gc=False):
    number: Port | None = None


class Destination(Model, frozen=True, eq=False, gc=False):
    host: NonEmpty
    subset: str = ""
    port: PortSelector | None = None


class HeaderOperations(Model, frozen=True, eq=False, gc=False):
    set: dict[str, str] = {}
    add: dict[str, str] = {}
    remove: tuple[str, ...] = ()


class Headers(Model, frozen=True, eq=False, gc=False):
    request: HeaderOperations | None = None
    response: HeaderOperations | None = None


class HTTPRouteDestination(Model, frozen=True, eq=False, gc=False):
    destination: Destination
    weight: Count = 0
    headers: Headers | None = None


class RouteDestination(Model, frozen=True, eq=False, gc=False):
    destination: Destination
    weight: Count = 0


class HTTPRedirect(Model, frozen=True, eq=False, gc=False):
    uri: str = ""
    prefix_rewrite: str = ""
    authority: str = ""
    scheme: str = ""
    port: Port | None = None
    derive_port: Literal["FROM_PROTOCOL_DEFAULT", "FROM_REQUEST_PORT"] | None = None
    redirect_code: Literal[301, 302, 303, 307, 308] | None = None

    def __post_init__(self) -> None:
        check(at_most_one(self, "port", "derive_port"))


class HTTPBody(Model, frozen=True, eq=False, gc=False):
    string: str | None = None
    bytes_: bytes | None = field(name="bytes", default=None)

    def __post_init__(self) -> None:
        check(at_most_one(self, "string", "bytes_"))


class HTTPDirectResponse(Model, frozen=True, eq=False, gc=False):
    status: HttpStatus
    body: HTTPBody | None = None


class Delegate(Model, frozen=True, eq=False, gc=False):
    name: str = ""
    namespace: str = ""


class RegexRewrite(Model, frozen=True, eq=False, gc=False):
    match: str = ""
    rewrite: str = ""


class HTTPRewrite(Model, frozen=True, eq=False, gc=False):
    uri: str = ""
    authority: str = ""
    uri_regex_rewrite: RegexRewrite | None = None


class HTTPRetry(Model, frozen=True, eq=False, gc=False):
    NULLABLE = frozenset({"retryIgnorePreviousHosts", "retryRemoteLocalities"})

    attempts: Count | None = None
    per_try_timeout: PositiveDuration | None = None
    retry_on: str = ""
    retry_remote_localities: bool | None = None
    retry_ignore_previous_hosts: bool | None = None
    backoff: PositiveDuration | None = None


class Percentage(Model, frozen=True, eq=False, gc=False):
    """value: from 0 to 100."""

    value: Percent = 0.0


class Delay(Model, frozen=True, eq=False, gc=False):
    """percent is deprecated in favour of percentage."""

    fixed_delay: PositiveDuration | None = None
    exponential_delay: PositiveDuration | None = None
    percentage: Percentage | None = None
    percent: WholePercent | None = None

    def __post_init__(self) -> None:
        check(at_most_one(self, "fixed_delay", "exponential_delay"))


class Abort(Model, frozen=True, eq=False, gc=False):
    http_status: HttpStatus | None = None
    grpc_status: str | None = None
    http2_error: str | None = None
    percentage: Percentage | None = None

    def __post_init__(self) -> None:
        check(at_most_one(self, "http_status", "grpc_status", "http2_error"))


class HTTPFaultInjection(Model, frozen=True, eq=False, gc=False):
    delay: Delay | None = None
    abort: Abort | None = None


class HTTPMirrorPolicy(Model, frozen=True, eq=False, gc=False):
    destination: Destination
    percentage: Percentage | None = None


class CorsPolicy(Model, frozen=True, eq=False, gc=False):
    """allow_origin is deprecated in favour of allow_origins."""

    NULLABLE = frozenset({"allowCredentials"})

    allow_origins: tuple[StringMatch, ...] = ()
    allow_origin: tuple[str, ...] = ()
    allow_methods: tuple[str, ...] = ()
    allow_headers: tuple[str, ...] = ()
    expose_headers: tuple[str, ...] = ()
    max_age: PositiveDuration | None = None
    allow_credentials: bool | None = None
    unmatched_preflights: Literal["UNSPECIFIED", "FORWARD", "IGNORE"] = "UNSPECIFIED"


class HTTPRoute(Model, frozen=True, eq=False, gc=False):
    """mirror and the percents beside it are older forms of mirrors; mirror_percent_old is written mirror_percent."""

    NULLABLE = frozenset({"mirrorPercent", "mirror_percent"})

    name: str = ""
    match: tuple[HTTPMatchRequest, ...] = ()
    route: tuple[HTTPRouteDestination, ...] = ()
    redirect: HTTPRedirect | None = None
    direct_response: HTTPDirectResponse | None = None
    delegate: Delegate | None = None
    rewrite: HTTPRewrite | None = None
    timeout: PositiveDuration | None = None
    retries: HTTPRetry | None = None
    fault: HTTPFaultInjection | None = None
    mirror: Destination | None = None
    mirrors: tuple[HTTPMirrorPolicy, ...] = ()
    mirror_percentage: Percentage | None = None
    mirror_percent: WholePercent | None = None
    mirror_percent_old: WholePercent | None = field(name="mirror_percent", default=None)
    cors_policy: CorsPolicy | None = None
    headers: Headers | None = None


class L4MatchAttributes(Model, frozen=True, eq=False, gc=False):
    destination_subnets: tuple[str, ...] = ()
    port: Port | None = None
    source_subnet: str = ""
    source_labels: dict[str, str] = {}
    source_namespace: str = ""
    gateways: tuple[str, ...] = ()


class TLSMatchAttributes(Model, frozen=True, eq=False, gc=False):
    sni_hosts: tuple[str, ...]
    destination_subnets: tuple[str, ...] = ()
    port: Port | None = None
    source_labels: dict[str, str] = {}
    source_namespace: str = ""
    gateways: tuple[str, ...] = ()


class TCPRoute(Model, frozen=True, eq=False, gc=False):
    match: tuple[L4MatchAttributes, ...] = ()
    route: tuple[RouteDestination, ...] = ()


class TLSRoute(Model, frozen=True, eq=False, gc=False):
    match: tuple[TLSMatchAttributes, ...]
    route: tuple[RouteDestination, ...] = ()


class VirtualServiceSpec(Model, frozen=True, eq=False, gc=False):
    hosts: tuple[str, ...] = ()
    gateways: tuple[str, ...] = ()
    http: tuple[HTTPRoute, ...] = ()
    tls: tuple[TLSRoute, ...] = ()
    tcp: tuple[TCPRoute, ...] = ()
    export_to: tuple[str, ...] = ()


class VirtualService(Object, frozen=True, eq=False, gc=False):
    GROUP = "networking.istio.io"
    KIND = "VirtualService"

    spec: VirtualServiceSpec = VirtualServiceSpec()
    status: Ignored | None = None
