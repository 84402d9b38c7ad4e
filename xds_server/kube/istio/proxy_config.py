"""Istio's ProxyConfig: how a proxy is started. Nothing of it reaches a proxy that runs."""

from __future__ import annotations

from xds_server.kube.meta import Ignored, Model, Object
from xds_server.kube.units import Count


class WorkloadSelector(Model, frozen=True, eq=False, gc=False):
    match_labels: dict[str, str] = {}


class ProxyImage(Model, frozen=True, eq=False, gc=False):
    image_type: str = ""


class ProxyConfigSpec(Model, frozen=True, eq=False, gc=False):
    selector: WorkloadSelector | None = None
    concurrency: Count | None = None
    environment_variables: dict[str, str] = {}
    image: ProxyImage | None = None


class ProxyConfig(Object, frozen=True, eq=False, gc=False):
    GROUP = "networking.istio.io"
    KIND = "ProxyConfig"

    spec: ProxyConfigSpec = ProxyConfigSpec()
    status: Ignored | None = None
