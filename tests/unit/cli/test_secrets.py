"""No command shows a byte of a Secret, however broken the file is."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from xds_server.cli.main import cli

PLANTED = "cGxhbnRlZC1rZXktYnl0ZXM"
HEAD = "apiVersion: v1\nkind: Secret\nmetadata: {name: tls, namespace: shop}\n"


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(f"{HEAD}data:\n  tls.key: {PLANTED}\n", id="base64 that is cut off"),
        pytest.param(f"{HEAD}data:\n  tls.key: {PLANTED}=\n  tls.key: {PLANTED}=\n", id="a key that stands twice"),
        pytest.param(f"{HEAD}dta:\n  tls.key: {PLANTED}=\n", id="a misspelt field"),
        pytest.param(f"{HEAD}data:\n  tls.key: {PLANTED}=\n bad: [\n", id="a document that is not YAML"),
        pytest.param(f"{HEAD}data: {{tls.key: [{PLANTED}]}}\n", id="a value of a wrong type"),
        pytest.param(
            'apiVersion: v1\nkind: List\nitems:\n- {"kind": "Secret", "apiVersion": "v1", "metadata": {"name": "a"}, '
            f'"data": {{"tls.key": "{PLANTED}"}}}}\n',
            id="in a list",
        ),
    ],
)
@pytest.mark.parametrize("form", ["text", "json", "github", "sarif"])
def test_lint_shows_nothing_of_a_secret(tmp_path: Path, text: str, form: str) -> None:
    (tmp_path / "secret.yaml").write_text(text)
    result = CliRunner().invoke(cli, ["lint", str(tmp_path), "-o", form])
    assert result.exit_code in (1, 3)
    assert PLANTED not in result.output
