"""The sources that the settings name: directories, files and a cluster."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

from xds_server.kube.kinds import KINDS
from xds_server.settings import KUBERNETES, Inputs
from xds_server.sources import directory, kubernetes, mesh_file
from xds_server.sources.condition import Condition
from xds_server.sources.kubernetes import Tell
from xds_server.sources.kubernetes_api import Access
from xds_server.sources.kubernetes_resources import Scope, parse_selectors
from xds_server.store import Batch, Changes

READ_SECONDS = 30.0
"""How long reading a cluster once may take."""


async def follow(source: str, inputs: Inputs, tell: Tell) -> None:
    """Tells what the source has now, and every change, until it is cancelled. Raises NoAccess, ValueError.

    `tell` is awaited before anything else is told.
    """
    if source == KUBERNETES:
        await kubernetes.watch(access_of(inputs), scope_of(inputs), tell)
        return
    is_read = False
    async with aclosing(directory.watch(source)) as found:
        async for news in found:
            if source == inputs.mesh_config:
                news = await asyncio.to_thread(mesh_file.batch, source)
            if isinstance(news, Changes):  # of what was read before, and is not lost
                await tell(news)
                continue
            is_lost = source in news.broken
            # What could never be read is not known to be empty: proxies would lose all that they have.
            is_read = is_read or not is_lost or bool(news.raws)
            if is_read:
                await tell(news)
            await tell(Condition(lost=_problems(source, news) if is_lost else ()))


def _problems(source: str, batch: Batch) -> tuple[str, ...]:
    found = (f"{problem.position}: {problem.message}" for problem in batch.diagnostics if problem.position)
    return tuple(found) or (f"{source} cannot be read",)


def read(source: str, inputs: Inputs) -> Batch:
    """Everything in the source now. Raises NoAccess, Incomplete, ValueError."""
    if source == KUBERNETES:
        return asyncio.run(kubernetes.read(access_of(inputs), scope_of(inputs), READ_SECONDS))
    return mesh_file.batch(source) if source == inputs.mesh_config else directory.read(source)


def access_of(inputs: Inputs) -> Access:
    return Access(inputs.kubeconfig, inputs.context)


def scope_of(inputs: Inputs) -> Scope:
    """Raises ValueError when a selector is wrong."""
    selectors = parse_selectors(inputs.selector, {kind for _, kind in KINDS})
    return Scope(inputs.namespace, selectors, inputs.secrets)
