"""Traffic policies of DestinationRules, in neutral words.

Precedence: the subset's policy over the rule's, field by field of the first level; a port's settings, the subset's
before the rule's, replace all of it (api: "settings at the destination level will not be inherited when overridden
by port-level settings").
"""

from __future__ import annotations

from xds_server.kube.istio import destination_rule as dr
from xds_server.kube.units import Duration
from xds_server.mesh.model import (
    Algorithm,
    BackendPolicy,
    Connections,
    HashKey,
    Keepalive,
    LoadBalancing,
    Outlier,
    RetryBudget,
    Warmup,
)

Settings = dr.TrafficPolicy | dr.PortTrafficPolicy

_ALGORITHMS = {
    "UNSPECIFIED": Algorithm.LEAST_REQUEST,
    "LEAST_CONN": Algorithm.LEAST_REQUEST,
    "LEAST_REQUEST": Algorithm.LEAST_REQUEST,
    "ROUND_ROBIN": Algorithm.ROUND_ROBIN,
    "RANDOM": Algorithm.RANDOM,
    "PASSTHROUGH": Algorithm.PASSTHROUGH,
}
_FIRST_LEVEL = ("load_balancer", "connection_pool", "outlier_detection", "tls", "retry_budget")


def effective(rule: dr.TrafficPolicy | None, subset: dr.TrafficPolicy | None, port: int) -> dict[str, Settings]:
    """Field of the first level -> the settings that it is taken from."""
    for policy in (subset, rule):
        for settings in (policy.port_level_settings) if policy else ():
            if settings.port is not None and settings.port.number == port:
                return {field: settings for field in _FIRST_LEVEL if getattr(settings, field, None) is not None}
    chosen: dict[str, Settings] = {}
    for policy in (rule, subset):
        if policy is not None:
            chosen |= {field: policy for field in _FIRST_LEVEL if getattr(policy, field, None) is not None}
    return chosen


def backend_policy(rule: dr.TrafficPolicy | None, subset: dr.TrafficPolicy | None, port: int) -> BackendPolicy:
    """All but `tls`, which needs the service as well."""
    chosen = effective(rule, subset, port)

    def take(field: str) -> object:
        return getattr(chosen[field], field) if field in chosen else None

    balancer, pool, outlier = take("load_balancer"), take("connection_pool"), take("outlier_detection")
    budget = take("retry_budget")
    return BackendPolicy(
        load_balancing=load_balancing(balancer) if isinstance(balancer, dr.LoadBalancerSettings) else LoadBalancing(),
        connections=connections(pool) if isinstance(pool, dr.ConnectionPoolSettings) else Connections(),
        outlier=outlier_detection(outlier) if isinstance(outlier, dr.OutlierDetection) else None,
        retry_budget=_retry_budget(budget) if isinstance(budget, dr.RetryBudget) else None,
    )


def load_balancing(balancer: dr.LoadBalancerSettings) -> LoadBalancing:
    warmup = None
    if balancer.warmup is not None:
        warmup = Warmup(
            balancer.warmup.duration,
            10.0 if balancer.warmup.minimum_percent is None else balancer.warmup.minimum_percent,
            1.0 if balancer.warmup.aggression is None else balancer.warmup.aggression,
        )
    elif balancer.warmup_duration_secs is not None:
        warmup = Warmup(balancer.warmup_duration_secs)
    hashing = balancer.consistent_hash
    if hashing is None:
        return LoadBalancing(_ALGORITHMS[balancer.simple or "UNSPECIFIED"], warmup=warmup)
    if hashing.maglev is not None:
        return LoadBalancing(Algorithm.MAGLEV, hash_key(hashing), hashing.maglev.table_size or 0, warmup)
    ring_size = hashing.minimum_ring_size
    if hashing.ring_hash is not None and hashing.ring_hash.minimum_ring_size is not None:
        ring_size = hashing.ring_hash.minimum_ring_size
    return LoadBalancing(Algorithm.RING_HASH, hash_key(hashing), ring_size or 0, warmup)


def hash_key(hashing: dr.ConsistentHash) -> HashKey | None:
    if hashing.http_header_name:
        return HashKey(header=hashing.http_header_name)
    if hashing.http_cookie is not None:
        cookie = hashing.http_cookie
        attributes = tuple((item.name, item.value) for item in cookie.attributes)
        return HashKey(
            cookie=cookie.name,
            cookie_path=cookie.path,
            cookie_ttl=cookie.ttl,
            cookie_attributes=attributes,
        )
    if hashing.http_query_parameter_name:
        return HashKey(query_parameter=hashing.http_query_parameter_name)
    return HashKey(source_ip=True) if hashing.use_source_ip else None


def connections(pool: dr.ConnectionPoolSettings) -> Connections:
    tcp = pool.tcp or dr.TCPSettings()
    http = pool.http or dr.HTTPSettings()
    keepalive = tcp.tcp_keepalive
    default = Connections()
    return Connections(
        max_connections=tcp.max_connections,
        connect_timeout=tcp.connect_timeout or default.connect_timeout,
        keepalive=Keepalive(keepalive.probes, keepalive.time, keepalive.interval) if keepalive else None,
        max_duration=tcp.max_connection_duration,
        tcp_idle_timeout=tcp.idle_timeout,
        max_pending_requests=http.http1_max_pending_requests,
        max_requests=http.http2_max_requests,
        max_requests_per_connection=http.max_requests_per_connection,
        max_retries=http.max_retries,
        http_idle_timeout=http.idle_timeout,
        max_concurrent_streams=http.max_concurrent_streams,
        upgrade_to_http2={"UPGRADE": True, "DO_NOT_UPGRADE": False}.get(http.h2_upgrade_policy),
        use_client_protocol=http.use_client_protocol,
    )


def _retry_budget(budget: dr.RetryBudget) -> RetryBudget:
    percent = 20.0 if budget.percent is None else budget.percent
    return RetryBudget(percent, 3 if budget.min_retry_concurrency is None else budget.min_retry_concurrency)


def outlier_detection(outlier: dr.OutlierDetection) -> Outlier:
    five_hundreds = outlier.consecutive_5xx_errors
    if five_hundreds is None:
        five_hundreds = outlier.consecutive_errors
    return Outlier(
        consecutive_5xx=five_hundreds,
        consecutive_gateway=outlier.consecutive_gateway_errors,
        consecutive_local_origin=outlier.consecutive_local_origin_failures,
        split_local_origin=outlier.split_external_local_origin_errors,
        interval=_positive(outlier.interval),
        base_ejection_time=_positive(outlier.base_ejection_time),
        max_ejection_percent=outlier.max_ejection_percent,
        min_health_percent=outlier.min_health_percent or 0,
    )


def _positive(duration: Duration | None) -> Duration | None:
    return duration if duration is not None and duration.nanoseconds > 0 else None
