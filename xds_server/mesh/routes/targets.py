"""Where a destination of a route leads."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from typing import Protocol

import msgspec

from xds_server.diagnostics import Diagnostic, ObjectRef, Path, diagnostic
from xds_server.mesh import names
from xds_server.mesh.backends import BackendRef, backend_hash_key, backend_tcp_options
from xds_server.mesh.destination_rules import Rules
from xds_server.mesh.model import HashKey, Service, ServicePort
from xds_server.mesh.policy import TcpOptions
from xds_server.mesh.suggestions import did_you_mean


class PortNumber(Protocol):
    @property
    def number(self) -> int | None: ...


class DestinationLike(Protocol):
    """The `destination` of any route: host, subset and port."""

    @property
    def host(self) -> str: ...
    @property
    def subset(self) -> str: ...
    @property
    def port(self) -> PortNumber | None: ...


class Target(msgspec.Struct, frozen=True):
    """What the name of a host means to the client whose routes are made. service None: nothing.
    similar: then a host that may have been meant."""

    host: str
    service: Service | None
    rules: Rules | None
    similar: str = ""


Targets = tuple[Target, ...]
"""Sorted by host: everything outside of a VirtualService that its routes depend on."""


class Resolved(msgspec.Struct, frozen=True):
    """A destination's backend. ref None: there is none, but the name all the same."""

    name: str
    ref: BackendRef | None = None

    @property
    def hash_key(self) -> HashKey | None:
        ref = self.ref
        return backend_hash_key(ref.service, ref.rules, ref.subset, ref.port.number) if ref else None

    @property
    def tcp_options(self) -> TcpOptions:
        ref = self.ref
        return backend_tcp_options(ref.service, ref.rules, ref.subset, ref.port.number) if ref else TcpOptions()


class Resolver:
    """Looks destinations up for one object; lives only while its routes are made."""

    def __init__(self, ref: ObjectRef, targets: Targets, default_port: int, notes: list[Diagnostic]) -> None:
        self._ref, self._default_port, self.notes = ref, default_port, notes
        self.used: set[BackendRef] = set()
        self._targets: Mapping[str, Target] = {target.host: target for target in targets}

    def of(self, ref: ObjectRef) -> Resolver:
        """The same for another object, in whose namespace short names are looked up."""
        other = copy(self)
        other._ref = ref
        return other

    def backend(self, destination: DestinationLike, path: Path) -> tuple[str, HashKey | None]:
        """The name of the backend, and what requests to it are hashed by."""
        found = self.resolved(destination, path)
        return found.name, found.hash_key

    def resolved(self, destination: DestinationLike, path: Path) -> Resolved:
        """A destination that does not exist gets a name all the same, as in Istio: requests to it are answered 503
        and do not go elsewhere."""
        ref = self._ref
        host = names.full_host(destination.host, ref.namespace)
        subset = destination.subset
        port = destination.port.number if destination.port and destination.port.number else 0
        target = self._targets[host]
        if target.service is None:
            hint = "" if "." in destination.host else f"a short name means a service in the namespace {ref.namespace}"
            hint = f"did you mean {target.similar}?" if target.similar else hint
            self.notes.append(diagnostic("XDS2001", ref, (*path, "host"), suggestion=hint, host=host))
            return Resolved(names.outbound(port or self._default_port, subset, host))
        declared = self._port(target.service, port, path)
        if declared is None:
            return Resolved(names.outbound(port or self._default_port, subset, host))
        name = names.outbound(declared.number, subset, target.service.host)  # which `host` may be an alias of
        if subset and (target.rules is None or subset not in target.rules.subsets):
            defined = f"defined subsets: {target.rules.subset_names()}" if target.rules else "no DestinationRule has it"
            where = (*path, "subset")
            hint = did_you_mean(subset, target.rules.subsets if target.rules else ())
            note = diagnostic("XDS2003", ref, where, subset=subset, host=host, defined=defined, suggestion=hint)
            self.notes.append(note)
            return Resolved(name)
        found = BackendRef(target.service, declared, subset, target.rules)
        self.used.add(found)
        return Resolved(name, found)

    def _port(self, service: Service, port: int, path: Path) -> ServicePort | None:
        """The port asked for, else the only one, else the one that the request came to; None when there is none."""
        declared = {candidate.number: candidate for candidate in service.ports}
        ports = ", ".join(map(str, declared)) or "none"
        if port:
            if port not in declared:
                where = (*path, "port", "number")
                self.notes.append(diagnostic("XDS2002", self._ref, where, port=port, host=service.host, ports=ports))
            return declared.get(port)
        if len(declared) == 1:
            return service.ports[0]
        if self._default_port not in declared:
            note = diagnostic("XDS2007", self._ref, path, host=service.host, ports=ports, port=self._default_port)
            self.notes.append(note)
        return declared.get(self._default_port)
