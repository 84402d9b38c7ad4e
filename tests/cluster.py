"""A Kubernetes cluster for tests: the one that XDS_SERVER_TEST_KUBECONFIG names.

Tests that kill the API server start one of their own, with the same program and the same etcd but other keys in it.
For that the kubeconfig must have the file `api.pid` beside it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

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

    async def install(self, *without: str) -> None:
        """Custom resources for every kind that is read and not installed, but for the kinds in `without`."""
        served = json.loads(await self.kubectl("get", "crds", "-o", "json"))["items"]
        names = {crd["metadata"]["name"] for crd in served}
        wanted = [crd(*key) for key in KINDS if is_custom(key[0]) and key[1] not in without]
        if missing := [yaml.safe_dump(one) for one in wanted if one["metadata"]["name"] not in names]:
            await self.kubectl("apply", "-f", "-", text="\n---\n".join(missing))
            await self.kubectl("wait", "--for=condition=Established", "crds", "--all", "--timeout=30s")


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
    """An API server of a test's own, that can be killed and started again."""

    def __init__(self, directory: Path) -> None:
        original = kubeconfig()
        pid_file = original.parent / "api.pid"
        if not pid_file.exists():
            pytest.skip(f"NO API SERVER TO KILL: there is no api.pid beside {original}")
        self._process_of_original = Path("/proc") / pid_file.read_text().strip()
        self.port = free_port()
        self._log = directory / "api.log"
        command = (self._process_of_original / "cmdline").read_text().rstrip("\0").split("\0")
        self._cwd = os.readlink(self._process_of_original / "cwd")
        self._command = [
            os.readlink(self._process_of_original / "exe"),
            *(f"--secure-port={self.port}" if part.startswith("--secure-port") else part for part in command[1:]),
            f"--etcd-prefix=/test-{uuid.uuid4().hex}",
        ]
        config = yaml.safe_load(original.read_text())
        config["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{self.port}"
        self.cluster = Cluster(directory / "kubeconfig")
        self.cluster.kubeconfig.write_text(yaml.safe_dump(config))
        self._process: asyncio.subprocess.Process

    async def start(self) -> None:
        """Returns once it is ready."""
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._command, cwd=self._cwd, stdout=log, stderr=log, start_new_session=True
            )
        api = Api(self.cluster.access)
        await api.connect()
        try:
            while not await self._is_ready(api):
                assert self._process.returncode is None, f"the API server ended: {self._log.read_text()[-500:]}"
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

    def pause(self) -> None:
        """It keeps its connections and answers nothing."""
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGCONT)


@contextlib.asynccontextmanager
async def own_api_server(directory: Path) -> AsyncIterator[ApiServer]:
    """A running API server with an empty cluster: no custom resources, and the test's namespace."""
    server = ApiServer(directory)
    await server.start()
    try:
        await server.cluster.kubectl("create", "namespace", server.cluster.namespace)
        yield server
    finally:
        server.go_on()
        await server.kill()
