"""How the requests of a route are shared out."""

from __future__ import annotations

from collections.abc import Sequence

from xds_server.diagnostics import Diagnostic, ObjectRef, Path, diagnostic


def weight_notes(weights: Sequence[int], ref: ObjectRef, path: Path) -> list[Diagnostic]:
    """Weights are shares, whatever their sum; who writes percentages wants to know that they do not add up."""
    total = sum(weights)
    if len(weights) < 2 or total in (0, 100):
        return []
    return [diagnostic("XDS4021", ref, path, total=total)]
