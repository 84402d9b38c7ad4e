"""Writes a proxy's view down as Envoy's resources."""

from __future__ import annotations

from xds_server.diagnostics import Diagnostic
from xds_server.envoy.resource import EMPTY, Resources
from xds_server.memo import Memo
from xds_server.mesh.model import View


def build(view: View, memo: Memo) -> tuple[Resources, tuple[Diagnostic, ...]]:
    """The resources of one proxy group; the diagnostics are bugs, one for each value left out."""
    return EMPTY, ()
