"""What the offline commands print, and how they end."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from xds_server.cli import exits, lint, main
from xds_server.cli.main import COMMANDS, cli, run

SERVICE = """\
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec:
  ports: [{name: http, port: 80}]
"""
TYPO = """\
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web, namespace: shop}
spec:
  hosts: [web]
  http:
  - timeOut: 5s
    route:
    - destination: {host: web}
"""
ELSEWHERE = """\
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: vm}
spec: {address: 10.0.0.9, network: elsewhere}
"""
WARNED = SERVICE + "---\n" + ELSEWHERE
INPUTS = {"clean": SERVICE, "wrong": SERVICE + "---\n" + TYPO, "warned": WARNED, "empty": "", "unparsable": "a: [\n"}


@pytest.fixture
def invoke(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(tmp_path)
    for name, text in INPUTS.items():
        (tmp_path / f"{name}.yaml").write_text(text)
    (tmp_path / "nothing").mkdir()

    def call(*arguments: str, **options: Any) -> Result:
        return CliRunner().invoke(cli, list(arguments), catch_exceptions=False, **options)

    return call


CODES = {
    ("lint", "clean.yaml"): 0,
    ("lint", "wrong.yaml"): 1,
    ("lint", "warned.yaml"): 0,
    ("lint", "warned.yaml", "--fail-on", "warning"): 1,
    ("lint", "empty.yaml"): 3,
    ("lint", "unparsable.yaml"): 3,
    ("lint", "nothing"): 3,
    ("lint", "none.yaml"): 3,
    ("lint",): 2,
    ("lint", "clean.yaml", "--fail-on", "never"): 2,
    ("translate", "clean.yaml"): 0,
    ("translate", "wrong.yaml"): 1,
    ("translate", "warned.yaml"): 0,
    ("translate", "empty.yaml"): 3,
    ("translate", "unparsable.yaml"): 3,
    ("translate", "none.yaml"): 3,
    ("translate", "clean.yaml", "-t", "xds"): 2,
    ("translate", "clean.yaml", "--proxy", "toaster"): 2,
}


@pytest.mark.parametrize(("arguments", "code"), CODES.items(), ids=[" ".join(arguments) for arguments in CODES])
def test_exit_codes(invoke: Any, arguments: tuple[str, ...], code: int) -> None:
    assert invoke(*arguments).exit_code == code


@pytest.mark.parametrize("form", ["text", "json", "github", "sarif"])
@pytest.mark.parametrize(("name", "code"), [("clean", 0), ("wrong", 1), ("unparsable", 3)])
def test_the_exit_code_does_not_depend_on_the_format(invoke: Any, form: str, name: str, code: int) -> None:
    assert invoke("lint", f"{name}.yaml", "-o", form).exit_code == code


def test_lint_shows_the_place_the_effect_and_the_way_out(invoke: Any) -> None:
    lines = invoke("lint", "wrong.yaml").stdout.splitlines()
    assert lines[:-1] == [
        "wrong.yaml:13:5: error XDS1004 VirtualService/shop/web: unknown field 'timeOut'",
        "   11 |   hosts: [web]",
        "   12 |   http:",
        "   13 |   - timeOut: 5s",
        "      |     ^^^^^^^",
        "   = effect: the object is left out, or keeps its last good form if it had one; everything else goes on",
        '   = did you mean "timeout"?',
        "   = also IST0106",
    ]
    assert lines[-1].startswith("1 error, 0 warnings in 1 file, 1 object (")
    assert lines[-1].endswith(" s). Source: files.")


def test_lint_as_json_names_every_part(invoke: Any) -> None:
    [finding] = json.loads(invoke("lint", "wrong.yaml", "-o", "json").stdout)["findings"]
    assert {key: finding[key] for key in ("code", "level", "file", "line", "column", "object", "field")} == {
        "code": "XDS1004",
        "level": "error",
        "file": "wrong.yaml",
        "line": 13,
        "column": 5,
        "object": "VirtualService/shop/web",
        "field": "spec.http[0].timeOut",
    }


def test_lint_for_github_is_an_annotation(invoke: Any) -> None:
    first, _ = invoke("lint", "wrong.yaml", "-o", "github").stdout.splitlines()
    assert first.startswith(
        "::error file=wrong.yaml,line=13,col=5,title=XDS1004 VirtualService/shop/web::unknown field 'timeOut' ("
    )


def test_lint_as_sarif_has_the_rule_and_the_region(invoke: Any) -> None:
    [finding] = json.loads(invoke("lint", "wrong.yaml", "-o", "sarif").stdout)["runs"]
    assert [rule["id"] for rule in finding["tool"]["driver"]["rules"]] == ["XDS1004"]
    [result] = finding["results"]
    assert result["locations"][0]["physicalLocation"] == {
        "artifactLocation": {"uri": "wrong.yaml"},
        "region": {"startLine": 13, "startColumn": 5},
    }


def test_stdin_is_read(invoke: Any) -> None:
    result = invoke("translate", "-", "-t", "cds", "--proxy", "sidecar,namespace=shop,interception=NONE", input=SERVICE)
    assert [item["name"] for item in yaml.safe_load(result.stdout)["clusters"]] == [
        "outbound|80||web.shop.svc.cluster.local"
    ]


def test_translate_keeps_data_and_messages_apart(invoke: Any) -> None:
    result = invoke("translate", "wrong.yaml", "-o", "json")
    assert json.loads(result.stdout).keys() == {"listeners", "routes", "clusters", "endpoints", "secrets"}
    assert "XDS1004" in result.stderr


def test_translate_yaml_and_json_say_the_same_and_every_run_the_same_bytes(invoke: Any) -> None:
    arguments = ("translate", "clean.yaml", "--proxy", "sidecar,namespace=shop,interception=NONE")
    printed = invoke(*arguments).stdout
    assert printed == invoke(*arguments).stdout
    assert yaml.safe_load(printed) == json.loads(invoke(*arguments, "-o", "json").stdout)


ENVIRONMENTS = [
    pytest.param({}, (), False, id="no colour where there is no terminal"),
    pytest.param({"CLICOLOR_FORCE": "1"}, (), True, id="colour where it is forced"),
    pytest.param({"CLICOLOR_FORCE": "1", "NO_COLOR": "1"}, (), False, id="NO_COLOR wins"),
    pytest.param({"CLICOLOR_FORCE": "1"}, ("--no-color",), False, id="the flag wins"),
]


@pytest.mark.parametrize(("environment", "flags", "colored"), ENVIRONMENTS)
def test_color(
    invoke: Any, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], flags: tuple[str, ...], colored: bool
) -> None:
    for name in ("NO_COLOR", "CLICOLOR_FORCE", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    process = subprocess.run(
        [sys.executable, "-m", "xds_server", "lint", "wrong.yaml", *flags], capture_output=True, check=False
    )
    assert (b"\x1b[" in process.stdout) is colored


def test_a_bug_is_reported_without_a_traceback(
    invoke: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(_: object) -> None:
        raise ZeroDivisionError("a mistake of ours")

    monkeypatch.setattr(lint, "check", broken)
    assert run(["lint", "clean.yaml"]) == exits.BUG
    said = capsys.readouterr().err
    assert "a bug in xds-server" in said
    assert "a mistake of ours" in said
    assert "Traceback" not in said
    assert run(["lint", "clean.yaml", "-v"]) == exits.BUG
    assert "Traceback" in capsys.readouterr().err


def test_a_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "many.yaml").write_text(
        "---\n".join(SERVICE.replace("name: web", f"name: web-{number}") for number in range(2000))
    )
    command = f"{sys.executable} -m xds_server translate {tmp_path} -p sidecar,interception=NONE | head -c 10"
    done = subprocess.run(command, shell=True, capture_output=True, check=False)
    assert done.stderr == b""


@pytest.mark.parametrize("arguments", [["--help"], ["version"], *([name, "--help"] for name in COMMANDS)], ids=" ".join)
def test_help_and_version_do_not_import_what_is_slow(arguments: list[str]) -> None:
    slow = {"grpc", "kubernetes", "uvicorn", "starlette"}
    code = f"import sys; from xds_server.cli.main import run; run({arguments}); print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert slow & {name.partition(".")[0] for name in done.stderr.split()} == set()


def test_the_table_of_commands_is_complete() -> None:
    files = Path(main.__file__).parent.glob("*.py")
    assert {file.stem for file in files if "@click.command(" in file.read_text(encoding="utf-8")} == COMMANDS.keys()
