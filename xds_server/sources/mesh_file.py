"""The settings of the mesh from a file of their own, as if they were in the ConfigMap where Istio has them."""

from __future__ import annotations

from pathlib import Path

from xds_server.diagnostics import Position, diagnostic
from xds_server.kube.identify import Unidentified, identify
from xds_server.kube.istio.mesh_config import KEY, NAME, NAMESPACE
from xds_server.kube.meta import Source
from xds_server.store import Batch


def batch(file: str) -> Batch:
    """The file as it is now. When it cannot be read, what it said before stays in force (XDS1002)."""
    try:
        text = Path(file).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        found = diagnostic("XDS1002", None, position=Position(file, 1, 1), detail=f"the file cannot be read: {error}")
        return Batch(file, diagnostics=(found,), broken=frozenset({file}))
    metadata = {"name": NAME, "namespace": NAMESPACE}
    value = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {KEY: text}}
    raw = identify(value, Source(file, text=text))
    assert not isinstance(raw, Unidentified)
    return Batch(file, (raw,))
