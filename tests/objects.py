"""Objects for tests, written as a user writes them."""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from textwrap import dedent

from xds_server.diagnostics import Diagnostic
from xds_server.incremental import fixed
from xds_server.kube.decode import decode
from xds_server.kube.meta import Object
from xds_server.kube.snapshot import Snapshot
from xds_server.memo import Memo, no_memo
from xds_server.mesh.model import View
from xds_server.mesh.proxy import EVERY_GATEWAY, Interception, Proxy, ProxyKind
from xds_server.mesh.resolve import resolve
from xds_server.mesh.view import view
from xds_server.sources.yaml import load

SIDECAR = Proxy(ProxyKind.SIDECAR, "default", interception=Interception.NONE)
GRPC = Proxy(ProxyKind.GRPC, "default")


def named(view: View) -> View:
    """A view that was written down with tuples in the places of its collections."""
    fields = {field: getattr(view, field) for field in view.__struct_fields__}
    rows = {
        field: fixed((value.name, value) for value in values)
        for field, values in fields.items()
        if isinstance(values, tuple) and field != "found"
    }
    return View(**{**fields, **rows})


def objects(*texts: str) -> list[Object]:
    """The objects of YAML documents. Raises AssertionError when one of them is not valid."""
    found = []
    for text in texts:
        loaded = load(dedent(text).encode(), "in.yaml")
        assert not loaded.diagnostics, loaded.diagnostics
        for raw in loaded.raws:
            decoded = decode(raw)
            assert decoded.object is not None, decoded.diagnostics
            found.append(decoded.object)
    return found


def snapshot_of_objects(found: list[Object]) -> Snapshot:
    tables: dict[type[Object], dict[tuple[str, str], Object]] = {}
    for item in found:
        tables.setdefault(type(item), {})[item.metadata.namespace, item.metadata.name] = item
    return Snapshot(by_type={kind: fixed(table) for kind, table in tables.items()})


def snapshot(*texts: str) -> Snapshot:
    return snapshot_of_objects(objects(*texts))


def snapshot_of_files(*files: Path) -> Snapshot:
    """Of what is valid in them."""
    raws = [raw for file in files for raw in load(file.read_bytes(), str(file)).raws]
    found = (decode(raw).object for raw in raws)
    return snapshot_of_objects([each for each in found if each is not None])


def seen(*texts: str, proxy: Proxy = EVERY_GATEWAY, memo: Memo = no_memo) -> tuple[View, tuple[Diagnostic, ...]]:
    """The view of a proxy, and all diagnostics of resolving and viewing."""
    mesh = resolve(snapshot(*texts), memo)
    result = view(mesh, proxy, memo)
    return result.whole(), tuple(dict.fromkeys(chain.from_iterable((*mesh.found, *result.found))))
