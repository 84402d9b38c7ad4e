"""The composition root: wires the sources, the store, the fleet, the xDS server and the admin endpoints together."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import structlog
from prometheus_client import CollectorRegistry, Gauge, generate_latest

from xds_server import process
from xds_server.admin import introspection
from xds_server.admin.app import Answers, admin_app
from xds_server.admin.metrics import SourceMetrics
from xds_server.admin.server import AdminServer
from xds_server.catalogue import Level
from xds_server.envoy.resource import TYPES
from xds_server.fleet import Fleet, ProxyStatus
from xds_server.intake import Intake
from xds_server.kept_objects import KeptObjects
from xds_server.last_good import LastGood
from xds_server.observer import Observer
from xds_server.readiness import Readiness
from xds_server.settings import Settings
from xds_server.sources.follow import follow
from xds_server.sources.health import Health
from xds_server.state_file import OBJECTS, PROXIES, StateFile, made
from xds_server.store import Store
from xds_server.version import __version__
from xds_server.xds.credentials import TlsFiles, credentials
from xds_server.xds.metrics import DeliveryMetrics
from xds_server.xds.server import Options, XdsServer, is_local

log = structlog.get_logger()
_SHORT = {type_url: short for short, type_url in TYPES.items()}


async def serve(settings: Settings, stop: asyncio.Event) -> None:
    """Runs until `stop` is set, then lets the streams end.

    Raises OSError when an address is in use, CredentialsError when the TLS files cannot be used, StateError when the
    state directory or its key cannot be, and a group with NoAccess when the configuration of a cluster cannot be.
    """
    clock = asyncio.get_running_loop().time
    last_good, kept = _state(settings)
    health = Health(settings.sources, clock)
    intake = Intake(Store(settings.sources, kept.load() if kept else {}), health, kept)
    fleet = Fleet(intake.changes, last_good=last_good)
    readiness = Readiness(fleet, health, clock)
    observer = Observer(fleet, intake.changes)
    options = options_of(settings)
    xds = XdsServer(fleet, options)
    if options.introspection:
        known = introspection.Known(xds.streams, lambda: intake.changes.value.sources, readiness.stale)
        xds.add(introspection.SERVICE, introspection.handler(known, is_local))
    admin = AdminServer(
        admin_app(_answers(fleet, observer, health, readiness)), settings.admin_host, settings.admin_port
    )
    port = await xds.start()
    try:
        async with asyncio.TaskGroup() as tasks:
            sources = [follow(name, settings, partial(intake.take, name)) for name in settings.sources]
            running = [tasks.create_task(one) for one in (*sources, fleet.run(), observer.run())]
            running += [tasks.create_task(kept.run())] if kept else []
            tasks.create_task(admin.run())
            await _either(fleet.answering, stop)
            if fleet.answering.is_set():
                process.settle()
                xds_address, admin_address = f"{settings.xds_host}:{port}", f"{settings.admin_host}:{admin.port}"
                stale = {"stale": readiness.stale()} if readiness.stale() else {}
                log.info("serving", sources=settings.sources, xds=xds_address, admin=admin_address, **stale)
            await stop.wait()
            readiness.draining = True
            log.info("draining", streams=len(observer.proxies()))
            await xds.drain(settings.drain_seconds)
            admin.stop()
            for task in running:
                task.cancel()
    except BaseExceptionGroup:
        await xds.drain(0)
        raise
    log.info("stopped")


async def _either(*events: asyncio.Event) -> None:
    """Returns once one of the events is set."""
    waits = [asyncio.ensure_future(event.wait()) for event in events]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()


def _state(settings: Settings) -> tuple[LastGood | None, KeptObjects | None]:
    """What is kept in the state directory, if there is one."""
    if not settings.state_dir:
        return None, None
    key, directory = made(settings.state_dir, settings.state_key), Path(settings.state_dir)
    return LastGood(StateFile(directory / PROXIES, key)), KeptObjects(StateFile(directory / OBJECTS, key))


def options_of(settings: Settings) -> Options:
    files = TlsFiles(settings.tls_cert, settings.tls_key, settings.tls_client_ca)
    return Options(
        host=settings.xds_host,
        port=settings.xds_port,
        max_streams=settings.max_streams,
        streams_per_second=settings.streams_per_second,
        requests_per_second=settings.requests_per_second,
        max_request_bytes=settings.max_request_bytes,
        max_age=settings.max_connection_age,
        introspection=settings.introspection == "local",
        credentials=credentials(files) if files.certificate else None,
        trust_domain=settings.trust_domain if files.client_ca else "",
    )


def _answers(fleet: Fleet, observer: Observer, health: Health, readiness: Readiness) -> Answers:
    registry = CollectorRegistry()
    build = Gauge("xds_server_build_info", "The version that runs.", ["version"], registry=registry)
    build.labels(__version__).set(1)
    wrong = Gauge("xds_server_diagnostics", "What is wrong with the input now.", ["level"], registry=registry)
    for level in Level:
        wrong.labels(level).set_function(partial(observer.count, level))
    old = Gauge(
        "xds_server_last_good_seconds",
        "For how long proxies have been given what they got before the server started; 0 if they are not.",
        registry=registry,
    )
    old.set_function(readiness.last_good_seconds)
    registry.register(SourceMetrics(health))
    registry.register(DeliveryMetrics(fleet))
    return Answers(
        not_ready=readiness.not_ready,
        stale=readiness.stale,
        sources=health.statuses,
        proxies=lambda: [_row(status) for status in observer.proxies()],
        diagnostics=observer.findings,
        metrics=lambda: generate_latest(registry),
    )


def _row(status: ProxyStatus) -> dict[str, Any]:
    """A stream as JSON values, its types by their short names."""
    row: dict[str, Any] = msgspec.to_builtins(status)
    row["types"] = {_SHORT.get(kind["type_url"], kind["type_url"]): kind for kind in row["types"]}
    return row
