"""NameTable -> a UDP listener with Envoy's DNS filter."""

from __future__ import annotations

from envoy.config.listener.v3 import listener_pb2, udp_listener_config_pb2
from envoy.extensions.filters.udp.dns_filter.v3 import dns_filter_pb2
from envoy.extensions.network.dns_resolver.cares.v3 import cares_dns_resolver_pb2

from xds_server.envoy.proto import packed
from xds_server.envoy.resource import LISTENER, Resource, sealed
from xds_server.mesh.model import NameTable


def name_table(value: NameTable) -> Resource:
    """Other names are asked for at the resolvers of the proxy's machine (`/etc/resolv.conf`)."""
    dns = dns_filter_pb2.DnsFilterConfig(
        stat_prefix=value.name,
        server_config={
            "inline_dns_table": {
                "virtual_domains": [
                    {"name": name, "endpoint": {"address_list": {"address": _of_both_kinds(addresses)}}}
                    for name, addresses in value.hosts
                ]
            }
        },
        client_config={
            "max_pending_lookups": 256,
            "typed_dns_resolver_config": {
                "name": "envoy.network.dns_resolver.cares",
                "typed_config": packed(cares_dns_resolver_pb2.CaresDnsResolverConfig()),
            },
        },
    )
    message = listener_pb2.Listener(
        name=value.name,
        address={"socket_address": {"protocol": "UDP", "address": value.address, "port_value": value.port}},
        udp_listener_config=udp_listener_config_pb2.UdpListenerConfig(),
        listener_filters=[{"name": "envoy.filters.udp.dns_filter", "typed_config": packed(dns)}],
    )
    return sealed(LISTENER, value.name, message, value.origins)


def _of_both_kinds(addresses: tuple[str, ...]) -> tuple[str, ...]:
    """To a question for the kind of address that a name has none of, Envoy answers that there is no such name, which
    musl, and so every Alpine image, takes for the whole truth (https://github.com/envoyproxy/envoy/issues/42590).
    IPv4 addresses have an IPv6 form that leads to the same place."""
    if any(":" in address for address in addresses):
        return addresses
    return (*addresses, *(f"::ffff:{address}" for address in addresses))
