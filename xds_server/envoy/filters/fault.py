"""Delays and aborts some of the requests, on purpose."""

from __future__ import annotations

from typing import Any

from envoy.extensions.filters.http.fault.v3 import fault_pb2

from xds_server.envoy.proto import duration, fraction
from xds_server.mesh.model import Fault, Route

NAME = "envoy.filters.http.fault"


def http_filter() -> Any:
    return fault_pb2.HTTPFault()


def per_route(route: Route) -> Any | None:
    fault = route.fault
    if fault is None:
        return None
    return fault_pb2.HTTPFault(delay=_delay(fault), abort=_abort(fault))


def _delay(fault: Fault) -> dict[str, Any] | None:
    if fault.delay is None:
        return None
    return {"fixed_delay": duration(fault.delay), "percentage": fraction(fault.delay_percent)}


def _abort(fault: Fault) -> dict[str, Any] | None:
    if fault.http_status is None and fault.grpc_status is None:
        return None
    return {
        "http_status": fault.http_status,
        "grpc_status": fault.grpc_status,
        "percentage": fraction(fault.abort_percent),
    }
