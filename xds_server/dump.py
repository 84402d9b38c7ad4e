"""Resources as plain values for people to read: JSON names as Envoy's documentation has them, no private keys."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from google.protobuf import json_format
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.descriptor_pool import Default as default_pool
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from udpa.annotations import sensitive_pb2

from xds_server.diagnostics import ObjectRef, format_path
from xds_server.envoy.resource import PREFIX, TYPES, Resource, Resources
from xds_server.kube.meta import Source

SECTIONS = {"lds": "listeners", "rds": "routes", "cds": "clusters", "eds": "endpoints", "sds": "secrets"}
"""Short name of each type -> its heading in a dump."""

REDACTED = "[redacted]"


def message(resource: Resource) -> Message:
    """The protobuf message of a resource, as it is sent."""
    return _class(resource.type_url).FromString(resource.body)


def readable(resource: Resource) -> dict[str, Any]:
    """A resource as JSON-like values in a stable order: names and types first, then by the alphabet.

    What Envoy's API marks as sensitive, private keys above all, reads `[redacted]`.
    """
    sent = message(resource)
    _redact(sent)
    value: dict[str, Any] = _ordered(json_format.MessageToDict(sent, preserving_proto_field_name=True))
    return value


def origins(resource: Resource, sources: Mapping[ObjectRef, Source] = {}) -> str:
    """The objects and fields that made a resource, most important first; with the cluster and the version there of
    objects that `sources` knows to be from one."""
    names = [f"{_named(origin.ref, sources)} {format_path(origin.path)}".rstrip() for origin in resource.origins]
    return ", ".join(dict.fromkeys(names))


def _named(ref: ObjectRef, sources: Mapping[ObjectRef, Source]) -> str:
    source = sources.get(ref)
    return f"{ref} ({source} {source.resource_version})" if source is not None and source.cluster else str(ref)


def dump(resources: Resources, types: Collection[str] = tuple(TYPES)) -> dict[str, list[dict[str, Any]]]:
    """Heading -> resources, for the short names in `types`."""
    return {
        SECTIONS[short]: [readable(resource) for _, resource in sorted(resources.by_type[url].items())]
        for short, url in TYPES.items()
        if short in types
    }


def _class(type_url: str) -> type[Message]:
    return GetMessageClass(default_pool().FindMessageTypeByName(type_url.removeprefix(PREFIX)))


def _ordered(value: Any) -> Any:
    # Maps come from protobuf in no particular order, so everything is sorted.
    if isinstance(value, dict):
        first = [key for key in ("@type", "name", "cluster_name") if key in value]
        return {key: _ordered(value[key]) for key in (*first, *sorted(value.keys() - set(first)))}
    return [_ordered(item) for item in value] if isinstance(value, list) else value


def _redact(sent: Message) -> None:
    for field, value in sent.ListFields():
        if field.GetOptions().Extensions[sensitive_pb2.sensitive]:
            _hide(sent, field)
        elif field.message_type is not None:
            for part in _parts(field, value):
                _redact_any(part) if isinstance(part, AnyMessage) else _redact(part)


def _redact_any(packed: AnyMessage) -> None:
    inner = _class(packed.type_url).FromString(packed.value)
    _redact(inner)
    packed.Pack(inner, deterministic=True)


def _parts(field: FieldDescriptor, value: Any) -> list[Message]:
    """The messages in a field: its own, its elements, or the values of its map."""
    if not field.is_repeated:
        return [value]
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        return [item for item in value.values() if isinstance(item, Message)]
    return list(value)


def _hide(owner: Message, field: FieldDescriptor) -> None:
    """Says `[redacted]` where a text or a `DataSource` was; any other sensitive value disappears."""
    owner.ClearField(field.name)
    if field.type == FieldDescriptor.TYPE_STRING and not field.is_repeated:
        setattr(owner, field.name, REDACTED)
    elif field.message_type is not None and field.message_type.full_name == "envoy.config.core.v3.DataSource":
        slot = getattr(owner, field.name)
        (slot.add() if field.is_repeated else slot).inline_string = REDACTED
