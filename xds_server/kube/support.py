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
    """advice: what to do instead. harmless: values that change nothing, such as the API's default."""

    advice: str = ""
    harmless: frozenset[str | bool] = frozenset()


_NONE = Unsupported()
_FILES = Unsupported("name a Secret with credentialName")

_POLICY = {
    "loadBalancer.localityLbSetting": _NONE,
    "loadBalancer.zoneAwareLbSetting": _NONE,
    "connectionPool.http.http2KeepAlive": _NONE,
    "outlierDetection.outlierDetectionHttpErrorCodes": _NONE,
    "tls.clientCertificate": _FILES,
    "tls.privateKey": _FILES,
    "tls.caCertificates": _FILES,
    "tls.caCrl": _NONE,
}
_WHOLE_POLICY = {
    **_POLICY,
    **{f"portLevelSettings[].{field}": entry for field, entry in _POLICY.items()},
    "tunnel": _NONE,
    "proxyProtocol": _NONE,
    "retryBudget.budgetInterval": _NONE,
}

UNSUPPORTED: Mapping[tuple[str, str], Mapping[str, Unsupported]] = {
    ("", "Service"): {
        "spec.sessionAffinity": Unsupported(
            "use a DestinationRule with loadBalancer.consistentHash.useSourceIp", frozenset({"None"})
        ),
        "spec.internalTrafficPolicy": Unsupported(harmless=frozenset({"Cluster"})),
        "spec.trafficDistribution": _NONE,
    },
    ("networking.istio.io", "Gateway"): {
        "spec.servers[].defaultEndpoint": _NONE,
        "spec.servers[].port.targetPort": Unsupported("the port is opened as it is"),
        "spec.servers[].tls.serverCertificate": _FILES,
        "spec.servers[].tls.privateKey": _FILES,
        "spec.servers[].tls.caCertificates": _FILES,
        "spec.servers[].tls.caCrl": _NONE,
        "spec.servers[].tls.tlsCertificates": Unsupported("name Secrets with credentialNames"),
        "spec.servers[].tls.insecureSkipVerify": Unsupported(harmless=frozenset({False})),
    },
    ("networking.istio.io", "VirtualService"): {
        "spec.http[].delegate": Unsupported("write the routes into this VirtualService"),
        "spec.http[].fault.delay.exponentialDelay": Unsupported("use fixedDelay"),
        "spec.http[].fault.abort.http2Error": Unsupported("use httpStatus or grpcStatus"),
        "spec.tcp[].match[].sourceSubnet": Unsupported("Istio ignores it as well"),
    },
    ("networking.istio.io", "DestinationRule"): {
        "spec.workloadSelector": _NONE,
        **{f"spec.trafficPolicy.{field}": entry for field, entry in _WHOLE_POLICY.items()},
        **{f"spec.subsets[].trafficPolicy.{field}": entry for field, entry in _WHOLE_POLICY.items()},
    },
    ("networking.istio.io", "ServiceEntry"): {
        "spec.endpoints[].network": _NONE,
    },
}
"""(group, kind) -> field -> why. `[]` stands for the items of a list, `{}` for the values of a map."""


def unsupported(raw: Raw) -> tuple[Diagnostic, ...]:
    """One warning (XDS1007) for every place where the object sets a field without effect."""
    fields = _compiled(raw.ref.group, raw.ref.kind)
    if not fields:
        return ()
    return tuple(
        diagnostic("XDS1007", raw.ref, path, field=format_path(path), suggestion=entry.advice)
        for path, entry in _walk(raw.value(), fields, ())
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
