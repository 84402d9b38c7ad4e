"""What is told of directories and files: what could never be read is not empty."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from xds_server.settings import Inputs
from xds_server.sources.condition import Condition
from xds_server.sources.follow import follow
from xds_server.sources.kubernetes import News
from xds_server.store import Batch, Changes

SERVICE = "apiVersion: v1\nkind: Service\nmetadata: {name: web}\n"


@asynccontextmanager
async def following(source: Path, inputs: Inputs | None = None) -> AsyncIterator[asyncio.Queue[News]]:
    told: asyncio.Queue[News] = asyncio.Queue()
    task = asyncio.create_task(follow(str(source), inputs or Inputs(source=(str(source),)), told.put))
    try:
        yield told
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(told: asyncio.Queue[News], kind: type[News]) -> News:
    """The next news of this kind."""
    async with asyncio.timeout(20):
        while not isinstance(news := await told.get(), kind):
            assert not isinstance(news, Batch | Changes), "objects were told before the source was read"
        return news


async def test_a_directory_that_is_not_there_is_waited_for_and_not_told_as_empty(tmp_path: Path) -> None:
    async with following(tmp_path / "conf") as told:
        news = await until(told, Condition)
        assert isinstance(news, Condition)
        assert "No such file" in news.lost[0]
        (tmp_path / "conf").mkdir()
        (tmp_path / "conf" / "web.yaml").write_text(SERVICE)
        batch = await until(told, Batch)
        assert isinstance(batch, Batch)
        assert [raw.ref.name for raw in batch.raws] == ["web"]
        assert await until(told, Condition) == Condition()
        (tmp_path / "conf").rename(tmp_path / "away")
        batch = await until(told, Batch)
        assert isinstance(batch, Batch)
        assert batch.broken == {str(tmp_path / "conf")}
        assert await until(told, Condition) != Condition()


async def test_an_empty_directory_is_told(tmp_path: Path) -> None:
    async with following(tmp_path) as told:
        batch = await until(told, Batch)
        assert isinstance(batch, Batch)
        assert (batch.raws, batch.broken) == ((), frozenset())


async def test_of_a_file_that_is_partly_broken_the_rest_is_told(tmp_path: Path) -> None:
    file = tmp_path / "all.yaml"
    file.write_text("a: [\n")
    async with following(file) as told:
        lost = await until(told, Condition)
        assert isinstance(lost, Condition)
        assert str(file) in lost.lost[0]
        file.write_text(f"{SERVICE}---\na: [\n")
        batch = await until(told, Batch)
        assert isinstance(batch, Batch)
        assert [raw.ref.name for raw in batch.raws] == ["web"]


async def test_settings_of_the_mesh_that_cannot_be_read_are_waited_for(tmp_path: Path) -> None:
    file = tmp_path / "mesh.yaml"
    async with following(file, Inputs(mesh_config=str(file))) as told:
        assert await until(told, Condition) != Condition()
        file.write_text("defaultConfig: {}\n")
        await until(told, Batch)
