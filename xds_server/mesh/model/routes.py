"""The one neutral form of VirtualService, HTTPRoute and Ingress."""

from __future__ import annotations

import enum
from collections.abc import Sequence

import msgspec

from xds_server.kube.units import Duration
from xds_server.mesh.model.backends import HashKey
from xds_server.mesh.model.base import Labels, Value
from xds_server.mesh.origin import Origin


class StringMatchKind(enum.Enum):
    EXACT = "exact"
    PREFIX = "prefix"
    PATH_PREFIX = "path_prefix"  # by whole path segments; for paths only
    REGEX = "regex"  # RE2, the whole value
    PRESENT = "present"


class StringMatch(msgspec.Struct, frozen=True, gc=False):
    kind: StringMatchKind
    value: str = ""
    ignore_case: bool = False


class HeaderMatch(msgspec.Struct, frozen=True, gc=False):
    """name: a header, or `:method`, `:authority`, `:scheme`. invert: matches when the header does not."""

    name: str
    match: StringMatch
    invert: bool = False


class QueryMatch(msgspec.Struct, frozen=True, gc=False):
    name: str
    match: StringMatch


class Match(msgspec.Struct, frozen=True, gc=False):
    path: StringMatch = StringMatch(StringMatchKind.PREFIX, "/")
    headers: tuple[HeaderMatch, ...] = ()
    query: tuple[QueryMatch, ...] = ()


class HeaderEdits(msgspec.Struct, frozen=True, gc=False):
    """Changes to the headers of one direction, in Envoy's value syntax."""

    set: Labels = ()
    add: Labels = ()
    remove: tuple[str, ...] = ()


class Destination(msgspec.Struct, frozen=True, gc=False):
    """backend: the name of a `Backend`. host_rewrite: replaces the Host header."""

    backend: str
    weight: int = 1
    request_headers: HeaderEdits = HeaderEdits()
    response_headers: HeaderEdits = HeaderEdits()
    host_rewrite: str = ""


class Retry(msgspec.Struct, frozen=True, gc=False):
    """attempts: retries after the first try. on: Envoy's retry conditions. status_codes: also retried."""

    attempts: int
    on: tuple[str, ...]
    status_codes: tuple[int, ...] = ()
    per_try_timeout: Duration | None = None
    backoff: Duration | None = None
    avoid_previous_hosts: bool = True
    other_localities: bool = False


class Rewrite(msgspec.Struct, frozen=True, gc=False):
    """At most one of prefix, regex (with substitution) and path; host replaces the Host header."""

    prefix: str | None = None
    path: str | None = None
    regex: str = ""
    substitution: str = ""
    host: str = ""


class Mirror(msgspec.Struct, frozen=True, gc=False):
    """percent: of the requests, from 0 to 100."""

    backend: str
    percent: float = 100.0


class Forward(msgspec.Struct, frozen=True, gc=False):
    """timeout None: no limit."""

    destinations: tuple[Destination, ...]
    timeout: Duration | None = None
    retry: Retry | None = None
    rewrite: Rewrite | None = None
    mirrors: tuple[Mirror, ...] = ()
    hash_keys: tuple[HashKey, ...] = ()


class Redirect(msgspec.Struct, frozen=True, gc=False):
    """Empty fields stay as in the request. port None: none with another host, else that of the Host header,
    but not the old scheme's own with another scheme. path replaces the whole path, prefix the part that matched.
    """

    code: int = 301
    scheme: str = ""
    host: str = ""
    port: int | None = None
    path: str = ""
    prefix: str = ""


class Respond(msgspec.Struct, frozen=True, gc=False):
    status: int
    body: bytes = b""


class Fault(msgspec.Struct, frozen=True, gc=False):
    """Percentages from 0 to 100. grpc_status: a number of the gRPC status codes."""

    delay: Duration | None = None
    delay_percent: float = 100.0
    http_status: int | None = None
    grpc_status: int | None = None
    abort_percent: float = 0.0


class Cors(msgspec.Struct, frozen=True, gc=False):
    allow_origins: tuple[StringMatch, ...] = ()
    allow_methods: tuple[str, ...] = ()
    allow_headers: tuple[str, ...] = ()
    expose_headers: tuple[str, ...] = ()
    max_age: Duration | None = None
    allow_credentials: bool | None = None
    forward_unmatched_preflights: bool = True


class Route(Value, frozen=True, eq=False, gc=False):
    name: str
    match: Match
    action: Forward | Redirect | Respond
    origin: Origin
    request_headers: HeaderEdits = HeaderEdits()
    response_headers: HeaderEdits = HeaderEdits()
    fault: Fault | None = None
    cors: Cors | None = None
    stat_prefix: str = ""


class VirtualHost(Value, frozen=True, eq=False, gc=False):
    """domains as a client writes them in Host. require_tls: plaintext requests are redirected (301).
    http3_port: the UDP port where clients are told that HTTP/3 is served too; 0 for none.
    origins: what made it, beside its routes."""

    name: str
    domains: tuple[str, ...]
    routes: tuple[Route, ...]
    require_tls: bool = False
    http3_port: int = 0
    origins: tuple[Origin, ...] = ()


class RouteTable(Value, frozen=True, eq=False, gc=False):
    """virtual_hosts: a tuple, or `Pieces` of which those that did not change are known.
    ports_in_domains: the port in a request's Host counts; otherwise it is not looked at.
    in_client: a proxyless gRPC client reads it."""

    name: str
    virtual_hosts: Sequence[VirtualHost]
    origins: tuple[Origin, ...]
    ports_in_domains: bool = False
    in_client: bool = False
