"""Where the time goes, stage by stage: a cold start, one endpoint that moves, one route that changes.

    python -m benchmarks.stages [--namespaces 50] [--apps 100]

CPU time of this process, from YAML to the message for a gateway; the changes are the best of several. Each app is a
Service with a slice, and a route. What gRPC and the proxies add is in `delivery`, what Envoy adds in `probe`.
"""

from __future__ import annotations

import argparse
import gc
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import msgspec
import yaml

from benchmarks import report
from benchmarks.apps import App, apps
from benchmarks.report import Figure
from tests.e2e.test_serve import gateway
from tests.envoy_config import message
from xds_server.envoy.build import build
from xds_server.envoy.resource import Resource, Resources
from xds_server.memo import Generations
from xds_server.mesh.proxy import EVERY_GATEWAY
from xds_server.mesh.resolve import resolve
from xds_server.mesh.topology import placed_proxy
from xds_server.mesh.view import view
from xds_server.sources.yaml import load
from xds_server.store import Batch, Changes, Store
from xds_server.xds.group import Group
from xds_server.xds.shared import Shared
from xds_server.xds.wire import delta_response

FLOORS = (
    "for reading, libyaml alone with the same bytes; for writing, protobuf alone with the resources that come out new"
)
CHANGES = 7
T = TypeVar("T")

STAGES = {
    "read": "YAML to objects of plain data",
    "decode": "to typed objects, in a snapshot",
    "resolve": "to services, endpoints, rules",
    "view": "to what a gateway sees",
    "build": "to Envoy's resources, as bytes",
    "offer": "what differs from before",
    "message": "to the responses",
}


class Pipeline:
    """All stages, and ms that each took the last time."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = {}
        self._store = Store(["d"])
        self._memo = Generations()
        self._group = Group()
        self._shared = Shared()
        self._sent: dict[tuple[str, str], str] = {}

    def _timed(self, stage: str, action: Callable[[], T]) -> T:
        began = time.process_time()
        result = action()
        self.spent[stage] = (time.process_time() - began) * 1000
        return result

    def run(self, files: dict[str, str], first: bool = False) -> list[Resource]:
        """Takes files that are new or different. Returns the resources that are."""
        self.spent = {}
        raws = self._timed("read", lambda: [raw for name in files for raw in load(files[name].encode(), name).raws])
        if first:
            self._timed("decode", lambda: self._store.apply("d", Batch("d", tuple(raws))))
        else:
            self._timed("decode", lambda: self._store.update("d", Changes(tuple(raws))))
        snapshot, memo = self._store.snapshot, self._memo
        mesh = self._timed("resolve", lambda: memo(resolve, snapshot, memo))
        proxy = placed_proxy(mesh.registry, EVERY_GATEWAY)
        seen = self._timed("view", lambda: memo(view, mesh, proxy, memo))
        resources, _ = self._timed("build", lambda: build(seen.shared, memo, seen.key))  # it has nothing of its own
        memo.turn()
        self._timed("offer", lambda: self._group.offer(self._group.settle(resources, memo, self._shared.intern)))
        new = self._new(resources)
        self._timed("message", lambda: [delta_response("1", "s", one.type_url, "1", (one,)) for one in new])
        return new

    def _new(self, resources: Resources) -> list[Resource]:
        found = [one for rows in resources.by_type.values() for one in rows.values()]
        new = [one for one in found if self._sent.get((one.type_url, one.name)) != one.version]
        self._sent = {(one.type_url, one.name): one.version for one in found}
        return new


def cpu(action: Callable[[], Any]) -> float:
    """ms."""
    began = time.process_time()
    action()
    return (time.process_time() - began) * 1000


def events(texts: dict[str, str]) -> None:
    for text in texts.values():
        for _ in yaml.parse(text, Loader=yaml.CSafeLoader):
            pass


def files_of(app: App) -> dict[str, str]:
    return {f"{app.key}.service.yaml": app.service(), f"{app.key}.route.yaml": app.route()}


def measure(options: argparse.Namespace) -> Iterator[Figure]:
    world = apps(2, 5) if options.quick else apps(options.namespaces, options.apps)
    pipeline = Pipeline()
    texts = {"gateway.yaml": gateway(8080)}
    for app in world:
        texts |= files_of(app)
    new = pipeline.run(texts, first=True)
    yield from _figures(f"{len(world):,} services and routes, cold", pipeline.spent, texts, new)
    gc.collect()
    gc.freeze()  # as the server does
    app = world[1]
    moved = [{f"{app.key}.service.yaml": msgspec.structs.replace(app, port=9000 + n).service()} for n in range(CHANGES)]
    routed = [{f"{app.key}.route.yaml": msgspec.structs.replace(app, generation=n).route()} for n in range(1, CHANGES)]
    for words, changes in (("one endpoint moved", moved), ("one route changed", routed)):
        best: tuple[float, dict[str, float], dict[str, str], list[Resource]] | None = None
        for change in changes:
            new = pipeline.run(change)
            total = sum(pipeline.spent.values())
            if best is None or total < best[0]:
                best = total, pipeline.spent, change, new
        assert best is not None
        yield from _figures(words, *best[1:])


def _figures(words: str, spent: dict[str, float], texts: dict[str, str], new: list[Resource]) -> Iterator[Figure]:
    floors = {
        "read": cpu(lambda: events(texts)),
        "build": cpu(lambda: [message(one).SerializeToString(deterministic=True) for one in new]),
    }
    for stage, detail in STAGES.items():
        yield Figure(f"{words}: {stage}, {detail}", spent[stage], "ms CPU", floors.get(stage))
    yield Figure(f"{words}: all of it", sum(spent.values()), "ms CPU", sum(floors.values()))


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--namespaces", type=int, default=50)
    parser.add_argument("--apps", type=int, default=100, help="in each namespace")


if __name__ == "__main__":
    raise SystemExit(report.main(__doc__, FLOORS, measure, arguments))
