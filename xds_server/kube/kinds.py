"""The kinds that this server reads. One line a kind; nothing registers itself."""

from __future__ import annotations

import enum
from collections.abc import Mapping

import msgspec

from xds_server.kube.core import Endpoints, Namespace, Node, Secret, Service
from xds_server.kube.discovery import EndpointSlice
from xds_server.kube.istio import mesh_config
from xds_server.kube.istio.destination_rule import DestinationRule
from xds_server.kube.istio.gateway import Gateway
from xds_server.kube.istio.proxy_config import ProxyConfig
from xds_server.kube.istio.service_entry import ServiceEntry
from xds_server.kube.istio.sidecar import Sidecar
from xds_server.kube.istio.virtual_service import VirtualService
from xds_server.kube.istio.workload_entry import WorkloadEntry
from xds_server.kube.istio.workload_group import WorkloadGroup
from xds_server.kube.meta import Object
from xds_server.kube.pod import Pod


class Naming(enum.Enum):
    """What `metadata.name` may be: the value is the longest name."""

    SUBDOMAIN = 253  # RFC 1123 labels with dots between
    LABEL = 63  # one RFC 1123 label


class Kind(msgspec.Struct, frozen=True):
    """null_is_absent: the API server drops nulls of the kind (core kinds), rather than checking them (CRDs).
    secret: values must not be shown in messages. only: (namespace, name) of the one object that is read.
    """

    type: type[Object]
    versions: frozenset[str]
    namespaced: bool = True
    null_is_absent: bool = False
    naming: Naming = Naming.SUBDOMAIN
    secret: bool = False
    only: tuple[str, str] | None = None


_V1 = frozenset({"v1"})
_ISTIO = frozenset({"v1", "v1beta1", "v1alpha3"})

KINDS: Mapping[tuple[str, str], Kind] = {
    ("", "Service"): Kind(Service, _V1, null_is_absent=True, naming=Naming.LABEL),
    ("", "Endpoints"): Kind(Endpoints, _V1, null_is_absent=True),
    ("", "Pod"): Kind(Pod, _V1, null_is_absent=True),
    ("", "Secret"): Kind(Secret, _V1, null_is_absent=True, secret=True),
    ("", "Namespace"): Kind(Namespace, _V1, namespaced=False, null_is_absent=True, naming=Naming.LABEL),
    ("", "Node"): Kind(Node, _V1, namespaced=False, null_is_absent=True),
    ("discovery.k8s.io", "EndpointSlice"): Kind(EndpointSlice, _V1, null_is_absent=True),
    ("", "ConfigMap"): Kind(
        mesh_config.ConfigMap, _V1, null_is_absent=True, only=(mesh_config.NAMESPACE, mesh_config.NAME)
    ),
    ("networking.istio.io", "Gateway"): Kind(Gateway, _ISTIO),
    ("networking.istio.io", "VirtualService"): Kind(VirtualService, _ISTIO),
    ("networking.istio.io", "DestinationRule"): Kind(DestinationRule, _ISTIO),
    ("networking.istio.io", "ServiceEntry"): Kind(ServiceEntry, _ISTIO),
    ("networking.istio.io", "WorkloadEntry"): Kind(WorkloadEntry, _ISTIO),
    ("networking.istio.io", "WorkloadGroup"): Kind(WorkloadGroup, _ISTIO),
    ("networking.istio.io", "ProxyConfig"): Kind(ProxyConfig, frozenset({"v1beta1"})),
    ("networking.istio.io", "Sidecar"): Kind(Sidecar, _ISTIO),
}
