"""What the objects mean together."""

from __future__ import annotations

from xds_server.diagnostics import Diagnostic
from xds_server.kube.snapshot import Snapshot
from xds_server.memo import Memo
from xds_server.mesh.model import Value


class Mesh(Value, frozen=True, eq=False, gc=False):
    diagnostics: tuple[Diagnostic, ...] = ()


def resolve(snapshot: Snapshot, memo: Memo) -> Mesh:
    return Mesh()
