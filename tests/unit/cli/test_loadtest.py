"""What `xds-server loadtest` refuses before it connects."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest
from click.testing import CliRunner

from xds_server.cli import exits
from xds_server.cli.loadtest import Part, Seconds
from xds_server.cli.main import cli

WRONG = {
    "no port": (["localhost"], exits.USAGE, "HOST:PORT"),
    "a port that is none": (["localhost:99999"], exits.USAGE, "HOST:PORT"),
    "a host that is not known": (["no.such.host.invalid:15010"], exits.CANNOT_RUN, "is not known"),
    "half a certificate": (["127.0.0.1:1", "--tls-ca", "x", "--tls-cert", "y"], exits.USAGE, "belong together"),
    "a certificate without an authority": (
        ["127.0.0.1:1", "--tls-cert", "y", "--tls-key", "z"],
        exits.USAGE,
        "need --tls-ca",
    ),
    "files that are not there": (["127.0.0.1:1", "--tls-ca", "/none.pem"], exits.CANNOT_RUN, "No such file"),
    "two triggers": (
        ["127.0.0.1:1", "--trigger", "x", "--swap", __file__, __file__],
        exits.USAGE,
        "exclude each other",
    ),
    "a trigger and a duration": (["127.0.0.1:1", "--trigger", "x", "--duration", "5s"], exits.USAGE, "--rounds"),
    "rounds of nothing": (["127.0.0.1:1", "--rounds", "3"], exits.USAGE, "--trigger"),
    "a proxy that is none": (["127.0.0.1:1", "-p", "toaster"], exits.USAGE, "neither a file nor a proxy"),
    "a gRPC client": (["127.0.0.1:1", "-p", "grpc"], exits.USAGE, "these are Envoys"),
    "too many streams": (["127.0.0.1:1", "--streams", "100000000"], exits.CANNOT_RUN, "open files"),
}


@pytest.mark.parametrize(("arguments", "code", "words"), WRONG.values(), ids=WRONG.keys())
def test_it_refuses(arguments: list[str], code: int, words: str) -> None:
    result = CliRunner().invoke(cli, ["loadtest", *arguments])
    assert result.exit_code == code
    assert words in result.output


@pytest.mark.parametrize(
    ("text", "seconds"), [("10s", 10.0), ("1m30s", 90.0), ("250ms", 0.25), ("0s", 0.0), ("0", 0.0)]
)
def test_a_duration_is_written_as_everywhere(text: str, seconds: float) -> None:
    assert Seconds().convert(text, None, None) == seconds


@pytest.mark.parametrize("text", ["ten", "-5s", "10"])
def test_a_duration_has_a_unit(text: str) -> None:
    result = CliRunner().invoke(cli, ["loadtest", "127.0.0.1:1", "--duration", text])
    assert result.exit_code == exits.USAGE


@pytest.mark.parametrize("text", ["x", "101%", "-3", "%", "1.5%"])
def test_a_part_is_a_number_or_a_share(text: str) -> None:
    result = CliRunner().invoke(cli, ["loadtest", "127.0.0.1:1", f"--stalled={text}"])
    assert result.exit_code == exits.USAGE
    assert "neither a number such as 20 nor a share" in result.output


def test_a_part_is_kept_as_it_is_written() -> None:
    assert Part().convert("10%", None, None) == "10%"


def test_the_limit_of_open_files_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (100, 1000))
    result = CliRunner().invoke(cli, ["loadtest", "127.0.0.1:1", "--streams", "990"])
    assert result.exit_code == exits.CANNOT_RUN
    assert "990 streams need 1,054 open files, and 1,000 are allowed" in result.output
    assert "ulimit -Hn" in result.output


def test_a_file_to_swap_must_be_there(tmp_path: Path) -> None:
    missing = str(tmp_path / "none.yaml")
    result = CliRunner().invoke(cli, ["loadtest", "127.0.0.1:1", "--swap", missing, missing])
    assert result.exit_code == exits.USAGE
