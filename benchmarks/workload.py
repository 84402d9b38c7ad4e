"""The configuration of the benchmarks: what one proxy gets, 74 KB, and the parts of it that change."""

from __future__ import annotations

from collections.abc import Iterable

from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.config.route.v3.route_pb2 import RouteConfiguration

from xds_server.envoy.resource import CLUSTER, ENDPOINT, LISTENER, ROUTE, Resource, sealed

CLUSTERS = 100
ENDPOINTS = 10


def assignment(name: str, first_port: int) -> Resource:
    endpoints = [
        {"endpoint": {"address": {"socket_address": {"address": f"10.0.{i}.1", "port_value": first_port + i}}}}
        for i in range(ENDPOINTS)
    ]
    localities = [{"locality": {"region": "r", "zone": "z"}, "lb_endpoints": endpoints}]
    return sealed(ENDPOINT, name, ClusterLoadAssignment(cluster_name=name, endpoints=localities))


def cluster(name: str) -> Resource:
    eds = {"eds_config": {"ads": {}, "resource_api_version": "V3"}}
    message = Cluster(name=name, type="EDS", eds_cluster_config=eds, connect_timeout={"seconds": 5})
    return sealed(CLUSTER, name, message, references=[(ENDPOINT, name)])


def routes(hosts: int, generation: int) -> Resource:
    """About 180 bytes a host."""
    virtual_hosts = [
        {
            "name": f"host-{i}.example.com:80",
            "domains": [f"host-{i}.example.com", f"host-{i}.example.com:80"],
            "routes": [
                {"match": {"prefix": f"/{generation}"}, "route": {"cluster": name(i), "timeout": {"seconds": 15}}}
            ],
        }
        for i in range(hosts)
    ]
    message = RouteConfiguration(name="routes", virtual_hosts=virtual_hosts)
    return sealed(ROUTE, "routes", message, references=[(CLUSTER, name(i)) for i in range(CLUSTERS)])


def name(i: int) -> str:
    return f"outbound|80||service-{i % CLUSTERS}.default.svc.cluster.local"


def configuration() -> Iterable[Resource]:
    for i in range(CLUSTERS):
        yield cluster(name(i))
        yield assignment(name(i), 1000)
    address = {"socket_address": {"address": "0.0.0.0", "port_value": 80}}
    yield sealed(LISTENER, "listener", Listener(name="listener", address=address), references=[(ROUTE, "routes")])
    yield routes(100, 0)
