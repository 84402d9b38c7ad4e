"""Every case is a folder: input, and exactly what `xds-server translate` prints for it.

Input is `in.yaml` or the folder `config/`; `proxy.yaml` (or several, `proxy-NAME.yaml`) says for which proxy, else
it is a gateway that every Gateway selects. Expected are `out.yaml`, the stdout of the command, and `diagnostics.txt`,
its stderr, which is absent when there is none; of several proxies, `out-NAME.yaml` and `diagnostics-NAME.txt`.
`make golden` rewrites them. The folders under `examples/` are cases too.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest
from click.testing import CliRunner

from tests.envoy_config import decoded_twice, static_bootstrap, validate
from xds_server.cli.inputs import load
from xds_server.cli.main import cli
from xds_server.cli.proxies import parse_proxy
from xds_server.mesh.proxy import EVERY_GATEWAY
from xds_server.settings import Inputs
from xds_server.translate import translate

ROOT = Path(__file__).parents[2]


class Case(NamedTuple):
    """One translation: of a folder, for one of its proxies ("" is every gateway's)."""

    folder: Path
    source: str
    proxy: str

    @property
    def suffix(self) -> str:
        return self.proxy.removeprefix("proxy").removesuffix(".yaml")

    def __str__(self) -> str:
        return f"{self.folder.relative_to(ROOT)}{self.suffix}"


def cases() -> list[Case]:
    found = []
    for source in sorted([*ROOT.glob("tests/golden/*/*/in.yaml"), *ROOT.glob("examples/*/config")]):
        proxies = sorted(file.name for file in source.parent.glob("proxy*.yaml")) or [""]
        found += [Case(source.parent, source.name, proxy) for proxy in proxies]
    return found


CASES = cases()
each_case = pytest.mark.parametrize("case", CASES, ids=map(str, CASES))


@each_case
def test_translate_prints_what_the_case_expects(
    case: Case, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.chdir(case.folder)
    arguments = ["translate", case.source, *(["--proxy", case.proxy] if case.proxy else [])]
    result = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    actual = {f"out{case.suffix}.yaml": result.stdout, f"diagnostics{case.suffix}.txt": result.stderr}
    for name, text in actual.items():
        if request.config.getoption("--update-golden"):
            _write(case.folder / name, text)
        assert text == _read(case.folder / name), f"{name} differs; `make golden` rewrites it"


@each_case
def test_envoy_and_a_second_decoder_accept_what_the_case_gives(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(case.folder)
    proxy = parse_proxy(case.proxy) if case.proxy else EVERY_GATEWAY
    resources = translate(load(Inputs(source=(case.source,))), proxy).resources
    for by_name in resources.by_type.values():
        for resource in by_name.values():
            decoded_twice(resource)
    validate(static_bootstrap(resources))


def _write(file: Path, text: str) -> None:
    file.write_text(text, encoding="utf-8") if text else file.unlink(missing_ok=True)


def _read(file: Path) -> str:
    return file.read_text(encoding="utf-8") if file.exists() else ""
