"""Every field that a user can set has an effect, or a diagnostic names it, or the published table says why not.

Each field of the published schemas is set in turn, in an object that is in use; then the xDS of one of the proxies
must change, or a diagnostic must name the field. `make docs` writes docs/fields.md from the tables of exceptions.
"""

from __future__ import annotations

import functools
import typing
from base64 import b64encode
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trustme
import yaml

from tests.fields.exceptions import EXCEPTIONS
from tests.fields.setting import assign, beside, candidates, lines, map_key, related, steps, with_fields
from xds_server.diagnostics import Diagnostic, ObjectRef
from xds_server.incremental import fixed
from xds_server.kube.decode import decode
from xds_server.kube.kinds import KINDS
from xds_server.kube.meta import Ignored, Object, Raw, Source
from xds_server.kube.snapshot import Snapshot
from xds_server.kube.support import UNSUPPORTED
from xds_server.memo import Generations
from xds_server.mesh.model import Locality
from xds_server.mesh.proxy import Interception, Proxy, ProxyKind
from xds_server.translate import translate

HERE = Path(__file__).parent
PUBLISHED = HERE.parent / "unit" / "kube" / "fields.txt"
PAGE = HERE.parents[1] / "docs" / "fields.md"
INTRODUCTION = """# Fields

Every field of the kinds below is read strictly. It takes effect, but for those listed here; a test sets each of them in
turn and sees to it. A field with a code is named by a diagnostic when it is set. `make docs` writes this page.
"""
WHERE: dict[str, Any] = {"locality": Locality("r1", "z1", "s1"), "node": "node-1"}
PROXIES = (
    Proxy(ProxyKind.GATEWAY, "default", (("istio", "gateway"),), **WHERE),
    Proxy(ProxyKind.SIDECAR, "default", (("app", "web"),), **WHERE),
    Proxy(ProxyKind.SIDECAR, "shop", (("app", "client"),), interception=Interception.NONE, **WHERE),
    Proxy(ProxyKind.SIDECAR, "shop", (("app", "client"),), **WHERE),
)
NO_EFFECT = {"XDS1007", "XDS1012"}
NO_OBJECT = {"metadata", "spec", "status"}

Document = dict[str, Any]
Outcome = tuple[frozenset[tuple[str, str, bytes]], tuple[Diagnostic, ...]]


def _secret(name: str) -> Document:
    authority = trustme.CA()
    pair = authority.issue_cert("sample.example.com")
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": "default"},
        "data": {
            "tls.crt": b64encode(pair.cert_chain_pems[0].bytes()).decode(),
            "tls.key": b64encode(pair.private_key_pem.bytes()).decode(),
            "ca.crt": b64encode(authority.cert_pem.bytes()).decode(),
        },
    }


def world() -> dict[ObjectRef, Document]:
    found = {ref_of(document): document for document in map(_secret, ("server-tls", "other-tls"))}
    for document in yaml.safe_load_all((HERE / "world.yaml").read_text()):
        found[ref_of(document)] = document
    return found


def ref_of(document: Document) -> ObjectRef:
    group = document["apiVersion"].rpartition("/")[0]
    meta = document["metadata"]
    return ObjectRef(group, document["kind"], meta.get("namespace", ""), meta["name"])


WORLD = world()
MEMO = Generations()


@functools.lru_cache(maxsize=2000)
def _decoded(body: bytes) -> tuple[Object | None, tuple[Diagnostic, ...]]:
    document = msgspec.json.decode(body)
    made = decode(Raw(ref_of(document), document["apiVersion"], body, Source(), b""))
    return made.object, made.diagnostics


def outcome(changed: Mapping[ObjectRef, Document]) -> Outcome | None:
    """What the proxies get in this world, and what is said about it; None when the changed object is not valid."""
    tables: dict[type[Object], dict[tuple[str, str], Object]] = {}
    said: list[Diagnostic] = []
    for ref, document in {**WORLD, **changed}.items():
        found, notes = _decoded(msgspec.json.encode(document, order="sorted"))
        said += notes
        if found is None:
            return None
        tables.setdefault(type(found), {})[ref.namespace, ref.name] = found
    snapshot = Snapshot(by_type={kind: fixed(table) for kind, table in tables.items()})
    resources: set[tuple[str, str, bytes]] = set()
    for index, proxy in enumerate(PROXIES):
        made = translate(snapshot, proxy, MEMO)
        said += made.diagnostics
        for by_name in made.resources.by_type.values():
            resources |= {(f"{index} {r.type_url}", r.name, r.body) for r in by_name.values()}
    MEMO.turn()
    return frozenset(resources), tuple(dict.fromkeys(said))


def effects(kind: str, field: str, type_name: str, allowed: list[str]) -> Iterator[str]:
    """What setting the field does: `takes effect`, or the code of a diagnostic that names it."""
    for ref, document in WORLD.items():
        if ref.kind != kind:
            continue
        base = with_fields(document, beside(field, kind))
        before = outcome({ref: base})
        for value in candidates(field, kind, type_name, allowed):
            changed = with_fields(base, {})
            path = assign(changed, steps(field), value, map_key(field, kind))
            after = outcome({ref: changed})
            if after is None:
                continue
            if before is not None and after[0] != before[0]:
                yield "takes effect"
            known = set(before[1]) if before else set()
            about = [n for n in after[1] if n.ref == ref and related(n.path, path)]
            yield from (n.code for n in about if n not in known or n.code in NO_EFFECT)


def ignored(kind: str, field: str) -> bool:
    """Declared as saying nothing about traffic."""
    node: Any = next(k.type for k in KINDS.values() if kind == k.type.KIND)
    for step in steps(field):
        if step in ("[]", "{}"):
            continue
        annotation = {f.encode_name: f.type for f in msgspec.structs.fields(node)}[step]
        parts = typing.get_args(annotation) or (annotation,)
        if Ignored in parts:
            return True
        node = next((part for part in parts if isinstance(part, type) and issubclass(part, msgspec.Struct)), None)
        if node is None:
            return False
    return False


LEAVES = [
    (kind, field, type_name, allowed)
    for kind, field, type_name, allowed in lines(PUBLISHED.read_text())
    if kind in {ref.kind for ref in WORLD} and not field.startswith("metadata") and field not in NO_OBJECT
]
LEAVES = [
    leaf
    for leaf in LEAVES
    if leaf[2] != "object" or not any(other[1].startswith((leaf[1] + ".", leaf[1] + "[")) for other in LEAVES)
]


@pytest.mark.parametrize(("kind", "field", "type_name", "allowed"), LEAVES, ids=[f"{k} {f}" for k, f, _, _ in LEAVES])
def test_the_field_has_an_effect_or_is_named(kind: str, field: str, type_name: str, allowed: list[str]) -> None:
    reason = EXCEPTIONS.get(f"{kind} {field}")
    found = "says nothing about traffic" if ignored(kind, field) else next(effects(kind, field, type_name, allowed), "")
    if reason is None:
        assert found, f"{kind} {field} is silent: nothing changes and no diagnostic names it"
    else:
        assert not found, f"{kind} {field} is no exception any more: {found}"


def _because(kind: str, field: str) -> str:
    """Why a field has no effect, as the page says it; empty when it has one."""
    if reason := EXCEPTIONS.get(f"{kind} {field}"):
        return reason
    group = next(group for group, name in KINDS if name == kind)
    for prefix, entry in UNSUPPORTED.get((group, kind), {}).items():
        if field == prefix or field.startswith((f"{prefix}.", f"{prefix}[", f"{prefix}{{")):
            code = "XDS1012: for " + entry.whose if entry.whose else "XDS1007"
            return f"{code}; {entry.advice}" if entry.advice else code
    return ""


def page() -> str:
    sections = [INTRODUCTION]
    for kind in dict.fromkeys(kind for kind, _, _, _ in LEAVES):
        fields = [field for name, field, _, _ in LEAVES if name == kind]
        rows = [f"| `{field}` | {_because(kind, field)} |" for field in fields if _because(kind, field)]
        unread = [f"`{field}`" for field in fields if ignored(kind, field)]
        sections.append(f"## {kind}\n")
        if rows:
            sections.append("| field | what happens instead |\n|---|---|\n" + "\n".join(rows) + "\n")
        if unread:
            sections.append(f"Not about traffic: {', '.join(unread)}.\n")
        if not rows and not unread:
            sections.append("Every field takes effect.\n")
    return "\n".join(sections)


def test_the_page_of_fields_is_what_the_tables_say(request: pytest.FixtureRequest) -> None:
    if request.config.getoption("--update-docs"):
        PAGE.write_text(page(), encoding="utf-8")
    assert PAGE.read_text(encoding="utf-8") == page(), "`make docs` rewrites it"
