"""Asks the real Envoy, and a second decoder, what they make of our resources."""

from __future__ import annotations

import importlib
import json
import subprocess
import tempfile
from collections.abc import Iterator
from typing import Any

from google.protobuf import descriptor_pool, json_format, message_factory

from xds_server.demo.processes import find_envoy
from xds_server.envoy.resource import CLUSTER, ENDPOINT, LISTENER, ROUTE, SECRET, Resource, Resources


def message(resource: Resource) -> Any:
    """The protobuf message of a resource."""
    name = resource.type_url.rpartition("/")[2]
    kind = message_factory.GetMessageClass(descriptor_pool.Default().FindMessageTypeByName(name))
    return kind.FromString(resource.body)


def as_dict(resource: Resource) -> dict[str, Any]:
    """The protobuf JSON form of a resource, messages within an Any included."""
    return json_format.MessageToDict(message(resource))


def static_bootstrap(resources: Resources) -> dict[str, Any]:
    """One bootstrap with everything in it: what came by RDS, EDS and SDS is put where it is named.

    Listeners of proxyless gRPC clients are left out. Raises AssertionError when something is named but not there.
    """
    found = {kind: {name: as_dict(item) for name, item in items.items()} for kind, items in resources.by_type.items()}
    listeners = [item for item in found[LISTENER].values() if "apiListener" not in item]
    return {
        "staticResources": {
            "listeners": [_inlined(item, found) for item in listeners],
            "clusters": [_inlined(item, found) for item in found[CLUSTER].values()],
            "secrets": list(found[SECRET].values()),
        }
    }


def _inlined(value: Any, found: dict[str, dict[str, Any]]) -> Any:
    if isinstance(value, list):
        return [_inlined(item, found) for item in value]
    if not isinstance(value, dict):
        return value
    result = {key: _inlined(item, found) for key, item in value.items()}
    if "rds" in result:
        result["routeConfig"] = _named(found, ROUTE, result.pop("rds")["routeConfigName"])
    if "edsClusterConfig" in result:
        del result["edsClusterConfig"]
        result |= {"type": "STATIC", "loadAssignment": _named(found, ENDPOINT, result["name"])}
    if "sdsConfig" in result:
        del result["sdsConfig"]
        _named(found, SECRET, result["name"])
    return result


def _named(found: dict[str, dict[str, Any]], kind: str, name: str) -> Any:
    assert name in found[kind], f"{name!r} is referred to, but there is no such {kind.rpartition('.')[2]}"
    return found[kind][name]


def validate(bootstrap: dict[str, Any]) -> None:
    """Passes when the real Envoy accepts it without a word; else raises AssertionError with Envoy's words."""
    with tempfile.NamedTemporaryFile("w", suffix=".json", encoding="utf-8") as file:
        json.dump(bootstrap, file)
        file.flush()
        command = [find_envoy(), "--mode", "validate", "-c", file.name, "-l", "warning", "--concurrency", "1"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    said = done.stderr.strip()
    assert done.returncode == 0, f"Envoy refuses the configuration:\n{said}"
    complaints = [line for line in said.splitlines() if "deprecated" in line.lower()]
    assert not complaints, "Envoy complains about the configuration:\n" + "\n".join(complaints)


def decoded_twice(resource: Resource) -> dict[str, Any]:
    """What both decoders read in a resource. Raises AssertionError when they differ.

    The second is `envoy-data-plane`, made from Envoy's protos by another compiler with another runtime.
    """
    first = as_dict(resource)
    for type_url in {resource.type_url, *_type_urls(first)}:
        importlib.import_module(_second_module(type_url))
    name = resource.type_url.rpartition(".")[2]
    second = getattr(importlib.import_module(_second_module(resource.type_url)), name).parse(resource.body)
    assert _normal(second.to_dict()) == _normal(first), f"two decoders disagree on {resource.name!r}"
    return first


def _second_module(type_url: str) -> str:
    return "envoy_data_plane." + type_url.rpartition("/")[2].rpartition(".")[0]


def _type_urls(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield from (item for key, item in value.items() if key == "@type")
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _type_urls(item)


def _normal(value: Any) -> Any:
    """Without the second decoder's two slips of JSON: `consecutive5Xx`, and 64-bit wrappers as bare numbers."""
    if isinstance(value, dict):
        return {key.lower(): _normal(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_normal(item) for item in value]
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value
