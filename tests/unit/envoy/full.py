"""A view that uses every field of the neutral model, and that a real Envoy accepts."""

from __future__ import annotations

from typing import Any

from xds_server.diagnostics import ObjectRef
from xds_server.kube.units import Duration
from xds_server.mesh.model import (
    Algorithm,
    ApiListener,
    Backend,
    BackendEndpoints,
    BackendPolicy,
    Certificate,
    CertificateFiles,
    Chain,
    ChainMatch,
    ClientCertificate,
    ClientTLS,
    Connections,
    Cors,
    Destination,
    Direction,
    Discovery,
    Endpoint,
    Fault,
    Forward,
    GrpcServer,
    HashKey,
    HeaderEdits,
    HeaderMatch,
    Health,
    Http,
    Http2Keepalive,
    Keepalive,
    Listener,
    LoadBalancing,
    Locality,
    LocalityWeights,
    Match,
    Mirror,
    NameTable,
    Outlier,
    Protocol,
    QueryMatch,
    Redirect,
    Respond,
    Retry,
    RetryBudget,
    Rewrite,
    Route,
    RouteTable,
    ServerTLS,
    ServicePort,
    StringMatch,
    StringMatchKind,
    Tcp,
    Trust,
    TrustFiles,
    Tunnel,
    View,
    VirtualHost,
    Warmup,
)
from xds_server.mesh.origin import Origin

ORIGIN = Origin(ObjectRef("networking.istio.io", "VirtualService", "default", "web"), ("spec",))
MORE = (Origin(ObjectRef("", "Service", "default", "web")),)
HASH = "df6ff72fe9116521268f6f2dd4966f51df479883fe7037b39f75916ac3049d1a"
SPKI = "NvqYIYSbgK2vCJpQhObf77vv+bQWtc5ek5RIOwPiC9A="


def seconds(value: float) -> Duration:
    return Duration(int(value * 10**9))


def string(kind: StringMatchKind, value: str = "", ignore_case: bool = False) -> StringMatch:
    return StringMatch(kind, value, ignore_case)


EXACT, PREFIX, PATH_PREFIX, REGEX, PRESENT = StringMatchKind
EDITS = HeaderEdits(set=(("x-set", "1"), ("x-empty", "")), add=(("x-add", "%PROTOCOL%"),), remove=("x-old",))
TLS = ClientTLS("web.example.com", "client-certificate", "client-trust", ("web.example.com", "spiffe://a/b"))
EVERYWHERE = (
    Endpoint("10.0.0.1", 8080, (("app", "web"),), Locality("r1", "z1", "s1"), 1),
    Endpoint("10.0.0.2", 8080, (), Locality("r1", "z1", "s1"), 3, Health.UNHEALTHY),
    Endpoint("10.0.1.1", 8080, (), Locality("r1", "z2"), 2, Health.DRAINING),
    Endpoint("/run/web.sock", 0),
    Endpoint("2001:db8::1", 8080),
)

FAILOVER = (EVERYWHERE[0], Endpoint("10.0.2.1", 8080, priority=1, more_addresses=("2001:db8::2",)))
SHARES = ((Locality("r1", "z1", "s1"), 70), (Locality("r1", "z2"), 30))

DEFAULT = BackendPolicy()


def backend(
    name: str,
    policy: BackendPolicy = DEFAULT,
    protocol: Protocol = Protocol.HTTP,
    discovery: Discovery = Discovery.ENDPOINTS,
    fixed: tuple[Endpoint, ...] = (),
    source_address: str = "",
    subset: str = "",
    external: bool = False,
    weights: LocalityWeights = (),
) -> Backend:
    return Backend(
        name=name,
        host=f"{name}.example.com",
        port=ServicePort(80, "http", protocol),
        policy=policy,
        discovery=discovery,
        origins=(ORIGIN, *MORE),
        subset=subset,
        external=external,
        locality_weights=weights,
        fixed=fixed,
        source_address=source_address,
    )


def balanced(algorithm: Algorithm, table_size: int = 0, warmup: Warmup | None = None) -> BackendPolicy:
    return BackendPolicy(load_balancing=LoadBalancing(algorithm, HashKey(header="x-user"), table_size, warmup))


CONNECTIONS = Connections(
    max_connections=100,
    connect_timeout=seconds(3),
    keepalive=Keepalive(3, seconds(30), seconds(7.5)),
    max_duration=seconds(3600),
    tcp_idle_timeout=seconds(60),
    max_pending_requests=10,
    max_requests=20,
    max_requests_per_connection=1000,
    max_retries=4,
    max_concurrent_streams=50,
    upgrade_to_http2=True,
    http2_keepalive=Http2Keepalive(seconds(30), seconds(5)),
)
OUTLIER = Outlier(5, 0, 3, True, seconds(5), seconds(15), 50, 25, (429, 503))
DNS_ENDPOINTS = (Endpoint("a.example.com", 443), Endpoint("b.example.com", 443, (), Locality("r2"), 9))

BACKENDS = (
    backend("limits", BackendPolicy(connections=CONNECTIONS, outlier=OUTLIER, retry_budget=RetryBudget(20.0, 5))),
    backend("idle", BackendPolicy(connections=Connections(http_idle_timeout=seconds(1)))),
    backend("mirrored-protocol", BackendPolicy(connections=Connections(use_client_protocol=True)), Protocol.AUTO),
    backend("no-checks", BackendPolicy(outlier=Outlier())),
    backend("subset", subset="v1", external=True),
    backend("tls", BackendPolicy(tls=TLS)),
    backend("tls-http2-by-request-host", BackendPolicy(tls=ClientTLS()), Protocol.HTTP2),
    backend("tls-by-sni", BackendPolicy(tls=ClientTLS(sni="web.example.com")), Protocol.TLS),
    backend("tls-of-our-own-authority", BackendPolicy(tls=ClientTLS(sni="web", trust="client-trust")), Protocol.GRPC),
    backend("tls-unverified", BackendPolicy(tls=ClientTLS(verify=False))),
    backend("least-request", balanced(Algorithm.LEAST_REQUEST, warmup=Warmup(seconds(60), 20.0, 2.0))),
    backend("round-robin", balanced(Algorithm.ROUND_ROBIN, warmup=Warmup(seconds(60)))),
    backend("random", balanced(Algorithm.RANDOM)),
    backend("ring-hash", balanced(Algorithm.RING_HASH, 2048)),
    backend("maglev", balanced(Algorithm.MAGLEV, 65537)),
    backend("passthrough", balanced(Algorithm.PASSTHROUGH)),
    backend("original", discovery=Discovery.ORIGINAL_DESTINATION),
    backend("dns", protocol=Protocol.TCP, discovery=Discovery.DNS, fixed=DNS_ENDPOINTS, weights=((Locality("r2"), 3),)),
    backend("dns-round-robin", discovery=Discovery.DNS_ROUND_ROBIN, fixed=DNS_ENDPOINTS[:1]),
    backend("inbound", discovery=Discovery.FIXED, fixed=(Endpoint("127.0.0.1", 8080),), source_address="127.0.0.6"),
    backend("proxy-protocol", BackendPolicy(proxy_protocol=2)),
    backend("proxy-protocol-and-tls", BackendPolicy(tls=TLS, proxy_protocol=1)),
    backend("shares", BackendPolicy(load_balancing=LoadBalancing(weighted_localities=True))),
    backend("nowhere"),
)


def assigned(name: str) -> BackendEndpoints:
    if name == "shares":
        return BackendEndpoints(name, FAILOVER, MORE, SHARES)
    return BackendEndpoints(name, () if name == "nowhere" else EVERYWHERE, MORE)


ENDPOINTS = tuple(
    assigned(each.name) for each in BACKENDS if each.discovery is Discovery.ENDPOINTS and each.name != "passthrough"
)

FORWARD = Forward(
    destinations=(
        Destination("limits", 20, EDITS, EDITS, "limits.example.com"),
        Destination("subset", 80),
        Destination("nowhere", 0),
    ),
    timeout=seconds(15),
    retry=Retry(2, ("connect-failure", "refused-stream"), (503, 504), seconds(2), seconds(0.1), True, True),
    rewrite=Rewrite(prefix="/v1/", host="rewritten.example.com"),
    mirrors=(Mirror("idle", 12.5), Mirror("nowhere", 0.0)),
    hash_keys=(
        HashKey(header="x-user"),
        HashKey(cookie="session", cookie_path="/", cookie_ttl=seconds(0), cookie_attributes=(("SameSite", "Lax"),)),
        HashKey(query_parameter="user"),
        HashKey(source_ip=True),
    ),
)
CORS = Cors(
    allow_origins=(
        string(EXACT, "https://a.example.com"),
        string(PREFIX, "https://b."),
        string(REGEX, r"https://.*\.c", True),
        string(PRESENT),
    ),
    allow_methods=("GET", "POST"),
    allow_headers=("x-a", "x-b"),
    expose_headers=("x-c",),
    max_age=seconds(600),
    allow_credentials=True,
    forward_unmatched_preflights=False,
)
MATCH = Match(
    path=string(PATH_PREFIX, "/shop/", True),
    headers=(
        HeaderMatch(":method", string(EXACT, "GET")),
        HeaderMatch("x-user", string(REGEX, "a+"), invert=True),
        HeaderMatch("x-here", string(PRESENT)),
        HeaderMatch("x-any", string(PREFIX, "")),
        HeaderMatch("x-case", string(PREFIX, "Ab", True)),
    ),
    query=(QueryMatch("debug", string(EXACT, "1")), QueryMatch("q", string(PRESENT))),
)


def route(name: str, match: Match, action: Forward | Redirect | Respond) -> Route:
    return Route(name, match, action, ORIGIN)


def forward(backend_name: str, rewrite: Rewrite | None = None, retry: Retry | None = None) -> Forward:
    return Forward((Destination(backend_name),), rewrite=rewrite, retry=retry)


def at(kind: StringMatchKind, path: str, ignore_case: bool = False) -> Match:
    return Match(path=string(kind, path, ignore_case))


ROUTES = (
    Route("everything", MATCH, FORWARD, ORIGIN, EDITS, EDITS, Fault(seconds(5), 10.0, 503, None, 0.1), CORS, "shop"),
    Route("grpc-fault", Match(), forward("idle"), ORIGIN, fault=Fault(grpc_status=14, abort_percent=1.0)),
    route("path", at(PATH_PREFIX, "/"), forward("idle", Rewrite(prefix="/v1"))),
    route("root", at(PATH_PREFIX, "/a.b", True), forward("idle", Rewrite(prefix="/"))),
    route("full", at(EXACT, "/full", True), forward("idle", Rewrite(path="/new\\1"))),
    route("regex", at(REGEX, "/r.*", True), forward("idle", Rewrite(regex="^/r/(.*)", substitution=r"/\1"))),
    route("no-retry", at(PREFIX, "/n"), forward("idle", retry=Retry(0, ("5xx",)))),
    route("plain-retry", at(PREFIX, "/p"), forward("idle", retry=Retry(1, ("5xx",), avoid_previous_hosts=False))),
    route("redirect", at(PREFIX, "/old"), Redirect(308, "https", "new.example.com", 8443, path="/new")),
    route("redirect-prefix", at(PATH_PREFIX, "/old"), Redirect(302, prefix="/newer")),
    route("respond", at(PREFIX, "/healthz"), Respond(200, b"ok")),
    route("gone", at(PREFIX, "/gone"), Respond(410)),
)

ROUTE_TABLES = (
    RouteTable(
        "http.8080",
        (
            VirtualHost("web:80", ("web.example.com", "*.example.com"), ROUTES),
            VirtualHost("secure:80", ("secure.example.com",), (), require_tls=True),
            VirtualHost("http3:443", ("http3.example.com",), (), http3_port=443, origins=MORE),
        ),
        MORE,
    ),
    RouteTable("http_proxy", (), MORE, ports_in_domains=True),
    RouteTable("grpc", (VirtualHost("grpc", ("*",), (route("all", Match(), forward("idle")),)),), MORE, in_client=True),
)

SERVER_TLS = ServerTLS(
    certificates=("server-certificate", "other-certificate"),
    trust="server-trust",
    client_certificate=ClientCertificate.REQUIRED,
    min_version="1.2",
    max_version="1.3",
    cipher_suites=("ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-GCM-SHA256"),
    subject_alt_names=("client.example.com", "spiffe://mesh/client", "me@example.com", "10.0.0.1"),
    certificate_hashes=(HASH,),
    certificate_spkis=(SPKI,),
)
HTTP = Http("http.8080", "outbound_http", edge=True)
TCP = Tcp((Destination("dns", 3), Destination("original", 1)), "tcp", seconds(60), seconds(3600), hash_source_ip=True)
TUNNELLED = Tcp((Destination("dns"),), "tunnelled", tunnel=Tunnel("web.example.com:443", post=True))


def chain(name: str, traffic: Http | Tcp, tls: ServerTLS | None = None, **match: Any) -> Chain:
    return Chain(name, ChainMatch(**match), traffic, tls, (ORIGIN,))


OPTIONAL_TLS = ServerTLS(("server-certificate",), "server-trust", ClientCertificate.OPTIONAL)
PINNED_TLS = ServerTLS(
    ("server-certificate",), client_certificate=ClientCertificate.REQUIRED, certificate_hashes=(HASH,)
)
QUIC_TLS = ServerTLS(("server-certificate",), alpn=("h3",))

LISTENERS = (
    Listener(
        name="gateway",
        address="0.0.0.0",
        port=20443,
        direction=Direction.OUTBOUND,
        chains=(
            chain("https", HTTP, SERVER_TLS, server_names=("Web.example.com", "*.example.com")),
            chain("optional", HTTP, OPTIONAL_TLS, server_names=("optional.test",)),
            chain("pinned", HTTP, PINNED_TLS, server_names=("pinned.test",)),
            chain("passthrough", TCP, server_names=("pass.test",)),
            chain("tunnelled", TUNNELLED, server_names=("tunnel.test",)),
            Chain("any", ChainMatch(tls=True), TCP),
        ),
        origins=MORE,
    ),
    Listener(
        name="udp_gateway",
        address="0.0.0.0",
        port=20443,
        direction=Direction.OUTBOUND,
        chains=(
            chain("https", HTTP, QUIC_TLS, server_names=("web.example.com",)),
            chain("mutual", HTTP, SERVER_TLS, server_names=("*.example.com",)),
            Chain("any", ChainMatch(tls=True), HTTP, OPTIONAL_TLS),
        ),
        origins=MORE,
        quic=True,
    ),
    Listener(
        name="detecting",
        address="127.0.0.1",
        port=20080,
        direction=Direction.INBOUND,
        chains=(
            chain("http", Http("http.8080", "inbound"), destinations=("10.1.0.0/16", "10.2.0.1"), detected_http=True),
            chain("rest", TCP, destinations=("10.1.0.0/16", "10.2.0.1")),
            chain("tls", TCP, destinations=("10.1.0.0/16",), server_names=("*",)),
        ),
        origins=MORE,
        default_chain=chain("closed", Tcp((), "closed")),
    ),
    Listener(
        name="virtualInbound",
        address="0.0.0.0",
        port=20006,
        direction=Direction.INBOUND,
        chains=(
            chain("http", Http("http.8080", "inbound"), port=8080, detected_http=True),
            chain("mysql", TCP, port=3306),
            chain("smtp", TCP, port=25),
        ),
        origins=MORE,
        captures=True,
        transparent=True,
        silent_ports=(25, 3306),
    ),
    Listener(
        name="virtualOutbound",
        address="0.0.0.0",
        port=20001,
        direction=Direction.OUTBOUND,
        chains=(chain("blackhole", Tcp((), "blackhole"), port=20001),),
        origins=MORE,
        default_chain=chain("passthrough", TCP),
        captures=True,
        hands_on=True,
        silent_ports=(25,),
    ),
    Listener(
        name="10.0.0.1_80",
        address="10.0.0.1",
        port=80,
        direction=Direction.OUTBOUND,
        chains=(chain("tcp", TCP),),
        origins=MORE,
        binds=False,
    ),
    Listener(
        name="socket",
        address="/run/listener.sock",
        port=0,
        direction=Direction.INBOUND,
        chains=(chain("one", Tcp((Destination("dns"),), "one"), detected_http=False),),
        origins=(),
    ),
)


def full_view(certificate: bytes = b"certificate", key: bytes = b"key", authorities: bytes = b"ca") -> View:
    """The PEM texts only matter to who reads them."""
    return View(
        listeners=LISTENERS,
        api_listeners=(ApiListener("web.example.com:80", "grpc", MORE),),
        grpc_servers=(GrpcServer("of-a-grpc-server", "0.0.0.0", 50051, MORE),),
        name_tables=(
            NameTable("dns", "127.0.0.1", 20053, (("a.example.com", ("10.0.0.1", "10.0.0.2")), ("b", ("::1",))), MORE),
        ),
        route_tables=ROUTE_TABLES,
        backends=BACKENDS,
        endpoints=ENDPOINTS,
        secrets=(
            Certificate("server-certificate", certificate, key, ORIGIN),
            Certificate("other-certificate", certificate, key, ORIGIN),
            Certificate("client-certificate", certificate, key, ORIGIN),
            Trust("server-trust", authorities, ORIGIN),
            Trust("client-trust", authorities, ORIGIN, revoked=b""),
            CertificateFiles("certificate-files", "/etc/certs/tls.crt", "/etc/certs/tls.key", ORIGIN),
            TrustFiles("trust-files", "/etc/certs/ca.crt", ORIGIN, "/etc/certs/ca.crl"),
        ),
    )
