"""Fields that are valid but have no effect here. Each gives a warning, so that no field is dropped in silence.

Whoever gives a field its effect deletes its line.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from xds_server.diagnostics import Diagnostic, Path, diagnostic, format_path
from xds_server.kube.meta import Raw


class Unsupported(msgspec.Struct, frozen=True):
    """advice: what to do instead. harmless: values that change nothing, such as the API's default.
    whose: who acts on the field, when that is rightly not the proxy: then naming it is no warning."""

    advice: str = ""
    harmless: frozenset[str | bool] = frozenset()
    whose: str = ""


_NONE = Unsupported()
_CLOUD = Unsupported(whose="the cloud's load balancer")
_NODES = Unsupported(whose="the nodes (kube-proxy)", harmless=frozenset({"Cluster", True}))
_BOOTSTRAP = Unsupported("set it where the proxy is started", whose="the start of the proxy")
_IDENTITY = Unsupported("name the accepted identities in subjectAltNames of a DestinationRule")
_NETWORK = Unsupported("the endpoints of every network are connected to directly")

_POLICY = {
    "loadBalancer.zoneAwareLbSetting": Unsupported("use localityLbSetting"),
}
_WHOLE_POLICY = {
    **_POLICY,
    **{f"portLevelSettings[].{field}": entry for field, entry in _POLICY.items()},
    "retryBudget.budgetInterval": Unsupported("Envoy counts the requests of the moment"),
}

UNSUPPORTED: Mapping[tuple[str, str], Mapping[str, Unsupported]] = {
    ("", "Service"): {
        "spec.externalTrafficPolicy": _NODES,
        "spec.healthCheckNodePort": _NODES,
        "spec.allocateLoadBalancerNodePorts": _NODES,
        "spec.loadBalancerClass": _CLOUD,
        "spec.loadBalancerIP": _CLOUD,
        "spec.loadBalancerSourceRanges": _CLOUD,
    },
    ("networking.istio.io", "Gateway"): {
        "spec.servers[].defaultEndpoint": Unsupported("Istio ignores it as well; it is for the ingress of a Sidecar"),
        "spec.servers[].port.targetPort": Unsupported("the port is opened as it is"),
        "spec.servers[].tls.tlsCertificates[].caCertificates": Unsupported(
            "write it into caCertificates of the server"
        ),
        "spec.servers[].tls.insecureSkipVerify": Unsupported(
            "use SIMPLE, which asks for no certificate", harmless=frozenset({False})
        ),
    },
    ("networking.istio.io", "VirtualService"): {
        "spec.http[].fault.delay.exponentialDelay": Unsupported("use fixedDelay"),
        "spec.http[].fault.abort.http2Error": Unsupported("use httpStatus or grpcStatus"),
        "spec.tcp[].match[].sourceSubnet": Unsupported("Istio ignores it as well"),
    },
    ("networking.istio.io", "DestinationRule"): {
        **{f"spec.trafficPolicy.{field}": entry for field, entry in _WHOLE_POLICY.items()},
        **{f"spec.subsets[].trafficPolicy.{field}": entry for field, entry in _WHOLE_POLICY.items()},
    },
    ("networking.istio.io", "Sidecar"): {
        "spec.ingress[].port.targetPort": Unsupported("use defaultEndpoint"),
        "spec.egress[].port.targetPort": _NONE,
    },
    ("networking.istio.io", "ServiceEntry"): {
        "spec.endpoints[].network": _NETWORK,
        "spec.endpoints[].serviceAccount": _IDENTITY,
    },
    ("networking.istio.io", "WorkloadEntry"): {
        "spec.network": _NETWORK,
        "spec.serviceAccount": _IDENTITY,
    },
    ("networking.istio.io", "WorkloadGroup"): {
        "spec.metadata.annotations": Unsupported("only the labels of a group are passed on to its WorkloadEntries"),
        "spec.template.network": _NETWORK,
        "spec.template.serviceAccount": _IDENTITY,
        "spec.probe": Unsupported(
            "it writes what it finds into the WorkloadEntry, as the condition Healthy",
            whose="the agent beside the workload",
        ),
    },
    ("networking.istio.io", "ProxyConfig"): {
        "spec.selector": _BOOTSTRAP,
        "spec.concurrency": Unsupported("start Envoy with --concurrency", whose="the start of the proxy"),
        "spec.environmentVariables": _BOOTSTRAP,
        "spec.image": Unsupported("choose the image where the proxy is deployed", whose="the start of the proxy"),
    },
}
"""(group, kind) -> field -> why. `[]` stands for the items of a list, `{}` for the values of a map."""


def unsupported(raw: Raw) -> tuple[Diagnostic, ...]:
    """One warning (XDS1007) for every place where the object sets a field without effect; one piece of information
    (XDS1012) where the effect is not the proxy's."""
    if not any(name in raw.body for name in _names(raw.ref.group, raw.ref.kind)):
        return ()  # as nearly always, so that the body need not be parsed again
    return tuple(
        diagnostic(
            "XDS1012" if entry.whose else "XDS1007",
            raw.ref,
            path,
            field=format_path(path),
            whose=entry.whose,
            suggestion=entry.advice,
        )
        for path, entry in _walk(raw.value(), _compiled(raw.ref.group, raw.ref.kind), ())
    )


@functools.cache
def _names(group: str, kind: str) -> tuple[bytes, ...]:
    """The last step of each field of a kind, as it is in JSON."""
    fields = UNSUPPORTED.get((group, kind), {})
    return tuple(
        {b'"%s"' % field.rpartition(".")[2].removesuffix("[]").removesuffix("{}").encode() for field in fields}
    )


@functools.cache
def _compiled(group: str, kind: str) -> Mapping[str, Any]:
    """The table of a kind as nested mappings: step -> steps below, or an Unsupported."""
    tree: dict[str, Any] = {}
    for text, entry in UNSUPPORTED.get((group, kind), {}).items():
        *parents, last = text.replace("[]", ".[]").replace("{}", ".{}").split(".")
        node = tree
        for step in parents:
            node = node.setdefault(step, {})
        node[last] = entry
    return tree


def _walk(value: Any, fields: Mapping[str, Any], path: Path) -> Iterator[tuple[Path, Unsupported]]:
    for step, below in fields.items():
        for key, item in _children(value, step):
            if isinstance(below, Unsupported):
                if not _is_empty(item) and not (isinstance(item, str | bool) and item in below.harmless):
                    yield (*path, key), below
            else:
                yield from _walk(item, below, (*path, key))


def _children(value: Any, step: str) -> Iterator[tuple[str | int, Any]]:
    if step == "[]":
        yield from enumerate(value if isinstance(value, list) else [])
    elif isinstance(value, dict):
        if step == "{}":
            yield from value.items()
        elif step in value:
            yield step, value[step]


def _is_empty(value: Any) -> bool:
    return value is None or value in ("", [], {})
