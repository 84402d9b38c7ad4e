"""A sidecar's way out: where each port is reached, and what tells connections apart there."""

from __future__ import annotations

import pytest

from tests.unit.mesh.sidecars import outbound, routes, sidecar, view_of
from xds_server.mesh.chains import distinct
from xds_server.mesh.model import Chain, ChainMatch, Destination, Tcp


def service(name: str, ports: str, ip: str = "", namespace: str = "shop", created: str = "2026-01-01T00:00:00Z") -> str:
    cluster_ip = f"clusterIP: {ip}, " if ip else ""
    return f"""
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: {namespace}, creationTimestamp: "{created}"}}
spec: {{{cluster_ip}selector: {{app: {name}}}, ports: [{ports}]}}
"""


def entry(host: str, ports: str, more: str = "resolution: NONE", name: str = "entry") -> str:
    return f"""
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: {name}, namespace: shop}}
spec: {{hosts: ["{host}"], {more}, ports: [{ports}]}}
"""


def pod(name: str, ip: str) -> str:
    return f"""
apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: shop, labels: {{app: db}}}}
spec: {{containers: [{{name: app, image: db}}]}}
status: {{phase: Running, podIP: {ip}, conditions: [{{type: Ready, status: "True"}}]}}
"""


def virtual_service(spec: str, name: str = "virtual") -> str:
    return f"""
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: {name}, namespace: shop}}
spec: {spec}
"""


HTTP, TCP, TLS, AUTO = (
    "{name: http, port: 80}",
    "{name: tcp, port: 80}",
    "{name: https, port: 80}",
    "{name: unsaid, port: 80}",
)
STRANGERS = "else -> PassthroughCluster"

CASES: dict[str, tuple[list[str], dict[str, list[str]], list[str]]] = {
    "HTTP is shared by all addresses, and strangers that are not HTTP pass": (
        [service("web", HTTP, "10.0.0.1")],
        {"0.0.0.0_80": ["http? -> routes 80", STRANGERS]},
        [],
    ),
    "TCP is found by its virtual IP, and nothing waits for the client": (
        [service("db", TCP, "10.0.0.1")],
        {"10.0.0.1_80": ["else -> outbound|80||db.shop"]},
        [],
    ),
    "so is TLS, whatever it names": (
        [service("db", TLS, "10.0.0.1")],
        {"10.0.0.1_80": ["else -> outbound|80||db.shop"]},
        [],
    ),
    "and what may be HTTP, too": (
        [service("db", AUTO, "10.0.0.1")],
        {"10.0.0.1_80": ["http? -> routes db.shop:80", "else -> outbound|80||db.shop"]},
        [],
    ),
    "TCP without an address would take what is meant for others": ([service("db", TCP)], {}, ["XDS4015 db"]),
    "TLS without an address is found by its SNI": (
        [service("db", TLS)],
        {
            "0.0.0.0_80": [
                "sni=db sni=db.shop sni=db.shop.svc sni=db.shop.svc.cluster.local -> outbound|80||db.shop",
                STRANGERS,
            ]
        },
        [],
    ),
    "what may be HTTP is HTTP without an address": (
        [service("db", AUTO)],
        {"0.0.0.0_80": ["http? -> routes 80", STRANGERS]},
        [],
    ),
    "HTTP and TCP on one port do not meet": (
        [service("web", HTTP, "10.0.0.1"), service("db", TCP, "10.0.0.2")],
        {"0.0.0.0_80": ["http? -> routes 80", STRANGERS], "10.0.0.2_80": ["else -> outbound|80||db.shop"]},
        [],
    ),
    "a headless service: connections stay with the Pod that the client chose": (
        [service("db", TCP, "None"), pod("db-0", "10.1.0.1"), pod("db-1", "10.1.0.2")],
        {
            "10.1.0.1_80": ["else -> chosen|80||db.shop"],
            "10.1.0.2_80": ["else -> chosen|80||db.shop"],
        },
        [],
    ),
    "a headless service of HTTP is balanced": (
        [service("db", HTTP, "None"), pod("db-0", "10.1.0.1")],
        {"0.0.0.0_80": ["http? -> routes 80", STRANGERS]},
        [],
    ),
    "a range of addresses": (
        [
            entry(
                "net.example.com",
                "{number: 80, name: tcp, protocol: TCP}",
                "addresses: [10.5.0.0/16], resolution: NONE",
            )
        ],
        {"0.0.0.0_80": ["10.5.0.0/16 -> outbound|80||net.example.com", STRANGERS]},
        [],
    ),
    "a range beside HTTP, which may be in the range too": (
        [
            entry("net.example.com", "{number: 80, name: unsaid}", "addresses: [10.5.0.0/16], resolution: NONE"),
            service("web", HTTP, "10.0.0.1"),
        ],
        {
            "0.0.0.0_80": [
                "10.5.0.0/16 http? -> routes 80",
                "http? -> routes 80",
                "10.5.0.0/16 -> outbound|80||net.example.com",
                STRANGERS,
            ]
        },
        [],
    ),
    "routes by address do not hide HTTP": (
        [
            service("db", AUTO, "10.0.0.1"),
            virtual_service(
                "{hosts: [db], tcp: [{match: [{destinationSubnets: [10.0.0.0/8]}],"
                " route: [{destination: {host: db}}]}]}"
            ),
        ],
        {
            "10.0.0.1_80": [
                "10.0.0.0/8 http? -> routes db.shop:80",
                "http? -> routes db.shop:80",
                "10.0.0.0/8 -> outbound|80||db.shop",
                "else -> outbound|80||db.shop",
            ]
        },
        [],
    ),
    "a range and an address": (
        [
            entry(
                "net.example.com",
                "{number: 80, name: tcp, protocol: TCP}",
                "addresses: [10.5.0.0/16, 192.0.2.1], resolution: NONE",
            )
        ],
        {
            "0.0.0.0_80": ["10.5.0.0/16 -> outbound|80||net.example.com", STRANGERS],
            "192.0.2.1_80": ["else -> outbound|80||net.example.com"],
        },
        [],
    ),
    "hosts of any name are found by their SNI": (
        [entry("*.example.com", "{number: 80, name: tls, protocol: TLS}")],
        {"0.0.0.0_80": ["sni=*.example.com -> outbound|80||*.example.com", STRANGERS]},
        [],
    ),
    "the same range twice: the first has it": (
        [
            entry(
                "a.example.com", "{number: 80, name: tcp, protocol: TCP}", "addresses: [10.5.0.0/16], resolution: NONE"
            ),
            entry(
                "b.example.com",
                "{number: 80, name: tcp, protocol: TCP}",
                "addresses: [10.5.1.1/16, 10.6.0.0/16], resolution: NONE",
                name="second",
            ),
        ],
        {
            "0.0.0.0_80": [
                "10.5.0.0/16 -> outbound|80||a.example.com",
                "10.6.0.0/16 -> outbound|80||b.example.com",
                STRANGERS,
            ]
        },
        ["XDS3014 second"],
    ),
    "`tls` routes take what names their hosts": (
        [
            service("db", TLS, "10.0.0.1"),
            service("web", HTTP, "10.0.0.2"),
            virtual_service(
                "{hosts: [db], tls: [{match: [{sniHosts: [db.shop.svc.cluster.local]}],"
                " route: [{destination: {host: web}}]}]}"
            ),
        ],
        {
            "0.0.0.0_80": ["http? -> routes 80", STRANGERS],
            "10.0.0.1_80": [
                "sni=db.shop.svc.cluster.local -> outbound|80||web.shop",
                "else -> outbound|80||db.shop",
            ],
        },
        [],
    ),
    "`tls` routes come before the service's own endpoints": (
        [
            entry("*.example.com", "{number: 443, name: tls, protocol: TLS}"),
            service("web", HTTP, "10.0.0.2"),
            virtual_service(
                "{hosts: ['*.example.com'], tls: [{match: [{port: 443, sniHosts: [a.example.com]},"
                " {port: 1, sniHosts: [b.example.com]}], route: [{destination: {host: web}}]},"
                " {match: [{sniHosts: [a.example.com, b.example.org]}], route: [{destination: {host: web}}]}]}"
            ),
        ],
        {
            "0.0.0.0_443": [
                "sni=a.example.com -> outbound|80||web.shop",
                "sni=*.example.com -> outbound|443||*.example.com",
                STRANGERS,
            ],
            "0.0.0.0_80": ["http? -> routes 80", STRANGERS],
        },
        ["XDS4009 virtual"],
    ),
    "`tcp` routes, by the address that the client wanted": (
        [
            service("db", TCP, "10.0.0.1"),
            service("far", TCP, "10.0.0.2"),
            virtual_service(
                "{hosts: [db], tcp: ["
                "{match: [{destinationSubnets: [10.0.0.0/30]}], route: [{destination: {host: far}}]},"
                " {match: [{sourceLabels: {app: other}}], route: [{destination: {host: far}}]},"
                " {route: [{destination: {host: db}, weight: 50}, {destination: {host: far}, weight: 50}]},"
                " {route: [{destination: {host: far}}]}]}"
            ),
        ],
        {
            "10.0.0.1_80": [
                "10.0.0.0/30 -> outbound|80||far.shop",
                "else -> outbound|80||db.shop outbound|80||far.shop",
            ],
            "10.0.0.2_80": ["else -> outbound|80||far.shop"],
        },
        ["XDS3010 virtual"],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_with_redirection(case: str) -> None:
    texts, expected, notes = CASES[case]
    view, said = view_of(*texts, proxy=sidecar())
    assert (outbound(view), said) == (expected, notes)


BOUND: dict[str, tuple[list[str], dict[str, list[str]], list[str]]] = {
    "HTTP alone": ([service("web", HTTP)], {"127.0.0.1_80": ["all -> routes 80"]}, []),
    "TCP alone": ([service("db", TCP)], {"127.0.0.1_80": ["else -> outbound|80||db.shop"]}, []),
    "the oldest of two has the port": (
        [service("a", TCP, created="2026-02-01T00:00:00Z"), service("b", TCP), service("c", AUTO, "", "other")],
        {"127.0.0.1_80": ["http? -> routes 80", "else -> outbound|80||b.shop"]},
        ["XDS3005 a", "XDS3009 c"],
    ),
    "the own namespace comes before age": (
        [service("a", TCP, "", "other"), service("b", TCP, created="2026-02-01T00:00:00Z")],
        {"127.0.0.1_80": ["else -> outbound|80||b.shop"]},
        ["XDS3005 a"],
    ),
    "addresses mean nothing where all comes to one": (
        [
            entry(
                "a.example.com",
                "{number: 80, name: tcp, protocol: TCP}",
                "addresses: [10.5.0.0/16], resolution: STATIC",
            )
        ],
        {"127.0.0.1_80": ["else -> outbound|80||a.example.com"]},
        [],
    ),
    "the members of a headless service are only found by HTTP": (
        [service("db", "{name: tcp, port: 80}, {name: http, port: 81}", "None"), pod("db-0", "10.1.0.1")],
        {"127.0.0.1_80": ["else -> outbound|80||db.shop"], "127.0.0.1_81": ["all -> routes 81"]},
        [],
    ),
}


@pytest.mark.parametrize("case", BOUND)
def test_without_redirection(case: str) -> None:
    texts, expected, notes = BOUND[case]
    view, said = view_of(*texts, proxy=sidecar("NONE"))
    assert (outbound(view), said) == (expected, notes)


def test_an_unprivileged_proxy_binds_no_low_port() -> None:
    view, said = view_of(service("web", HTTP), proxy=sidecar("NONE", unprivileged=True))
    assert (outbound(view), said) == ({}, ["XDS4012 web"])


def test_the_http_proxy_comes_before_a_service_of_the_same_port() -> None:
    texts = service("web", "{name: http, port: 15080}")
    view, said = view_of(texts, proxy=sidecar("NONE", http_proxy_port=15080))
    assert (outbound(view), said) == ({"127.0.0.1_15080": ["all -> routes http_proxy"]}, ["XDS3013 web"])


@pytest.mark.parametrize("port", [15001, 15006])
def test_the_ports_of_redirection_are_nobody_else_s(port: int) -> None:
    texts = service("web", f"{{name: http, port: {port}}}", "10.0.0.1")
    view, said = view_of(texts, proxy=sidecar())
    assert (outbound(view), said) == ({}, ["XDS3013 web"])
    assert list(outbound(view_of(texts, proxy=sidecar("NONE"))[0])) == [f"127.0.0.1_{port}"]


def with_sidecar(spec: str) -> str:
    return f"""
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {{name: own, namespace: shop}}
spec: {spec}
"""


WEB = service("web", "{name: http, port: 80}, {name: tcp, port: 81}", "10.0.0.1")

EGRESS: dict[str, tuple[str, dict[str, list[str]]]] = {
    "a port takes itself from the rest": (
        "[{port: {number: 80, protocol: HTTP, name: http}, hosts: ['data/*']}, {hosts: ['./*']}]",
        {"10.0.0.1_81": ["else -> outbound|81||web.shop"]},
    ),
    "a port speaks what the Sidecar says": (
        "[{port: {number: 80, protocol: TCP, name: tcp}, hosts: ['./*']}]",
        {"10.0.0.1_80": ["else -> outbound|80||web.shop"]},
    ),
    "a port of its own, though all else is redirected": (
        "[{port: {number: 81, protocol: TCP, name: tcp}, captureMode: NONE, bind: 127.0.0.9, hosts: ['./*']}]",
        {"127.0.0.9_81": ["else -> outbound|81||web.shop"]},
    ),
    "an address that redirected clients use": (
        "[{port: {number: 80, protocol: HTTP, name: http}, bind: 192.0.2.9, hosts: ['./*']}]",
        {"192.0.2.9_80": ["all -> routes 192.0.2.9:80"]},
    ),
    "an HTTP proxy": (
        "[{port: {number: 3128, protocol: HTTP_PROXY, name: p}, bind: 127.0.0.1, captureMode: NONE, hosts: ['./*']}]",
        {"127.0.0.1_3128": ["all -> routes 127.0.0.1:3128"]},
    ),
    "HTTP over a unix socket": (
        "[{port: {number: 0, protocol: HTTP, name: p}, bind: 'unix:///s', hosts: ['./*']}]",
        {"/s": ["all -> routes /s"]},
    ),
    "TCP over a unix socket": (
        "[{port: {number: 0, protocol: TCP, name: p}, bind: 'unix://@s', hosts: ['./*']}]",
        {"@s": ["else -> outbound|80||web.shop"]},
    ),
}


@pytest.mark.parametrize("case", EGRESS)
def test_egress_of_a_sidecar(case: str) -> None:
    egress, expected = EGRESS[case]
    view, _ = view_of(WEB, with_sidecar(f"{{egress: {egress}}}"), proxy=sidecar())
    assert outbound(view) == expected
    assert len({backend.name for backend in view.backends.values()}) == len(view.backends)


@pytest.mark.parametrize(
    ("spec", "interception", "http", "other"),
    [
        pytest.param("{}", "REDIRECT", "PassthroughCluster", "PassthroughCluster", id="pass"),
        pytest.param(
            "{outboundTrafficPolicy: {mode: REGISTRY_ONLY}}", "REDIRECT", "502", "BlackHoleCluster", id="are refused"
        ),
        pytest.param(
            "{outboundTrafficPolicy: {mode: ALLOW_ANY, egressProxy: {host: web, port: {number: 81}}}}",
            "REDIRECT",
            "outbound|81||web.shop",
            "outbound|81||web.shop",
            id="go through a proxy",
        ),
        pytest.param("{}", "NONE", "502", None, id="have nowhere to go without redirection"),
        pytest.param(
            "{outboundTrafficPolicy: {mode: ALLOW_ANY, egressProxy: {host: web, port: {number: 81}}}}",
            "NONE",
            "outbound|81||web.shop",
            None,
            id="but to the proxy",
        ),
    ],
)
def test_strangers(spec: str, interception: str, http: str, other: str | None) -> None:
    view, _ = view_of(WEB, with_sidecar(spec), proxy=sidecar(interception))
    [last] = list(routes(view, "80").values())[-1]
    assert last == http
    handing = [each.default_chain for each in view.listeners.values() if each.hands_on]
    destinations = [each.traffic.destinations[0].backend for each in handing if each and isinstance(each.traffic, Tcp)]
    assert [name.replace(".svc.cluster.local", "") for name in destinations] == ([other] if other else [])


def test_clients_of_the_mesh_gateway() -> None:
    spec = (
        "{hosts: [web, only.example.com], http: ["
        "{match: [{sourceLabels: {app: cart}, uri: {prefix: /a}}], directResponse: {status: 401}},"
        "{match: [{sourceLabels: {app: other}, uri: {prefix: /b}}], directResponse: {status: 402}},"
        "{match: [{sourceNamespace: shop, uri: {prefix: /c}}], directResponse: {status: 403}},"
        "{match: [{sourceNamespace: other, uri: {prefix: /d}}], directResponse: {status: 404}},"
        "{match: [{gateways: [edge], uri: {prefix: /e}}], directResponse: {status: 405}},"
        "{match: [{port: 8080, uri: {prefix: /f}}], directResponse: {status: 406}},"
        "{route: [{destination: {host: web, port: {number: 80}}}]}]}"
    )
    view, _ = view_of(WEB, virtual_service(spec), proxy=sidecar())
    expected = ["401", "403", "outbound|80||web.shop"]
    assert routes(view, "80") == {
        "web.shop:80": expected,
        "only.example.com:80": expected,
        "allow_any": ["PassthroughCluster"],
    }


def test_a_virtual_service_for_every_host_leaves_none_to_strangers() -> None:
    spec = "{hosts: ['*'], http: [{directResponse: {status: 418}}]}"
    view, _ = view_of(WEB, virtual_service(spec), proxy=sidecar())
    assert routes(view, "80") == {"web.shop:80": ["418"], "*:80": ["418"]}


def chain(name: str, match: ChainMatch, backend: str) -> Chain:
    return Chain(name, match, Tcp((Destination(backend),), "s"))


@pytest.mark.parametrize(
    ("second", "kept", "lost"),
    [
        pytest.param(ChainMatch(("b",), tls=True), ChainMatch(("b",), tls=True), None, id="another name"),
        pytest.param(ChainMatch(("b", "A"), tls=True), ChainMatch(("b",), tls=True), "a", id="a name of two"),
        pytest.param(ChainMatch(("a",), tls=True), None, "a", id="the only name"),
        pytest.param(
            ChainMatch(("a",), ("10.0.0.0/8",), tls=True),
            ChainMatch(("a",), ("10.0.0.0/8",), tls=True),
            None,
            id="the same name at other addresses",
        ),
        pytest.param(ChainMatch(port=1), ChainMatch(port=1), None, id="another port"),
        pytest.param(ChainMatch(), ChainMatch(), None, id="what is no TLS"),
    ],
)
def test_no_two_chains_match_the_same(second: ChainMatch, kept: ChainMatch | None, lost: str | None) -> None:
    first = chain("first", ChainMatch(("a",), tls=True), "x")
    chains, clashes = distinct([first, chain("second", second, "y")])
    assert [each.match for each in chains] == [first.match, *([kept] if kept else [])]
    assert [clash.what for clash in clashes] == ([lost] if lost else [])


def test_a_range_is_the_same_however_it_is_written() -> None:
    [made], clashes = distinct([chain("c", ChainMatch(destinations=("10.1.2.0/24", "10.1.2.3/24", "10.1.2.3")), "x")])
    assert (made.match.destinations, clashes) == (("10.1.2.0/24", "10.1.2.3/32"), ())


def test_the_same_chain_twice_is_no_conflict() -> None:
    same = chain("same", ChainMatch(("a",), tls=True), "x")
    assert distinct([same, same]) == ((same,), ())
