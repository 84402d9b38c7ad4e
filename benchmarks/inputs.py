"""Reading the input: a directory of documents, and an API server's lists; all of it, and one change.

    python -m benchmarks.inputs [--count 10000]

CPU time, each part in a process of its own; memory is what it holds in the end. A document is an EndpointSlice of ten
endpoints with all that a cluster writes into it, about 4 KB, and each is a file of its own. Every part ends in a
snapshot of the store.
"""

from __future__ import annotations

import argparse
import gc
import json
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import yaml

from benchmarks import report
from benchmarks.report import Figure
from benchmarks.slices import endpoint_slice
from benchmarks.usage import memory
from xds_server.kube.kinds import KINDS
from xds_server.sources import directory
from xds_server.sources.kubernetes_json import Reader
from xds_server.sources.kubernetes_resources import Scope, resources
from xds_server.sources.listwatch import Page, Put
from xds_server.store import Batch, Changes, Store

FLOORS = (
    "of a directory, libyaml alone goes through the same bytes (for one file, those of that file); "
    "of a list or event, msgspec alone decodes the fields that matter"
)
CHANGES = 20
BEST_OF = 3
LONG_AGO = 1_000_000_000
"""Seconds of the clock."""
SETTLED_SECONDS = 2.1
"""For so long after its last change a file is read again, to be sure."""


class _Meta(msgspec.Struct, gc=False):
    name: str
    namespace: str
    labels: dict[str, str]


class _Conditions(msgspec.Struct, gc=False):
    ready: bool
    serving: bool
    terminating: bool


class _Endpoint(msgspec.Struct, gc=False, rename="camel"):
    addresses: list[str]
    conditions: _Conditions
    node_name: str
    zone: str


class _Port(msgspec.Struct, gc=False):
    name: str
    port: int


class _Slice(msgspec.Struct, gc=False, rename="camel"):
    metadata: _Meta
    address_type: str
    ports: list[_Port]
    endpoints: list[_Endpoint]


class _List(msgspec.Struct, gc=False):
    items: list[_Slice]


class _Event(msgspec.Struct, gc=False):
    type: str
    object: _Slice


def slice_of(number: int, last: int = 0) -> dict[str, Any]:
    body = endpoint_slice(number, 10**9, last)[1]
    meta = body["metadata"] | {"namespace": f"ns-{number % 20}", "resourceVersion": str(number + last)}
    fields: dict[str, Any] = {
        "f:endpoints": {},
        "f:ports": {},
        "f:metadata": {"f:labels": {".": {}, "f:kubernetes.io/service-name": {}}},
    }
    managed = {
        "manager": "kube-controller-manager",
        "operation": "Update",
        "fieldsType": "FieldsV1",
        "fieldsV1": fields,
    }
    return {**body, "metadata": {**meta, "managedFields": [managed]}}


def cpu(action: Callable[[], Any]) -> float:
    """ms."""
    began = time.process_time()
    action()
    return (time.process_time() - began) * 1000


def held(before: float) -> float:
    """MB that this process has more than before."""
    gc.collect()
    return memory(os.getpid(), "VmRSS") - before


def of_directory(count: int) -> dict[str, tuple[float, float]]:
    """What was done -> the figure, and its floor."""
    with tempfile.TemporaryDirectory(prefix="xds-bench-") as place:
        files = [Path(place) / f"slice-{number}.yaml" for number in range(count)]
        for number, file in enumerate(files):
            file.write_text(yaml.dump(slice_of(number), Dumper=yaml.CSafeDumper))
            os.utime(file, (LONG_AGO, LONG_AGO))
        floor = cpu(lambda: [events(file.read_text()) for file in files])
        before = memory(os.getpid(), "VmRSS")
        store = Store(["d"])
        reading: directory.Reading | None = None

        def look(*touched: str) -> None:
            nonlocal reading
            reading = directory.look(place, reading, touched) if reading else directory.look(place)
            if reading.changes is not None:
                store.update("d", reading.changes)
            else:
                store.apply("d", reading.batch)

        cold = cpu(look)
        assert sum(map(len, store.snapshot.by_type.values())) == count
        memory_held = held(before)
        time.sleep(SETTLED_SECONDS)
        look()
        same = min(cpu(look) for _ in range(BEST_OF))
        edits = []
        for number, file in enumerate(files[:CHANGES]):
            text = yaml.dump(slice_of(number, 1), Dumper=yaml.CSafeDumper)
            file.write_text(text)
            edits.append(cpu(lambda name=str(file): look(name)))  # type: ignore[misc]
        size = sum(file.stat().st_size for file in files) / 2**20
        return {
            "cold": (cold, floor),
            "memory": (memory_held, size),
            "same": (same, 0.0),
            "edit": (sorted(edits)[len(edits) // 2], min(cpu(lambda: events(text)) for _ in range(BEST_OF))),
        }


def events(text: str) -> None:
    for _ in yaml.parse(text, Loader=yaml.CSafeLoader):
        pass


def of_cluster(count: int) -> dict[str, tuple[float, float]]:
    """What was done -> the figure, and its floor."""
    found = [slice_of(number) for number in range(count)]
    body = json.dumps({"metadata": {"resourceVersion": "1"}, "items": found}).encode()
    changes = [json.dumps({"type": "MODIFIED", "object": slice_of(number, 1)}).encode() for number in range(CHANGES)]
    del found
    reader = Reader(next(one for one in resources(Scope()) if one.kind == "EndpointSlice"), "cluster")
    store = Store(["k"])
    assert ("discovery.k8s.io", "EndpointSlice") in KINDS
    listed = msgspec.json.Decoder(_List)
    floor = min(cpu(lambda: listed.decode(body)) for _ in range(BEST_OF))
    before = memory(os.getpid(), "VmRSS")

    def take() -> None:
        page = reader.page(body, 0)
        assert isinstance(page, Page)
        store.apply("k", Batch("cluster", page.items))

    def change(line: bytes) -> None:
        put = reader.line(line, 0)
        assert isinstance(put, Put)
        store.update("k", Changes((put.item,)))

    cold = cpu(take)
    memory_held = held(before)
    one = msgspec.json.Decoder(_Event)
    times = sorted(cpu(lambda line=line: change(line)) for line in changes)  # type: ignore[misc]
    floors = sorted(cpu(lambda line=line: one.decode(line)) for line in changes)  # type: ignore[misc]
    return {
        "cold": (cold, floor),
        "memory": (memory_held, len(body) / 2**20),
        "edit": (times[len(times) // 2], floors[len(floors) // 2]),
    }


def measure(options: argparse.Namespace) -> Iterator[Figure]:
    count = 50 if options.quick else options.count
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context, max_tasks_per_child=1) as processes:
        files = processes.submit(of_directory, count).result()
        lists = processes.submit(of_cluster, count).result()
    yield Figure(f"directory, {count:,} documents, read the first time", files["cold"][0], "ms CPU", files["cold"][1])
    yield Figure(f"directory, {count:,} documents, one edited", files["edit"][0], "ms CPU", files["edit"][1])
    yield Figure(f"directory, {count:,} documents, none edited", files["same"][0], "ms CPU")
    yield Figure("directory, memory (floor: the text)", files["memory"][0], "MB", files["memory"][1])
    asked = 200.0 if count == 10_000 else None
    yield Figure(f"cluster, {count:,} slices in a list", lists["cold"][0], "ms CPU", lists["cold"][1], asked, "T11")
    yield Figure(f"cluster, {count:,} slices, an event of the watch", lists["edit"][0], "ms CPU", lists["edit"][1])
    yield Figure("cluster, memory (floor: the list's bytes)", lists["memory"][0], "MB", lists["memory"][1])


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--count", type=int, default=10_000, help="documents, and slices")


if __name__ == "__main__":
    raise SystemExit(report.main(__doc__, FLOORS, measure, arguments))
