"""One running project for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.compose.project import Failed, Project, no_engine


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Without `--compose`, or an engine, the tests are skipped and say why."""
    here = [item for item in items if Path(__file__).parent in item.path.parents]
    if not here:
        return
    reason = no_engine() if config.getoption("--compose") else "`make compose-test` runs these"
    for item in here:
        item.add_marker(pytest.mark.timeout(1200))
        if reason:
            item.add_marker(pytest.mark.skip(reason=f"docker-compose.yml is NOT tested: {reason}"))


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """The project, started from nothing, and removed without a trace."""
    project = Project(tmp_path_factory.mktemp("compose"))
    project.down()
    try:
        try:
            project.up()
        except Failed as error:
            raise Failed(f"{error}\n{project.compose('logs', '--tail', '40')}") from None
        yield project
    finally:
        project.down()
        assert project.left() == []


@pytest.fixture
def project(running: Project) -> Iterator[Project]:
    """The project with its config as it is in the repository, before and after."""
    running.restore()
    yield running
    running.restore()
