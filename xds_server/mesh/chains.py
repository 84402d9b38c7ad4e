"""The filter chains of one listener."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import ip_network
from itertools import product

import msgspec

from xds_server.mesh.model import Chain, ChainMatch

Key = tuple[object, ...]


class Clash(msgspec.Struct, frozen=True):
    """A chain that lost some of its connections, or all, to another. what: in words."""

    chain: Chain
    first: Chain
    what: str


def distinct(chains: Iterable[Chain]) -> tuple[tuple[Chain, ...], tuple[Clash, ...]]:
    """The chains, each without what an earlier one takes: Envoy refuses a listener with two equal matches."""
    taken: dict[Key, Chain] = {}
    kept: list[Chain] = []
    clashes: list[Clash] = []
    for chain in map(_plain, chains):
        first = next((taken[key] for key in _keys(chain.match) if key in taken), None)
        if first is not None:
            free = _without(chain.match, taken)
            if first.traffic != chain.traffic:
                clashes.append(Clash(chain, first, _words(chain.match, free)))
            if free is None:
                continue
            chain = msgspec.structs.replace(chain, match=free)
        taken |= dict.fromkeys(_keys(chain.match), chain)
        kept.append(chain)
    return tuple(kept), tuple(clashes)


def _plain(chain: Chain) -> Chain:
    """Every name and address range once, in one way of writing."""
    match = chain.match
    destinations = dict.fromkeys(str(ip_network(text, strict=False)) for text in match.destinations)
    server_names = dict.fromkeys(name.lower() for name in match.server_names)
    plain = msgspec.structs.replace(match, destinations=tuple(destinations), server_names=tuple(server_names))
    return chain if plain == match else msgspec.structs.replace(chain, match=plain)


def _keys(match: ChainMatch) -> Iterator[Key]:
    """Every combination that Envoy makes of a plain match."""
    kind = (match.port, match.detected_http, match.tls or bool(match.server_names))
    for destination, name in product(match.destinations or ("",), match.server_names or ("",)):
        yield (*kind, destination, name)


def _without(match: ChainMatch, taken: dict[Key, Chain]) -> ChainMatch | None:
    """What is left of a match: the server names, or else the destinations, that are free everywhere."""
    for field in ("server_names", "destinations"):
        values: tuple[str, ...] = getattr(match, field)
        single = (msgspec.structs.replace(match, **{field: (value,)}) for value in values)
        free = tuple(
            value for value, one in zip(values, single, strict=True) if not any(key in taken for key in _keys(one))
        )
        if free:
            return msgspec.structs.replace(match, **{field: free})
    return None


def _words(match: ChainMatch, free: ChainMatch | None) -> str:
    """What of the match is not free."""
    kept = {*free.server_names, *free.destinations} if free else set()
    lost = [value for value in (*match.server_names, *match.destinations) if value not in kept]
    return ", ".join(lost) or (f"port {match.port}" if match.port else "everything")
