"""Real files, and the real watcher. A watch waits for the batch that a change must lead to; nothing sleeps."""

from __future__ import annotations

import io
import os
import shutil
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from xds_server.kube.core import Service
from xds_server.kube.snapshot import Snapshot
from xds_server.sources import directory
from xds_server.sources.directory import look, read, watch
from xds_server.sources.yaml import MAX_FILE_BYTES
from xds_server.store import Batch, Changes, Store

RARELY = 60_000
OFTEN = 100


def service(name: str) -> str:
    return f"apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\n"


def names(batch: Batch) -> list[str]:
    return [raw.ref.name for raw in batch.raws]


def told(batch: Batch, root: Path) -> list[str]:
    return [
        f"{str(found.position).removeprefix(f'{root}/')} {found.code} {found.message}" for found in batch.diagnostics
    ]


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    folder = tmp_path / "conf"
    folder.mkdir()
    return folder


def test_a_directory_is_read_recursively_in_order(conf: Path) -> None:
    for name in ("z.yaml", "a/b.yml", "a/c.json", "m.yaml", "notes.txt", "backup.yaml~", ".hidden.yaml", ".git/x.yaml"):
        path = conf / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(service(path.name.partition(".")[0]))
    (conf / "a/c.json").write_text('{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "c"}}')
    batch = read(str(conf))
    assert names(batch) == ["b", "c", "m", "z"]
    assert batch.raws[0].source.file == f"{conf}/a/b.yml"
    assert (batch.diagnostics, batch.broken) == ((), frozenset())


def test_a_single_file_is_read_whatever_its_name(conf: Path) -> None:
    (conf / "notes.txt").write_text(service("a"))
    assert names(read(str(conf / "notes.txt"))) == ["a"]


def test_stdin_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO((service("a") + "---\n{").encode())))
    batch = read("-")
    assert names(batch) == ["a"]
    assert [str(found.position) for found in batch.diagnostics] == ["<stdin>:5:2"]


def test_a_config_map_volume_is_read_once(conf: Path) -> None:
    mount_config_map(conf, "1", a=service("a"), b=service("b"))
    assert [(raw.ref.name, raw.source.file) for raw in read(str(conf)).raws] == [
        ("a", f"{conf}/a.yaml"),
        ("b", f"{conf}/b.yaml"),
    ]


def test_links_are_followed_but_nothing_is_read_twice(conf: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "a.yaml").write_text(service("a"))
    (conf / "link").symlink_to(elsewhere)
    (conf / "other").symlink_to(elsewhere)
    (conf / "file.yaml").symlink_to(elsewhere / "a.yaml")
    (conf / "loop").symlink_to(conf)
    (conf / "itself").symlink_to(conf / "itself")
    batch = read(str(conf))
    assert [raw.source.file for raw in batch.raws] == [f"{conf}/file.yaml"]
    assert batch.diagnostics == ()


@pytest.mark.parametrize("reverse", [False, True])
def test_of_two_links_to_one_folder_the_first_by_name_counts(
    conf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reverse: bool
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/a.yaml").write_text(service("a"))
    (conf / "one").symlink_to(tmp_path / "elsewhere")
    (conf / "two").symlink_to(tmp_path / "elsewhere")
    scandir = os.scandir
    monkeypatch.setattr(
        os, "scandir", lambda path: sorted(scandir(path), key=lambda entry: entry.name, reverse=reverse)
    )
    assert [raw.source.file for raw in read(str(conf)).raws] == [f"{conf}/one/a.yaml"]


def test_what_cannot_be_read_is_told_and_counts_as_broken(conf: Path) -> None:
    (conf / "a.yaml").write_text(service("a"))
    (conf / "dangling.yaml").symlink_to(conf / "nowhere")
    os.mkfifo(conf / "pipe.yaml")
    (conf / "folder.yaml").mkdir()
    batch = read(str(conf))
    assert names(batch) == ["a"]
    assert told(batch, conf) == [
        "dangling.yaml:1:1 XDS1002 it cannot be read: No such file or directory",
        "pipe.yaml:1:1 XDS1002 it cannot be read: it is not a regular file",
    ]
    assert batch.broken == {f"{conf}/dangling.yaml", f"{conf}/pipe.yaml"}


def test_an_unreadable_file_and_directory_are_told(conf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Root may read everything, so permissions alone would test nothing where tests run as root.
    (conf / "sub").mkdir()
    (conf / "sub/a.yaml").write_text(service("a"))
    scandir = os.scandir

    def refuse(path: str) -> object:
        if path.endswith("sub"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    batch = read(str(conf))
    assert told(batch, conf) == ["sub:1:1 XDS1002 it cannot be read: Permission denied"]
    assert batch.broken == {f"{conf}/sub"}


def test_a_missing_directory_is_told(conf: Path) -> None:
    batch = read(str(conf / "no"))
    assert told(batch, conf) == ["no:1:1 XDS1002 it cannot be read: No such file or directory"]


def test_a_file_that_is_too_large_is_not_opened(conf: Path) -> None:
    with (conf / "a.yaml").open("wb") as stream:
        stream.truncate(MAX_FILE_BYTES + 1)
    batch = read(str(conf))
    assert [found.code for found in batch.diagnostics] == ["XDS1002"]
    assert batch.broken == {f"{conf}/a.yaml"}


def test_a_look_at_unchanged_files_gives_the_same_batch(conf: Path) -> None:
    (conf / "a.yaml").write_text(service("a"))
    (conf / "b.yaml").write_text("a: {")
    first = look(str(conf))
    (conf / "a.yaml").touch()
    second = look(str(conf), first)
    assert second.batch is first.batch


def test_a_settled_file_is_not_opened_again(conf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = conf / "a.yaml"
    path.write_text(service("a"))
    (conf / "b.yaml").write_text(service("b"))
    later = path.stat().st_mtime_ns + 3600 * 10**9
    monkeypatch.setattr(directory.time, "time_ns", lambda: later)
    first = look(str(conf))
    monkeypatch.setattr(directory.Path, "open", lambda *_: pytest.fail("opened"))
    assert look(str(conf), first).batch is first.batch


def test_a_file_written_within_the_clocks_tick_is_noticed(conf: Path) -> None:
    path = conf / "a.yaml"
    path.write_text(service("a"))
    status = path.stat()
    first = look(str(conf))
    path.write_text(service("b"))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert names(look(str(conf), first).batch) == ["b"]


@pytest.mark.parametrize("content", ["", "\n", " \n\n"], ids=["nothing", "a line", "blanks"])
def test_a_file_that_is_empty_all_at_once_is_taken_for_half_written(conf: Path, content: str) -> None:
    (conf / "a.yaml").write_text(service("a"))
    first = look(str(conf))
    (conf / "a.yaml").write_text(content)
    second = look(str(conf), first)
    assert told(second.batch, conf) == ["a.yaml:1:1 XDS1011 the file is empty now"]
    assert second.batch.broken == {f"{conf}/a.yaml"}
    assert look(str(conf), second).batch is second.batch
    (conf / "a.yaml").write_text("# nothing here any more\n")
    assert look(str(conf), second).batch.broken == frozenset()


def test_a_file_that_was_always_empty_is_no_finding(conf: Path) -> None:
    (conf / "a.yaml").write_text("")
    assert read(str(conf)).diagnostics == ()


def mount_config_map(volume: Path, version: str, **files: str) -> None:
    """Writes as the kubelet does: a folder of the version, and the link `..data` swapped to it at once."""
    folder = volume / f"..{version}"
    folder.mkdir()
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text)
        if not (volume / f"{name}.yaml").is_symlink():
            (volume / f"{name}.yaml").symlink_to(Path("..data") / f"{name}.yaml")
    (volume / "..data_tmp").symlink_to(folder.name)
    (volume / "..data_tmp").rename(volume / "..data")
    for old in volume.glob("..[0-9]*"):
        if old != folder:
            shutil.rmtree(old)


def test_a_look_at_touched_files_opens_no_others(conf: Path) -> None:
    for name in ("a", "b", "c"):
        (conf / f"{name}.yaml").write_text(service(name))
    first = look(str(conf))
    for name in ("a", "b"):
        (conf / f"{name}.yaml").write_text(service(f"{name}2"))
    (conf / "d.yaml").write_text(service("d"))
    second = look(str(conf), first, [f"{conf}/a.yaml", f"{conf}/d.yaml", f"{conf}/.swap.yaml", f"{conf}/gone.yaml"])
    assert names(second.batch) == ["a2", "b", "c", "d"]
    assert look(str(conf), second, [f"{conf}/c.yaml"]).batch is second.batch


def replace_by_link(conf: Path) -> None:
    (conf / "a.yaml").unlink()
    (conf / "a.yaml").symlink_to(conf / "b.yaml")


def move_directory(conf: Path) -> None:
    (conf / "sub").rename(conf / "bus")


@pytest.mark.parametrize(
    ("change", "touched", "expected"),
    [
        (lambda conf: (conf / "a.yaml").unlink(), ["a.yaml"], ["b", "c"]),
        (replace_by_link, ["a.yaml"], ["b", "c"]),
        (move_directory, ["sub", "bus"], ["a", "b", "c"]),
        (lambda conf: (conf / "new").mkdir(), ["new"], ["a", "b", "c"]),
        (lambda conf: None, ["elsewhere/x.yaml"], ["a", "b", "c"]),
    ],
    ids=["a file is gone", "a link", "a directory moved", "a new directory", "outside"],
)
def test_what_is_no_plain_file_has_the_whole_directory_looked_at(
    conf: Path, change: Callable[[Path], object], touched: list[str], expected: list[str]
) -> None:
    (conf / "sub").mkdir()
    for name in ("a", "b", "sub/c"):
        (conf / f"{name}.yaml").write_text(service(name[-1]))
    first = look(str(conf))
    change(conf)
    second = look(str(conf), first, [f"{conf}/{name}" for name in touched])
    assert names(second.batch) == expected
    assert second.files.keys() == look(str(conf)).files.keys()


def test_changes_lead_to_the_snapshots_that_whole_batches_lead_to(conf: Path) -> None:
    steps: list[tuple[str, str | None]] = [
        ("a.yaml", service("a") + "---\n" + service("b")),
        ("c.yaml", service("c")),
        ("c.yaml", "# moved down\n" + service("c")),
        ("a.yaml", service("b") + "---\n" + service("d")),
        ("e.yaml", service("c")),  # twice
        ("c.yaml", service("f")),
        ("e.yaml", service("e")),
        ("g.yaml", "apiVersion: v1\nkind: Unknown\nmetadata: {name: x}\n"),
        ("a.yaml", service("b")[:-2]),  # broken
        ("a.yaml", service("b")),
        ("g.yaml", None),
        ("c.yaml", None),
    ]
    by_changes, by_batches = Store(), Store()
    reading = look(str(conf))
    by_changes.apply("files", reading.batch)
    told = 0
    for name, text in steps:
        path = conf / name
        if text is None:
            path.unlink()
        else:
            path.write_text(text)
        reading = look(str(conf), reading, [str(path)])
        whole = by_batches.apply("files", reading.batch)
        if reading.changes is not None:
            told += 1
            followed = by_changes.update("files", reading.changes)
        else:
            followed = by_changes.apply("files", reading.batch)
        assert [(ref, str(source)) for ref, source in followed.sources.items()] == [
            (ref, str(source)) for ref, source in whole.sources.items()
        ]
        assert services(followed) == services(whole)
        assert followed.diagnostics == whole.diagnostics
        assert followed.last_good == whole.last_good
    assert told == 6


class Watched:
    """A store that follows a directory."""

    def __init__(self, news: AsyncIterator[Batch | Changes]) -> None:
        self._news = news
        self._store = Store()

    async def until(self, holds: Callable[[Snapshot], bool]) -> Snapshot:
        """The first snapshot, from the next batch on, of which it holds."""
        async for news in self._news:
            if isinstance(news, Batch):
                snapshot = self._store.apply("files", news)
            else:
                snapshot = self._store.update("files", news)
            if holds(snapshot):
                return snapshot
        raise AssertionError("the watch ended")

    async def until_names(self, *expected: str) -> Snapshot:
        return await self.until(lambda snapshot: services(snapshot) == [*expected])


def services(snapshot: Snapshot) -> list[str]:
    return [name for _, name in snapshot.of(Service)]


def codes(snapshot: Snapshot) -> list[str]:
    return [found.code for found in snapshot.diagnostics]


@asynccontextmanager
async def watched(folder: Path, look_milliseconds: int = RARELY) -> AsyncIterator[Watched]:
    batches = watch(str(folder), look_milliseconds)
    try:
        yield Watched(batches)
    finally:
        await batches.aclose()


async def test_files_that_come_change_and_go_are_followed(conf: Path) -> None:
    (conf / "a.yaml").write_text(service("a"))
    async with watched(conf) as follower:
        first = await follower.until_names("a")
        (conf / "b.yaml").write_text(service("b"))
        second = await follower.until_names("a", "b")
        assert second.of(Service)["default", "a"] is first.of(Service)["default", "a"]
        (conf / "b.yaml").write_text(service("c"))
        await follower.until_names("a", "c")
        (conf / "a.yaml").unlink()
        await follower.until_names("c")
        (conf / "sub").mkdir()
        (conf / "sub/d.yaml").write_text(service("d"))
        await follower.until_names("c", "d")


async def test_an_editor_that_saves_by_renaming_is_followed(conf: Path) -> None:
    path = conf / "a.yaml"
    path.write_text(service("a"))
    async with watched(conf) as follower:
        await follower.until_names("a")
        # vim with backupcopy=no: move the file away, write a new one under its name, delete the old one
        path.rename(conf / "a.yaml~")
        path.write_text(service("b"))
        (conf / "a.yaml~").unlink()
        await follower.until_names("b")
        # most others: write beside it, then move it into place
        (conf / "a.yaml.tmp").write_text(service("c"))
        (conf / "a.yaml.tmp").replace(path)
        await follower.until_names("c")


async def test_a_single_file_that_is_replaced_is_followed(conf: Path) -> None:
    path = conf / "a.yaml"
    path.write_text(service("a"))
    async with watched(path, OFTEN) as follower:
        await follower.until_names("a")
        for name in ("b", "c"):
            (conf / "new").write_text(service(name))
            (conf / "new").replace(path)
            await follower.until_names(name)


async def test_a_config_map_volume_is_followed(conf: Path) -> None:
    mount_config_map(conf, "1", a=service("a"), b=service("b"))
    async with watched(conf) as follower:
        await follower.until_names("a", "b")
        mount_config_map(conf, "2", a=service("a2"), b=service("b2"))
        await follower.until_names("a2", "b2")


async def test_a_broken_file_keeps_its_objects_until_it_is_mended(conf: Path) -> None:
    (conf / "a.yaml").write_text(service("a") + "---\n" + service("b"))
    async with watched(conf) as follower:
        good = await follower.until_names("a", "b")
        (conf / "a.yaml").write_text(service("a") + "---\n" + service("b")[:-2])
        broken = await follower.until(lambda snapshot: codes(snapshot) == ["XDS1001"])
        assert broken.of(Service) is good.of(Service)
        assert [ref.name for ref in broken.last_good] == ["b"]
        (conf / "a.yaml").write_text(service("a"))
        assert codes(await follower.until_names("a")) == []


async def test_a_directory_that_goes_and_comes_back_is_followed(conf: Path) -> None:
    (conf / "a.yaml").write_text(service("a"))
    async with watched(conf, OFTEN) as follower:
        await follower.until_names("a")
        shutil.move(conf, conf.parent / "gone")
        gone = await follower.until(lambda snapshot: codes(snapshot) == ["XDS1002"])
        assert services(gone) == ["a"]
        assert [ref.name for ref in gone.last_good] == ["a"]
        (conf / "sub").mkdir(parents=True)
        (conf / "b.yaml").write_text(service("b"))
        await follower.until_names("b")
        (conf / "c.yaml").write_text(service("c"))
        await follower.until_names("b", "c")


async def test_a_directory_that_is_not_there_yet_is_waited_for(conf: Path) -> None:
    async with watched(conf / "later", OFTEN) as follower:
        assert codes(await follower.until_names()) == ["XDS1002"]
        (conf / "later").mkdir()
        (conf / "later/a.yaml").write_text(service("a"))
        await follower.until_names("a")


async def test_a_change_that_nothing_tells_of_is_found(conf: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere.yaml"
    elsewhere.write_text(service("a"))
    (conf / "a.yaml").symlink_to(elsewhere)
    async with watched(conf, OFTEN) as follower:
        await follower.until_names("a")
        elsewhere.write_text(service("b"))
        await follower.until_names("b")


async def test_without_notifications_the_directory_is_looked_at(conf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_watches_left(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(directory.watchfiles, "awatch", no_watches_left)
    async with watched(conf, OFTEN) as follower:
        await follower.until_names()
        (conf / "a.yaml").write_text(service("a"))
        await follower.until_names("a")


async def test_what_changes_while_the_directory_is_first_read_is_not_lost(
    conf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first_look = True

    def slow_look(*arguments: object) -> object:
        nonlocal first_look
        reading = look(*arguments)  # type: ignore[arg-type]  # those of look
        if first_look:
            first_look = False
            (conf / "a.yaml").write_text(service("a"))
        return reading

    monkeypatch.setattr(directory, "look", slow_look)
    async with watched(conf) as follower:
        await follower.until_names()
        await follower.until_names("a")
