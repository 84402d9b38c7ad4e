"""The connection to an API server: the official client's configuration, authentication and TLS, and nothing else of it.

The client is imported when a connection is made: it takes half a second, which commands on files need not pay.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 2.5
"""How long a small question may take until the API server counts as lost."""
IN_CLUSTER = "in-cluster"
_HEADERS = {"Accept": "application/json", "Accept-Encoding": "identity"}


class Access(msgspec.Struct, frozen=True):
    """Which cluster, as kubectl is told. kubeconfig: a file; empty for $KUBECONFIG, ~/.kube/config, or the cluster that
    this process runs in. context: empty for the current one."""

    kubeconfig: str = ""
    context: str = ""


class NoAccess(Exception):
    """The configuration cannot be used; the text says why."""


class Unreachable(Exception):
    """A request got no answer, or not all of it."""


class Api:
    """name: of the cluster, for messages: its context, or `in-cluster`."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._client: Any = None
        self._renewing = asyncio.Lock()
        self.name = ""

    async def connect(self) -> None:
        """Reads the configuration; asks nothing yet. Raises NoAccess."""
        await asyncio.to_thread(_imported)  # for the imports here and below
        from kubernetes.aio.client import ApiClient, Configuration

        configuration = Configuration()
        self.name = await _load(self._access, configuration)
        configuration.connection_pool_maxsize = 0  # every watch holds a connection
        try:
            self._client = ApiClient(configuration)
        except OSError as error:
            raise NoAccess(f"the certificates of {self.name} cannot be read: {error}") from None
        self._client.user_agent = "xds-server"

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()

    async def renew(self) -> None:
        """Authenticates anew, after an answer 401: runs the exec plugin, reads the token's file."""
        used = self._client
        async with self._renewing:
            if self._client is used:
                with contextlib.suppress(NoAccess):  # said by the next answer 401 as well
                    await self.connect()
                    await used.close()

    @contextlib.asynccontextmanager
    async def get(self, url: str) -> AsyncIterator[Any]:
        """The answer to a request, an `aiohttp.ClientResponse` whose body is not read yet.

        Raises Unreachable, also from within for what reading the body raises.
        """
        import aiohttp
        from kubernetes.aio.config import ConfigException

        timeout = aiohttp.ClientTimeout(total=None, connect=CONNECT_SECONDS)
        try:
            method, full, headers, *_ = await self._client.param_serialize(
                "GET", url, header_params=dict(_HEADERS), auth_settings=["BearerToken"]
            )
            answer = await self._client.call_api(method, full, headers, _request_timeout=timeout)
            try:
                yield answer.response
            finally:
                answer.response.close()
        except (aiohttp.ClientError, OSError, ConfigException) as error:
            raise Unreachable(str(error) or type(error).__name__) from None

    async def status(self, url: str) -> int:
        """The status of the answer to a small question. Raises Unreachable."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS), self.get(url) as answer:
                await answer.read()
                return int(answer.status)
        except TimeoutError:
            raise Unreachable(f"no answer in {ANSWER_SECONDS:g} s") from None


def _imported() -> None:
    import kubernetes.aio.client
    import kubernetes.aio.config  # noqa: F401


async def _load(access: Access, configuration: Any) -> str:
    """Fills the configuration and returns the name of the cluster. Raises NoAccess."""
    import yaml
    from kubernetes.aio import config

    file = access.kubeconfig or os.environ.get("KUBECONFIG") or "~/.kube/config"
    is_inside = "KUBERNETES_SERVICE_HOST" in os.environ and not (access.kubeconfig or access.context)
    is_there = _exists(file)
    if not is_there and not is_inside:
        raise NoAccess(f"there is no kubeconfig {file}; name one with --kubeconfig or the variable KUBECONFIG")
    try:
        if not is_there:
            config.load_incluster_config(client_configuration=configuration)
            return IN_CLUSTER
        loader = await config.load_kube_config(
            config_file=file,  # `~` and several paths are understood
            context=access.context or None,
            client_configuration=configuration,
            persist_config=False,
        )
        return str(loader.current_context["name"])
    except (config.ConfigException, yaml.YAMLError, OSError, ValueError, KeyError, TypeError) as error:
        raise NoAccess(f"the kubeconfig {file} cannot be used: {error}") from None


def _exists(paths: str) -> bool:
    return any(Path(path).expanduser().exists() for path in paths.split(os.pathsep))
