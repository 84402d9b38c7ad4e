"""After a restart a broken file costs nothing: its objects are known from before."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

from tests.protocol.serving import until
from tests.unit.test_store import BAD, batch, codes, last_good, names, service
from xds_server.kept_objects import KeptObjects
from xds_server.kube.meta import Raw
from xds_server.state_file import StateFile
from xds_server.store import Batch, Store

SECRET = "apiVersion: v1\nkind: Secret\nmetadata: {name: key}\ndata: {tls.key: c2VjcmV0}\n"


async def served(file: StateFile, *batches: Batch) -> Store:
    """A server that reads these one after the other, and ends."""
    kept = KeptObjects(file)
    store = Store(["conf"], kept.load())
    saving = asyncio.create_task(kept.run())
    await asyncio.sleep(0)
    for one in batches:
        store.apply("conf", one)
        kept.take("conf", one.raws, store.good("conf"))
        kept.changed()
    saving.cancel()
    await asyncio.gather(saving, return_exceptions=True)
    return store


async def test_a_file_that_is_broken_at_the_start_keeps_its_objects(tmp_path: Path) -> None:
    file = StateFile(tmp_path / "objects")
    await served(file, batch(a=[service("a"), service("b")], c=service("c")))
    store = await served(file, batch(a="x: [\n", c=service("c")))
    assert names(store.snapshot) == ["a", "b", "c"]
    assert last_good(store.snapshot) == ["a", "b"]
    assert codes(store.snapshot) == ["XDS1001 a.yaml:2:1"]
    again = await served(file, batch(a="x: [\n", c=service("c")))
    assert names(again.snapshot) == ["a", "b", "c"], "what is kept is kept on"
    mended = await served(file, batch(a=service("a"), c=service("c")))
    assert names(mended.snapshot) == ["a", "c"]


async def test_an_object_that_is_wrong_at_the_start_keeps_its_last_good_form(tmp_path: Path) -> None:
    file = StateFile(tmp_path / "objects")
    await served(file, batch(a=service("a", "{clusterIP: 10.0.0.1}")), batch(a=service("a", BAD)))
    store = await served(file, batch(a=service("a", BAD)))
    assert names(store.snapshot) == ["a"]
    assert last_good(store.snapshot) == ["a"]


async def test_what_is_gone_at_the_start_is_not_brought_back(tmp_path: Path) -> None:
    file = StateFile(tmp_path / "objects")
    await served(file, batch(a=service("a"), b=service("b")))
    store = await served(file, batch(b=service("b")))
    assert names(store.snapshot) == ["b"]
    assert kinds(KeptObjects(file).load()) == [("Service", "b")]


def kinds(found: Mapping[str, Iterable[Raw]]) -> list[tuple[str, str]]:
    return [(raw.ref.kind, raw.ref.name) for raws in found.values() for raw in raws]


@pytest.mark.parametrize("key", [b"", b"k" * 32], ids=["without a key", "with a key"])
async def test_secrets_are_kept_only_in_an_encrypted_file(tmp_path: Path, key: bytes) -> None:
    file = StateFile(tmp_path / "objects", key)
    await served(file, batch(a=[service("a"), SECRET]))
    assert kinds(KeptObjects(file).load()) == [("Service", "a"), *([("Secret", "key")] if key else [])]
    assert b"c2VjcmV0" not in (tmp_path / "objects").read_bytes()


async def test_what_did_not_change_is_not_written_again(tmp_path: Path) -> None:
    file = StateFile(tmp_path / "objects")
    await served(file, batch(a=service("a")))
    before = (tmp_path / "objects").stat().st_ino
    await served(file, batch(a=service("a")), batch(a="# the same\n" + service("a")))
    assert (tmp_path / "objects").stat().st_ino == before


async def test_a_change_is_written_while_the_server_runs(tmp_path: Path) -> None:
    kept = KeptObjects(StateFile(tmp_path / "objects"))
    store = Store(["conf"], kept.load())
    saving = asyncio.create_task(kept.run())
    store.apply("conf", one := batch(a=service("a")))
    kept.take("conf", one.raws, store.good("conf"))
    kept.changed()
    await until((tmp_path / "objects").exists)
    saving.cancel()
    await asyncio.gather(saving, return_exceptions=True)


async def test_a_damaged_file_is_as_none(tmp_path: Path) -> None:
    (tmp_path / "objects").write_bytes(b"nonsense")
    assert KeptObjects(StateFile(tmp_path / "objects")).load() == {}
