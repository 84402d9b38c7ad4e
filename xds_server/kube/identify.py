"""Which object a parsed document is: the step from plain data to a `Raw`, for every source alike."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from xds_server.diagnostics import ObjectRef, Path
from xds_server.kube.kinds import KINDS
from xds_server.kube.meta import Raw, Source

DEFAULT_NAMESPACE = "default"


class Unidentified(msgspec.Struct, frozen=True):
    """Why a value is no object: the field, what is wrong with it, and what to do."""

    path: Path
    detail: str
    suggestion: str = ""


def flatten(value: Mapping[str, Any]) -> Iterator[tuple[Path, Any]]:
    """The objects of a value with their paths in it: the items of a `List`, or the value itself.

    Items of a typed list, such as a ServiceList, may leave out apiVersion and kind, as the API server does.
    """
    kind, items = value.get("kind"), value.get("items")
    if not isinstance(kind, str) or not kind.endswith("List") or not isinstance(items, list):
        yield (), value
        return
    of_item = {"apiVersion": value.get("apiVersion"), "kind": kind.removesuffix("List")}
    for index, item in enumerate(items):
        typed = {**of_item, **item} if kind != "List" and isinstance(item, dict) else item
        for path, found in flatten(typed) if isinstance(typed, dict) else [((), typed)]:
            yield ("items", index, *path), found


def identify(value: Any, source: Source) -> Raw | Unidentified:
    """The object with its namespace filled in. A kind that is not read has an empty body."""
    if not isinstance(value, dict):
        return Unidentified((), "a Kubernetes object is a mapping with apiVersion, kind and metadata")
    for field in ("apiVersion", "kind"):
        if not isinstance(value.get(field), str) or not value[field]:
            return Unidentified((field,), _absent(value, field, "a string"), f"add {field}")
    metadata = value.get("metadata")
    if not isinstance(metadata, dict):
        return Unidentified(("metadata",), _absent(value, "metadata", "a mapping"), "add metadata with a name")
    name = metadata.get("name")
    if not isinstance(name, str) or not name:
        advice = "a generated name is known only to the API server" if "generateName" in metadata else "give it a name"
        return Unidentified(("metadata", "name"), _absent(metadata, "name", "a string"), advice)
    namespace = metadata.get("namespace") or ""
    if not isinstance(namespace, str):
        return Unidentified(("metadata", "namespace"), _absent(metadata, "namespace", "a string"), "write it in quotes")
    return _raw(value, metadata, name, namespace, source)


def _absent(value: dict[str, Any], field: str, expected: str) -> str:
    return f"{field} is not {expected}" if value.get(field) else f"{field} is missing"


def _raw(value: dict[str, Any], metadata: dict[str, Any], name: str, namespace: str, source: Source) -> Raw:
    group, _, _ = value["apiVersion"].rpartition("/")
    kind = KINDS.get((group, value["kind"]))
    if kind is not None and kind.namespaced and not namespace:
        namespace = DEFAULT_NAMESPACE
        value = {**value, "metadata": {**metadata, "namespace": namespace}}
    ref = ObjectRef(group, value["kind"], namespace, name)
    body = msgspec.json.encode(value) if kind is not None else b""
    return Raw(ref, value["apiVersion"], body, source, hashlib.blake2b(body, digest_size=16).digest())
