"""How a cluster chooses among its endpoints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from xds_server.envoy.proto import duration, wrapped
from xds_server.mesh.model import Algorithm, LoadBalancing, Warmup

_POLICIES: Mapping[Algorithm, str] = {
    Algorithm.LEAST_REQUEST: "LEAST_REQUEST",
    Algorithm.ROUND_ROBIN: "ROUND_ROBIN",
    Algorithm.RANDOM: "RANDOM",
    Algorithm.RING_HASH: "RING_HASH",
    Algorithm.MAGLEV: "MAGLEV",
}


def load_balancing(value: LoadBalancing) -> dict[str, Any]:
    """The fields of a Cluster. What is hashed for RING_HASH and MAGLEV is said by the routes (`hash_policy`)."""
    settings: dict[Algorithm, dict[str, Any]] = {
        Algorithm.LEAST_REQUEST: {"least_request_lb_config": _slow_start(value.warmup)},
        Algorithm.ROUND_ROBIN: {"round_robin_lb_config": _slow_start(value.warmup)},
        Algorithm.RING_HASH: {"ring_hash_lb_config": _size("minimum_ring_size", value.table_size)},
        Algorithm.MAGLEV: {"maglev_lb_config": _size("table_size", value.table_size)},
    }
    return {"lb_policy": _POLICIES[value.algorithm], **settings.get(value.algorithm, {})}


def _size(name: str, entries: int) -> dict[str, Any] | None:
    return {name: wrapped(entries)} if entries else None


def _slow_start(warmup: Warmup | None) -> dict[str, Any] | None:
    """An endpoint that is new gets a growing share of the requests."""
    if warmup is None:
        return None
    return {
        "slow_start_config": {
            "slow_start_window": duration(warmup.duration),
            "min_weight_percent": wrapped(warmup.minimum_percent),
            # The runtime key must not be empty; nobody is expected to set it.
            "aggression": {"default_value": warmup.aggression, "runtime_key": "slow_start.aggression"},
        }
    }
