"""A Kubernetes cluster for tests: the one that XDS_SERVER_TEST_KUBECONFIG names.

Tests that kill the API server start one of their own, with an etcd, from the same programs. For that the files
`api.pid` and `etcd.pid` must be beside the kubeconfig.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shutil
import signal
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from xds_server.demo.ports import free_port
from xds_server.kube.kinds import KINDS
from xds_server.kube.meta import Object
from xds_server.sources.kubernetes_api import Access, Api, Unreachable
from xds_server.sources.kubernetes_resources import plural

VARIABLE = "XDS_SERVER_TEST_KUBECONFIG"


class Cluster:
    """A cluster, and a namespace in it for one test."""

    def __init__(self, kubeconfig: Path) -> None:
        self.kubeconfig = kubeconfig
        self.namespace = f"test-{uuid.uuid4().hex[:8]}"
        self.access = Access(str(kubeconfig))

    async def kubectl(self, *arguments: str, text: str = "") -> str:
        """What kubectl prints. Raises AssertionError when it fails."""
        process = await asyncio.create_subprocess_exec(
            "kubectl",
            f"--kubeconfig={self.kubeconfig}",
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        output, errors = await process.communicate(text.encode())
        assert process.returncode == 0, f"kubectl {' '.join(arguments)}: {errors.decode()}"
        return output.decode()

    async def apply(self, *documents: str) -> None:
        """Creates or changes objects of the test's namespace."""
        await self.kubectl("apply", "--validate=false", "-n", self.namespace, "-f", "-", text="\n---\n".join(documents))

    async def delete(self, *names: str) -> None:
        """Deletes objects of the namespace, each as `service/web`."""
        await self.kubectl("delete", "-n", self.namespace, "--ignore-not-found", "--wait=false", *names)

    async def install(self) -> None:
        """Custom resources for every kind that is read and not installed."""
        wanted = [crd(*key) for key in KINDS if is_custom(key[0])]
        while missing := [one for one in wanted if one["metadata"]["name"] not in await self._installed()]:
            with contextlib.suppress(AssertionError):  # another test may install them at the same time
                await self.kubectl("create", "-f", "-", text=yaml.safe_dump_all(missing))
        await self.kubectl("wait", "--for=condition=Established", "crds", "--all", "--timeout=30s")

    async def _installed(self) -> set[str]:
        return {crd["metadata"]["name"] for crd in json.loads(await self.kubectl("get", "crds", "-o", "json"))["items"]}


def is_custom(group: str) -> bool:
    """Whether the kinds of an API group are installed rather than built in."""
    return "." in group and group not in {"discovery.k8s.io", "networking.k8s.io"}


def crd(group: str, kind: str) -> dict[str, Any]:
    """A definition that accepts anything."""
    entry = KINDS[group, kind]
    assert issubclass(entry.type, Object)
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    best = sorted(entry.versions)[0]
    names = {"kind": kind, "plural": plural(kind), "singular": kind.lower()}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": f"{plural(kind)}.{group}",
            "annotations": {"api-approved.kubernetes.io": "unapproved, for tests"},
        },
        "spec": {
            "group": group,
            "names": names,
            "scope": "Namespaced" if entry.namespaced else "Cluster",
            "versions": [
                {"name": version, "served": True, "storage": version == best, "schema": schema}
                for version in sorted(entry.versions)
            ],
        },
    }


def kubeconfig() -> Path:
    """That of the cluster for tests. Skips the test, in plain words, where there is none."""
    path = os.environ.get(VARIABLE)
    if not path:
        pytest.skip(f"NO CLUSTER: set {VARIABLE} to a kubeconfig to run the tests of the Kubernetes source")
    if not shutil.which("kubectl"):
        pytest.skip("NO KUBECTL on PATH, which the tests of the Kubernetes source use")
    return Path(path)


@contextlib.asynccontextmanager
async def cluster_for_test() -> AsyncIterator[Cluster]:
    """The cluster with a new namespace, which is deleted at the end."""
    cluster = Cluster(kubeconfig())
    await cluster.install()
    await cluster.kubectl("create", "namespace", cluster.namespace)
    try:
        yield cluster
    finally:
        await cluster.kubectl("delete", "namespace", cluster.namespace, "--wait=false")


class ApiServer:
    """An API server of a test's own, with an etcd of its own, that can be killed and started again."""

    def __init__(self, directory: Path) -> None:
        original = kubeconfig()
        if not (original.parent / "api.pid").exists():
            pytest.skip(f"NO API SERVER TO KILL: there are no api.pid and etcd.pid beside {original}")
        config = yaml.safe_load(original.read_text())
        address = config["clusters"][0]["cluster"]
        etcd = next(part for part in _command(original.parent, "api") if part.startswith("--etcd-servers"))
        old_ports = [urlsplit(address["server"]).port, int(etcd.rpartition(":")[2]), int(etcd.rpartition(":")[2]) + 1]
        self.port = free_port()
        self._ports = dict(zip(map(str, old_ports), map(str, (self.port, free_port(), free_port())), strict=True))
        self._directory = directory
        self._commands = {name: self._moved(_command(original.parent, name)) for name in ("etcd", "api")}
        self._cwd = original.parent
        address["server"] = f"https://127.0.0.1:{self.port}"
        self.cluster = Cluster(directory / "kubeconfig")
        self.cluster.kubeconfig.write_text(yaml.safe_dump(config))
        self._process: asyncio.subprocess.Process
        self._etcd: asyncio.subprocess.Process | None = None

    def _moved(self, command: list[str]) -> list[str]:
        """The command with other ports, and another directory for data."""
        moved = [
            re.sub(r"(?<=[:=])\d+(?![\d.])", lambda port: self._ports.get(port[0], port[0]), part) for part in command
        ]
        if "--data-dir" in moved:
            moved[moved.index("--data-dir") + 1] = str(self._directory / "etcd")
        return moved

    async def _run(self, name: str) -> asyncio.subprocess.Process:
        with (self._directory / f"{name}.log").open("ab") as log:
            return await asyncio.create_subprocess_exec(
                *self._commands[name], cwd=self._cwd, stdout=log, stderr=log, start_new_session=True
            )

    async def start(self) -> None:
        """Returns once it is ready."""
        self._etcd = self._etcd or await self._run("etcd")
        self._process = await self._run("api")
        api = Api(self.cluster.access)
        await api.connect()
        try:
            while not await self._is_ready(api):
                log = self._directory / "api.log"
                assert self._process.returncode is None, f"the API server ended: {log.read_text()[-500:]}"
                await asyncio.sleep(0.05)
        finally:
            await api.close()

    async def _is_ready(self, api: Api) -> bool:
        with contextlib.suppress(Unreachable):
            return await api.status("/readyz") == 200
        return False

    async def kill(self, how: signal.Signals = signal.SIGKILL) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(how)
        await self._process.wait()

    async def end(self) -> None:
        """Of everything."""
        self.go_on()
        await self.kill()
        if self._etcd is not None:
            self._etcd.kill()
            await self._etcd.wait()

    def pause(self) -> None:
        """It keeps its connections and answers nothing."""
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGCONT)


def _command(directory: Path, name: str) -> list[str]:
    """How the process was started whose id is in NAME.pid."""
    process = Path("/proc") / (directory / f"{name}.pid").read_text().strip()
    _, *arguments = (process / "cmdline").read_text().rstrip("\0").split("\0")
    return [os.readlink(process / "exe"), *arguments]


@contextlib.asynccontextmanager
async def own_api_server(directory: Path) -> AsyncIterator[ApiServer]:
    """A running API server with an empty cluster: no custom resources, and the test's namespace."""
    server = ApiServer(directory)
    await server.start()
    try:
        await server.cluster.kubectl("create", "namespace", server.cluster.namespace)
        yield server
    finally:
        await server.end()
