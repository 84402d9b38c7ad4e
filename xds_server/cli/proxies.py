"""Which proxy a command is about."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from msgspec.structs import replace

from xds_server.cli.exits import CannotRun
from xds_server.kube.snapshot import Snapshot
from xds_server.mesh.model import Locality
from xds_server.mesh.proxy import EVERY_GATEWAY, Interception, Proxy, ProxyKind, proxy_of

KEYS = {
    "namespace": "NAMESPACE",
    "interception": "INTERCEPTION_MODE",
    "http-proxy-port": "HTTP_PROXY_PORT",
    "dns-capture": "DNS_CAPTURE",
    "service-account": "SERVICE_ACCOUNT",
    "network": "NETWORK",
    "cluster": "CLUSTER_ID",
    "node": "NODE_NAME",
}
"""Keys of a proxy given on the command line -> keys of the node's metadata. `label.KEY` gives a label."""


def parse_proxy(text: str) -> Proxy:
    """The proxy of `parse_node`. Raises what that raises."""
    return proxy_of_node(parse_node(text))


def parse_node(text: str) -> Any:
    """The xDS node, as plain values, of a proxy given as `sidecar,namespace=shop,label.app=web`, as a node id of Istio,
    or as a file.

    The file is YAML or JSON: a node, or an Envoy bootstrap that has one. Raises ValueError with a sentence for the
    operator when the text is none of these, CannotRun when the file cannot be read.
    """
    if Path(text).is_file():
        return _node_in(_read(Path(text)))
    if "~" in text:
        return {"id": text}
    role, *settings = text.split(",")
    metadata: dict[str, Any] = {"ROLE": role}
    labels: dict[str, str] = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if key.startswith("label.") and equals:
            labels[key.removeprefix("label.")] = value
        elif key in KEYS and equals:
            metadata[KEYS[key]] = value
        else:
            known = ", ".join(f"{name}=..." for name in KEYS)
            raise ValueError(f"{setting!r} is not understood; use {known} or label.KEY=...")
    if role not in set(ProxyKind):
        raise ValueError(f"{text!r} is neither a file nor a proxy such as gateway,namespace=shop,label.app=web")
    return {"metadata": metadata | {"LABELS": labels}}


def proxy_of_node(value: Any) -> Proxy:
    """The proxy of a node as plain values, or of the bootstrap that holds it. Raises ValueError."""
    node = _node_in(value)
    place = node.get("locality") or {}
    locality = Locality(place.get("region", ""), place.get("zone", ""), place.get("sub_zone", ""))
    return proxy_of(str(node.get("id", "")), node.get("metadata") or {}, locality)


def _node_in(value: Any) -> dict[str, Any]:
    node = value.get("node", value) if isinstance(value, dict) else None
    if not isinstance(node, dict):
        raise ValueError("the file of a proxy must hold a node: a mapping with id, metadata and locality")
    return node


def _read(file: Path) -> Any:
    import yaml  # slow to import, and only needed here

    try:
        return yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise CannotRun(f"{file} cannot be read: {error}") from None


def implied_proxies(snapshot: Snapshot) -> list[Proxy]:
    """The proxies that the objects speak of: a gateway that every Gateway selects, and a sidecar in each namespace."""
    namespaces = sorted({namespace for objects in snapshot.by_type.values() for namespace, _ in objects if namespace})
    sidecar = Proxy(kind=ProxyKind.SIDECAR, interception=Interception.NONE)
    return [EVERY_GATEWAY, *(replace(sidecar, namespace=namespace) for namespace in namespaces)]
