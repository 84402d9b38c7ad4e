"""What an API server answers, as events of the list/watch machine. Only fields that a model reads are kept.

Objects are taken apart one level deep and put together again without being parsed, so that an object that did not
change, but for what nobody reads, has the digest that it had before.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator
from typing import Any

import msgspec

from xds_server.diagnostics import ObjectRef
from xds_server.kube.kinds import KINDS
from xds_server.kube.meta import Ignored, ObjectMeta, Raw, Source
from xds_server.sources.kubernetes_resources import Resource
from xds_server.sources.listwatch import Bookmark, Broken, Event, Gone, Page, Put, Refused

_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_INITIAL_EVENTS_END = "k8s.io/initial-events-end"
_LONGEST_MESSAGE = 300

_parts = msgspec.json.Decoder(dict[str, msgspec.Raw])
_strings = msgspec.json.Decoder(dict[str, str])


class _ListMeta(msgspec.Struct, rename="camel"):
    resource_version: str = ""
    more: str = msgspec.field(name="continue", default="")


class _List(msgspec.Struct):
    metadata: _ListMeta
    items: list[msgspec.Raw] | None = None


class _Line(msgspec.Struct):
    type: str
    object: msgspec.Raw


class _Meta(msgspec.Struct, rename="camel"):
    name: str = ""
    namespace: str = ""
    resource_version: str = ""
    annotations: dict[str, str] | None = None


class _Named(msgspec.Struct):
    metadata: _Meta


class _Details(msgspec.Struct, rename="camel"):
    retry_after_seconds: int = 0


class _Status(msgspec.Struct):
    code: int = 500
    message: str = ""
    details: _Details | None = None


_list = msgspec.json.Decoder(_List)
_line = msgspec.json.Decoder(_Line)
_named = msgspec.json.Decoder(_Named)
_status = msgspec.json.Decoder(_Status)


class Reader(msgspec.Struct, frozen=True):
    """Reads the answers about one resource. cluster: its name, for the origin of objects."""

    resource: Resource
    cluster: str

    def page(self, body: bytes, api_version: int) -> Event:
        """A page of a list."""
        try:
            found = _list.decode(body)
            items = tuple(self._raw(item, api_version) for item in found.items or ())
        except (msgspec.DecodeError, KeyError) as error:
            return Broken(f"the list cannot be read: {error}")
        return Page(items, found.metadata.resource_version, found.metadata.more)

    def line(self, body: bytes, api_version: int) -> Event:
        """An event of a watch."""
        try:
            event = _line.decode(body)
            match event.type:
                case "ADDED" | "MODIFIED":
                    return Put(self._raw(event.object, api_version))
                case "DELETED":
                    meta = _named.decode(event.object).metadata
                    return Gone(self._ref(meta.namespace, meta.name), meta.resource_version)
                case "BOOKMARK":
                    meta = _named.decode(event.object).metadata
                    return Bookmark(meta.resource_version, (meta.annotations or {}).get(_INITIAL_EVENTS_END) == "true")
                case "ERROR":
                    return _refusal(_status.decode(event.object))
        except (msgspec.DecodeError, KeyError) as error:
            return Broken(f"an event cannot be read: {error}")
        return Broken(f"an event is of the unknown type {event.type!r}")

    def _ref(self, namespace: str, name: str) -> ObjectRef:
        return ObjectRef(self.resource.group, self.resource.kind, namespace, name)

    def _raw(self, body: msgspec.Raw, api_version: int) -> Raw:
        version = self.resource.versions[api_version]
        full = f"{self.resource.group}/{version}" if self.resource.group else version
        parts = _parts.decode(body)
        meta = _metadata.decode(parts["metadata"])
        source = Source(cluster=self.cluster, resource_version=meta.resourceVersion)
        meta.resourceVersion = ""  # what changes when nothing else does is left out
        if _APPLIED.encode() in memoryview(meta.annotations).tobytes():
            annotations = _strings.decode(meta.annotations)
            annotations.pop(_APPLIED, None)
            meta.annotations = annotations
        for name in _ignored(self.resource.group, self.resource.kind):
            parts.pop(name, None)
        # In one order: the items of a list of a core kind say neither apiVersion nor kind.
        own = {"apiVersion": full, "kind": self.resource.kind, "metadata": meta}
        small = msgspec.json.encode({**own, **parts, **own})
        ref = self._ref(meta.namespace, meta.name)
        return Raw(ref, full, small, source, hashlib.blake2b(small, digest_size=16).digest())


@functools.cache
def _ignored(group: str, kind: str) -> frozenset[str]:
    """Top-level fields whose value the model does not keep."""
    return frozenset(_names(KINDS[group, kind].type, ignored=True))


def _names(model: type[msgspec.Struct], ignored: bool) -> Iterator[str]:
    for field in msgspec.inspect.type_info(model).fields:  # type: ignore[attr-defined]  # a struct's info has fields
        types = field.type.types if isinstance(field.type, msgspec.inspect.UnionType) else (field.type,)
        if ignored == any(isinstance(of, msgspec.inspect.CustomType) and of.cls is Ignored for of in types):
            yield field.encode_name


_TEXTS = ("name", "namespace", "resourceVersion")
_Metadata = msgspec.defstruct(
    "_Metadata",
    [(n, str, "") if n in _TEXTS else (n, msgspec.Raw, msgspec.Raw()) for n in _names(ObjectMeta, ignored=False)],
    omit_defaults=True,
)
"""What a model reads of metadata, all else left out; empty where it is absent."""
_metadata: msgspec.json.Decoder[Any] = msgspec.json.Decoder(_Metadata)


def _refusal(status: _Status) -> Refused:
    wait = float(status.details.retry_after_seconds) if status.details else 0.0
    return Refused(status.code, _one_line(status.message), wait)


def refusal(status: int, body: bytes, retry_after: str = "") -> Refused:
    """An answer that is not 200. retry_after: the header; a date, which Kubernetes does not send, is not read."""
    wait = float(retry_after) if retry_after.isdigit() else 0.0
    try:
        found = _refusal(_status.decode(body))
    except msgspec.DecodeError:
        return Refused(status, _one_line(body.decode(errors="replace")), wait)
    return Refused(status, found.message, wait or found.retry_after)


def _one_line(text: str) -> str:
    return " ".join(text.split())[:_LONGEST_MESSAGE]


_REFERENCES = ("credentialName", "credentialNames", "caCertCredentialName", "certificateRefs", "caCertificateRefs")


def secret_names(raw: Raw) -> frozenset[str]:
    """The names of Secrets that an object refers to, and those where their authorities may be."""
    if b"redentialName" not in raw.body and b"ertificateRefs" not in raw.body:
        return frozenset()
    names = {name.removeprefix("kubernetes://").rpartition("/")[2] for name in _references(raw.value())}
    return frozenset(names | {f"{name}-cacert" for name in names} - {""})


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, list):
        for item in value:
            yield from _references(item)
    elif isinstance(value, dict):
        for key, item in value.items():
            if key not in _REFERENCES:
                yield from _references(item)
                continue
            for named in item if isinstance(item, list) else [item]:
                name = named.get("name") if isinstance(named, dict) else named
                if isinstance(name, str) and name:
                    yield name
