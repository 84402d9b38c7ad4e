"""What one proxy group sees of the mesh."""

from __future__ import annotations

from xds_server.memo import Memo
from xds_server.mesh.model import View
from xds_server.mesh.proxy import Proxy
from xds_server.mesh.resolve import Mesh


def view(mesh: Mesh, proxy: Proxy, memo: Memo) -> View:
    return View()
