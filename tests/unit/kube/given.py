"""Raw objects for the tests of this folder, written as a user writes them."""

from __future__ import annotations

from textwrap import dedent

from xds_server.diagnostics import Diagnostic, format_path
from xds_server.kube.decode import Decoded, decode
from xds_server.kube.meta import Raw
from xds_server.sources.yaml import load

VIRTUAL_SERVICE = "networking.istio.io/v1 VirtualService"
DESTINATION_RULE = "networking.istio.io/v1 DestinationRule"
GATEWAY = "networking.istio.io/v1 Gateway"
SERVICE_ENTRY = "networking.istio.io/v1 ServiceEntry"
SERVICE = "v1 Service"


def raw(text: str) -> Raw:
    """The one object of a YAML text."""
    loaded = load(dedent(text).encode(), "in.yaml")
    assert not loaded.diagnostics, loaded.diagnostics
    (found,) = loaded.raws
    return found


def decoded(kind: str, body: str = "spec: {}") -> Decoded:
    """An object named x of a kind (`apiVersion Kind`) with a body such as `spec: {...}`."""
    version, _, name = kind.partition(" ")
    return decode(raw(f"apiVersion: {version}\nkind: {name}\nmetadata: {{name: x}}\n{dedent(body)}"))


def told(diagnostic: Diagnostic) -> str:
    """`CODE path: message`, and what is suggested."""
    advice = f" ({diagnostic.suggestion})" if diagnostic.suggestion else ""
    return f"{diagnostic.code} {format_path(diagnostic.path)}: {diagnostic.message}{advice}"
