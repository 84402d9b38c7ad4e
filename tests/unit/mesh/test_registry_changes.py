"""A change of EndpointSlices looks only at the services that they belong to."""

from __future__ import annotations

import pytest

from tests.objects import objects, snapshot_of_objects
from xds_server.kube.meta import Object
from xds_server.memo import Generations, no_memo
from xds_server.mesh import registry_changes
from xds_server.mesh.registry import Registry, gathered
from xds_server.mesh.registry_changes import registry

SERVICES = """
apiVersion: v1
kind: Service
metadata: {name: web, namespace: default}
spec: {clusterIP: 10.96.0.1, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: headless, namespace: default}
spec: {clusterIP: None, ports: [{port: 80}]}
"""


def piece(name: str, service: str, *addresses: str, kind: str = "IPv4", more: str = "") -> str:
    listed = ", ".join(f"{{addresses: [{address}]{more}}}" for address in addresses)
    return f"""
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: {name}, namespace: default, labels: {{kubernetes.io/service-name: {service}}}}}
addressType: {kind}
ports: [{{port: 8080}}]
endpoints: [{listed}]
"""


class Mesh:
    """The services, and slices that come and go."""

    def __init__(self) -> None:
        self.memo = Generations()
        self.lasting = objects(SERVICES)
        self.slices: dict[str, Object] = {}
        self.put(piece("a", "web", "10.1.0.1"), piece("b", "headless", "10.1.0.2"))

    def put(self, *texts: str) -> Registry:
        for found in objects(*texts):
            self.slices[found.metadata.name] = found
        return self.read()

    def read(self) -> Registry:
        snapshot = snapshot_of_objects([*self.lasting, *self.slices.values()])
        # As in the store, tables in which nothing changed are the same ones.
        if hasattr(self, "before"):
            kinds = {k: t for k, t in self.before.by_type.items() if k.KIND != "EndpointSlice"}
            snapshot = type(snapshot)(by_type={**snapshot.by_type, **kinds})
        self.before = snapshot
        made = registry(snapshot, self.memo)
        whole = gathered(snapshot, no_memo)
        assert told(made) == told(whole)
        return made


def told(found: Registry) -> object:
    endpoints = {service.host: (e.by_port, e.origins, e.for_nodes) for service, e in found.endpoints.items()}
    return endpoints, found.workloads.slices, found.diagnostics, sorted(found.by_host)


@pytest.fixture
def nothing_is_gathered(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> Registry:
        raise AssertionError("all services were looked at")

    monkeypatch.setattr(registry_changes, "gathered", refuse)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(piece("a", "web", "10.1.0.7", "10.1.0.8"), id="a slice changes"),
        pytest.param(piece("c", "web", "10.1.0.9"), id="a slice comes"),
        pytest.param(piece("a", "web"), id="a slice is empty"),
        pytest.param(piece("a", "nobody", "10.1.0.1"), id="a slice goes to another service"),
    ],
)
def test_only_the_services_of_the_slices_are_looked_at(change: str, request: pytest.FixtureRequest) -> None:
    mesh = Mesh()
    names = mesh.read().by_host
    request.getfixturevalue("nothing_is_gathered")
    assert mesh.put(change).by_host is names


def test_a_slice_that_goes_takes_its_endpoints_along(request: pytest.FixtureRequest) -> None:
    mesh = Mesh()
    mesh.put(piece("c", "web", "10.1.0.9"))
    request.getfixturevalue("nothing_is_gathered")
    del mesh.slices["c"]
    mesh.read()


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(piece("b", "headless", "10.1.0.7"), id="of a headless service, whose Pods have names"),
        pytest.param(piece("a", "web", "db.example.com", kind="FQDN"), id="from addresses to DNS names"),
        pytest.param(piece("a", "web", "not-an-address"), id="with something to say about it"),
    ],
)
def test_a_change_that_touches_more_is_made_out_of_everything(change: str) -> None:
    Mesh().put(change)
