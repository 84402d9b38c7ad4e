"""What `xds-server check` says of a server, by its exit code."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from click.testing import CliRunner

from xds_server.cli.exits import CANNOT_RUN, CLEAN, FINDINGS
from xds_server.cli.main import cli, run
from xds_server.demo.ports import free_port


@contextmanager
def answering(status: int, body: bytes) -> Iterator[str]:
    """The port of a server that answers every request so."""

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield str(server.server_port)
        finally:
            server.shutdown()
            thread.join()


NOT_READ = b'{"ready": false, "reasons": ["the directory has not been read yet"]}'


@pytest.mark.parametrize(
    ("status", "body", "printed", "code"),
    [
        pytest.param(200, b'{"ready": true, "reasons": []}', "ready\n", CLEAN, id="ready"),
        pytest.param(503, NOT_READ, "not ready: the directory has not been read yet\n", FINDINGS, id="not ready"),
        pytest.param(404, b"{}", "not ready: it answers with status 404\n", FINDINGS, id="another server's answer"),
    ],
)
def test_a_server_is(status: int, body: bytes, printed: str, code: int) -> None:
    with answering(status, body) as port:
        result = CliRunner().invoke(cli, ["check", "--admin-port", port], standalone_mode=False)
        assert (result.stdout, result.return_value) == (printed, code)


def test_quiet_says_nothing_of_a_server_that_is_ready() -> None:
    with answering(200, b'{"ready": true, "reasons": []}') as port:
        result = CliRunner().invoke(cli, ["check", "-q"], env={"XDS_SERVER_ADMIN_PORT": port}, standalone_mode=False)
        assert (result.stdout, result.return_value) == ("", CLEAN)


@pytest.mark.parametrize("body", [b"<html>", b"[]"], ids=["not JSON", "another JSON"])
def test_something_else_is_no_server(body: bytes) -> None:
    with answering(500, body) as port:
        assert run(["check", "--admin-port", port]) != CLEAN


def test_no_server_exits_3() -> None:
    assert run(["check", "--admin-port", str(free_port())]) == CANNOT_RUN
