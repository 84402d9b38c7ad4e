"""Dumps are complete, ordered, and free of secrets."""

from __future__ import annotations

from typing import Any

import pytest
from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.core.v3 import base_pb2
from envoy.extensions.transport_sockets.tls.v3 import common_pb2, secret_pb2, tls_pb2
from google.protobuf.any_pb2 import Any as AnyMessage

from xds_server.diagnostics import ObjectRef
from xds_server.dump import dump, origins, readable
from xds_server.envoy.resource import CLUSTER, SECRET, keyed, sealed
from xds_server.mesh.origin import Origin

KEY = b"-----BEGIN PRIVATE KEY----- very secret"


def packed(message: Any) -> AnyMessage:
    box = AnyMessage()
    box.Pack(message, deterministic=True)
    return box


def source(content: bytes) -> base_pb2.DataSource:
    return base_pb2.DataSource(inline_bytes=content)


def certificate() -> Any:
    return common_pb2.TlsCertificate(certificate_chain=source(b"public"), private_key=source(KEY), password=source(KEY))


SENSITIVE = {
    "the private key of a certificate": secret_pb2.Secret(name="s", tls_certificate=certificate()),
    "session ticket keys": secret_pb2.Secret(
        name="s", session_ticket_keys=common_pb2.TlsSessionTicketKeys(keys=[source(KEY), source(KEY)])
    ),
    "a generic secret and its map": secret_pb2.Secret(
        name="s", generic_secret=secret_pb2.GenericSecret(secret=source(KEY), secrets={"a": source(KEY)})
    ),
}


@pytest.mark.parametrize("secret", SENSITIVE.values(), ids=SENSITIVE.keys())
def test_a_dump_hides(secret: Any) -> None:
    value = repr(readable(sealed(SECRET, "s", secret)))
    assert "[redacted]" in value
    assert KEY.decode() not in value
    assert "LS0tLS1CRUdJTi" not in value  # the key in base64


def test_a_dump_hides_what_is_packed_in_any_and_keeps_the_rest() -> None:
    context = tls_pb2.UpstreamTlsContext(
        sni="a.example", common_tls_context=tls_pb2.CommonTlsContext(tls_certificates=[certificate()])
    )
    cluster = cluster_pb2.Cluster(
        name="c", transport_socket=base_pb2.TransportSocket(name="tls", typed_config=packed(context))
    )
    config = readable(sealed(CLUSTER, "c", cluster))["transport_socket"]["typed_config"]
    assert config["sni"] == "a.example"
    [shown] = config["common_tls_context"]["tls_certificates"]
    assert shown["private_key"] == {"inline_string": "[redacted]"}
    assert shown["certificate_chain"] == {"inline_bytes": "cHVibGlj"}


def test_names_come_first_and_the_rest_is_sorted() -> None:
    cluster = cluster_pb2.Cluster(name="c", alt_stat_name="b", metadata=base_pb2.Metadata())
    assert list(readable(sealed(CLUSTER, "c", cluster))) == ["name", "alt_stat_name", "metadata"]


def test_a_dump_has_a_heading_for_each_asked_type_and_no_other() -> None:
    resources = keyed([sealed(CLUSTER, "c", cluster_pb2.Cluster(name="c"))])
    assert dump(resources, ("cds", "eds")) == {"clusters": [{"name": "c"}], "endpoints": []}


def test_origins_name_objects_and_fields() -> None:
    ref = ObjectRef("networking.istio.io", "VirtualService", "shop", "web")
    resource = sealed(CLUSTER, "c", cluster_pb2.Cluster(), [Origin(ref, ("spec", "http", 0)), Origin(ref)])
    assert origins(resource) == "VirtualService/shop/web spec.http[0], VirtualService/shop/web"
