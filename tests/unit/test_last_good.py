from __future__ import annotations

from pathlib import Path

import pytest

from xds_server import last_good
from xds_server.diagnostics import ObjectRef
from xds_server.envoy.resource import CLUSTER, SECRET, Resource
from xds_server.last_good import LastGood, LastGoodError, Remembered
from xds_server.mesh.origin import Origin
from xds_server.mesh.proxy import Proxy

PROXY = Proxy(labels=(("app", "edge"),))
ORIGIN = Origin(ObjectRef("", "Service", "default", "web"), ("spec", "ports", 0))
WEB = Resource(CLUSTER, "web", "v", b"\x00body", (ORIGIN,), ((CLUSTER, "other"),))
KEY = Resource(SECRET, "key", "v", b"private")


def fields(resources: tuple[Resource, ...]) -> list[tuple[object, ...]]:
    return [(r.type_url, r.name, r.version, r.body, r.origins, r.references) for r in resources]


@pytest.mark.parametrize(("secrets", "kept"), [(False, (WEB,)), (True, (WEB, KEY))], ids=["without", "with secrets"])
def test_what_is_saved_is_loaded(tmp_path: Path, secrets: bool, kept: tuple[Resource, ...]) -> None:
    file = LastGood(tmp_path / "state", secrets)
    file.save([Remembered(PROXY, (WEB, KEY))])
    loaded = LastGood(tmp_path / "state").load()
    assert {proxy: fields(resources) for proxy, resources in loaded.items()} == {PROXY: fields(kept)}


def test_the_file_is_for_its_owner_only_and_no_draft_stays(tmp_path: Path) -> None:
    LastGood(tmp_path / "state").save([])
    assert [path.name for path in tmp_path.iterdir()] == ["state"]
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o600


def test_without_a_file_nothing_is_remembered(tmp_path: Path) -> None:
    assert LastGood(tmp_path / "state").load() == {}


@pytest.mark.parametrize("at", [0, 30, -1], ids=["in the mark", "in the checksum", "in the content"])
def test_a_damaged_file_is_refused(tmp_path: Path, at: int) -> None:
    file = LastGood(tmp_path / "state")
    file.save([Remembered(PROXY, (WEB,))])
    content = bytearray((tmp_path / "state").read_bytes())
    content[at] ^= 1
    (tmp_path / "state").write_bytes(content)
    with pytest.raises(LastGoodError, match="damaged"):
        file.load()


def test_too_much_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(last_good, "LIMIT", 10)
    with pytest.raises(LastGoodError, match="more than"):
        LastGood(tmp_path / "state").save([Remembered(PROXY, (WEB,))])


def test_a_place_that_cannot_be_written_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(LastGoodError, match="nowhere"):
        LastGood(tmp_path / "nowhere" / "state").save([])
