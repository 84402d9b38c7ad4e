"""What every Kubernetes object has in common."""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec

from xds_server.diagnostics import ObjectRef, Path


class Model(msgspec.Struct, frozen=True, eq=False, gc=False, rename="camel", forbid_unknown_fields=True):
    """Part of an object as the user wrote it. Field names are those of the API in snake case.

    NULLABLE: the API names of fields whose CRD says `nullable: true`; a null there means absent.
    """

    NULLABLE: ClassVar[frozenset[str]] = frozenset()


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
    """Where an object was read: a place in a file, or a cluster.

    file, line, text: a document, its first line in the file and its text, which is kept so that the line of any
    field can be found when it is asked for.
    root, start: the object's path in that document (in a `List`) and its own first line in the file.
    cluster, resource_version: the cluster's name, and the version there that brought this content.
    """

    file: str = ""
    line: int = 1
    text: str = ""
    root: Path = ()
    start: int = 1
    cluster: str = ""
    resource_version: str = ""

    def __str__(self) -> str:
        return f"{self.file}:{self.start}" if self.file else f"cluster {self.cluster}"


class Raw(msgspec.Struct, frozen=True, eq=False):
    """An object before it is decoded. body: its JSON. digest: hash of the body; equal bodies are decoded once."""

    ref: ObjectRef
    api_version: str
    body: bytes
    source: Source
    digest: bytes

    def value(self) -> dict[str, Any]:
        """The body as dictionaries and lists, made anew on every call."""
        value: dict[str, Any] = msgspec.json.decode(self.body)
        return value
