"""The settings of a whole mesh: the YAML under `mesh` in the ConfigMap `istio` of the namespace `istio-system`.

Source: istio.io/api mesh/v1alpha1/config.proto. Only the fields here have an effect; every other is named.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec
import yaml

from xds_server.diagnostics import Diagnostic, diagnostic
from xds_server.kube.istio.destination_rule import LocalityLbSetting, TCPKeepalive
from xds_server.kube.istio.virtual_service import HTTPRetry
from xds_server.kube.meta import Ignored, Model, Object
from xds_server.kube.rules import check, rule
from xds_server.kube.units import Duration, PositiveDuration

NAMESPACE, NAME, KEY = "istio-system", "istio", "mesh"
PATH = ("data", KEY)


class OutboundTrafficPolicy(Model, frozen=True, eq=False, gc=False):
    mode: Literal["REGISTRY_ONLY", "ALLOW_ANY"] = "REGISTRY_ONLY"


class MeshConfig(Model, frozen=True, eq=False, gc=False, forbid_unknown_fields=False):
    """Empty means that nothing was said; `proxy_http_port` 0 is none, and an empty list of namespaces all."""

    outbound_traffic_policy: OutboundTrafficPolicy | None = None
    default_http_retry_policy: HTTPRetry | None = None
    connect_timeout: PositiveDuration | None = None
    tcp_keepalive: TCPKeepalive | None = None
    locality_lb_setting: LocalityLbSetting | None = None
    root_namespace: str = ""
    trust_domain: str = ""
    proxy_http_port: int = 0
    default_service_export_to: tuple[str, ...] = ()
    default_virtual_service_export_to: tuple[str, ...] = ()
    default_destination_rule_export_to: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check(rule(0 <= self.proxy_http_port <= 65535, ("proxyHttpPort",), "proxyHttpPort is not a port number"))

    @property
    def allows_any(self) -> bool:
        """Whether connections to hosts that nobody knows are let through."""
        policy = self.outbound_traffic_policy
        return policy is None or policy.mode == "ALLOW_ANY"

    @property
    def root(self) -> str:
        """The namespace whose DestinationRules and Sidecars are for all."""
        return self.root_namespace or NAMESPACE


DEFAULTS = MeshConfig()
WITHOUT_EFFECT = {
    "trustDomain": "identities are not issued yet, and the names of clients are --trust-domain",
}
"""Fields that are understood but change nothing, and why."""


class ConfigMap(Object, frozen=True, eq=False, gc=False):
    """Only the one of the mesh is read. A mistake in it leaves the last good form in force: a mesh that is closed
    must not open because of a typing error."""

    GROUP = ""
    KIND = "ConfigMap"

    data: dict[str, str] = {}
    binary_data: Ignored | None = None
    immutable: Ignored | None = None

    def __post_init__(self) -> None:
        try:
            _config(self.data.get(KEY, ""))
        except ValueError as error:
            check(rule(False, PATH, str(error)))


def mesh_config(found: ConfigMap | None) -> tuple[MeshConfig, tuple[Diagnostic, ...]]:
    """The settings, and one piece of information for each that has no effect here."""
    if found is None:
        return DEFAULTS, ()
    config, keys = _config(found.data.get(KEY, ""))
    known = set(MeshConfig.__struct_encode_fields__) - WITHOUT_EFFECT.keys()
    notes = (
        diagnostic("XDS1014", found.ref, PATH, field=key, suggestion=WITHOUT_EFFECT.get(key, ""))
        for key in keys
        if key not in known
    )
    return config, tuple(notes)


def _config(text: str) -> tuple[MeshConfig, tuple[str, ...]]:
    """The settings and the keys that were written. Raises ValueError with a sentence."""
    try:
        value = yaml.load(text, Loader=yaml.CSafeLoader)
    except yaml.YAMLError as error:
        raise ValueError(f"this is not YAML: {' '.join(str(error).split())}") from None
    if value is None:
        return DEFAULTS, ()
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise ValueError("the settings of the mesh are a mapping, such as outboundTrafficPolicy: {mode: REGISTRY_ONLY}")
    try:
        return msgspec.convert(value, MeshConfig, dec_hook=_duration), tuple(sorted(value))
    except msgspec.ValidationError as error:
        message, _, where = str(error).partition(" - at `$")
        raise ValueError(f"{where.strip('.`')}: {message}" if where else message) from None


def _duration(of: type, value: Any) -> Any:
    if not issubclass(of, Duration) or not isinstance(value, str):
        raise ValueError("a duration is text such as 10s or 1m30s")
    return of.parse(value)
