from __future__ import annotations

import gc
import resource
import sys
from collections.abc import Iterator

import pytest

from xds_server import process


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    files, thresholds = resource.getrlimit(resource.RLIMIT_NOFILE), gc.get_threshold()
    turn = sys.getswitchinterval()
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, files)
    gc.set_threshold(*thresholds)
    gc.unfreeze()
    sys.setswitchinterval(turn)


def test_as_many_files_may_be_open_as_the_system_allows() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard // 2, hard))
    process.prepare()
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)


def test_the_translation_lets_proxies_be_answered_soon() -> None:
    process.prepare()
    assert sys.getswitchinterval() == pytest.approx(0.001)


def test_what_is_there_to_stay_is_not_searched_for_garbage() -> None:
    process.settle()
    assert gc.get_freeze_count() > 1000
