"""Fields that are silent for a reason, which docs/fields.md publishes."""

from __future__ import annotations

_AGREES = "the Service's own port says it, and a cluster's slices agree with it"
_NAME = "a name for people; nothing is called after it"
_REFERENCE = "the kind and the name find the Pod, in the namespace of the Service"
_IDENTITY = "identities are not issued yet, so nothing depends on it"

EXCEPTIONS: dict[str, str] = {
    "EndpointSlice endpoints[].deprecatedTopology{}": "Kubernetes ignores it since v1; zone and nodeName say it",
    "EndpointSlice endpoints[].targetRef.apiVersion": _REFERENCE,
    "EndpointSlice endpoints[].targetRef.namespace": _REFERENCE,
    "EndpointSlice endpoints[].targetRef.uid": _REFERENCE,
    "EndpointSlice ports[].appProtocol": _AGREES,
    "EndpointSlice ports[].protocol": _AGREES,
    "Endpoints subsets[].addresses[].targetRef.apiVersion": _REFERENCE,
    "Endpoints subsets[].addresses[].targetRef.namespace": _REFERENCE,
    "Endpoints subsets[].addresses[].targetRef.uid": _REFERENCE,
    "Endpoints subsets[].ports[].appProtocol": _AGREES,
    "Endpoints subsets[].ports[].protocol": _AGREES,
    "Pod spec.containers[].name": _NAME,
    "Pod spec.initContainers[].name": _NAME,
    "Pod spec.containers[].restartPolicy": "only an init container becomes a sidecar by it",
    "Pod spec.hostNetwork": "status.podIP is then the node's",
    "Pod spec.serviceAccount": _IDENTITY,
    "Pod spec.serviceAccountName": _IDENTITY,
    "Secret type": "the keys of its data say what is in it",
    "WorkloadGroup spec.template.address": "refused: each WorkloadEntry has an address of its own",
    "Service spec.ports[].nodePort": "for clients outside of the cluster; the nodes serve it",
    "Service status.loadBalancer.ingress[].hostname": "for clients outside of the cluster; it has no address",
    "Sidecar spec.egress[].port.name": _NAME,
    "Sidecar spec.ingress[].port.name": _NAME,
    **{
        f"Endpoints subsets[].notReadyAddresses[].{field}": "an address that is not ready gets no requests"
        for field in (
            "hostname", "ip", "nodeName", "targetRef.apiVersion", "targetRef.kind", "targetRef.name",
            "targetRef.namespace", "targetRef.uid",
        )
    },
}  # fmt: skip
"""`Kind field` -> why setting it changes nothing and nobody says so."""
