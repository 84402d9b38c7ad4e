"""What is asked of an API server: the paths and parameters of requests, and the rights that they need."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal
from urllib.parse import quote, urlencode

import msgspec

from xds_server.kube.kinds import KINDS, Kind
from xds_server.sources.listwatch import List, Watch

PAGE = 500
SECRETS = ("", "Secret")

SecretsWanted = Literal["all", "referenced", "none"]


class Scope(msgspec.Struct, frozen=True):
    """Which objects of a cluster are read.

    namespaces: none for all. selectors: kind -> label selector; that of `*` counts for the namespaced kinds that are
    not named. secrets: all, only those that a gateway or a rule names, or none.
    """

    namespaces: tuple[str, ...] = ()
    selectors: Mapping[str, str] = {}
    secrets: SecretsWanted = "all"


class Resource(msgspec.Struct, frozen=True):
    """A kind in one namespace, or in all. name: of the only object wanted, if it is one.

    is_optional: may be forbidden. Who is given the rights of a namespace has none for what is in no namespace.
    """

    group: str
    kind: str
    versions: tuple[str, ...]
    namespace: str = ""
    selector: str = ""
    name: str = ""
    is_optional: bool = False

    def __str__(self) -> str:
        plural = f"{self.plural}.{self.group}".rstrip(".")
        return "/".join(part for part in (self.namespace, plural, self.name) if part)

    @property
    def plural(self) -> str:
        return plural(self.kind)

    def url(self, request: List | Watch) -> str:
        """The path with its parameters."""
        version = self.versions[request.api_version]
        path = f"/apis/{self.group}/{version}" if self.group else f"/api/{version}"
        if self.namespace:
            path += f"/namespaces/{quote(self.namespace, safe='')}"
        field = f"metadata.name={self.name}" if self.name else ""
        asked = {"labelSelector": self.selector, "fieldSelector": field, **_parameters(request)}
        return f"{path}/{self.plural}?{urlencode({key: value for key, value in asked.items() if value})}"


def _parameters(request: List | Watch) -> dict[str, str]:
    """A list names no version, so that it is the newest: one from a cache may be older than what was seen before."""
    if isinstance(request, List):
        return {"limit": str(PAGE) if request.is_paged else "", "continue": request.token}
    asked = {"watch": "true", "allowWatchBookmarks": "true", "timeoutSeconds": str(request.seconds)}
    if request.version:
        return asked | {"resourceVersion": request.version}
    return asked | {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan"}


def plural(kind: str) -> str:
    """The name of a kind in paths, by the rule of Kubernetes' own tools (meta.UnsafeGuessKindToResource)."""
    name = kind.lower()
    if name == "endpoints":
        return name
    if name.endswith(("s", "x", "ch", "sh")):
        return f"{name}es"
    return re.sub("y$", "ies", name) if re.search("[^aeiou]y$", name) else f"{name}s"


def resources(scope: Scope, kinds: Mapping[tuple[str, str], Kind] = KINDS) -> list[Resource]:
    """What must be known before anything is translated. Of secrets only if all are wanted."""
    found: list[Resource] = []
    for (group, kind), entry in kinds.items():
        if (group, kind) == SECRETS and scope.secrets != "all":
            continue
        found.extend(_scoped(group, kind, entry, scope))
    return found


def secret(name: str, scope: Scope) -> list[Resource]:
    """The secrets of one name in every namespace that is read. One that is forbidden must not hold up the rest."""
    found = _scoped(*SECRETS, KINDS[SECRETS], scope)
    return [msgspec.structs.replace(resource, name=name, is_optional=True) for resource in found]


def _scoped(group: str, kind: str, entry: Kind, scope: Scope) -> Iterable[Resource]:
    versions = tuple(sorted(entry.versions, key=_priority, reverse=True))
    if entry.only is not None:
        namespace, name = entry.only
        return [Resource(group, kind, versions, namespace, name=name, is_optional=True)]
    if not entry.namespaced:
        selector = scope.selectors.get(kind, "")
        return [Resource(group, kind, versions, selector=selector, is_optional=bool(scope.namespaces))]
    selector = scope.selectors.get(kind, scope.selectors.get("*", ""))
    return [Resource(group, kind, versions, namespace, selector) for namespace in scope.namespaces or ("",)]


def _priority(version: str) -> tuple[int, int, int]:
    """Kubernetes' order of versions: v2 before v1 before v1beta2 before v1beta1 before v1alpha1."""
    match = re.fullmatch(r"v(\d+)(?:(alpha|beta)(\d+))?", version)
    if match is None:
        return (-1, 0, 0)
    major, stage, minor = match.groups()
    return ({"alpha": 0, "beta": 1, None: 2}[stage], int(major), int(minor or 0))


def parse_selectors(texts: Sequence[str], kinds: Iterable[str]) -> dict[str, str]:
    """`app=web` for all namespaced kinds, `VirtualService:team=a` for one. Raises ValueError with a sentence."""
    found: dict[str, str] = {}
    for text in texts:
        head, colon, tail = text.partition(":")
        kind, selector = (head, tail) if colon else ("*", head)
        if kind != "*" and kind not in kinds:
            raise ValueError(f"{kind!r} in the selector {text!r} is no kind that is read; they are {_listed(kinds)}")
        if not selector.strip():
            raise ValueError(f"the selector {text!r} is empty; write labels, such as team=shop")
        if kind in found:
            raise ValueError(
                f"there are two selectors for {'all kinds' if kind == '*' else kind}; join them by a comma"
            )
        found[kind] = selector
    return found


def _listed(kinds: Iterable[str]) -> str:
    return ", ".join(sorted(set(kinds)))


def rules(scope: Scope) -> list[dict[str, Any]]:
    """The rules of a ClusterRole that allow all that is asked: list and watch, by API group."""
    by_group: dict[str, set[str]] = {}
    single = []
    for (group, kind), entry in KINDS.items():
        if entry.only is not None:
            single.append({**_rule(group, plural(kind)), "resourceNames": [entry.only[1]]})
        elif (group, kind) != SECRETS or scope.secrets != "none":
            by_group.setdefault(group, set()).add(plural(kind))
    return [*(_rule(group, *sorted(names)) for group, names in sorted(by_group.items())), *single]


def _rule(group: str, *names: str) -> dict[str, Any]:
    return {"apiGroups": [group], "resources": list(names), "verbs": ["list", "watch"]}
