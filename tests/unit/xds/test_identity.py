"""Which nodes a certificate may speak for."""

from __future__ import annotations

import pytest

from xds_server.mesh.proxy import Proxy
from xds_server.xds.identity import Identity, IdentityError, admit, parse

WEB = Proxy(namespace="shop", service_account="web")


def context(*uris: str, **others: str) -> dict[str, list[bytes]]:
    """What gRPC says of a connection whose certificate has these names."""
    return {"peer_uri": [uri.encode() for uri in uris]} | {key: [value.encode()] for key, value in others.items()}


def test_a_certificate_speaks_for_the_nodes_of_its_service_account() -> None:
    admit(context("spiffe://cluster.local/ns/shop/sa/web"), "cluster.local", WEB)


@pytest.mark.parametrize(
    ("names", "words"),
    [
        pytest.param(context("spiffe://cluster.local/ns/bank/sa/web"), "is for .*/ns/bank", id="another namespace"),
        pytest.param(context("spiffe://cluster.local/ns/shop/sa/db"), "is for .*/sa/db", id="another service account"),
        pytest.param(context("spiffe://elsewhere/ns/shop/sa/web"), "is for .*elsewhere", id="another trust domain"),
        pytest.param(context("spiffe://cluster.local/ns/shop/sa/web/x"), "is for", id="a longer path"),
        pytest.param(context("https://cluster.local/ns/shop/sa/web"), "is for", id="not SPIFFE"),
        pytest.param(context(), "it has 0", id="no name"),
        pytest.param({}, "it has 0", id="no certificate"),
        pytest.param(
            context(peer_dns="spiffe://cluster.local/ns/shop/sa/web"), "it has 0", id="the name as a DNS name"
        ),
        pytest.param(
            context("spiffe://cluster.local/ns/shop/sa/web", "spiffe://cluster.local/ns/bank/sa/web"),
            "it has 2",
            id="two names",
        ),
    ],
)
def test_it_does_not_speak_for_others(names: dict[str, list[bytes]], words: str) -> None:
    with pytest.raises(IdentityError, match=words):
        admit(names, "cluster.local", WEB)


def test_slashes_in_what_a_node_claims_do_not_make_it_another() -> None:
    with pytest.raises(IdentityError):
        admit(
            context("spiffe://cluster.local/ns/shop/sa/web"),
            "cluster.local",
            Proxy(namespace="shop/sa/web", service_account=""),
        )


@pytest.mark.parametrize(
    "uri", ["spiffe://td/ns/a/sa/", "spiffe:///ns/a/sa/b", "spiffe://td/ns//sa/b", "spiffe://td", ""]
)
def test_an_identity_is_complete(uri: str) -> None:
    assert parse(uri) is None


def test_an_identity_reads_as_it_is_written() -> None:
    identity = Identity("td", "shop", "web")
    assert parse(str(identity)) == identity
