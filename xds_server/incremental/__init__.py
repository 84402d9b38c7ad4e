"""Collections that are made from collections, and made again only where those differ.

A `Fixed` is a mapping that is never changed once made; the next one has the edits alone, and costs as much as they do.
`derived`, `partitioned`, `united`, `rekeyed`, `pieces` and `mapped` make collections from collections and keep in the
memo what they made last: when their input differs in a few rows, only these are looked at. A result never depends on
what was kept: without a memo all is made from nothing, and tests/property compares the two byte for byte.
"""

from xds_server.incremental.fixed import EMPTY, Fixed, changed, edited, fixed
from xds_server.incremental.groups import partitioned, rekeyed, united
from xds_server.incremental.order import Pieces, mapped, pieces, pieces_of_each
from xds_server.incremental.rows import Lookups, derived, layered, stable

__all__ = [
    "EMPTY",
    "Fixed",
    "Lookups",
    "Pieces",
    "changed",
    "derived",
    "edited",
    "fixed",
    "layered",
    "mapped",
    "partitioned",
    "pieces",
    "pieces_of_each",
    "rekeyed",
    "stable",
    "united",
]
