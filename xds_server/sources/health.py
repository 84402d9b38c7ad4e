"""Which sources were read, and which are out of date and since when."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
import structlog

from xds_server.sources.condition import Condition
from xds_server.sources.kubernetes import News
from xds_server.store import Batch

log = structlog.get_logger()


class SourceStatus(msgspec.Struct, frozen=True):
    """synced: it was read once. stale_seconds: for how long it has been lost, 0 while it is not; what was read before
    is still served. problems: why it was not read, or is lost, and what is left out."""

    name: str
    synced: bool
    stale_seconds: float
    problems: tuple[str, ...]


class _Source:
    def __init__(self) -> None:
        self.is_synced = False
        self.lost_since: float | None = None
        self.condition = Condition()


class Health:
    """clock: seconds. Only `tell` changes it."""

    def __init__(self, names: Sequence[str], clock: Callable[[], float]) -> None:
        self._sources = {name: _Source() for name in names}
        self._clock = clock

    def tell(self, name: str, news: News) -> None:
        """Takes what a source says of itself; logs when it is lost and when it is back."""
        source = self._sources[name]
        if not isinstance(news, Condition):
            if not source.is_synced:
                log.info("source read", source=name, objects=len(news.raws) if isinstance(news, Batch) else 0)
            source.is_synced = True
            return
        if news.left_out and news.left_out != source.condition.left_out:
            log.warning("left out", source=name, problems=news.left_out)
        source.condition = news
        if news.lost and source.lost_since is None:
            source.lost_since = self._clock()
            words = "source lost; what was read stays in use" if source.is_synced else "source cannot be read yet"
            log.warning(words, source=name, problems=news.lost)
        elif not news.lost and source.lost_since is not None:
            log.info("source is back", source=name, seconds=round(self._clock() - source.lost_since, 3))
            source.lost_since = None

    def statuses(self) -> list[SourceStatus]:
        """A row for each source."""
        return [self._status(name, source) for name, source in self._sources.items()]

    def lost(self) -> list[SourceStatus]:
        """The sources that were read once and cannot be read now."""
        return [row for row in self.statuses() if row.stale_seconds > 0]

    def not_ready(self) -> list[str]:
        """Sentences, none when every source was read once."""
        rows = self.statuses()
        return [f"{row.name} was not read yet{_because(row.problems)}" for row in rows if not row.synced]

    def _status(self, name: str, source: _Source) -> SourceStatus:
        condition = source.condition
        age = 0.0 if source.lost_since is None or not source.is_synced else self._clock() - source.lost_since
        waiting = () if source.is_synced else condition.waiting
        return SourceStatus(name, source.is_synced, age, (*waiting, *condition.lost, *condition.left_out))


def _because(problems: Sequence[str]) -> str:
    return ": " + "; ".join(problems) if problems else ""
