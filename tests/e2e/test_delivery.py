"""Delivery to a real Envoy, in both variants of the protocol."""

from __future__ import annotations

import base64
import contextlib
import json
import signal
import ssl
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trustme

from tests.e2e import handmade as made
from tests.e2e.harness import Lab, answered, eventually
from tests.e2e.test_introspection import run
from tests.e2e.test_serve import gateway, service
from tests.protocol.serving import Serving, serving
from xds_server.bootstrap import Admin, Channel, Node, bootstrap
from xds_server.demo.client import Target
from xds_server.demo.ports import free_port
from xds_server.demo.processes import child, find_envoy
from xds_server.envoy.resource import Resource
from xds_server.findings import findings
from xds_server.kept_objects import KeptObjects
from xds_server.last_good import LastGood
from xds_server.sources.yaml import load
from xds_server.state_file import StateFile
from xds_server.xds.states import State

TO_WEB = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web, namespace: default}
spec:
  hosts: [web.example]
  gateways: [edge]
  http: [{route: [{destination: {host: web}}]}]
"""


def secure_gateway(port: int, authority: trustme.CA) -> str:
    """A Gateway with TLS, and its certificate in a Secret."""
    made = authority.issue_cert("web.example")
    parts = {"tls.crt": made.cert_chain_pems[0].bytes(), "tls.key": made.private_key_pem.bytes()}
    data = {name: base64.b64encode(value).decode() for name, value in parts.items()}
    return f"""
apiVersion: v1
kind: Secret
metadata: {{name: edge, namespace: default}}
type: kubernetes.io/tls
data: {json.dumps(data)}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: edge, namespace: default}}
spec:
  selector: {{app: edge}}
  servers:
  - port: {{number: {port}, name: https, protocol: HTTPS}}
    hosts: ["*"]
    tls: {{mode: SIMPLE, credentialName: edge}}
"""


def tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


KEY = b"0123456789abcdef0123456789abcdef"
VARIANTS = pytest.mark.parametrize("api_type", ["DELTA_GRPC", "GRPC"], ids=["delta", "sotw"])
NODE = "router~10.0.0.1~edge.default~default.svc.cluster.local"


@contextlib.asynccontextmanager
async def envoy(
    lab: Lab, xds_port: int, api_type: str, labels: tuple[tuple[str, str], ...] = ()
) -> AsyncIterator[None]:
    """An Envoy whose admin interface `lab.ask_envoy("edge", ...)` reaches."""
    config = bootstrap(
        Node(NODE, labels=labels), Channel(port=xds_port), Admin(socket=str(lab.directory / "edge.sock"))
    )
    config["dynamic_resources"]["ads_config"]["api_type"] = api_type
    path = lab.directory / "edge.json"
    path.write_text(json.dumps(config))
    options = ["--concurrency", "1", "--disable-hot-restart", "--log-level", "error"]
    async with child([find_envoy(), "-c", path, *options], lab.directory / "edge.log"):
        yield


async def loaded(lab: Lab) -> dict[str, set[str]]:
    """The names of what Envoy has taken: clusters, cluster:endpoint pairs, listeners, routes, secrets."""
    dump = await lab.ask_envoy("edge", "/config_dump?include_eds")
    found: dict[str, set[str]] = {kind: set() for kind in ("cluster", "endpoint", "listener", "route", "secret")}
    for part in dump["configs"]:
        for item in part.get("dynamic_active_clusters", []):
            found["cluster"].add(item["cluster"]["name"])
        for item in part.get("dynamic_endpoint_configs", []):
            config = item["endpoint_config"]
            if any(locality.get("lb_endpoints") for locality in config.get("endpoints", [])):
                found["endpoint"].add(config["cluster_name"])
        for item in part.get("dynamic_listeners", []):
            if "active_state" in item:
                found["listener"].add(item["name"])
        for item in part.get("dynamic_route_configs", []):
            if "route_config" in item:
                found["route"].add(item["route_config"]["name"])
        for item in part.get("dynamic_active_secrets", []):
            found["secret"].add(item["name"])
    return found


def hundred(bad: bool) -> tuple[list[Resource], list[Resource]]:
    """A hundred resources, seven of which are bad if `bad`: the good ones and the bad ones."""
    authority = trustme.CA()
    pem = authority.issue_cert("edge.example")
    chain, key = pem.cert_chain_pems[0].bytes().decode(), pem.private_key_pem.bytes().decode()
    good: list[Resource] = []
    for i in range(18):
        good += [made.cluster(f"c{i}", secret=f"s{i}"), made.assignment(f"c{i}", 9), made.secret(f"s{i}", chain, key)]
        good += [made.listener(f"l{i}", 10_000 + i, f"r{i}", bind=False), made.routes(f"r{i}", {f"c{i}": 1})]
    good += [made.cluster("x0", secret="sx"), made.cluster("x1"), made.listener("lx", 9_998, "rx", bind=False)]
    suspects = {
        "static": (made.static_hostname, made.cluster),
        "refresh": (made.zero_refresh, made.cluster),
        "rx": (lambda name: made.bad_regex(name, "c0"), lambda name: made.routes(name, {"c0": 1})),
        "r17": (lambda name: made.negative_timeout(name, "c0"), lambda name: made.routes(name, {"c0": 1})),
        "x1": (lambda name: made.assignment(name, 9, address="not-an-ip"), lambda name: made.assignment(name, 9)),
        "sx": (lambda name: made.secret(name, "nonsense", key), lambda name: made.secret(name, chain, key)),
        "noport": (
            lambda name: made.listener(name, 10_500, "r0", bind=False, address=""),
            lambda name: made.listener(name, 10_500, "r0", bind=False),
        ),
    }
    good = [r for r in good if r.name != "r17"]
    return good, [make[0 if bad else 1](name) for name, make in suspects.items()]


def written(names: list[str]) -> tuple[str, dict[str, int]]:
    """A YAML file with the objects that handmade resources are made from, and the line of each."""
    text, lines = "", {}
    for name in names:
        lines[name] = text.count("\n") + 1
        text += f"apiVersion: v1\nkind: Handmade\nmetadata: {{name: {name}, namespace: default}}\n---\n"
    return text, lines


def names(resources: list[Resource]) -> dict[str, set[str]]:
    kinds = {"Cluster": "cluster", "ClusterLoadAssignment": "endpoint", "Listener": "listener"}
    kinds |= {"RouteConfiguration": "route", "Secret": "secret"}
    found: dict[str, set[str]] = {kind: set() for kind in kinds.values()}
    for r in resources:
        found[kinds[r.type_url.rpartition(".")[2]]].add(r.name)
    return found


@VARIANTS
async def test_of_a_hundred_resources_with_seven_bad_ones_every_good_one_is_used_and_every_bad_one_named(
    lab: Lab, api_type: str
) -> None:
    good, bad = hundred(bad=True)
    async with serving([*good, *bad]) as server, envoy(lab, server.port, api_type):
        # A cluster whose secret is bad is left out; a listener whose routes are bad warms.
        expected = names(good)
        expected["cluster"].remove("x0")
        expected["listener"] -= {"lx", "l17"}

        async def all_good() -> bool:
            have = await loaded(lab)
            missing = {kind: expected[kind] - have[kind] for kind in expected}
            assert not any(missing.values()), missing
            refused = {r.name for g in server.fleet.groups() for r in g.state.refusals}
            assert refused == {r.name for r in bad}, refused
            return True

        await eventually(all_good)
        found = server.fleet.diagnostics()
        assert {d.code for d in found} == {"XDS7001"}
        assert all(NODE in d.message for d in found)
        text, lines = written(sorted({r.name for r in (*good, *bad)}))
        sources = {raw.ref: raw.source for raw in load(text.encode(), "all.yaml").raws}
        places = {f.diagnostic.ref.name: str(f.position) for f in findings(found, sources) if f.diagnostic.ref}
        assert places == {r.name: f"all.yaml:{lines[r.name]}:1" for r in bad}
        _, mended = hundred(bad=False)
        server.publish([*good, *mended])

        async def all_mended() -> bool:
            have = await loaded(lab)
            wanted = names([*good, *mended])
            missing = {kind: wanted[kind] - have[kind] for kind in wanted}
            assert not any(missing.values()), missing
            return not server.fleet.diagnostics()

        await eventually(all_mended)
        [status] = server.fleet.proxies()
        await eventually(lambda: {t.state for p in server.fleet.proxies() for t in p.types} == {State.SYNCED})
        assert status.variant == {"GRPC": "sotw", "DELTA_GRPC": "delta"}[api_type]


@VARIANTS
async def test_changing_only_a_cluster_is_applied_at_once(lab: Lab, api_type: str) -> None:
    """P02: without its endpoints behind it, Envoy applies a changed cluster after 15 s."""
    async with serving([made.cluster("c"), made.assignment("c", 9)]) as server, envoy(lab, server.port, api_type):
        await eventually(lambda: _active_timeout(lab, "1s"))
        for seconds in range(2, 12):
            server.publish([made.cluster("c", timeout=f"{seconds}s"), made.assignment("c", 9)])
            await eventually(lambda seconds=seconds: _active_timeout(lab, f"{seconds}s"), seconds=10)


async def _active_timeout(lab: Lab, expected: str) -> bool:
    dump = await lab.ask_envoy("edge", "/config_dump?resource=dynamic_active_clusters")
    return [c["cluster"]["connect_timeout"] for c in dump.get("configs", [])] == [expected]


@VARIANTS
async def test_scaling_to_zero_empties_the_cluster(lab: Lab, api_type: str) -> None:
    """P09: Envoy ignores the removal of an assignment, so an empty one is sent even if the translation made none."""
    async with serving([made.cluster("c"), made.assignment("c", 9)]) as server, envoy(lab, server.port, api_type):
        await eventually(lambda: _hosts(lab, 1))
        server.publish([made.cluster("c")])
        await eventually(lambda: _hosts(lab, 0))


async def _hosts(lab: Lab, count: int) -> bool:
    status = await lab.ask_envoy("edge", "/clusters?format=json")
    found = {c["name"]: len(c.get("host_statuses", [])) for c in status["cluster_statuses"]}
    return found.get("c") == count


async def _ready(lab: Lab) -> bool:
    info = await lab.ask_envoy("edge", "/server_info")
    return bool(info["state"] == "LIVE")


@VARIANTS
async def test_an_empty_configuration_starts_envoy_at_once(lab: Lab, api_type: str) -> None:
    """X01: without an answer Envoy waits 15 s."""
    async with serving([]) as server, envoy(lab, server.port, api_type):
        await eventually(lambda: _ready(lab), seconds=12)
        stats: Any = await lab.ask_envoy("edge", "/stats?format=json&filter=control_plane.identifier")
        assert "xds-server" in json.dumps(stats)  # M7


@VARIANTS
async def test_moving_routes_to_new_clusters_under_load_loses_no_request(lab: Lab, api_type: str) -> None:
    """P07 with a real Envoy: at every step the old cluster goes and a new one comes."""
    one, two = await lab.upstream("one"), await lab.upstream("two")
    port = free_port()
    ports = (one.port, two.port)

    def step(i: int) -> list[Resource]:
        name = f"c{i}"
        return [
            made.listener("l", port, "r"),
            made.routes("r", {name: 1}),
            made.cluster(name),
            made.assignment(name, ports[i % 2]),
        ]

    async with serving(step(0)) as server, envoy(lab, server.port, api_type):
        target = Target(port, "any.example", "/")
        await eventually(lambda: answered(target))
        async with lab.load(target, pause=0.001) as traffic:
            for i in range(1, 40):
                server.publish(step(i))
                await eventually(lambda i=i: _synced_with(lab, server, f"c{i}"))
        assert traffic.failures == []


@pytest.mark.parametrize("has_key", [False, True], ids=["without a key", "with a key"])
async def test_a_server_that_starts_without_its_source_serves_what_it_served_before(lab: Lab, has_key: bool) -> None:
    web, port = await lab.upstream("web", "v1"), free_port()
    authority = trustme.CA()
    (lab.directory / "key").write_bytes(KEY)
    state = ["--state-dir", str(lab.directory / "state")]
    state += ["--state-key", str(lab.directory / "key")] if has_key else []
    lab.write("web.yaml", service("web", web) + "---" + secure_gateway(port, authority) + "---" + TO_WEB)
    target = Target(port, "web.example", "/", tls=tls(authority))
    await lab.serve(*state)
    labels = (("app", "edge"),)
    kept = LastGood(StateFile(lab.directory / "state" / "proxies", KEY if has_key else b""))
    async with envoy(lab, lab.xds_port, "DELTA_GRPC", labels):
        await eventually(lambda: answered(target))
        await eventually(lambda: labels in {proxy.labels for proxy in kept.load()})
        async with lab.load(target) as traffic:
            await lab.stop(signal.SIGKILL)
            lab.config.rename(lab.directory / "away")
            serving = await lab.serve(*state)
            [entry] = [e for e in serving.events if e["event"] == "serving"]
            assert "cannot be read" in entry["stale"][0]
            await eventually(lambda: _connected(lab))
        assert traffic.failures == []
    ready = await lab.admin("/readyz")
    assert ready["ready"] is True
    assert "before the server started" in ready["stale"][0]
    code, text = await run(lab, "ps")
    assert (code, "! stale: proxies get what they got before" in text) == (0, True)
    metrics = await lab.admin("/metrics")
    assert "xds_server_last_good_seconds 0.0" not in metrics
    assert "xds_server_last_good_seconds " in metrics
    if has_key:  # a new Envoy gets all of it
        async with envoy(lab, lab.xds_port, "DELTA_GRPC", labels):
            await eventually(lambda: answered(target))
    (lab.directory / "away").rename(lab.config)
    await eventually(lambda: _is_fresh(lab))
    assert "xds_server_last_good_seconds 0.0" in await lab.admin("/metrics")


@VARIANTS
async def test_a_server_that_starts_with_a_broken_file_serves_what_the_file_said_before(
    lab: Lab, api_type: str
) -> None:
    web, other, port = await lab.upstream("web", "v1"), await lab.upstream("web", "v2"), free_port()
    lab.write("web.yaml", service("web", web))
    lab.write("edge.yaml", gateway(port) + "---" + TO_WEB)
    state = ("--state-dir", str(lab.directory / "state"))
    target = Target(port, "web.example", "/")
    kept = KeptObjects(StateFile(lab.directory / "state" / "objects"))
    await lab.serve(*state)
    async with envoy(lab, lab.xds_port, api_type, labels=(("app", "edge"),)):
        await eventually(lambda: answered(target))
        await eventually(lambda: [raw for raws in kept.load().values() for raw in raws if raw.ref.name == "edge"])
        async with lab.load(target) as traffic:
            lab.write("edge.yaml", gateway(port) + "---" + TO_WEB + "  oops: [\n")
            await lab.found("edge.yaml:")
            await lab.stop(signal.SIGKILL)
            await lab.serve(*state)
            await lab.found("edge.yaml:")
            await eventually(lambda: _connected(lab))
            lab.write("web.yaml", service("web", other))  # and other files are followed
            await eventually(lambda: traffic.share("v2") > 0.1)
        assert traffic.failures == []


async def _connected(lab: Lab) -> bool:
    return len(await lab.admin("/proxies")) == 1


async def _is_fresh(lab: Lab) -> bool:
    ready = await lab.admin("/readyz")
    return bool(ready["ready"]) and not ready["stale"]


@VARIANTS
async def test_x14_an_envoy_that_is_asked_to_connect_anew_does_and_loads_nothing_again(lab: Lab, api_type: str) -> None:
    web, port = await lab.upstream("web", "v1"), free_port()
    lab.write("web.yaml", service("web", web) + "---" + gateway(port) + "---" + TO_WEB)
    await lab.serve("--max-connection-age", "0.5")
    target, peers = Target(port, "web.example", "/"), set()

    async def has_moved() -> bool:
        peers.update(row["peer"] for row in await lab.admin("/proxies"))
        return len(peers) >= 3

    async with envoy(lab, lab.xds_port, api_type, labels=(("app", "edge"),)):
        await eventually(lambda: answered(target))
        before = await _loads(lab)
        async with lab.load(target) as traffic:
            await eventually(has_moved)
        assert traffic.failures == []
        assert await _loads(lab) == before


@VARIANTS
async def test_after_a_restart_with_the_same_input_nothing_is_loaded_again(lab: Lab, api_type: str) -> None:
    web, port = await lab.upstream("web", "v1"), free_port()
    lab.write("web.yaml", service("web", web) + "---" + gateway(port) + "---" + TO_WEB)
    state = ("--state-dir", str(lab.directory / "state"))
    await lab.serve(*state)
    async with envoy(lab, lab.xds_port, api_type, labels=(("app", "edge"),)):
        await eventually(lambda: answered(Target(port, "web.example", "/")))
        before = await _loads(lab)
        assert before["cluster_manager.cluster_added"] > 0
        await lab.stop(signal.SIGKILL)
        await lab.serve(*state)

        async def is_settled() -> bool:
            rows = await lab.admin("/proxies")
            states = {kind["state"] for row in rows for kind in row["types"].values()}
            return bool(rows) and states <= {State.SYNCED, State.NOT_SENT} and State.SYNCED in states

        await eventually(is_settled)
        assert await _loads(lab) == before


async def _loads(lab: Lab) -> dict[str, int]:
    """How often Envoy added, changed or removed something."""
    names = r"cluster_manager\.cluster_(added|modified|removed)|listener_manager\.listener_(added|modified|removed)"
    stats = await lab.ask_envoy("edge", f"/stats?format=json&filter=({names}|config_reload$)")
    return {item["name"]: item["value"] for item in stats["stats"] if "value" in item}


async def _synced_with(lab: Lab, server: Serving, name: str) -> bool:
    return {s.state for p in server.fleet.proxies() for s in p.types if s.state is not State.NOT_SENT} == {
        State.SYNCED
    } and (await loaded(lab))["cluster"] == {name}
