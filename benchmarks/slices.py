"""Services and EndpointSlices as a cluster has them: the path where they are written, and the body."""

from __future__ import annotations

from typing import Any


def service(number: int) -> tuple[str, dict[str, Any]]:
    body = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": f"s-{number}"},
        "spec": {"ports": [{"name": "http", "port": 80, "protocol": "TCP"}], "selector": {"app": f"s-{number}"}},
    }
    return "/api/v1/namespaces/{}/services", body


def endpoint_slice(number: int, services: int, last: int = 0) -> tuple[str, dict[str, Any]]:
    """Ten endpoints, with all that a cluster writes into a slice: about 4 KB."""
    owner = f"s-{number % services}"
    uid = f"{number:08x}-6f2b-4d0e-9c3a-0242ac120002"
    body = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": f"{owner}-{number}",
            "labels": {
                "kubernetes.io/service-name": owner,
                "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
            },
            "annotations": {"endpoints.kubernetes.io/last-change-trigger-time": "2026-01-01T00:00:00Z"},
            "generateName": f"{owner}-",
            "ownerReferences": [{"apiVersion": "v1", "kind": "Service", "name": owner, "uid": uid, "controller": True}],
        },
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
        "endpoints": [
            {
                "addresses": [f"10.{number // 250 % 250}.{number % 250}.{10 * last + place}"],
                "conditions": {"ready": True, "serving": True, "terminating": False},
                "nodeName": f"node-{place}",
                "zone": "zone-a",
                "targetRef": {"kind": "Pod", "namespace": "x", "name": f"{owner}-{place}", "uid": uid},
            }
            for place in range(10)
        ],
    }
    return "/apis/discovery.k8s.io/v1/namespaces/{}/endpointslices", body
