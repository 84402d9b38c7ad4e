"""NameTable -> a UDP listener with Envoy's DNS filter."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

import msgspec
from envoy.config.listener.v3.listener_components_pb2 import ListenerFilter
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.config.listener.v3.udp_listener_config_pb2 import UdpListenerConfig
from envoy.data.dns.v3.dns_table_pb2 import DnsTable
from envoy.extensions.filters.udp.dns_filter.v3.dns_filter_pb2 import DnsFilterConfig
from envoy.extensions.network.dns_resolver.cares.v3 import cares_dns_resolver_pb2
from google.protobuf.any_pb2 import Any as AnyMessage

from xds_server.envoy.encoding import Parts, field
from xds_server.envoy.proto import packed
from xds_server.envoy.resource import LISTENER, PREFIX, Resource, version
from xds_server.mesh.model import NameTable

_ServerContext = DnsFilterConfig.ServerContextConfig

Hosts = tuple[tuple[str, tuple[str, ...]], ...]
"""Names, and the addresses of each."""


class Answers(msgspec.Struct, frozen=True, eq=False):
    """Some names, one behind the other, as entries of a DnsTable. digests: one for each, joined."""

    entries: bytes
    digests: bytes


def answers(hosts: Hosts) -> Answers:
    entries = [_answer(name, addresses) for name, addresses in hosts]
    return Answers(b"".join(entries), b"".join(blake2b(entry, digest_size=8).digest() for entry in entries))


def _answer(name: str, addresses: tuple[str, ...]) -> bytes:
    domain = {"name": name, "endpoint": {"address_list": {"address": _of_both_kinds(addresses)}}}
    entry: bytes = DnsTable(virtual_domains=[domain]).SerializeToString(deterministic=True)
    return entry


def name_table(value: NameTable, parts: tuple[Answers, ...]) -> Resource:
    """Other names are asked for at the resolvers of the proxy's machine (`/etc/resolv.conf`). parts: all its names.

    Its version is the hash of the message with the hashes of its names in their place."""
    body = _listener(value, tuple(part.entries for part in parts))
    hashed = _listener(value, tuple(part.digests for part in parts))
    return Resource(LISTENER, value.name, version(b"".join(hashed)), body, value.origins)


def _listener(value: NameTable, names: Parts) -> Parts:
    """The names are put between what comes before and after them in the messages that they are in: building these anew
    for one that changed would copy all the others."""
    table = field(_ServerContext.INLINE_DNS_TABLE_FIELD_NUMBER, names)
    resolver = {
        "name": "envoy.network.dns_resolver.cares",
        "typed_config": packed(cares_dns_resolver_pb2.CaresDnsResolverConfig()),
    }
    config = (
        _bytes(DnsFilterConfig(stat_prefix=value.name)),
        *field(DnsFilterConfig.SERVER_CONFIG_FIELD_NUMBER, table),
        _bytes(DnsFilterConfig(client_config={"max_pending_lookups": 256, "typed_dns_resolver_config": resolver})),
    )
    typed = (_bytes(AnyMessage(type_url=PREFIX + DnsFilterConfig.DESCRIPTOR.full_name)), *field(2, config))
    name = ListenerFilter(name="envoy.filters.udp.dns_filter")
    dns_filter = (_bytes(name), *field(ListenerFilter.TYPED_CONFIG_FIELD_NUMBER, typed))
    where = {"socket_address": {"protocol": "UDP", "address": value.address, "port_value": value.port}}
    head = _bytes(Listener(name=value.name, address=where))
    tail = _bytes(Listener(udp_listener_config=UdpListenerConfig()))
    return (head, *field(Listener.LISTENER_FILTERS_FIELD_NUMBER, dns_filter), tail)


def _bytes(message: Any) -> bytes:
    data: bytes = message.SerializeToString(deterministic=True)
    return data


def _of_both_kinds(addresses: tuple[str, ...]) -> tuple[str, ...]:
    """To a question for the kind of address that a name has none of, Envoy answers that there is no such name, which
    musl, and so every Alpine image, takes for the whole truth (https://github.com/envoyproxy/envoy/issues/42590).
    IPv4 addresses have an IPv6 form that leads to the same place."""
    if any(":" in address for address in addresses):
        return addresses
    return (*addresses, *(f"::ffff:{address}" for address in addresses))
