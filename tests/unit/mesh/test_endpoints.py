"""Which endpoints a service has, and which of them a proxy uses."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from tests.objects import SIDECAR, seen, snapshot
from xds_server.memo import no_memo
from xds_server.mesh.endpoints import family, settled
from xds_server.mesh.model import Algorithm, Endpoint, HashKey, Health, Locality
from xds_server.mesh.proxy import Interception, Proxy, proxy_of
from xds_server.mesh.registry import registry
from xds_server.mesh.topology import placed_proxy

SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {selector: {app: web}, ports: [{name: http, port: 80, targetPort: 8080}]}
"""


def service(more: str) -> str:
    return SERVICE.replace("selector: {app: web}", f"selector: {{app: web}}, {more}")


def endpoint_slice(
    endpoints: str, family: str = "IPv4", name: str = "web-1", ports: str = "{name: http, port: 8080}"
) -> str:
    return f"""
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: {name}, namespace: shop, labels: {{kubernetes.io/service-name: web}}}}
addressType: {family}
ports: [{ports}]
endpoints: [{endpoints}]
"""


def legacy(subset: str, labels: str = "") -> str:
    return f"""
apiVersion: v1
kind: Endpoints
metadata: {{name: web, namespace: shop, labels: {{{labels}}}}}
subsets: [{{{subset}, ports: [{{name: http, port: 8080}}]}}]
"""


def pod(name: str, status: str, spec: str = "", more: str = "") -> str:
    return f"""
apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: shop, labels: {{app: web}}{more}}}
spec: {{{spec}containers: [{{name: app, image: app}}]}}
status: {{{status}}}
"""


def workload(spec: str, more: str = "") -> str:
    return f"""
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {{name: vm, namespace: shop, labels: {{app: web}}{more}}}
spec: {{{spec}}}
"""


def told(endpoint: Endpoint) -> str:
    """`10.0.0.1:80`, and what is not as usual about it."""
    address = "+".join((endpoint.address, *endpoint.more_addresses))
    health = "" if endpoint.health is Health.HEALTHY else f" {endpoint.health}"
    return f"{address}:{endpoint.port}{health}" + (f" p{endpoint.priority}" if endpoint.priority else "")


def endpoints(*texts: str) -> tuple[list[str], list[str]]:
    """The endpoints of `web`, and the codes of what is wrong."""
    result = registry(snapshot(*texts), no_memo)
    (found,) = (found for key, found in result.endpoints.items() if key[3] == "web")
    return [told(endpoint) for endpoint in found.by_port[80]], [note.code for note in result.diagnostics]


READY, UNREADY = "conditions: [{type: Ready, status: 'True'}]", "conditions: [{type: Ready, status: 'False'}]"
DELETED = ", deletionTimestamp: '2026-01-01T00:00:00Z'"

FOUND: dict[str, tuple[list[str], list[str], list[str]]] = {
    "a Pod that is ready": ([SERVICE, pod("a", f"podIP: 10.0.0.1, {READY}")], ["10.0.0.1:8080"], []),
    "a Pod that says nothing": ([SERVICE, pod("a", "podIP: 10.0.0.1")], ["10.0.0.1:8080"], []),
    "not a Pod that is not ready": ([SERVICE, pod("a", f"podIP: 10.0.0.1, {UNREADY}")], [], []),
    "unless it is to be published": (
        [service("publishNotReadyAddresses: true"), pod("a", f"podIP: 10.0.0.1, {UNREADY}")],
        ["10.0.0.1:8080"],
        [],
    ),
    "a Pod that is going finishes what it has": (
        [SERVICE, pod("a", f"podIP: 10.0.0.1, {READY}", more=DELETED)],
        ["10.0.0.1:8080 draining"],
        [],
    ),
    "not a Pod that is going and not ready": ([SERVICE, pod("a", f"podIP: 10.0.0.1, {UNREADY}", more=DELETED)], [], []),
    "not a Pod that has ended": ([SERVICE, pod("a", "podIP: 10.0.0.1, phase: Succeeded")], [], []),
    "the first address of a Pod": (
        [SERVICE, pod("a", "podIPs: [{ip: 10.0.0.1}, {ip: 'fd00::1'}]")],
        ["10.0.0.1:8080"],
        [],
    ),
    "its addresses of all families of the service": (
        [service("ipFamilies: [IPv6, IPv4]"), pod("a", "podIPs: [{ip: 10.0.0.1}, {ip: 'fd00::1'}]")],
        ["fd00::1+10.0.0.1:8080"],
        [],
    ),
    "no Pod without an address of the family": (
        [service("ipFamilies: [IPv6]"), pod("a", "podIP: 10.0.0.1")],
        [],
        ["XDS2006"],
    ),
    "slices and not Pods": (
        [SERVICE, pod("a", "podIP: 10.0.0.9"), endpoint_slice("{addresses: [10.0.0.1]}")],
        ["10.0.0.1:8080"],
        [],
    ),
    "several slices as one": (
        [SERVICE, endpoint_slice("{addresses: [10.0.0.1]}"), endpoint_slice("{addresses: [10.0.0.2]}", name="web-2")],
        ["10.0.0.1:8080", "10.0.0.2:8080"],
        [],
    ),
    "an endpoint once, as the slice has it that says it is well": (
        [
            SERVICE,
            endpoint_slice("{addresses: [10.0.0.1], conditions: {ready: false, serving: true, terminating: true}}"),
            endpoint_slice("{addresses: [10.0.0.1]}", name="web-2"),
        ],
        ["10.0.0.1:8080"],
        [],
    ),
    "one endpoint of two families": (
        [
            SERVICE,
            endpoint_slice("{addresses: ['fd00::1'], targetRef: {kind: Pod, name: a}}", "IPv6", "web-6"),
            endpoint_slice("{addresses: [10.0.0.1], targetRef: {kind: Pod, name: a}}"),
        ],
        ["10.0.0.1+fd00::1:8080"],
        [],
    ),
    "two endpoints of two families when nothing says that they are one": (
        [
            SERVICE,
            endpoint_slice("{addresses: ['fd00::1']}", "IPv6", "web-6"),
            endpoint_slice("{addresses: [10.0.0.1]}"),
        ],
        ["10.0.0.1:8080", "fd00::1:8080"],
        [],
    ),
    "names, when all are names": (
        [SERVICE, endpoint_slice("{addresses: [a.example.com]}", "FQDN")],
        ["a.example.com:8080"],
        [],
    ),
    "no names beside addresses": (
        [
            SERVICE,
            endpoint_slice("{addresses: [a.com]}", "FQDN"),
            endpoint_slice("{addresses: [10.0.0.1]}", name="web-2"),
        ],
        ["10.0.0.1:8080"],
        ["XDS2031"],
    ),
    "no address that is none": ([SERVICE, endpoint_slice("{addresses: [nonsense]}")], [], ["XDS2030"]),
    "what is not ready, when it is to be published": (
        [
            service("publishNotReadyAddresses: true"),
            endpoint_slice("{addresses: [10.0.0.1], conditions: {ready: false}}"),
        ],
        ["10.0.0.1:8080"],
        [],
    ),
    "a slice of all ports has the service's target": (
        [SERVICE, endpoint_slice("{addresses: [10.0.0.1]}", ports="{name: http}")],
        ["10.0.0.1:8080"],
        [],
    ),
    "no endpoints of a port that the slice does not have": (
        [SERVICE, endpoint_slice("{addresses: [10.0.0.1]}", ports="{name: other, port: 1}")],
        [],
        [],
    ),
    "legacy Endpoints, which the controller would mirror": (
        [SERVICE, legacy("addresses: [{ip: 10.0.0.1}], notReadyAddresses: [{ip: 10.0.0.2}]")],
        ["10.0.0.1:8080"],
        [],
    ),
    "all of them, when they are to be published": (
        [service("publishNotReadyAddresses: true"), legacy("notReadyAddresses: [{ip: 10.0.0.2}]")],
        ["10.0.0.2:8080"],
        [],
    ),
    "not those that are not to be mirrored": (
        [SERVICE, legacy("addresses: [{ip: 10.0.0.1}]", "endpointslice.kubernetes.io/skip-mirror: 'true'")],
        [],
        [],
    ),
    "slices and not legacy Endpoints": (
        [SERVICE, legacy("addresses: [{ip: 10.0.0.9}]"), endpoint_slice("{addresses: [10.0.0.1]}")],
        ["10.0.0.1:8080"],
        [],
    ),
    "a WorkloadEntry beside Pods": (
        [SERVICE, pod("a", "podIP: 10.0.0.1"), workload("address: 10.0.0.2")],
        ["10.0.0.1:8080", "10.0.0.2:8080"],
        [],
    ),
    "a WorkloadEntry beside slices, on its own port": (
        [SERVICE, endpoint_slice("{addresses: [10.0.0.1]}"), workload("address: 10.0.0.2, ports: {http: 9000}")],
        ["10.0.0.1:8080", "10.0.0.2:9000"],
        [],
    ),
    "no WorkloadEntry with a name": ([SERVICE, workload("address: vm.example.com")], [], ["XDS2030"]),
    "no WorkloadEntry that nobody has checked yet": (
        [SERVICE, workload("address: 10.0.0.2", ", annotations: {proxy.istio.io/health-checks-enabled: 'true'}")],
        [],
        [],
    ),
}


@pytest.mark.parametrize(("texts", "expected", "noted"), FOUND.values(), ids=FOUND)
def test_a_kubernetes_service_has(texts: list[str], expected: list[str], noted: list[str]) -> None:
    assert endpoints(*texts) == (expected, noted)


def entry(spec: str) -> str:
    return f"""
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: web, namespace: shop}}
spec: {{addresses: [192.0.2.1], ports: [{{number: 80, name: http, protocol: HTTP, targetPort: 8080}}], {spec}}}
"""


STATIC, DNS = "hosts: [a.com], resolution: STATIC, ", "hosts: [a.com], resolution: DNS, "
PICKED: dict[str, tuple[list[str], list[str], list[str]]] = {
    "the host itself": ([entry("hosts: [A.com], resolution: DNS")], ["a.com:8080"], []),
    "addresses": ([entry(STATIC + "endpoints: [{address: 10.0.0.1}]")], ["10.0.0.1:8080"], []),
    "on ports of their own": (
        [entry(STATIC + "endpoints: [{address: 10.0.0.1, ports: {http: 9}}]")],
        ["10.0.0.1:9"],
        [],
    ),
    "sockets": ([entry(STATIC + "endpoints: [{address: 'unix:///a.sock'}]")], ["/a.sock:0"], []),
    "no names where nothing is resolved": ([entry(STATIC + "endpoints: [{address: b.com}]")], [], ["XDS2030"]),
    "names where they are": ([entry(DNS + "endpoints: [{address: b.com}]")], ["b.com:8080"], []),
    "no sockets there": ([entry(DNS + "endpoints: [{address: 'unix:///a.sock'}]")], [], ["XDS2030"]),
    "nothing for many names": ([entry("hosts: ['*.a.com'], resolution: DNS")], [], ["XDS2035"]),
    "nothing where only a network is known": ([entry(STATIC + "endpoints: [{network: lan}]")], [], ["XDS2036"]),
    "Pods and WorkloadEntries": (
        [
            entry(STATIC + "workloadSelector: {labels: {app: web}}"),
            pod("a", "podIP: 10.0.0.1"),
            pod("b", f"podIP: 10.0.0.3, {UNREADY}"),
            workload("address: 10.0.0.2"),
        ],
        ["10.0.0.1:8080", "10.0.0.2:8080"],
        [],
    ),
    "names of WorkloadEntries where they are resolved": (
        [entry(DNS + "workloadSelector: {labels: {app: web}}"), workload("address: vm.com")],
        ["vm.com:8080"],
        [],
    ),
    "nothing when nobody has the labels": ([entry(STATIC + "workloadSelector: {labels: {app: web}}")], [], ["XDS2034"]),
}


@pytest.mark.parametrize(("texts", "expected", "noted"), PICKED.values(), ids=PICKED)
def test_a_service_entry_has(texts: list[str], expected: list[str], noted: list[str]) -> None:
    assert endpoints(*texts) == (expected, noted)


def test_weights_that_are_too_heavy_together_keep_their_proportions() -> None:
    text = entry(
        STATIC + "endpoints: [{address: 10.0.0.1, weight: 4000000000}, {address: 10.0.0.2, weight: 2000000000}]"
    )
    result = registry(snapshot(text), no_memo)
    ((heavy, light),) = (found.by_port[80] for found in result.endpoints.values())
    assert heavy.weight + light.weight <= 2**31
    assert heavy.weight == pytest.approx(2 * light.weight, abs=2)


GROUP = """
apiVersion: networking.istio.io/v1
kind: WorkloadGroup
metadata: {name: vms, namespace: shop}
spec:
  metadata: {labels: {app: web, tier: group}}
  template: {ports: {http: 81}, labels: {version: v1}, locality: eu/eu-1, weight: 7}
"""
OF_GROUP = ", annotations: {istio.io/autoRegistrationGroup: vms}"


def test_a_workload_entry_has_what_its_group_says_and_it_does_not() -> None:
    text = workload("address: 10.0.0.1, labels: {version: v2}", OF_GROUP)
    result = registry(snapshot(SERVICE, GROUP, text), no_memo)
    ((found,),) = (found.by_port[80] for found in result.endpoints.values())
    assert (told(found), found.weight, found.locality) == ("10.0.0.1:81", 7, Locality("eu", "eu-1"))
    assert dict(found.labels) == {"app": "web", "tier": "group", "version": "v2"}


def test_a_group_that_does_not_exist_is_named() -> None:
    result = registry(snapshot(SERVICE, workload("address: 10.0.0.1", OF_GROUP)), no_memo)
    assert [note.code for note in result.diagnostics] == ["XDS2032"]


NODES = "\n---\n".join(
    f"""
apiVersion: v1
kind: Node
metadata: {{name: {name}, labels: {{topology.kubernetes.io/region: eu, topology.kubernetes.io/zone: {zone}}}}}
"""
    for name, zone in {"a": "z1", "b": "z1", "c": "z2"}.items()
)
PODS = "\n---\n".join(pod(f"on-{node}", f"podIP: 10.0.0.{n}", f"nodeName: {node}, ") for n, node in enumerate("abc"))
ON_A = replace(SIDECAR, namespace="shop", node="a", locality=Locality("eu", "z1"))
ELSEWHERE = replace(SIDECAR, namespace="shop", node="x", locality=Locality("us", "z1"))
NOWHERE = replace(SIDECAR, namespace="shop")


def hinted(first: str, second: str) -> str:
    return endpoint_slice(f"{{addresses: [10.0.0.0], {first}}}, {{addresses: [10.0.0.1], {second}}}")


NEAR: dict[str, tuple[list[str], Proxy, list[str]]] = {
    "all of them": ([SERVICE, PODS], ON_A, ["0", "1", "2"]),
    "only those of its node": ([service("internalTrafficPolicy: Local"), PODS], ON_A, ["0"]),
    "none when its node has none": ([service("internalTrafficPolicy: Local"), PODS], ELSEWHERE, []),
    "all of them when it does not know its node": (
        [service("internalTrafficPolicy: Local"), PODS],
        NOWHERE,
        ["0", "1", "2"],
    ),
    "those of its zone first": ([service("trafficDistribution: PreferSameZone"), PODS], ON_A, ["0", "1", "2 p1"]),
    "those of its node first": ([service("trafficDistribution: PreferSameNode"), PODS], ON_A, ["0", "1 p1", "2 p2"]),
    "all equally, from another region": (
        [service("trafficDistribution: PreferSameZone"), PODS],
        ELSEWHERE,
        ["0", "1", "2"],
    ),
    "all equally, from nowhere": ([service("trafficDistribution: PreferSameZone"), PODS], NOWHERE, ["0", "1", "2"]),
    "those that are meant for its zone": (
        [SERVICE, hinted("hints: {forZones: [{name: z1}]}", "hints: {forZones: [{name: z2}]}")],
        ON_A,
        ["0"],
    ),
    "all of them when one is meant for nobody in particular": (
        [SERVICE, hinted("hints: {forZones: [{name: z1}]}", "zone: z2")],
        ON_A,
        ["0", "1"],
    ),
    "all of them when none is meant for its zone": (
        [SERVICE, hinted("hints: {forZones: [{name: z3}]}", "hints: {forZones: [{name: z2}]}")],
        ON_A,
        ["0", "1"],
    ),
    "those that are meant for its node": (
        [
            SERVICE,
            hinted(
                "hints: {forNodes: [{name: a}], forZones: [{name: z1}]}",
                "hints: {forNodes: [{name: b}], forZones: [{name: z1}]}",
            ),
        ],
        ON_A,
        ["0"],
    ),
    "what a DestinationRule says": (
        [
            service("trafficDistribution: PreferSameZone"),
            PODS,
            """
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: web, namespace: shop}
spec: {host: web, trafficPolicy: {loadBalancer: {simple: RANDOM, localityLbSetting: {enabled: false}}}}
""",
        ],
        ON_A,
        ["0", "1", "2"],
    ),
}


@pytest.mark.parametrize(("texts", "proxy", "expected"), NEAR.values(), ids=NEAR)
def test_a_proxy_uses(texts: list[str], proxy: Proxy, expected: list[str]) -> None:
    view, _ = seen(NODES, *texts, proxy=proxy)
    (found,) = view.endpoints.values()
    assert [told(each).removeprefix("10.0.0.").replace(":8080", "") for each in found.endpoints] == expected


def test_a_proxy_that_does_not_know_its_node_is_named() -> None:
    _, notes = seen(service("internalTrafficPolicy: Local"), proxy=NOWHERE)
    assert [note.code for note in notes] == ["XDS4031"]


@pytest.mark.parametrize(
    ("text", "node"),
    [
        pytest.param(SERVICE, "", id="nothing depends on it"),
        pytest.param(service("trafficDistribution: PreferSameZone"), "", id="only the zone counts"),
        pytest.param(service("trafficDistribution: PreferSameNode"), "a", id="a service prefers it"),
        pytest.param(service("internalTrafficPolicy: Local"), "a", id="a service asks for it"),
        pytest.param(SERVICE + "---" + hinted("hints: {forNodes: [{name: a}]}", ""), "a", id="a hint names it"),
    ],
)
def test_proxies_of_many_nodes_are_one_group_where_their_node_does_not_matter(text: str, node: str) -> None:
    proxy = proxy_of("sidecar~10.0.0.1~a.shop~shop.svc.cluster.local", {"NODE_NAME": "a"})
    placed = placed_proxy(registry(snapshot(NODES, text), no_memo), proxy)
    assert (placed.node, placed.locality) == (node, Locality("eu", "z1"))


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("10.0.0.1", "IPv4"),
        ("255.255.255.255", "IPv4"),
        ("0.0.0.0", "IPv4"),
        ("256.0.0.1", ""),
        ("10.0.0", ""),
        ("010.0.0.1", ""),
        ("fd00::1", "IPv6"),
        ("::ffff:10.0.0.1", "IPv6"),
        ("a.example.com", ""),
        ("/run/a.sock", ""),
        ("", ""),
    ],
)
def test_the_family_of_an_address(address: str, expected: str) -> None:
    assert family(address) == expected


def at(number: int, health: Health, priority: int = 0) -> Endpoint:
    return Endpoint(f"10.0.0.{number}", 80, health=health, priority=priority)


GOOD, GOING = Health.HEALTHY, Health.DRAINING
GOES: dict[str, tuple[list[Endpoint], list[str]]] = {
    "nothing": ([at(1, GOOD), at(2, GOOD)], ["1", "2"]),
    "few of them": ([at(1, GOOD), at(2, GOING)], ["1", "2 draining"]),
    "most of them": ([at(1, GOOD), at(2, GOING), at(3, GOING)], ["1"]),
    "all of them": ([at(1, GOING), at(2, GOING)], ["1", "2"]),
    "most of them nearby": (
        [at(1, GOOD), at(2, GOING), at(3, GOING), at(4, GOOD, 1), at(5, GOING, 1)],
        ["1", "4 p1", "5 draining p1"],
    ),
    "all of them nearby": ([at(1, GOING), at(2, GOOD, 1)], ["1 draining", "2 p1"]),
}


@pytest.mark.parametrize(("before", "after"), GOES.values(), ids=GOES)
def test_what_a_proxy_is_told_when_this_goes_away(before: list[Endpoint], after: list[str]) -> None:
    assert [told(each).removeprefix("10.0.0.").replace(":80", "") for each in settled(tuple(before))] == after


STICKY = service("sessionAffinity: ClientIP")
BY_ADDRESS = HashKey(source_ip=True)


def rule(policy: str) -> str:
    return f"""
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: web, namespace: shop}}
spec: {{host: web, trafficPolicy: {policy}}}
"""


@pytest.mark.parametrize(
    ("texts", "algorithm", "key"),
    [
        pytest.param([SERVICE], Algorithm.LEAST_REQUEST, None, id="nothing said"),
        pytest.param([STICKY], Algorithm.RING_HASH, BY_ADDRESS, id="the Service says so"),
        pytest.param(
            [STICKY, rule("{loadBalancer: {simple: RANDOM}}")], Algorithm.RANDOM, None, id="a rule says otherwise"
        ),
        pytest.param(
            [STICKY, rule("{loadBalancer: {consistentHash: {httpHeaderName: x-user}}}")],
            Algorithm.RING_HASH,
            HashKey(header="x-user"),
            id="a rule hashes by something else",
        ),
        pytest.param(
            [STICKY, rule("{connectionPool: {tcp: {maxConnections: 5}}}")],
            Algorithm.RING_HASH,
            BY_ADDRESS,
            id="a rule says nothing about it",
        ),
        pytest.param(
            [STICKY, rule("{loadBalancer: {simple: UNSPECIFIED}}")],
            Algorithm.RING_HASH,
            BY_ADDRESS,
            id="a rule leaves it open",
        ),
    ],
)
def test_clients_stay_with_their_endpoint(texts: list[str], algorithm: Algorithm, key: HashKey | None) -> None:
    view, _ = seen(*texts, proxy=NOWHERE)
    (backend,) = view.backends.values()
    action: Any = next(iter(view.route_tables.values())).virtual_hosts[0].routes[0].action
    assert backend.policy.load_balancing.algorithm is algorithm
    assert action.hash_keys == ((key,) if key else ())
    assert action.retry.avoid_previous_hosts is (key is None)


NONE = entry("hosts: [a.com], resolution: NONE")


@pytest.mark.parametrize(
    ("host", "interception", "expected"),
    [
        pytest.param("a.com", Interception.REDIRECT, ("original_destination", [], []), id="goes where it wanted to"),
        pytest.param("a.com", Interception.NONE, ("dns", ["a.com:8080"], ["XDS4034"]), id="or is resolved"),
        pytest.param("'*.a.com'", Interception.NONE, ("fixed", [], ["XDS4035"]), id="which many names cannot be"),
        pytest.param("localhost", Interception.NONE, ("fixed", [], ["XDS4035"]), id="nor the proxy itself"),
    ],
)
def test_a_connection_without_resolution(host: str, interception: Interception, expected: Any) -> None:
    text = entry(f"hosts: [{host}], resolution: NONE")
    view, notes = seen(text, proxy=replace(NOWHERE, interception=interception))
    (backend,) = (backend for backend in view.backends.values() if backend.name.startswith("outbound"))
    found = (backend.discovery.value, [told(each) for each in backend.fixed], [note.code for note in notes])
    assert found == expected


@pytest.mark.parametrize(
    ("hosts", "spec", "expected"),
    [
        pytest.param("a.com", "", ("dns_round_robin", ["a.com:8080"], []), id="the host"),
        pytest.param("'*.a.com'", "", ("fixed", [], ["XDS2035"]), id="none"),
        pytest.param(
            "a.com",
            ", workloadSelector: {labels: {app: web}}",
            ("dns", ["b.com:8080", "c.com:8080"], ["XDS2038"]),
            id="several",
        ),
    ],
)
def test_round_robin_resolves_one_name(hosts: str, spec: str, expected: Any) -> None:
    vms = [workload(f"address: {name}.com").replace("name: vm", f"name: {name}") for name in "bc"]
    view, notes = seen(entry(f"hosts: [{hosts}], resolution: DNS_ROUND_ROBIN{spec}"), *vms, proxy=NOWHERE)
    (backend,) = view.backends.values()
    assert (backend.discovery.value, [told(e) for e in backend.fixed], [note.code for note in notes]) == expected


def test_its_target_port_counts_either_way() -> None:
    view, _ = seen(NONE, proxy=replace(NOWHERE, interception=Interception.REDIRECT))
    assert [backend.port.target for backend in view.backends.values() if backend.port.number == 80] == [8080]
