"""Which of several settings of a DestinationRule holds, and what it means."""

from __future__ import annotations

import pytest

from tests.objects import objects, seen
from xds_server.incremental import fixed
from xds_server.kube.istio.destination_rule import DestinationRule
from xds_server.kube.units import Duration
from xds_server.mesh import checks, names
from xds_server.mesh.destination_rules import Rules, rule_index
from xds_server.mesh.model import Backend, Endpoint, Locality, Service, Tunnel
from xds_server.mesh.origin import Origin
from xds_server.mesh.placement import Placement, matches, placed, placement
from xds_server.mesh.policy import Effective, effective, tcp_options


def rules_of(*specs: str, host: str = "web") -> Rules:
    texts = [
        f"apiVersion: networking.istio.io/v1\nkind: DestinationRule\n"
        f"metadata: {{name: r{number}, namespace: shop}}\nspec: {{host: {host}, {spec}}}\n"
        for number, spec in enumerate(specs)
    ]
    table = fixed({("shop", r.metadata.name): r for r in objects(*texts) if isinstance(r, DestinationRule)})
    return rule_index(table).by_host[names.full_host(host, "shop")]["shop", ()]


def chosen(spec: str, subset: str = "", port: int = 80) -> Effective:
    return effective(rules_of(spec).layers(subset), port)


TOP = "trafficPolicy: {loadBalancer: {simple: RANDOM}, tls: {mode: SIMPLE}, tunnel: {targetHost: a, targetPort: 1}"
PORT = "portLevelSettings: [{port: {number: 80}, loadBalancer: {simple: ROUND_ROBIN}}]"
PRECEDENCE = {
    "the rule's own": (f"{TOP}}}", "", "RANDOM", "SIMPLE"),
    "a port's settings replace load balancing, connections, outliers and TLS together": (
        f"{TOP}, {PORT}}}",
        "",
        "ROUND_ROBIN",
        None,
    ),
    "a subset's fields come over the port's of the rule": (
        f"{TOP}, {PORT}}}, subsets: [{{name: v1, trafficPolicy: {{loadBalancer: {{simple: LEAST_CONN}}}}}}]",
        "v1",
        "LEAST_CONN",
        None,
    ),
    "a subset has the rule's where it says nothing": (
        f"{TOP}}}, subsets: [{{name: v1, trafficPolicy: {{tls: {{mode: DISABLE}}}}}}]",
        "v1",
        "RANDOM",
        "DISABLE",
    ),
    "the port of a subset comes over all": (
        f"{TOP}}}, subsets: [{{name: v1, trafficPolicy: {{tls: {{mode: DISABLE}}, {PORT}}}}}]",
        "v1",
        "ROUND_ROBIN",
        None,
    ),
}


@pytest.mark.parametrize(("spec", "subset", "balancing", "tls"), PRECEDENCE.values(), ids=PRECEDENCE)
def test_precedence(spec: str, subset: str, balancing: str, tls: str | None) -> None:
    found = chosen(spec, subset)
    assert found.load_balancer
    assert found.load_balancer.value.simple == balancing
    assert (found.tls.value.mode if found.tls else None) == tls
    assert found.tunnel, "what ports cannot say is never replaced by them"


def test_a_setting_knows_where_it_is_written() -> None:
    found = chosen(f"{TOP}, {PORT}}}")
    assert found.load_balancer
    assert found.load_balancer.origin.path == ("spec", "trafficPolicy", "portLevelSettings", 0, "loadBalancer")


def test_several_rules_of_one_host_are_read_as_one() -> None:
    found = rules_of("subsets: [{name: v1}]", "trafficPolicy: {loadBalancer: {simple: RANDOM}}, subsets: [{name: v2}]")
    assert sorted(found.subsets) == ["v1", "v2"]
    assert effective(found.layers("v1"), 80).load_balancer


def test_what_a_listener_takes_from_a_policy() -> None:
    tcp = "connectionPool: {tcp: {idleTimeout: 5s, maxConnectionDuration: 1h}}"
    hashed = "loadBalancer: {consistentHash: {useSourceIp: true}}"
    tunnel = 'tunnel: {protocol: post, targetHost: "2001:db8::1", targetPort: 443}'
    found = tcp_options(chosen(f"trafficPolicy: {{{tcp}, {hashed}, {tunnel}}}"))
    assert (found.idle_timeout, found.max_duration) == (Duration(5 * 10**9), Duration(3600 * 10**9))
    assert found.hash_source_ip
    assert found.tunnel == Tunnel("[2001:db8::1]:443", post=True)


# --- where a proxy runs -------------------------------------------------------------------------------------

HERE = Locality("eu", "a", "1")
ENDPOINTS = tuple(
    Endpoint(address, 80, (("version", version),), Locality(*locality.split("/")))
    for address, version, locality in [
        ("10.0.0.1", "v1", "eu/a/1"),
        ("10.0.0.2", "v2", "eu/a/2"),
        ("10.0.0.3", "v1", "eu/b"),
        ("10.0.0.4", "v1", "us/a"),
        ("10.0.0.5", "v2", "asia/a"),
    ]
)


def seen_as(setting: str, locality: Locality = HERE) -> Placement | None:
    found = chosen(f"trafficPolicy: {{loadBalancer: {{localityLbSetting: {setting}}}}}").load_balancer
    assert found
    return placement(found.value.locality_lb_setting, locality, (("version", "v2"),))


PRIORITIES = {
    "the nearest first": ("{enabled: true}", [0, 1, 2, 3, 3]),
    "the region to fail over to before others": ("{failover: [{from: eu, to: asia}]}", [0, 1, 2, 4, 3]),
    "of another region's failover nothing": ("{failover: [{from: us, to: eu}]}", [0, 1, 2, 3, 3]),
    "by the proxy's own label": ("{failoverPriority: [version]}", [1, 0, 1, 1, 0]),
    "by a given value": ("{failoverPriority: [version=v1]}", [0, 1, 0, 0, 1]),
    "labels after the first that differs do not count": (
        "{failoverPriority: [topology.kubernetes.io/region, version=v1]}",
        [0, 1, 0, 2, 2],
    ),
    "switched off": ("{enabled: false, failover: [{from: eu, to: us}]}", [0, 0, 0, 0, 0]),
}


@pytest.mark.parametrize(("setting", "expected"), PRIORITIES.values(), ids=PRIORITIES)
def test_priorities(setting: str, expected: list[int]) -> None:
    assert [endpoint.priority for endpoint in placed(ENDPOINTS, seen_as(setting)).endpoints] == expected


def test_a_proxy_that_does_not_say_where_it_runs_treats_all_alike() -> None:
    assert seen_as("{enabled: true}", Locality()) is None
    assert seen_as('{distribute: [{from: eu, to: {"*": 100}}]}', Locality()) is None


def test_shares_are_divided_within_a_pattern_and_what_is_not_listed_gets_nothing() -> None:
    found = placed(ENDPOINTS, seen_as('{distribute: [{from: eu/*, to: {"eu/a/*": 70, us: 30}}]}'))
    assert {endpoint.address for endpoint in found.endpoints} == {"10.0.0.1", "10.0.0.2", "10.0.0.4"}
    assert dict(found.weights) == {
        Locality("eu", "a", "1"): 3500,
        Locality("eu", "a", "2"): 3500,
        Locality("us", "a"): 3000,
    }


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [("*", True), ("eu", True), ("eu/*", True), ("eu/a/1", True), ("eu/b", False), ("us/*", False), ("", True)],
)
def test_patterns_of_localities(pattern: str, expected: bool) -> None:
    assert matches(pattern, HERE) is expected


# --- backends -----------------------------------------------------------------------------------------------

WORLD = """
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {ports: [{name: http, port: 80}]}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge, namespace: shop}
spec:
  selector: {app: edge}
  servers: [{port: {number: 8080, name: http, protocol: HTTP}, hosts: ["*"]}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web, namespace: shop}
spec:
  hosts: ["*"]
  gateways: [edge]
  http: [{route: [{destination: {host: web}}]}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: web, namespace: shop}
spec: {host: web, trafficPolicy: POLICY}
"""


def backend(policy: str) -> tuple[Backend | None, list[str]]:
    view, notes = seen(WORLD.replace("POLICY", policy))
    return next(iter(view.backends.values()), None), [
        f"{note.code} {'.'.join(map(str, note.path[2:]))}" for note in notes
    ]


MISTAKES = {
    "a table that is not prime": (
        "{loadBalancer: {consistentHash: {httpHeaderName: a, maglev: {tableSize: 100}}}}",
        ["XDS4011 loadBalancer.consistentHash.maglev.tableSize"],
    ),
    "hashing of nothing": ("{loadBalancer: {consistentHash: {}}}", ["XDS4009 loadBalancer.consistentHash"]),
    "warm-up of a random choice": (
        "{loadBalancer: {simple: RANDOM, warmup: {duration: 1s}}}",
        ["XDS4009 loadBalancer.warmup"],
    ),
    "streams without HTTP/2": (
        "{connectionPool: {http: {maxConcurrentStreams: 1}}}",
        ["XDS4009 connectionPool.http.maxConcurrentStreams"],
    ),
    "failover that nobody would notice": (
        "{loadBalancer: {localityLbSetting: {enabled: true}}}",
        ["XDS4024 loadBalancer.localityLbSetting"],
    ),
    "an original destination that is the proxy": (
        "{loadBalancer: {simple: PASSTHROUGH}}",
        ["XDS4009 loadBalancer.simple"],
    ),
    "identities that do not exist": ("{tls: {mode: ISTIO_MUTUAL}}", ["XDS5004 tls.mode"]),
    "no certificate to show": ("{tls: {mode: MUTUAL}}", ["XDS5009 tls"]),
}


@pytest.mark.parametrize(("policy", "expected"), MISTAKES.values(), ids=MISTAKES)
def test_what_cannot_take_effect_is_named(policy: str, expected: list[str]) -> None:
    found, notes = backend(policy)
    assert found is not None
    assert notes == expected


def test_a_backend_without_its_certificate_is_left_out() -> None:
    assert backend("{tls: {mode: MUTUAL, credentialName: nothing}}") == (None, ["XDS5001 tls.credentialName"])


@pytest.mark.parametrize(("size", "good"), [(65537, True), (2, True), (1, False), (9, False), (5_000_077, False)])
def test_sizes_of_maglev_tables(size: int, good: bool) -> None:
    assert (checks.maglev_size(size) is None) is good


@pytest.mark.parametrize(
    ("suite", "good"),
    [
        ("AES128-SHA", True),
        ("[AES128-SHA|AES256-SHA]", True),
        ("[AES128-SHA|X]", False),
        ("TLS_AES_128_GCM_SHA256", False),
    ],
)
def test_cipher_suites(suite: str, good: bool) -> None:
    assert (checks.cipher_suite(suite) is None) is good


def test_names_have_inverses() -> None:
    assert names.parse_file_certificate(names.file_certificate("/a.crt", "/a.key")) == ("/a.crt", "/a.key")
    assert names.parse_file_trust(names.file_trust("/ca.crt")) == ("/ca.crt", "")
    assert names.parse_file_trust(names.file_trust("/ca.crt", "/ca.crl")) == ("/ca.crt", "/ca.crl")
    assert names.parse_sni_dnat(names.sni_dnat(80, "v1", "a.b_.c")) == ("outbound", 80, "v1", "a.b_.c")


def test_rules_for_some_clients_come_before_those_for_all() -> None:
    texts = [
        "apiVersion: networking.istio.io/v1\nkind: DestinationRule\n"
        f"metadata: {{name: {name}, namespace: shop}}\nspec: {{host: {host}{selector}}}\n"
        for name, host, selector in [
            ("all", "web", ""),
            ("wide", '"*"', ", workloadSelector: {matchLabels: {app: batch}}"),
            ("near", "web", ", workloadSelector: {matchLabels: {app: batch, zone: a}}"),
        ]
    ]
    table = fixed({("shop", r.metadata.name): r for r in objects(*texts) if isinstance(r, DestinationRule)})
    index = rule_index(table)
    service = Service("web.shop.svc.cluster.local", "web", "shop", (), Origin(next(iter(table.values())).ref))

    def found(namespace: str, **labels: str) -> str:
        rules = index.find(service, namespace, tuple(sorted(labels.items())))
        assert rules
        return rules.origins[0].ref.name

    assert found("shop") == "all"
    assert found("shop", app="batch") == "wide"
    assert found("shop", app="batch", zone="a") == "near"
    assert found("other", app="batch", zone="a") == "all"
