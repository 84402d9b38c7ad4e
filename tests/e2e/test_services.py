"""Services through a real Envoy: affinity, names of Pods, aliases, endpoints that go away, DNS, PROXY headers."""

from __future__ import annotations

import asyncio
import contextlib
import json
import struct
from collections.abc import AsyncIterator, Iterable
from typing import cast

from tests.e2e.harness import Lab, answered, eventually
from xds_server.bootstrap import Admin, Channel, Node, bootstrap
from xds_server.demo.client import Target, exchange
from xds_server.demo.ports import free_port
from xds_server.demo.processes import child, find_envoy
from xds_server.demo.system import Workload


def sidecar(http_proxy_port: int, node_name: str = "") -> Node:
    return Node(
        "client",
        "sidecar",
        interception="NONE",
        http_proxy_port=http_proxy_port,
        unprivileged=True,
        node_name=node_name,
    )


def service(name: str, spec: str) -> str:
    return f"""---
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: default}}
spec: {{{spec}}}
"""


def slices(name: str, workloads: Iterable[Workload], port: str = "http", going: Iterable[str] = ()) -> str:
    """Each workload in a slice of its own, as each has its own port. Its version is its hostname. going: versions of
    those that are terminating, and still serve."""
    gone = set(going)
    state = {False: "{ready: true}", True: "{ready: false, serving: true, terminating: true}"}
    return "".join(
        f"""---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: {name}-{one.version}, namespace: default, labels: {{kubernetes.io/service-name: {name}}}}}
addressType: IPv4
ports: [{{name: {port}, port: {one.port}}}]
endpoints:
- addresses: [{one.host}]
  hostname: {one.version}
  conditions: {state[one.version in gone]}
"""
        for one in workloads
    )


async def asked(port: int, authority: str, source: str = "127.0.0.1", before: bytes = b"") -> dict[str, object]:
    """What the upstream says, to a client at this address. before: what is sent before the request."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0))
    try:
        writer.write(before + f"GET / HTTP/1.1\r\nhost: {authority}\r\nconnection: close\r\n\r\n".encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        assert " 200 " in head.partition("\r\n")[0], head
        length = head.partition("content-length: ")[2].partition("\r\n")[0]
        found: dict[str, object] = json.loads(await reader.readexactly(int(length)))
        return found
    except asyncio.IncompleteReadError as closed:
        raise ConnectionError("closed without an answer") from closed
    finally:
        writer.close()


async def version(port: int, authority: str, source: str = "127.0.0.1") -> str:
    return str((await asked(port, authority, source))["version"])


HEADER = """---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: db, namespace: default}
spec: {hosts: [db], http: [{route: [{destination: {host: db}, headers: {request: {set: {x-route: db}}}}]}]}
"""


async def test_clients_stay_with_their_endpoint_and_names_lead_where_they_say(lab: Lab) -> None:
    workloads = [await lab.upstream("db", f"db-{number}") for number in range(4)]
    proxy, tcp = free_port(), free_port()
    lab.write(
        "services.yaml",
        service("sticky", "sessionAffinity: ClientIP, ports: [{name: http, port: 80}]")
        + slices("sticky", workloads)
        + service("sticky-tcp", f"sessionAffinity: ClientIP, ports: [{{name: tcp, port: {tcp}}}]")
        + slices("sticky-tcp", workloads, "tcp")
        + service("db", "clusterIP: None, ports: [{name: http, port: 80}]")
        + slices("db", workloads)
        + service("front", "type: ExternalName, externalName: db.default.svc.cluster.local")
        + service("door", "type: ExternalName, externalName: front.default.svc.cluster.local")
        + HEADER,
    )
    await lab.serve()
    await lab.envoy(sidecar(proxy))
    await eventually(lambda: answered(Target(proxy, "sticky")))

    sources = [f"127.0.0.{number}" for number in range(10, 30)]
    for port, host in ((proxy, "sticky"), (tcp, "sticky-tcp")):
        await eventually(lambda port=port, host=host: version(port, host))
        found = {source: {await version(port, host, source) for _ in range(4)} for source in sources}
        assert all(len(versions) == 1 for versions in found.values()), found
        assert len(set.union(*found.values())) > 1, found

    for one in workloads:
        for suffix in ("db", "db.default", "db.default.svc.cluster.local"):
            assert await version(proxy, f"{one.version}.{suffix}") == one.version

    for alias in ("front", "door.default.svc.cluster.local"):
        headers = (await asked(proxy, alias))["headers"]
        assert isinstance(headers, dict)
        assert headers["x-route"] == "db", "an alias has the routes of its service"


async def test_what_terminates_gets_no_new_requests_while_there_are_others(lab: Lab) -> None:
    workloads = [await lab.upstream("web", f"web-{number}") for number in range(3)]
    proxy = free_port()
    lab.write("service.yaml", service("web", "ports: [{name: http, port: 80}]"))
    lab.write("slices.yaml", slices("web", workloads))
    await lab.serve()
    await lab.envoy(sidecar(proxy))
    target = Target(proxy, "web")
    await eventually(lambda: answered(target))

    async def used() -> set[str]:
        return {await version(proxy, "web") for _ in range(20)}

    async def only(*versions: str) -> bool:
        return await used() == set(versions)

    async with lab.load(target) as traffic:
        await eventually(lambda: only("web-0", "web-1", "web-2"))
        lab.write("slices.yaml", slices("web", workloads, going=["web-0"]))
        await eventually(lambda: only("web-1", "web-2"))
        clusters = await lab.ask_envoy("client", "/clusters")
        assert "eds_status_draining" in clusters, "it is known, so that what it has begun can end"
        lab.write("slices.yaml", slices("web", workloads, going=["web-0", "web-1"]))
        await eventually(lambda: only("web-2"))
        lab.write("slices.yaml", slices("web", workloads, going=["web-0", "web-1", "web-2"]))
        await eventually(lambda: only("web-0", "web-1", "web-2"))
    assert traffic.failures == []


def nodes(**zones: str) -> str:
    return "".join(
        f"""---
apiVersion: v1
kind: Node
metadata: {{name: {name}, labels: {{topology.kubernetes.io/region: eu, topology.kubernetes.io/zone: {zone}}}}}
"""
        for name, zone in zones.items()
    )


async def test_endpoints_nearby_are_used_as_long_as_there_are_some(lab: Lab) -> None:
    near, far = await lab.upstream("web", "near"), await lab.upstream("web", "far")
    proxy = free_port()
    lab.write(
        "services.yaml",
        nodes(here="z1", there="z1", elsewhere="z2")
        + service("preferring", "trafficDistribution: PreferSameZone, ports: [{name: http, port: 80}]")
        + service("local", "internalTrafficPolicy: Local, ports: [{name: http, port: 80}]"),
    )

    def place(**homes: str) -> None:
        text = ""
        for one in (near, far):
            placed = slices("NAME", [one]).replace("- addresses", f"- nodeName: {homes[one.version]}\n  addresses")
            text += placed.replace("NAME", "preferring") + placed.replace("NAME", "local")
        lab.write("slices.yaml", text)

    async def uses(host: str, *versions: str) -> bool:
        return {await version(proxy, host) for _ in range(20)} == set(versions)

    place(near="here", far="elsewhere")
    await lab.serve()
    await lab.envoy(sidecar(proxy, "here"))
    await eventually(lambda: answered(Target(proxy, "local")))
    assert await uses("preferring", "near")
    assert await uses("local", "near")
    place(near="there", far="elsewhere")
    await eventually(lambda: answered(Target(proxy, "local"), 503))
    assert await uses("preferring", "near"), "it is in the same zone still"
    place(near="elsewhere", far="elsewhere")
    await eventually(lambda: uses("preferring", "near", "far"))


class NameServer(asyncio.DatagramProtocol):
    """Answers A queries for the names that it knows; the answers may be kept for a second."""

    def __init__(self) -> None:
        self.addresses: dict[str, list[str]] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, sender: tuple[str, int]) -> None:
        labels, position = [], 12
        while length := data[position]:
            labels.append(data[position + 1 : position + 1 + length].decode())
            position += length + 1
        question = data[12 : position + 5]
        kind = struct.unpack("!H", data[position + 1 : position + 3])[0]
        found = self.addresses.get(".".join(labels).lower(), []) if kind == 1 else []
        records = [
            b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, 1, 4) + bytes(map(int, address.split("."))) for address in found
        ]
        head = data[:2] + struct.pack("!HHHHH", 0x8580, 1, len(records), 0, 0)
        self._transport.sendto(head + question + b"".join(records), sender)


@contextlib.asynccontextmanager
async def name_server() -> AsyncIterator[tuple[NameServer, int]]:
    loop = asyncio.get_running_loop()
    transport, server = await loop.create_datagram_endpoint(NameServer, local_addr=("127.0.0.1", 0))
    try:
        yield server, transport.get_extra_info("sockname")[1]
    finally:
        transport.close()


@contextlib.asynccontextmanager
async def resolving_envoy(lab: Lab, node: Node, dns_port: int) -> AsyncIterator[None]:
    """An Envoy that asks this name server alone."""
    config = bootstrap(node, Channel(port=lab.xds_port), Admin(socket=str(lab.directory / f"{node.id}.sock")))
    config["typed_dns_resolver_config"] = {
        "name": "envoy.network.dns_resolver.cares",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig",
            "resolvers": [{"socket_address": {"address": "127.0.0.1", "port_value": dns_port}}],
            "dns_resolver_options": {"no_default_search_domain": True},
        },
    }
    file = lab.directory / f"{node.id}.json"
    file.write_text(json.dumps(config))
    command = [find_envoy(), "-c", str(file), "--concurrency", "1", "--disable-hot-restart", "--log-level", "warn"]
    async with child(command, lab.directory / f"{node.id}.log"):
        yield


def entry(name: str, resolution: str, port: int, more: str = "") -> str:
    return f"""---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: {name}, namespace: default}}
spec:
  hosts: [{name}.example.com]
  resolution: {resolution}
  ports: [{{number: 80, name: http, protocol: HTTP, targetPort: {port}}}]
  {more}
"""


async def test_names_are_resolved_and_asked_for_again(lab: Lab) -> None:
    port = free_port()
    one = await lab.upstream("api", "one", "127.0.0.31", port)
    two = await lab.upstream("api", "two", "127.0.0.32", port)
    proxy = free_port()
    lab.write(
        "entries.yaml",
        entry("all", "DNS", port)
        + entry("first", "DNS_ROUND_ROBIN", port)
        + entry("other", "DNS", port, "endpoints: [{address: all.example.com}]")
        + entry("anywhere", "NONE", port)
        + service(
            "outside", f"type: ExternalName, externalName: elsewhere.example.com, ports: [{{name: http, port: {port}}}]"
        ),
    )
    async with name_server() as (names, dns_port):
        for host in ("all", "first", "anywhere", "elsewhere"):
            names.addresses[f"{host}.example.com"] = [one.host]
        await lab.serve()
        async with resolving_envoy(lab, sidecar(proxy), dns_port):
            hosts = ("all.example.com", "first.example.com", "other.example.com", "anywhere.example.com")
            for host in (*hosts, f"outside:{port}"):
                await eventually(lambda host=host: answered(Target(proxy, host)))
                assert await version(proxy, host) == "one"
            names.addresses["all.example.com"] = [one.host, two.host]
            names.addresses["first.example.com"] = [two.host]

            async def both() -> bool:
                return {await version(proxy, "all.example.com") for _ in range(20)} == {"one", "two"}

            async def moved() -> bool:
                return await version(proxy, "first.example.com") == "two"

            await eventually(both)
            await eventually(moved)


GATEWAY = """---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge, namespace: default}
spec:
  selector: {app: edge}
  servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ["*"]}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web, namespace: default}
spec: {hosts: [web.example.com], gateways: [edge], http: [{route: [{destination: {host: web}}]}]}
"""


async def test_a_load_balancer_says_who_the_client_is(lab: Lab) -> None:
    web, port = await lab.upstream("web", "web-0"), free_port()
    edge = service("edge", f"selector: {{app: edge}}, ports: [{{name: http, port: 80, targetPort: {port}}}]")
    annotated = edge.replace(
        "namespace: default",
        "namespace: default, annotations: {service.beta.kubernetes.io/aws-load-balancer-proxy-protocol: '*'}",
    )
    rest = service("web", "ports: [{name: http, port: 80}]") + slices("web", [web]) + GATEWAY
    lab.write("all.yaml", annotated + rest)
    await lab.serve()
    await lab.envoy(Node("edge", labels=(("app", "edge"),)))
    said = b"PROXY TCP4 192.0.2.55 192.0.2.1 5555 80\r\n"

    async def client() -> object:
        headers = (await asked(port, "web.example.com", before=said))["headers"]
        assert isinstance(headers, dict)
        return headers["x-forwarded-for"]

    assert await eventually(client) == "192.0.2.55"
    answer = b""
    with contextlib.suppress(ConnectionResetError):  # as there is more to read when the connection is closed
        answer = await exchange(Target(port, ""), b"GET / HTTP/1.1\r\nhost: web.example.com\r\n\r\n")
    assert answer == b"", "a client that does not say who it is, is not heard"
