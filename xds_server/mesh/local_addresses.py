"""Names and addresses that mean the machine of whoever connects to them.

A tenant who can make a proxy connect there reaches the proxy's own admin port, the node, or the cloud's metadata
service (CVE-2021-32783, CVE-2020-8554).
"""

from __future__ import annotations

import ipaddress
import re

from xds_server.mesh import checks

_OWN_NAMES = frozenset({"localhost", "localhost.localdomain", "ip6-localhost", "ip6-loopback"})
# What a resolver may take for an IPv4 address although it is not written as one: 127.1, 0x7f.1, 2130706433.
_ENDS_IN_NUMBER = re.compile(r"(^|\.)([0-9]+|0x[0-9a-f]*)$", re.IGNORECASE)


def reason_to_refuse(host: str) -> str:
    """Empty when there is none."""
    name = host.lower().rstrip(".")
    if name in _OWN_NAMES or name.endswith(".localhost"):
        return "it names the proxy itself"
    try:
        address = ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        odd = checks.name(name) is not None or _ENDS_IN_NUMBER.search(name)
        return "it is neither a name nor an address" if odd else ""
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    if address.is_loopback or address.is_link_local or address.is_unspecified:
        return "loopback and link-local addresses are those of the proxy itself"
    return "it is a multicast address" if address.is_multicast else ""
