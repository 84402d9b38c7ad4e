"""What the services of a mesh are called, where they are reached and what they prefer."""

from __future__ import annotations

import pytest

from tests.objects import GRPC, SIDECAR, seen, snapshot
from xds_server.diagnostics import in_order
from xds_server.memo import Generations, no_memo
from xds_server.mesh.local_addresses import reason_to_refuse
from xds_server.mesh.model import Algorithm, Discovery, Nearness, Service
from xds_server.mesh.registry import Registry, registry
from xds_server.mesh.resolve import resolve
from xds_server.mesh.service_entries import AUTOMATIC, automatic_addresses
from xds_server.mesh.service_rank import seen as seen_by


def seen_from(found: Registry, namespace: str) -> tuple[Service, ...]:
    """One service for each host, sorted by host."""
    services = (seen_by(same, namespace) for _, same in sorted(found.by_host.items()))
    return tuple(service for service in services if service is not None)


def found(*texts: str) -> Registry:
    return registry(snapshot(*texts), no_memo)


def one(host: str, *texts: str, namespace: str = "shop") -> Service:
    service = found(*texts).find(host, namespace)
    assert service is not None
    return service


def codes(registry: Registry) -> list[str]:
    return [note.code for note in registry.diagnostics]


def kubernetes(spec: str, name: str = "web", namespace: str = "shop", more: str = "", status: str = "{}") -> str:
    return f"""
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: {namespace}{more}}}
spec: {{{spec}}}
status: {status}
"""


def entry(spec: str, name: str = "entry", more: str = "", status: str = "{}") -> str:
    return f"""
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: {name}, namespace: shop{more}}}
spec: {{ports: [{{number: 80, name: http, protocol: HTTP}}], {spec}}}
status: {status}
"""


WEB = "web.shop.svc.cluster.local"
PORT = "ports: [{name: http, port: 80}]"


@pytest.mark.parametrize(
    ("name", "refused"),
    [
        ("db.example.com", False),
        ("10.0.0.1", False),
        ("fd00::1", False),
        ("localhost", True),
        ("LocalHost.", True),
        ("a.localhost", True),
        ("ip6-localhost", True),
        ("127.0.0.1", True),
        ("127.1", True),
        ("0x7f.1", True),
        ("2130706433", True),
        ("0.0.0.0", True),
        ("169.254.169.254", True),
        ("::1", True),
        ("::", True),
        ("[::1]", True),
        ("::ffff:127.0.0.1", True),
        ("fe80::1", True),
        ("224.0.0.1", True),
        ("a name", True),
        ("", True),
    ],
)
def test_nobody_is_led_to_the_machine_of_the_proxy(name: str, refused: bool) -> None:
    assert bool(reason_to_refuse(name)) is refused


@pytest.mark.parametrize(
    ("spec", "status", "addresses", "noted"),
    [
        pytest.param("clusterIP: 10.0.0.1", "{}", ("10.0.0.1",), [], id="its cluster IP"),
        pytest.param("clusterIPs: [10.0.0.1, 'fd00::1']", "{}", ("10.0.0.1", "fd00::1"), [], id="of both families"),
        pytest.param("clusterIP: None", "{}", (), [], id="none when it is headless"),
        pytest.param("externalIPs: [192.0.2.1]", "{}", ("192.0.2.1",), [], id="an external IP"),
        pytest.param("externalIPs: [127.0.0.1]", "{}", (), ["XDS6002"], id="but not that of the proxy"),
        pytest.param("externalIPs: [nonsense]", "{}", (), ["XDS6002"], id="nor what is none"),
        pytest.param("clusterIP: nonsense", "{}", (), ["XDS2037"], id="nor as a cluster IP"),
        pytest.param(
            "type: LoadBalancer",
            "{loadBalancer: {ingress: [{ip: 192.0.2.1}, {ip: 192.0.2.2, ipMode: VIP}, {hostname: a.example.com}]}}",
            ("192.0.2.1", "192.0.2.2"),
            [],
            id="those of its load balancer",
        ),
        pytest.param(
            "type: LoadBalancer",
            "{loadBalancer: {ingress: [{ip: 192.0.2.1, ipMode: Proxy}]}}",
            (),
            [],
            id="but not of one that wants the traffic itself",
        ),
    ],
)
def test_the_addresses_of_a_service(spec: str, status: str, addresses: tuple[str, ...], noted: list[str]) -> None:
    result = found(kubernetes(f"{spec}, {PORT}", status=status))
    service = result.find(WEB, "shop")
    assert service is not None
    assert (service.addresses, codes(result)) == (addresses, noted)


def test_an_address_belongs_to_one_service_alone() -> None:
    result = found(
        kubernetes(f"clusterIP: 10.0.0.1, {PORT}", "owner"),
        kubernetes(f"externalIPs: [10.0.0.1, 192.0.2.1], {PORT}", "another"),
        kubernetes(f"externalIPs: [192.0.2.1], {PORT}", "last"),
    )
    names = ("owner", "another", "last")
    services = [result.find(f"{name}.shop.svc.cluster.local", "shop") for name in names]
    assert [s and s.addresses for s in services] == [("10.0.0.1",), ("192.0.2.1",), ()]
    assert codes(result) == ["XDS3031", "XDS3031"]


@pytest.mark.parametrize(
    ("spec", "annotation", "expected", "noted"),
    [
        pytest.param("", "", None, [], id="nothing said"),
        pytest.param("trafficDistribution: PreferClose, ", "", Nearness.ZONE, [], id="the older name"),
        pytest.param("trafficDistribution: PreferSameZone, ", "", Nearness.ZONE, [], id="zone"),
        pytest.param("trafficDistribution: PreferSameNode, ", "", Nearness.NODE, [], id="node"),
        pytest.param("trafficDistribution: Nowhere, ", "", None, ["XDS4033"], id="a word that nobody knows"),
        pytest.param("", "PreferClose", Nearness.ZONE, [], id="Istio's annotation"),
        pytest.param("", "Any", None, [], id="which can say that there is no preference"),
        pytest.param("trafficDistribution: PreferSameNode, ", "PreferClose", Nearness.NODE, [], id="the field wins"),
    ],
)
def test_what_a_service_prefers(spec: str, annotation: str, expected: Nearness | None, noted: list[str]) -> None:
    more = f", annotations: {{networking.istio.io/traffic-distribution: '{annotation}'}}" if annotation else ""
    result = found(kubernetes(spec + PORT, more=more))
    assert [s.prefers for s in seen_from(result, "shop")] == [expected]
    assert codes(result) == noted


@pytest.mark.parametrize(
    ("spec", "noted"),
    [
        pytest.param("sessionAffinity: ClientIP", [], id="without a time"),
        pytest.param(
            "sessionAffinity: ClientIP, sessionAffinityConfig: {clientIP: {timeoutSeconds: 10800}}",
            [],
            id="with the time that the API server fills in",
        ),
        pytest.param(
            "sessionAffinity: ClientIP, sessionAffinityConfig: {clientIP: {timeoutSeconds: 5}}",
            ["XDS4030"],
            id="with a time that somebody wants",
        ),
    ],
)
def test_affinity_has_no_time(spec: str, noted: list[str]) -> None:
    result = found(kubernetes(f"{spec}, {PORT}"))
    assert [s.sticky for s in seen_from(result, "shop")] == [True]
    assert codes(result) == noted


def external(name: str, target: str, namespace: str = "shop", more: str = "") -> str:
    return kubernetes(f"type: ExternalName, externalName: '{target}', {PORT}", name, namespace, more)


class TestExternalNames:
    def test_a_name_outside_of_the_mesh_is_a_service_that_is_resolved(self) -> None:
        service = one("out.shop.svc.cluster.local", external("out", "www.example.com"))
        assert (service.discovery, service.external, service.aliases) == (Discovery.DNS, True, ())

    def test_a_name_of_a_service_is_an_alias_by_way_of_others(self) -> None:
        texts = (
            kubernetes(PORT),
            external("one", WEB),
            external("two", "one.shop.svc.cluster.local"),
            external("three", "TWO.shop.svc.cluster.local."),
        )
        result = found(*texts)
        assert [s.host for s in seen_from(result, "shop")] == [WEB]
        service = result.find("three.shop.svc.cluster.local", "anywhere")
        assert service is not None
        assert service.host == WEB
        assert [alias.host.partition(".")[0] for alias in service.aliases] == ["one", "three", "two"]

    def test_of_several_outside_the_last_is_the_service(self) -> None:
        result = found(external("one", "two.shop.svc.cluster.local"), external("two", "www.example.com"))
        assert [s.host for s in seen_from(result, "shop")] == ["two.shop.svc.cluster.local"]

    def test_an_alias_is_seen_where_it_is_exported(self) -> None:
        hidden = ", annotations: {networking.istio.io/exportTo: .}"
        result = found(kubernetes(PORT), external("one", WEB, more=hidden))
        assert result.find("one.shop.svc.cluster.local", "shop") is not None
        assert result.find("one.shop.svc.cluster.local", "other") is None

    def test_an_alias_that_does_not_say_who_sees_it_has_the_default_of_the_mesh(self) -> None:
        result = registry(snapshot(kubernetes(PORT), external("one", WEB)), no_memo, (".",))
        assert result.find("one.shop.svc.cluster.local", "shop") is not None
        assert result.find("one.shop.svc.cluster.local", "other") is None

    def test_what_its_namespace_cannot_see_is_no_service_to_it(self) -> None:
        hidden = ", annotations: {networking.istio.io/exportTo: .}"
        result = found(kubernetes(PORT, more=hidden), external("one", WEB, "other"))
        service = result.find("one.other.svc.cluster.local", "other")
        assert service is not None
        assert service.discovery is Discovery.DNS

    def test_a_name_that_leads_through_one_that_it_cannot_see_goes_no_further(self) -> None:
        hidden = ", annotations: {networking.istio.io/exportTo: .}"
        result = found(external("one", "two.shop.svc.cluster.local", "other"), external("two", "a.com", more=hidden))
        assert [s.host for s in seen_from(result, "other")] == ["one.other.svc.cluster.local"]

    @pytest.mark.parametrize(
        ("names", "code"),
        [
            pytest.param({"a": "a.shop.svc.cluster.local"}, "XDS3030", id="to itself"),
            pytest.param(
                {"a": "b.shop.svc.cluster.local", "b": "a.shop.svc.cluster.local"}, "XDS3030", id="to each other"
            ),
            pytest.param(
                {"a": "b.shop.svc.cluster.local", "b": "127.0.0.1"}, "XDS6001", id="to the proxy, by way of b"
            ),
        ],
    )
    def test_names_that_lead_nowhere_good_are_refused(self, names: dict[str, str], code: str) -> None:
        result = found(*(external(name, target) for name, target in names.items()))
        assert seen_from(result, "shop") == ()
        assert codes(result) == [code] * len(names)

    def test_a_port_that_its_target_does_not_have_is_named(self) -> None:
        result = found(kubernetes("ports: [{name: http, port: 8080}]"), external("one", WEB))
        assert codes(result) == ["XDS4036"]

    def test_routes_that_are_written_for_the_alias_are_named(self) -> None:
        routes = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: one, namespace: shop}
spec: {hosts: [one], http: [{route: [{destination: {host: web}}]}]}
"""
        found = in_order(resolve(snapshot(kubernetes(PORT), external("one", WEB), routes), no_memo).found)
        assert [note.code for note in found] == ["XDS4037"]

    def test_a_route_to_an_alias_leads_to_its_service(self) -> None:
        routes = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: r, namespace: shop}
spec: {hosts: [r.example.com], http: [{route: [{destination: {host: one}}]}]}
"""
        view, _ = seen(kubernetes(PORT), external("one", WEB), routes, proxy=SIDECAR)
        assert [backend.name for backend in view.backends.values()] == [f"outbound|80||{WEB}"]


class TestEntries:
    def test_each_host_gets_an_address_of_its_own(self) -> None:
        result = found(entry("hosts: [a.example.com, b.example.com], resolution: DNS"))
        addresses = [service.addresses for service in seen_from(result, "shop")]
        assert len(set(addresses)) == 2
        assert all(len(each) == 1 and each[0].startswith("240.240.") for each in addresses)

    @pytest.mark.parametrize(
        ("text", "addresses"),
        [
            pytest.param(
                entry("hosts: [a.com], resolution: DNS, addresses: [192.0.2.1]"), ("192.0.2.1",), id="its own"
            ),
            pytest.param(
                entry(
                    "hosts: [a.com], resolution: DNS",
                    status="{addresses: [{host: a.com, value: 240.240.0.9}, {host: b.com, value: 240.240.0.8}]}",
                ),
                ("240.240.0.9",),
                id="the one that it was given before",
            ),
            pytest.param(entry("hosts: [a.com]"), (), id="none when connections go where they wanted"),
            pytest.param(entry("hosts: ['*.a.com'], resolution: STATIC"), (), id="none for many names"),
            pytest.param(
                entry(
                    "hosts: [a.com], resolution: DNS",
                    more=", labels: {networking.istio.io/enable-autoallocate-ip: 'false'}",
                ),
                (),
                id="none when nobody wants one",
            ),
        ],
    )
    def test_an_entry_that_needs_none_gets_no_automatic_address(self, text: str, addresses: tuple[str, ...]) -> None:
        assert [service.addresses for service in seen_from(found(text), "shop")] == [addresses]

    def test_an_address_that_is_none_is_named(self) -> None:
        result = found(entry("hosts: [a.com], resolution: STATIC, addresses: [192.0.2.1, nonsense, 10.1.0.0/16]"))
        assert [service.addresses for service in seen_from(result, "shop")] == [("10.1.0.0/16", "192.0.2.1")]
        assert codes(result) == ["XDS2037"]

    def test_automatic_addresses_are_the_same_in_any_order_and_never_shared(self) -> None:
        keys = [("ns", f"entry-{number}", "a.example.com") for number in range(3000)]
        addresses = automatic_addresses(keys, frozenset())
        assert len(set(addresses.values())) == len(keys)
        assert automatic_addresses(reversed(keys), frozenset()) == addresses

    def test_an_address_in_use_is_passed_over(self) -> None:
        key = ("ns", "entry", "a.example.com")
        first = automatic_addresses([key], frozenset())[key]
        assert automatic_addresses([key], frozenset({first}))[key] != first

    def test_when_no_address_is_left_the_host_has_none(self) -> None:
        every = frozenset(str(address) for address in AUTOMATIC.hosts())
        assert automatic_addresses([("ns", "entry", "a.example.com")], every) == {}


@pytest.mark.parametrize(
    ("namespace", "names"),
    [
        pytest.param("shop", ("spiffe://a",), id="of its own namespace"),
        pytest.param("other", (), id="but not one of another"),
    ],
)
def test_an_entry_adds_to_the_names_of_a_kubernetes_service(namespace: str, names: tuple[str, ...]) -> None:
    text = entry(f"hosts: [{WEB}], resolution: STATIC, subjectAltNames: ['spiffe://a']")
    result = found(kubernetes(PORT), text.replace("namespace: shop", f"namespace: {namespace}"))
    service = result.find(WEB, "shop")
    assert service is not None
    assert (service.origin.ref.kind, service.subject_alt_names) == ("Service", names)


@pytest.mark.parametrize(
    ("namespace", "effect"),
    [
        pytest.param("shop", "nobody reaches this one", id="where the first is"),
        pytest.param("other", "clients of other namespaces reach the first", id="elsewhere"),
    ],
)
def test_a_second_service_of_a_host_is_named(namespace: str, effect: str) -> None:
    text = entry("hosts: [a.com], resolution: DNS")
    result = found(text, text.replace("entry, namespace: shop", f"later, namespace: {namespace}"))
    assert [(note.code, note.effect) for note in result.diagnostics] == [("XDS3007", effect)]


HEADLESS = kubernetes("clusterIP: None, selector: {app: db}, ports: [{name: http, port: 80}]", "db")


def pod(name: str, ip: str, spec: str = "", more: str = "", status: str = "") -> str:
    return f"""
apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: shop, labels: {{app: db}}{more}}}
spec: {{{spec}containers: [{{name: app, image: app}}]}}
status: {{phase: Running, podIP: {ip}{status}}}
"""


def test_the_endpoints_of_a_headless_service_have_names_of_their_own() -> None:
    result = found(
        HEADLESS,
        pod("db-0", "10.0.0.1", "hostname: db-0, subdomain: db, "),
        pod(
            "db-1",
            "10.0.0.2",
            "hostname: db-1, subdomain: db, ",
            status=", conditions: [{type: Ready, status: 'False'}]",
        ),
        pod("db-2", "10.0.0.3", "hostname: db-2, subdomain: other, "),
    )
    by_name = {service.host.partition(".svc")[0]: service for service in seen_from(result, "shop")}
    assert {
        name: [endpoint.address for endpoint in result.endpoints_of(service).by_port[80]]
        for name, service in by_name.items()
    } == {"db.shop": ["10.0.0.1", "10.0.0.3"], "db-0.db.shop": ["10.0.0.1"], "db-1.db.shop": []}
    assert by_name["db-1.db.shop"].addresses == ("10.0.0.2",)
    assert by_name["db-0.db.shop"].parent == "db.shop.svc.cluster.local"


def test_they_have_the_policies_of_their_service_unless_they_have_their_own() -> None:
    rules = """
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: db, namespace: default}
spec: {host: db.shop.svc.cluster.local, trafficPolicy: {connectionPool: {tcp: {maxConnections: 5}}}}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: db-1, namespace: default}
spec: {host: db-1.db.shop.svc.cluster.local, trafficPolicy: {connectionPool: {tcp: {maxConnections: 6}}}}
"""
    pods = [pod(f"db-{n}", f"10.0.0.{n + 1}", f"hostname: db-{n}, subdomain: db, ") for n in range(2)]
    view, notes = seen(HEADLESS, *pods, rules, proxy=SIDECAR)
    assert {
        b.name.split("|")[3].partition(".")[0]: b.policy.connections.max_connections for b in view.backends.values()
    } == {
        "db": 5,
        "db-0": 5,
        "db-1": 6,
    }
    assert notes == ()


def test_what_did_not_change_keeps_its_object() -> None:
    texts = (
        HEADLESS,
        pod("db-0", "10.0.0.1", "hostname: db-0, subdomain: db, "),
        kubernetes(f"externalIPs: [192.0.2.1], {PORT}"),
        external("one", WEB),
        entry("hosts: [a.example.com], resolution: DNS"),
    )
    objects, memo = snapshot(*texts), Generations()
    before = registry(objects, memo)
    memo.turn()
    after = registry(objects, memo)
    assert set(map(id, before.endpoints)) == set(map(id, after.endpoints))
    assert {id(each) for each in before.endpoints.values()} == {id(each) for each in after.endpoints.values()}


def test_a_grpc_client_finds_a_service_by_its_aliases() -> None:
    view, _ = seen(kubernetes(PORT), external("one", WEB), proxy=GRPC)
    one = "one.shop.svc.cluster.local"
    assert [listener.name for listener in view.api_listeners.values()] == [f"{WEB}:80", f"{one}:80"]
    assert {listener.route_table for listener in view.api_listeners.values()} == {f"outbound|80||{WEB}"}
    assert next(iter(view.route_tables.values())).virtual_hosts[0].domains == (f"{WEB}:80", WEB, f"{one}:80", one)


def test_a_grpc_client_cannot_be_told_apart_by_its_address() -> None:
    view, notes = seen(kubernetes(f"sessionAffinity: ClientIP, {PORT}"), proxy=GRPC)
    assert [backend.policy.load_balancing.algorithm for backend in view.backends.values()] == [Algorithm.ROUND_ROBIN]
    assert [note.code for note in notes] == ["XDS4014"]
