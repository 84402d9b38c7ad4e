"""Random, valid worlds: sets of objects that refer to each other, and changes of them."""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
from base64 import b64encode
from pathlib import Path
from typing import Any

import msgspec
import trustme
from hypothesis import strategies as st

from xds_server.diagnostics import ObjectRef
from xds_server.incremental import EMPTY, edited
from xds_server.kube.decode import decode
from xds_server.kube.kinds import KINDS
from xds_server.kube.meta import Object, Raw, Source
from xds_server.kube.snapshot import Snapshot

ISTIO = "networking.istio.io"
NAMES = ("a", "b", "c")
NAMESPACES = ("default", "shop")
SUBSETS = ("v1", "v2")

World = dict[ObjectRef, bytes]
"""JSON of every object."""

names = st.sampled_from(NAMES)
namespaces = st.sampled_from(NAMESPACES)
ports = st.sampled_from((80, 443, 5432))
times = st.sampled_from(("", "", "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"))
durations = st.sampled_from(("1s", "250ms", "1h"))


def made(group: str, kind: str, version: str, namespace: str, name: str, **fields: Any) -> tuple[ObjectRef, bytes]:
    labels, annotations = fields.pop("labels", {}), fields.pop("annotations", {})
    created = fields.pop("created", "")
    value = {
        "apiVersion": f"{group}/{version}" if group else version,
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace, "labels": labels, "annotations": annotations}
        | ({"creationTimestamp": created} if created else {}),
        **fields,
    }
    return ObjectRef(group, kind, namespace, name), msgspec.json.encode(value)


def some_of(**parts: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """A mapping with any of these keys."""
    return st.fixed_dictionaries({}, optional=parts)


def _files() -> dict[str, str]:
    """A certificate, its key and its authority, in files that Envoy can read."""
    folder = Path(tempfile.mkdtemp(prefix="worlds-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    authority = trustme.CA()
    pair = authority.issue_cert("x.example.com")
    parts = {"cert": pair.cert_chain_pems[0], "key": pair.private_key_pem, "ca": authority.cert_pem}
    for name, pem in parts.items():
        pem.write_to_path(str(folder / f"{name}.pem"))
    return {name: str(folder / f"{name}.pem") for name in parts}


FILES = _files()


hosts = st.sampled_from([f"{name}.{namespace}.svc.cluster.local" for name in NAMES for namespace in NAMESPACES])
nodes = st.sampled_from(("n1", "n2"))
zones = st.sampled_from(("z1", "z2"))
service_details = some_of(
    clusterIP=st.sampled_from(("None", "10.96.0.1", "10.96.0.2")),
    sessionAffinity=st.just("ClientIP"),
    internalTrafficPolicy=st.just("Local"),
    trafficDistribution=st.sampled_from(("PreferClose", "PreferSameZone", "PreferSameNode")),
    externalIPs=st.sampled_from((["192.0.2.1"], ["10.96.0.1", "192.0.2.2"])),
    publishNotReadyAddresses=st.just(True),
    ipFamilies=st.sampled_from((["IPv4"], ["IPv6", "IPv4"])),
)


some_exports = st.sampled_from(((), (), (), ("*",), (".",), ("shop",), ("~",)))


@st.composite
def services(draw: st.DrawFn) -> tuple[ObjectRef, bytes]:
    numbers = draw(st.lists(ports, min_size=1, max_size=2, unique=True))
    protocol = draw(st.sampled_from(("http", "tcp", "tls", "x")))
    spec: dict[str, Any] = {
        "selector": {"app": draw(names)},
        "ports": [{"name": f"{protocol}-{number}", "port": number} for number in numbers],
        **draw(service_details),
    }
    if draw(st.integers(0, 3)) == 0:  # for the Gateways that select the same
        over = draw(st.sampled_from(("TCP", "UDP")))
        spec["ports"].append({"name": "gateway", "port": 443, "protocol": over, "targetPort": draw(ports)})
    if draw(st.integers(0, 5)) == 0:
        name = draw(st.one_of(hosts, st.sampled_from(("www.example.com", "api.example.com", "localhost"))))
        spec = {"type": "ExternalName", "externalName": name, "ports": spec["ports"]}
    seen = draw(some_exports)
    annotations = {"networking.istio.io/exportTo": ",".join(seen)} if seen else {}
    return made("", "Service", "v1", draw(namespaces), draw(names), annotations=annotations, spec=spec)


conditions = some_of(ready=st.booleans(), serving=st.booleans(), terminating=st.booleans())
addresses = {
    "IPv4": st.integers(1, 9).map("10.1.0.{}".format),
    "IPv6": st.integers(1, 9).map("fd00::{}".format),
    "FQDN": names.map("{}.example.net".format),
}
endpoint_details = some_of(
    hostname=names,
    nodeName=nodes,
    zone=zones,
    hints=st.one_of(
        zones.map(lambda zone: {"forZones": [{"name": zone}]}), nodes.map(lambda node: {"forNodes": [{"name": node}]})
    ),
)


@st.composite
def slices(draw: st.DrawFn) -> tuple[ObjectRef, bytes]:
    service, family = draw(names), draw(st.sampled_from(("IPv4", "IPv4", "IPv6", "FQDN")))
    endpoints = [
        {
            "addresses": [draw(addresses[family])],
            "conditions": draw(conditions),
            "targetRef": {"kind": "Pod", "name": draw(names)},
            **draw(endpoint_details),
        }
        for _ in range(draw(st.integers(0, 3)))
    ]
    labels = {"kubernetes.io/service-name": service}
    listed = [{"name": draw(st.sampled_from(("http-80", "tcp-80", "x-80"))), "port": 8080}]
    return made(
        "discovery.k8s.io", "EndpointSlice", "v1", draw(namespaces), f"{service}-{draw(names)}",
        labels=labels, addressType=family, ports=listed, endpoints=endpoints,
    )  # fmt: skip


@st.composite
def legacy_endpoints(draw: st.DrawFn) -> tuple[ObjectRef, bytes]:
    found = [{"ip": draw(addresses["IPv4"]), "targetRef": {"kind": "Pod", "name": draw(names)}}]
    listed = [{"name": draw(st.sampled_from(("http-80", "tcp-80", "x-80"))), "port": 8080}]
    return made("", "Endpoints", "v1", draw(namespaces), draw(names), subsets=[{"addresses": found, "ports": listed}])


@st.composite
def secrets(draw: st.DrawFn) -> tuple[ObjectRef, bytes]:
    pair = {"tls.crt": Path(FILES["cert"]).read_bytes(), "tls.key": Path(FILES["key"]).read_bytes()}
    more = draw(st.sampled_from(({}, {"ca.crt": Path(FILES["ca"]).read_bytes()}, {"tls.key": b"no key"})))
    data = {name: b64encode(content).decode() for name, content in (pair | more).items()}
    return made("", "Secret", "v1", draw(namespaces), draw(names), type="kubernetes.io/tls", data=data)


@st.composite
def mesh_configs(draw: st.DrawFn) -> tuple[ObjectRef, bytes]:
    mode = draw(st.sampled_from(("ALLOW_ANY", "REGISTRY_ONLY")))
    settings = {
        "outboundTrafficPolicy": {"mode": mode},
        **draw(
            some_of(
                defaultServiceExportTo=st.just(["."]),
                defaultVirtualServiceExportTo=st.just(["."]),
                defaultDestinationRuleExportTo=st.just(["."]),
                rootNamespace=st.just("shop"),
                connectTimeout=durations,
            )
        ),
    }
    data = {"mesh": msgspec.json.encode(settings).decode()}
    return made("", "ConfigMap", "v1", "istio-system", "istio", data=data)


@st.composite
def pods(draw: st.DrawFn) -> tuple[ObjectRef, bytes]:
    labels = {"app": draw(names), "version": draw(st.sampled_from(SUBSETS))}
    number = draw(st.integers(1, 9))
    status = {"podIPs": [{"ip": f"10.2.0.{number}"}, {"ip": f"fd00:2::{number}"}]}
    spec = {"containers": [{"name": "app"}], **draw(some_of(hostname=names, subdomain=names, nodeName=nodes))}
    return made("", "Pod", "v1", draw(namespaces), draw(names), labels=labels, spec=spec, status=status)


@st.composite
def cluster_nodes(draw: st.DrawFn) -> tuple[ObjectRef, bytes]:
    labels = {"topology.kubernetes.io/region": "eu", "topology.kubernetes.io/zone": draw(zones)}
    return made("", "Node", "v1", "", draw(nodes), labels=labels)


@st.composite
def workload_entries(draw: st.DrawFn) -> tuple[ObjectRef, bytes]:
    places = st.one_of(addresses["IPv4"], addresses["FQDN"], st.just("unix:///run/a.sock"))
    details = some_of(weight=st.sampled_from((0, 3, 2**32 - 1)), locality=zones.map("eu/{}".format))
    spec = {"address": draw(places), "labels": {"app": draw(names)}, **draw(details)}
    group = draw(st.sampled_from(({}, {"istio.io/autoRegistrationGroup": "a"})))
    return made(ISTIO, "WorkloadEntry", "v1", draw(namespaces), draw(names), annotations=group, spec=spec)


@st.composite
def workload_groups(draw: st.DrawFn) -> tuple[ObjectRef, bytes]:
    template = {"labels": {"app": draw(names), "version": draw(st.sampled_from(SUBSETS))}, "ports": {"http": 81}}
    return made(ISTIO, "WorkloadGroup", "v1", draw(namespaces), "a", spec={"template": template})


load_balancers = st.sampled_from(
    (
        {"simple": "RANDOM"},
        {"simple": "PASSTHROUGH"},
        {"simple": "ROUND_ROBIN", "warmup": {"duration": "10s"}},
        {"consistentHash": {"useSourceIp": True, "maglev": {}}},
        {"consistentHash": {"httpCookie": {"name": "c", "ttl": "1s"}, "ringHash": {"minimumRingSize": 64}}},
        {"consistentHash": {"httpHeaderName": "x"}},
        {"localityLbSetting": {"failover": [{"from": "r1", "to": "r2"}]}},
        {"localityLbSetting": {"distribute": [{"from": "*", "to": {"r1/*": 80, "r2/*": 20}}]}},
        {"localityLbSetting": {"failoverPriority": ["version"]}},
    )
)
TLS: tuple[dict[str, Any], ...] = (
    {"mode": "DISABLE"},
    {"mode": "SIMPLE", "sni": "s", "subjectAltNames": ["san"]},
    {"mode": "SIMPLE", "insecureSkipVerify": True},
    {"mode": "MUTUAL", "clientCertificate": FILES["cert"], "privateKey": FILES["key"], "caCertificates": FILES["ca"]},
    {"mode": "ISTIO_MUTUAL"},
    {"mode": "SIMPLE", "credentialName": "a"},
)
port_policies = some_of(
    loadBalancer=load_balancers,
    connectionPool=some_of(
        tcp=some_of(
            maxConnections=st.integers(1, 100),
            connectTimeout=durations,
            idleTimeout=durations,
            maxConnectionDuration=durations,
            tcpKeepalive=some_of(probes=st.integers(1, 9), time=durations, interval=durations),
        ),
        http=some_of(
            http1MaxPendingRequests=st.integers(1, 100),
            maxRetries=st.integers(0, 3),
            maxRequestsPerConnection=st.integers(0, 3),
            idleTimeout=durations,
            h2UpgradePolicy=st.sampled_from(("UPGRADE", "DO_NOT_UPGRADE")),
            useClientProtocol=st.booleans(),
            maxConcurrentStreams=st.integers(1, 100),
            http2KeepAlive=st.just({"interval": "10s", "timeout": "1s"}),
        ),
    ),
    outlierDetection=some_of(
        consecutive5xxErrors=st.integers(0, 5),
        consecutiveGatewayErrors=st.integers(0, 5),
        interval=durations,
        baseEjectionTime=durations,
        maxEjectionPercent=st.integers(0, 100),
        minHealthPercent=st.integers(0, 100),
    ),
    tls=st.sampled_from(TLS),
)
policies = st.tuples(
    port_policies,
    some_of(
        tunnel=st.just({"targetHost": "t.example.com", "targetPort": 443}),
        proxyProtocol=st.sampled_from(({"version": "V1"}, {"version": "V2"})),
        retryBudget=some_of(percent=st.floats(0, 100), minRetryConcurrency=st.integers(0, 9)),
    ),
).map(lambda parts: parts[0] | parts[1])


@st.composite
def destination_rules(draw: st.DrawFn) -> tuple[ObjectRef, bytes]:
    spec: dict[str, Any] = {
        "host": draw(st.sampled_from((*NAMES, "*.shop.svc.cluster.local", "*"))),
        "exportTo": draw(some_exports),
        **draw(some_of(workloadSelector=names.map(lambda name: {"matchLabels": {"app": name}}))),
        "subsets": [{"name": name, "labels": {"version": name}} for name in draw(st.sets(st.sampled_from(SUBSETS)))],
    }
    if draw(st.booleans()):
        spec["trafficPolicy"] = draw(policies)
        if draw(st.booleans()):
            settings = draw(port_policies)
            spec["trafficPolicy"]["portLevelSettings"] = [{"port": {"number": draw(ports)}, **settings}]
    for subset in spec["subsets"]:
        if draw(st.booleans()):
            subset["trafficPolicy"] = draw(policies)
    return made(ISTIO, "DestinationRule", "v1", draw(namespaces), draw(names), spec=spec)


@st.composite
def destinations(draw: st.DrawFn) -> dict[str, Any]:
    host = draw(st.sampled_from((*NAMES, "a.shop.svc.cluster.local", "nowhere", "api.example.com")))
    result: dict[str, Any] = {"host": host}
    if draw(st.booleans()):
        result["subset"] = draw(st.sampled_from(SUBSETS))
    if draw(st.booleans()):
        result["port"] = {"number": draw(ports)}
    return result


matches = some_of(
    uri=st.sampled_from(({"prefix": "/x"}, {"exact": "/y"}, {"regex": "/z.*"}, {"prefix": "/x/y"})),
    ignoreUriCase=st.booleans(),
    method=st.just({"exact": "GET"}),
    authority=st.just({"prefix": "a."}),
    headers=st.sampled_from(({"x-a": {"exact": "1"}}, {"x-b": {}}, {"x-c": {"regex": "a+"}})),
    withoutHeaders=st.just({"x-d": {"prefix": "p"}}),
    queryParams=st.sampled_from(({"q": {"exact": "1"}}, {"q": {}})),
    port=ports,
    sourceLabels=st.just({"app": "a"}),
    sourceNamespace=namespaces,
    name=names,
)
header_operations = some_of(
    request=st.just({"set": {"x-a": "%REQ(x-b)%", "host": "h"}, "add": {"x-b": "1"}, "remove": ["x-c"]}),
    response=st.just({"set": {"x-a": "50%%"}, "remove": ["server"]}),
)
route_details = some_of(
    timeout=durations,
    headers=header_operations,
    retries=some_of(
        attempts=st.integers(0, 3),
        perTryTimeout=durations,
        retryOn=st.sampled_from(("5xx", "503,reset")),
        retryRemoteLocalities=st.booleans(),
        backoff=durations,
    ),
    fault=some_of(
        delay=st.just({"fixedDelay": "1s", "percentage": {"value": 10.0}}),
        abort=st.sampled_from(
            (
                {"httpStatus": 503, "percentage": {"value": 1.5}},
                {"grpcStatus": "INTERNAL", "percentage": {"value": 1.0}},
            )
        ),
    ),
    corsPolicy=some_of(
        allowOrigins=st.just([{"exact": "https://a"}, {"regex": "https://.*"}]),
        allowMethods=st.just(["GET"]),
        maxAge=durations,
        allowCredentials=st.booleans(),
        unmatchedPreflights=st.sampled_from(("FORWARD", "IGNORE")),
    ),
    rewrite=st.sampled_from(
        ({"uri": "/new"}, {"authority": "b"}, {"uriRegexRewrite": {"match": "^/(.*)", "rewrite": "/r/\\1"}})
    ),
)
OTHER_ACTIONS: tuple[dict[str, Any], ...] = (
    {"redirect": {"uri": "/to", "authority": "r", "redirectCode": 308}},
    {"redirect": {"derivePort": "FROM_REQUEST_PORT", "scheme": "https"}},
    {"directResponse": {"status": 418, "body": {"string": "tea"}}},
    {"delegate": {"name": "c", "namespace": "shop"}},
)


@st.composite
def http_routes(draw: st.DrawFn) -> dict[str, Any]:
    route: dict[str, Any] = {}
    if draw(st.booleans()):
        route["match"] = draw(st.lists(matches, min_size=1, max_size=2))
    if draw(st.integers(0, 4)) == 0:
        return route | draw(st.sampled_from(OTHER_ACTIONS))
    route |= draw(route_details)
    if draw(st.booleans()):
        route["mirrors"] = [{"destination": draw(destinations()), "percentage": {"value": 12.5}}]
    found = draw(st.lists(destinations(), min_size=1, max_size=2))
    route["route"] = [{"destination": found[0], "weight": 80}, *({"destination": d, "weight": 20} for d in found[1:])]
    return route


@st.composite
def virtual_services(draw: st.DrawFn) -> tuple[ObjectRef, bytes]:
    bound = draw(st.sampled_from((["mesh"], ["a"], ["mesh", "default/a"])))
    hosts = draw(st.lists(st.sampled_from((*NAMES, "x.example.com", "*.example.com")), min_size=1, unique=True))
    is_delegate = draw(st.integers(0, 4)) == 0
    spec: dict[str, Any] = {
        "hosts": [] if is_delegate else hosts,
        "gateways": [] if is_delegate else bound,
        "exportTo": draw(some_exports),
        "http": draw(st.lists(http_routes(), min_size=1, max_size=3)),
    }
    if draw(st.booleans()):
        spec["tcp"] = [{"route": [{"destination": draw(destinations())}]}]
    if draw(st.booleans()):
        match = {"sniHosts": [host for host in hosts if "." in host] or ["x.example.com"], "port": 443}
        spec["tls"] = [{"match": [match], "route": [{"destination": draw(destinations())}]}]
    return made(ISTIO, "VirtualService", "v1", draw(namespaces), draw(names), created=draw(times), spec=spec)


SERVER_FILES = {"serverCertificate": FILES["cert"], "privateKey": FILES["key"], "caCertificates": FILES["ca"]}
SERVERS: tuple[dict[str, Any], ...] = (
    {"port": {"number": 80, "protocol": "HTTP"}},
    {"port": {"number": 8080, "protocol": "HTTP2"}},
    {"port": {"number": 80, "protocol": "HTTP"}, "tls": {"httpsRedirect": True}},
    {"port": {"number": 5432, "protocol": "TCP"}},
    {"port": {"number": 443, "protocol": "TLS"}, "tls": {"mode": "PASSTHROUGH"}},
    {"port": {"number": 443, "protocol": "TLS"}, "tls": {"mode": "AUTO_PASSTHROUGH"}},
    {"port": {"number": 443, "protocol": "HTTPS"}, "tls": {"mode": "SIMPLE", **SERVER_FILES}},
    {
        "port": {"number": 443, "protocol": "HTTPS"},
        "tls": {"mode": "MUTUAL", **SERVER_FILES, "minProtocolVersion": "TLSV1_3"},
    },
    {"port": {"number": 8443, "protocol": "TLS"}, "tls": {"mode": "OPTIONAL_MUTUAL", **SERVER_FILES}},
    {"port": {"number": 8443, "protocol": "HTTPS"}, "tls": {"mode": "SIMPLE", "credentialName": "a"}},
)


@st.composite
def gateways(draw: st.DrawFn) -> tuple[ObjectRef, bytes]:
    hosts = st.sampled_from((
        ["*"], ["*.example.com"], ["./x.example.com"], ["shop/*", "x.example.com"], ["x.example.com", "a.*.b"],
    ))  # fmt: skip
    servers = [dict(server) | {"hosts": draw(hosts)} for server in draw(st.lists(st.sampled_from(SERVERS), min_size=1))]
    for index, server in enumerate(servers):
        server["port"] = server["port"] | {"name": f"p{index % 3}"}
    selector = draw(st.sampled_from(({"istio": "gateway"}, {"app": "a"})))
    spec = {"selector": selector, "servers": servers}
    return made(ISTIO, "Gateway", "v1", draw(namespaces), draw(names), created=draw(times), spec=spec)


@st.composite
def service_entries(draw: st.DrawFn) -> tuple[ObjectRef, bytes]:
    resolution = draw(st.sampled_from(("NONE", "DNS", "DNS_ROUND_ROBIN", "STATIC")))
    spec: dict[str, Any] = {
        "hosts": [draw(st.one_of(hosts, st.sampled_from(("api.example.com", "*.example.com"))))],
        "resolution": resolution,
        "ports": [{"number": draw(ports), "name": "http", "protocol": draw(st.sampled_from(("HTTP", "TLS", "TCP")))}],
        **draw(some_of(addresses=st.sampled_from((["192.0.2.9"], ["10.96.0.1"])))),
    }
    if resolution == "STATIC":
        chosen = draw(st.sampled_from(("10.3.0.1", "10.3.0.2", "unix:///run/b.sock", "c.example.net")))
        picked = {"workloadSelector": {"labels": {"app": draw(names)}}}
        spec |= draw(st.sampled_from(({"endpoints": [{"address": chosen}]}, picked)))
    return made(ISTIO, "ServiceEntry", "v1", draw(namespaces), draw(names), spec=spec)


LABELS = (("app", "a"), ("app", "b"), ("version", "v2"))


@st.composite
def sidecars(draw: st.DrawFn) -> tuple[ObjectRef, bytes]:
    hosts = draw(st.sampled_from((["./*"], ["*/*"], ["shop/*"], ["~/*"])))
    port = {"number": 15080, "protocol": "HTTP_PROXY", "name": "p"}
    first = st.sampled_from((
        {"port": port, "bind": "127.0.0.1", "hosts": hosts},
        {"port": {"number": 80, "protocol": "HTTP", "name": "p"}, "hosts": ["*/*"]},
        {"port": {"number": 80, "protocol": "TCP", "name": "p"}, "bind": "127.0.0.1", "hosts": ["*/*"]},
    ))  # fmt: skip
    spec: dict[str, Any] = {"egress": [*draw(st.lists(first, max_size=1)), {"hosts": hosts}]}
    spec |= draw(some_of(workloadSelector=st.sampled_from([{"labels": {k: v}} for k, v in LABELS])))
    return made(ISTIO, "Sidecar", "v1", draw(namespaces), draw(names), spec=spec)


anything = st.one_of(
    services(), slices(), pods(), cluster_nodes(), destination_rules(), virtual_services(), gateways(),
    service_entries(), workload_entries(), workload_groups(), sidecars(), secrets(), legacy_endpoints(), mesh_configs(),
)  # fmt: skip
changes = st.lists(anything, min_size=1, max_size=4) | st.lists(slices(), min_size=1, max_size=2)


@functools.lru_cache(maxsize=50_000)
def _object(body: bytes) -> Object | None:
    """Cached, so that an object that did not change is the same object, as in the store."""
    value = msgspec.json.decode(body)
    group = value["apiVersion"].rpartition("/")[0]
    meta = value["metadata"]
    ref = ObjectRef(group, value["kind"], meta["namespace"], meta["name"])
    return decode(Raw(ref, value["apiVersion"], body, Source(), b"")).object


def snapshot(world: World, previous: Snapshot | None = None) -> Snapshot:
    """The objects of a world, as the store makes it: what changed is edited in the previous snapshot."""
    tables: dict[type[Object], dict[tuple[str, str], Object]] = {kind.type: {} for kind in KINDS.values()}
    for ref, body in world.items():
        found = _object(body)
        if found is not None:
            tables[type(found)][ref.namespace, ref.name] = found
    by_type = {}
    for kind, items in tables.items():
        before = previous.of(kind) if previous else EMPTY
        by_type[kind] = edited(before, {**{key: None for key in before if key not in items}, **items})
    return Snapshot(by_type=by_type)
