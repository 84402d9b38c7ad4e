"""VirtualServices that leave some of their routes to others (`http[].delegate`).

As in Istio (pilot/pkg/model/virtualservice.go): one level; the delegate has no hosts and is visible from its root; a
condition of the delegate must lie within the root's; what the root says about rewrite, timeout, retries, fault,
mirrors, CORS and headers holds where the delegate says nothing. Unlike there, a delegate that is missing does not make
its routes vanish: their requests are answered 500, and do not fall to a route that was meant for others.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product

import msgspec

from xds_server.diagnostics import Diagnostic, ObjectRef, Path, diagnostic
from xds_server.kube.istio import virtual_service as vs
from xds_server.mesh.routes.clients import gateway_name
from xds_server.mesh.visibility import EVERYWHERE, visible

_INHERITED = {
    "rewrite": ("rewrite",),
    "timeout": ("timeout",),
    "retries": ("retries",),
    "fault": ("fault",),
    "corsPolicy": ("cors_policy",),
    "headers": ("headers",),
    "mirror": ("mirror", "mirrors", "mirror_percentage", "mirror_percent", "mirror_percent_old"),
}
_INSTEAD = {"route": "route", "redirect": "redirect", "directResponse": "direct_response"}
_STRINGS = ("uri", "scheme", "method", "authority")


class Delegate(msgspec.Struct, frozen=True):
    """Who is named `namespace/name`; service None: nobody. exported_to: the namespaces that see it."""

    namespace: str
    name: str
    service: vs.VirtualService | None
    exported_to: frozenset[str] = EVERYWHERE


Delegates = tuple[Delegate, ...]
"""Sorted by namespace and name."""


class Written(msgspec.Struct, frozen=True):
    """One HTTP route. matches: each with the place where it is written. inherited: fields that the route has from
    `root`, with whose namespace their names are short for. broken: its requests are answered 500."""

    route: vs.HTTPRoute
    ref: ObjectRef
    path: Path
    matches: tuple[tuple[vs.HTTPMatchRequest, Path, ObjectRef], ...]
    inherited: frozenset[str] = frozenset()
    root: tuple[ObjectRef, Path] | None = None
    broken: bool = False

    def place(self, field: str) -> tuple[ObjectRef, Path]:
        """Where a field of the route is written. All that is about mirrors counts as `mirror`."""
        if self.root is not None and field in self.inherited:
            return self.root
        return self.ref, self.path


def named(service: vs.VirtualService) -> tuple[tuple[str, str], ...]:
    """(namespace, name) of its delegates, sorted."""
    own = service.metadata.namespace
    found = {(route.delegate.namespace or own, route.delegate.name) for route in service.spec.http if route.delegate}
    return tuple(sorted(found))


def written(service: vs.VirtualService, delegates: Delegates, notes: list[Diagnostic]) -> Iterator[Written]:
    """The HTTP routes in order, those of delegates in the place of the routes that name them."""
    known = {(delegate.namespace, delegate.name): delegate for delegate in delegates}
    for index, route in enumerate(service.spec.http):
        own = _own(route, service.ref, ("spec", "http", index))
        if route.delegate is None:
            yield own
        else:
            yield from _delegated(own, route.delegate, known, notes)


def _own(route: vs.HTTPRoute, ref: ObjectRef, path: Path) -> Written:
    matches = tuple((match, (*path, "match", index), ref) for index, match in enumerate(route.match))
    return Written(route, ref, path, matches)


def _delegated(
    own: Written,
    delegate: vs.Delegate,
    known: Mapping[tuple[str, str], Delegate],
    notes: list[Diagnostic],
) -> Iterator[Written]:
    for field, attribute in _INSTEAD.items():
        if getattr(own.route, attribute):
            reason = "beside a delegate"
            notes.append(diagnostic("XDS4009", own.ref, (*own.path, field), field=field, reason=reason))
    key = (delegate.namespace or own.ref.namespace, delegate.name)
    named_one = known.get(key)
    service = named_one.service if named_one else None
    problem = _problem(named_one, own.ref.namespace)
    if service is None or problem:
        where = (*own.path, "delegate")
        note = diagnostic("XDS4022", own.ref, where, delegate="/".join(key), problem=problem or "does not exist")
        notes.append(note)
        yield msgspec.structs.replace(own, broken=True)
        return
    for index, route in enumerate(service.spec.http):
        theirs = _own(route, service.ref, ("spec", "http", index))
        if route.delegate is not None:
            where = (*theirs.path, "delegate")
            problem = "is named by a VirtualService that is a delegate itself"
            notes.append(diagnostic("XDS4022", theirs.ref, where, delegate=route.delegate.name, problem=problem))
            theirs = msgspec.structs.replace(theirs, broken=True)
        combined = _combined(own, theirs, notes)
        if combined is not None:
            yield combined


def _problem(delegate: Delegate | None, namespace: str) -> str:
    if delegate is None or delegate.service is None:
        return "does not exist"
    if delegate.service.spec.hosts:
        return "has hosts of its own"
    if not visible(delegate.exported_to, namespace):
        return f"is not exported to the namespace {namespace}"
    return ""


def _combined(own: Written, theirs: Written, notes: list[Diagnostic]) -> Written | None:
    """A route of the delegate as the root's; None when no request can match both."""
    matches = []
    problems = []
    for root, leaf in product(own.matches or (None,), theirs.matches or (None,)):
        if root is None or leaf is None:
            matches += [found for found in (root, leaf) if found is not None]
            continue
        allowed = _gateways(root[0], own.ref.namespace)
        wanted = _gateways(leaf[0], theirs.ref.namespace)
        problem = _contradiction(root[0], leaf[0], allowed, wanted)
        if problem:
            problems.append((problem, leaf))
        else:
            matches.append((_both(root[0], leaf[0], allowed, wanted), leaf[1], leaf[2]))
    if problems and not matches:
        problem, (_, path, ref) = problems[0]
        notes.append(diagnostic("XDS4023", ref, path, root=own.ref, detail=problem))
        return None
    inherited = frozenset(
        field
        for field, attributes in _INHERITED.items()
        if not any(_said(theirs.route, name) for name in attributes)
        and any(_said(own.route, name) for name in attributes)
    )
    values = {name: getattr(own.route, name) for field in inherited for name in _INHERITED[field]}
    name = "-".join(part for part in (own.route.name, theirs.route.name) if part)
    route = msgspec.structs.replace(theirs.route, name=name, **values)
    return Written(route, theirs.ref, theirs.path, tuple(matches), inherited, (own.ref, own.path), broken=theirs.broken)


def _said(route: vs.HTTPRoute, name: str) -> bool:
    return getattr(route, name) not in (None, ())


def _contradiction(
    root: vs.HTTPMatchRequest, leaf: vs.HTTPMatchRequest, allowed: tuple[str, ...], wanted: tuple[str, ...]
) -> str:
    """Why the delegate's condition does not lie within the root's; empty when it does."""
    for field in _STRINGS:
        problem = _outside(getattr(root, field), getattr(leaf, field))
        if problem:
            return f"{field} {problem}"
    for kind in ("headers", "without_headers", "query_params"):
        ours, others = getattr(root, kind), getattr(leaf, kind)
        for name in sorted(ours.keys() & others.keys()):
            differs = ours[name] != others[name]  # two exceptions cannot be said of one header
            problem = "differs" if kind == "without_headers" and differs else _outside(ours[name], others[name])
            if problem:
                return f"{kind}[{name}] {problem}"
    if allowed and wanted and not set(allowed) & set(wanted):
        return f"gateways {', '.join(wanted)} are none of {', '.join(allowed)}"
    if root.port and leaf.port and root.port != leaf.port:
        return f"port {leaf.port} is not {root.port}"
    if root.source_namespace and leaf.source_namespace and root.source_namespace != leaf.source_namespace:
        return f"sourceNamespace {leaf.source_namespace} is not {root.source_namespace}"
    for label in sorted(root.source_labels.keys() & leaf.source_labels.keys()):
        if root.source_labels[label] != leaf.source_labels[label]:
            return f"sourceLabels[{label}] is not {root.source_labels[label]!r}"
    if root.uri and leaf.uri and root.ignore_uri_case != leaf.ignore_uri_case:
        return "only one of them says ignoreUriCase"
    return ""


def _outside(root: vs.StringMatch | None, leaf: vs.StringMatch | None) -> str:
    if root is None or leaf is None:
        return ""
    ours, theirs = _kind(root), _kind(leaf)
    if ours == theirs or ours[0] == "present":
        return ""
    if ours[0] == "prefix" and theirs[0] in ("prefix", "exact") and theirs[1].startswith(ours[1]):
        return ""
    return f"{theirs[0]} {theirs[1]!r} does not lie within {ours[0]} {ours[1]!r}"


def _kind(value: vs.StringMatch) -> tuple[str, str]:
    for kind in ("exact", "prefix", "regex"):
        text = getattr(value, kind)
        if text is not None:
            return kind, text
    return "present", ""


def _gateways(match: vs.HTTPMatchRequest, namespace: str) -> tuple[str, ...]:
    return tuple(gateway_name(reference, namespace) for reference in match.gateways)


def _both(
    root: vs.HTTPMatchRequest, leaf: vs.HTTPMatchRequest, allowed: tuple[str, ...], wanted: tuple[str, ...]
) -> vs.HTTPMatchRequest:
    """One condition that says what both say. allowed, wanted: the root's gateways and the delegate's, in full."""
    return vs.HTTPMatchRequest(
        name="-".join(part for part in (root.name, leaf.name) if part),
        uri=leaf.uri or root.uri,
        scheme=leaf.scheme or root.scheme,
        method=leaf.method or root.method,
        authority=leaf.authority or root.authority,
        headers={**root.headers, **leaf.headers},
        without_headers={**root.without_headers, **leaf.without_headers},
        query_params={**root.query_params, **leaf.query_params},
        ignore_uri_case=leaf.ignore_uri_case if leaf.uri else root.ignore_uri_case,
        port=leaf.port or root.port,
        source_labels={**root.source_labels, **leaf.source_labels},
        source_namespace=leaf.source_namespace or root.source_namespace,
        gateways=tuple(g for g in wanted if g in allowed) if allowed and wanted else wanted or allowed,
        stat_prefix=leaf.stat_prefix or root.stat_prefix,
    )
