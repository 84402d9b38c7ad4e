"""What a port speaks: `appProtocol` first, then the prefix of its name, then its number.

Source: istio pkg/config/protocol/instance.go, pkg/config/kube/conversion.go (ConvertProtocol).
"""

from __future__ import annotations

from xds_server.mesh.model import Protocol

_NAMES: dict[str, Protocol] = {
    "http": Protocol.HTTP,
    "http2": Protocol.HTTP2,
    "grpc": Protocol.GRPC,
    "grpc-web": Protocol.GRPC,
    "https": Protocol.TLS,
    "tls": Protocol.TLS,
    "tcp": Protocol.TCP,
    "mongo": Protocol.TCP,
    "mysql": Protocol.TCP,
    "redis": Protocol.TCP,
    "udp": Protocol.UDP,
    "quic": Protocol.UDP,
}
# IANA's names of protocols that are neither HTTP nor TLS. As the name of a port they say nothing, as in Istio:
# `postgres-ui` may well be HTTP.
_TCP_SERVICES = (
    "amqp cassandra ftp imap kafka ldap memcached mongodb mqtt ms-sql-s nats pop3 postgres postgresql smtp ssh "
    "submission svn telnet zookeeper"
).split()
_APP_PROTOCOLS: dict[str, Protocol] = {
    **_NAMES,
    **dict.fromkeys(_TCP_SERVICES, Protocol.TCP),
    "kubernetes.io/h2c": Protocol.HTTP2,
    "kubernetes.io/ws": Protocol.HTTP,
    "kubernetes.io/wss": Protocol.TLS,
}
SERVER_FIRST = {
    21: "FTP",
    22: "SSH",
    25: "SMTP",
    53: "DNS",
    110: "POP3",
    119: "NNTP",
    143: "IMAP",
    587: "SMTP",
    3306: "MySQL",
    4222: "NATS",
    27017: "MongoDB",
}
"""Ports where the server speaks first, or the client's first bytes tell nothing, so that looking at them would wait
for ever. Istio knows 25, 53, 3306 and 27017 alone (istio#13371, #15802)."""


def named_protocol(name: str) -> Protocol | None:
    """The protocol in `http`, `http-web`, `grpc-web-x`; None when the name does not begin with one."""
    name = name.lower()
    for prefix in ("grpc-web", name.partition("-")[0]):
        if name == prefix or name.startswith(prefix + "-"):
            return _NAMES.get(prefix)
    return None


def port_protocol(number: int, name: str, transport: str, app_protocol: str) -> Protocol:
    """transport: `TCP`, `UDP` or `SCTP`. A port about which the user says nothing is AUTO."""
    if transport not in ("", "TCP"):
        return Protocol.UDP
    declared = _app_protocol(app_protocol.lower()) or named_protocol(name)
    if declared is not None:
        return declared
    return Protocol.TCP if number in SERVER_FIRST else Protocol.AUTO


def _app_protocol(text: str) -> Protocol | None:
    """Read as the name of a port is, when it is no name of its own (istio ConvertProtocol)."""
    return _APP_PROTOCOLS.get(text) or named_protocol(text)


_GATEWAY_PROTOCOLS: dict[str, Protocol] = {
    **{name.upper(): protocol for name, protocol in _NAMES.items()},
    "HTTP2": Protocol.HTTP2,
}


def declared_protocol(text: str) -> Protocol | None:
    """The `protocol` of a port in a Gateway, ServiceEntry or Sidecar; None when there is no such protocol."""
    return _GATEWAY_PROTOCOLS.get(text.upper())
