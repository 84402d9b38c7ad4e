"""What every Kubernetes object has in common."""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec

from xds_server.diagnostics import ObjectRef


class Model(msgspec.Struct, frozen=True, eq=False, gc=False, rename="camel", forbid_unknown_fields=True):
    """Part of an object as the user wrote it. Field names are those of the API in snake case."""


class Ignored:
    """The type of a field that is valid but says nothing about traffic; its value is not kept."""


class ObjectMeta(Model, frozen=True, eq=False, gc=False):
    """`metadata`. creation_timestamp is RFC 3339 text, which sorts by time."""

    name: str = ""
    generate_name: Ignored | None = None
    namespace: str = ""
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None
    deletion_grace_period_seconds: Ignored | None = None
    resource_version: str = ""
    generation: Ignored | None = None
    uid: str = ""
    self_link: Ignored | None = None
    owner_references: Ignored | None = None
    finalizers: Ignored | None = None
    managed_fields: Ignored | None = None


class Object(Model, frozen=True, eq=False, gc=False):
    """An object of any kind. Subclasses add `spec` and name their API group and kind."""

    GROUP: ClassVar[str]
    KIND: ClassVar[str]

    api_version: str
    kind: str
    metadata: ObjectMeta

    @property
    def ref(self) -> ObjectRef:
        return ObjectRef(self.GROUP, self.KIND, self.metadata.namespace, self.metadata.name)


class Source(msgspec.Struct, frozen=True, eq=False):
    """Where an object was read: `file` and first line of a document with its `text`, or a cluster's name with
    `resource_version`. The text is kept so that the line of any field can be found when it is asked for."""

    file: str = ""
    line: int = 1
    text: str = ""
    cluster: str = ""
    resource_version: str = ""


class Raw(msgspec.Struct, frozen=True, eq=False):
    """An object before it is decoded. digest: hash of its content, so that equal content is decoded once."""

    ref: ObjectRef
    api_version: str
    value: dict[str, Any]
    source: Source
    digest: bytes
