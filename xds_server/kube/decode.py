"""From what the user wrote to typed objects, strictly: what does not fit is a diagnostic, never a guess."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from typing import Any

import msgspec

from xds_server.diagnostics import Diagnostic, Path, diagnostic, format_path
from xds_server.kube.explain import Explanation, Mistake
from xds_server.kube.kinds import KINDS, Kind, Naming
from xds_server.kube.meta import Ignored, Object, Raw
from xds_server.kube.support import unsupported
from xds_server.kube.units import Duration

_WORD = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_LABEL = re.compile(rf"(?!.{{{Naming.LABEL.value + 1}}}){_WORD}")
_SUBDOMAIN = re.compile(rf"(?!.{{{Naming.SUBDOMAIN.value + 1}}}){_WORD}(\.{_WORD})*")
_IGNORED = Ignored()
_ESCAPES = (b"\\n", b"\\r", b"\\u0000")  # in JSON
_CONTROL = re.compile("[\n\r\0]")
_BODY = ("directResponse", "body", "string")


class Decoded(msgspec.Struct, frozen=True, eq=False):
    """object: None when it cannot be used; then at least one diagnostic is an error."""

    object: Object | None
    diagnostics: tuple[Diagnostic, ...] = ()


def kind_of(raw: Raw) -> Kind | None:
    """None for a kind, or a version of one, that this server does not read, or an object that is not its only one."""
    kind = _kind(raw.ref.group, raw.ref.kind, raw.api_version)
    return kind if kind is None or kind.only is None or kind.only == (raw.ref.namespace, raw.ref.name) else None


@functools.lru_cache(maxsize=1024)  # of what users write
def _kind(group: str, name: str, api_version: str) -> Kind | None:
    kind = KINDS.get((group, name))
    return kind if kind is not None and api_version.rpartition("/")[2] in kind.versions else None


def decode(raw: Raw) -> Decoded:
    """The object, and everything that is wrong with it: all mistakes, and fields that have no effect."""
    kind = kind_of(raw)
    if kind is None:
        return Decoded(None, (diagnostic("XDS1006", raw.ref, kind=raw.ref.kind, api_version=raw.api_version),))
    found, mistakes = _typed(raw, kind)
    mistakes.extend(_naming(raw, kind))
    mistakes.extend(_control_characters(raw))
    if mistakes and raw.source.cluster and kind.null_is_absent and all(mistake.unknown for mistake in mistakes):
        return _from_newer(raw, mistakes)
    if mistakes:
        return Decoded(None, tuple(_diagnostic(raw, mistake) for mistake in mistakes))
    return Decoded(found, unsupported(raw))


def _from_newer(raw: Raw, mistakes: list[Mistake]) -> Decoded:
    """A built-in kind with fields that a newer API server has added. It has checked the object, so these are no typing
    mistakes. Each field is told once, whatever number of objects has it."""
    value = raw.value()
    for mistake in mistakes:
        *parents, field = mistake.path
        holder: Any = value
        for step in parents:
            holder = holder[step]
        del holder[field]
    fields = sorted({format_path(tuple(step for step in one.path if isinstance(step, str))) for one in mistakes})
    known = decode(msgspec.structs.replace(raw, body=msgspec.json.encode(value)))
    told = tuple(diagnostic("XDS1013", None, kind=raw.ref.kind, field=field) for field in fields)
    return Decoded(known.object, (*known.diagnostics, *told))


def _control_characters(raw: Raw) -> list[Mistake]:
    """Line breaks and NULs in the spec of an Istio resource. Envoy refuses them in nearly every text that can come from
    there, and only the body of a direct response has a use for them."""
    if not raw.ref.group.endswith("istio.io") or not any(escape in raw.body for escape in _ESCAPES):
        return []
    detail = "the text has a line break or a NUL character, which no part of a request can have"
    places = _texts(raw.value().get("spec"), ("spec",))
    return [Mistake(path, detail) for path, text in places if _CONTROL.search(text) and path[-3:] != _BODY]


def _texts(value: Any, path: Path) -> Iterator[tuple[Path, str]]:
    """Every text in plain data, and where it is; a key of a mapping as well as a value."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield (*path, key), key
            yield from _texts(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _texts(item, (*path, index))


def _typed(raw: Raw, kind: Kind) -> tuple[Object | None, list[Mistake]]:
    # A null in a custom resource must be looked at: dropping that of a header match would widen a route.
    if kind.null_is_absent or b"null" not in raw.body:
        try:
            return _decoder(kind.type).decode(raw.body), []
        except msgspec.ValidationError:
            pass  # explained below
    explanation = Explanation(convert, kind.null_is_absent, kind.secret)
    value = explanation.value(raw.value(), msgspec.inspect.type_info(kind.type))
    if explanation.mistakes:
        return None, explanation.mistakes
    return convert(value, kind.type), []


@functools.cache
def _decoder(of: type[Object]) -> msgspec.json.Decoder[Object]:
    return msgspec.json.Decoder(of, dec_hook=_custom)


def convert(value: Any, of: Any) -> Any:
    """A value of plain data as `of`. Raises msgspec.ValidationError with the first mistake."""
    return msgspec.convert(value, of, dec_hook=_custom)


def _custom(of: type, value: Any) -> Any:
    if of is Ignored:
        return _IGNORED
    if issubclass(of, Duration):
        if not isinstance(value, str):
            raise ValueError("a duration is text such as 10s or 1m30s")
        return of.parse(value)
    raise NotImplementedError(of)


def _naming(raw: Raw, kind: Kind) -> Iterator[Mistake]:
    """The checks of `metadata` that the API server makes for every kind."""
    name, namespace = raw.ref.name, raw.ref.namespace
    if not (_SUBDOMAIN if kind.naming is Naming.SUBDOMAIN else _LABEL).fullmatch(name):
        yield Mistake(
            ("metadata", "name"),
            f"{name!r} is not a name of at most {kind.naming.value} lower-case letters, digits, '-'"
            + (" and '.'" if kind.naming is Naming.SUBDOMAIN else ""),
        )
    if not kind.namespaced and namespace:
        yield Mistake(("metadata", "namespace"), f"a {raw.ref.kind} has no namespace", "leave the namespace out")
    elif kind.namespaced and not _LABEL.fullmatch(namespace):
        yield Mistake(("metadata", "namespace"), f"{namespace!r} is not the name of a namespace")


def _diagnostic(raw: Raw, mistake: Mistake) -> Diagnostic:
    if mistake.unknown:
        return diagnostic("XDS1004", raw.ref, mistake.path, field=mistake.path[-1], suggestion=mistake.suggestion)
    return diagnostic("XDS1005", raw.ref, mistake.path, detail=mistake.detail, suggestion=mistake.suggestion)
