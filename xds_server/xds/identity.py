"""Who a client is by its certificate, and for which nodes it may speak."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from xds_server.mesh.proxy import Proxy


class Identity(msgspec.Struct, frozen=True):
    """A workload, as `spiffe://TRUST_DOMAIN/ns/NAMESPACE/sa/SERVICE_ACCOUNT` names it."""

    trust_domain: str
    namespace: str
    service_account: str

    def __str__(self) -> str:
        return f"spiffe://{self.trust_domain}/ns/{self.namespace}/sa/{self.service_account}"


class IdentityError(Exception):
    """A client is not who its node says; the text is for the operator."""


def parse(uri: str) -> Identity | None:
    """The identity, or None when the URI is of another form."""
    match uri.split("/"):
        case ["spiffe:", "", trust_domain, "ns", namespace, "sa", account] if trust_domain and namespace and account:
            return Identity(trust_domain, namespace, account)
    return None


def admit(auth_context: Mapping[str, Iterable[bytes]], trust_domain: str, proxy: Proxy) -> None:
    """Returns when the certificate of a connection is that of the proxy's service account; else raises IdentityError.

    auth_context: what gRPC knows of the connection. Only URI names count, and as SPIFFE wants it, there must be
    exactly one (X.509-SVID, section 2); more were a hole elsewhere (GHSA-m69r-9g56-7mv8).
    """
    uris = [uri.decode("utf-8", "replace") for uri in auth_context.get("peer_uri", ())]
    claimed = Identity(trust_domain, proxy.namespace, proxy.service_account)
    if len(uris) != 1:
        raise IdentityError(f"the certificate must have one URI name, {claimed}; it has {len(uris)}")
    if parse(uris[0]) != claimed:
        raise IdentityError(f"the node claims to be {claimed}; its certificate is for {uris[0]}")
