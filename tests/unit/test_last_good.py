from __future__ import annotations

from pathlib import Path

import pytest

from xds_server import state_file
from xds_server.diagnostics import ObjectRef
from xds_server.envoy.resource import CLUSTER, SECRET, Resource
from xds_server.last_good import LastGood
from xds_server.mesh.origin import Origin
from xds_server.mesh.proxy import Proxy
from xds_server.state_file import StateError, StateFile, any_in, made

PROXY = Proxy(labels=(("app", "edge"),))
ORIGIN = Origin(ObjectRef("", "Service", "default", "web"), ("spec", "ports", 0))
WEB = Resource(CLUSTER, "web", "v", (b"\x00body",), (ORIGIN,), ((CLUSTER, "other"),))
KEY = Resource(SECRET, "key", "v", (b"private",))


def fields(resources: tuple[Resource, ...]) -> list[tuple[object, ...]]:
    return [(r.type_url, r.name, r.version, r.body, tuple(r.origins), tuple(r.references)) for r in resources]


@pytest.mark.parametrize(("key", "kept"), [(b"", (WEB,)), (b"k" * 32, (WEB, KEY))], ids=["without a key", "with a key"])
def test_what_is_saved_is_loaded(tmp_path: Path, key: bytes, kept: tuple[Resource, ...]) -> None:
    LastGood(StateFile(tmp_path / "state", key)).save([(PROXY, (WEB, KEY))])
    loaded = LastGood(StateFile(tmp_path / "state", key)).load()
    assert {proxy: fields(resources) for proxy, resources in loaded.items()} == {PROXY: fields(kept)}


def test_groups_share_what_they_have_in_common(tmp_path: Path) -> None:
    big = Resource(CLUSTER, "big", "v", (b"x" * 1_000_000,))
    others = [Resource(CLUSTER, f"c{i}", "v", (b"",)) for i in range(1100)]
    LastGood(StateFile(tmp_path / "state")).save([(PROXY, [*others, big]), (Proxy(), [big, WEB])])
    assert (tmp_path / "state").stat().st_size < 1_500_000
    loaded = LastGood(StateFile(tmp_path / "state")).load()
    assert [r.name for r in loaded[PROXY]] == [*(r.name for r in others), "big"]
    assert [r.name for r in loaded[Proxy()]] == ["big", "web"]
    assert loaded[PROXY][-1] is loaded[Proxy()][0]


def test_what_is_added_counts_until_all_is_saved_again(tmp_path: Path) -> None:
    kept = LastGood(StateFile(tmp_path / "state"))
    new, other = Resource(CLUSTER, "new", "v", (b"",)), Resource(CLUSTER, "web", "other", (b"",))
    kept.save([(PROXY, [WEB])])
    kept.add([(PROXY, [new, other]), (Proxy(), [new])])
    assert {proxy: fields(r) for proxy, r in kept.load().items()} == {
        PROXY: fields((WEB, new)),
        Proxy(): fields((new,)),
    }
    kept.save([(PROXY, [WEB])])
    assert {proxy: fields(r) for proxy, r in kept.load().items()} == {PROXY: fields((WEB,))}


def test_nothing_of_an_encrypted_file_can_be_read(tmp_path: Path) -> None:
    LastGood(StateFile(tmp_path / "state", b"k" * 32)).save([(PROXY, (WEB, KEY))])
    LastGood(StateFile(tmp_path / "state", b"k" * 32)).add([(PROXY, (WEB, KEY))])
    content = (tmp_path / "state").read_bytes() + (tmp_path / "state.more").read_bytes()
    assert not any(word in content for word in (b"private", b"body", b"web", b"edge"))


@pytest.mark.parametrize(("key", "words"), [(b"", "no key"), (b"x" * 32, "another key")])
def test_an_encrypted_file_needs_its_key(tmp_path: Path, key: bytes, words: str) -> None:
    LastGood(StateFile(tmp_path / "state", b"k" * 32)).save([(PROXY, (WEB,))])
    with pytest.raises(StateError, match=words):
        LastGood(StateFile(tmp_path / "state", key)).load()


def test_the_file_is_for_its_owner_only_and_no_draft_stays(tmp_path: Path) -> None:
    LastGood(StateFile(tmp_path / "state")).save([])
    assert [path.name for path in tmp_path.iterdir()] == ["state"]
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o600


def test_without_a_file_nothing_is_remembered(tmp_path: Path) -> None:
    assert LastGood(StateFile(tmp_path / "state")).load() == {}


@pytest.mark.parametrize("at", [0, 30, -1], ids=["in the mark", "in the checksum", "in the content"])
def test_a_damaged_file_is_refused(tmp_path: Path, at: int) -> None:
    file = LastGood(StateFile(tmp_path / "state"))
    file.save([(PROXY, (WEB,))])
    content = bytearray((tmp_path / "state").read_bytes())
    content[at] ^= 1
    (tmp_path / "state").write_bytes(content)
    with pytest.raises(StateError, match="damaged"):
        file.load()


def test_too_much_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state_file, "LIMIT", 10)
    with pytest.raises(StateError, match="more than"):
        LastGood(StateFile(tmp_path / "state")).save([(PROXY, (WEB,))])


def test_a_place_that_cannot_be_written_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="nowhere"):
        LastGood(StateFile(tmp_path / "nowhere" / "state")).save([])


def test_the_directory_is_made_for_its_owner_only(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    assert made(str(folder), "") == b""
    assert folder.stat().st_mode & 0o777 == 0o700
    assert not any_in(str(folder))
    LastGood(StateFile(folder / "proxies")).save([])
    assert any_in(str(folder))


def test_a_key_is_read_without_the_space_around_it(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"0123456789abcdef\n")
    assert made(str(tmp_path), str(tmp_path / "key")) == b"0123456789abcdef"


@pytest.mark.parametrize(
    ("directory", "key", "words"),
    [("file", "", "file cannot be used"), ("new", "none", "none cannot be used"), ("new", "file", "easily guessed")],
    ids=["not a directory", "no key file", "a short key"],
)
def test_what_cannot_be_used_is_named(tmp_path: Path, directory: str, key: str, words: str) -> None:
    (tmp_path / "file").write_bytes(b"short")
    with pytest.raises(StateError, match=words):
        made(str(tmp_path / directory), str(tmp_path / key) if key else "")
