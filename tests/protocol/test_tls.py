"""Who may open a stream over TLS: every method, and every kind of certificate."""

from __future__ import annotations

import datetime
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import structlog

from tests.protocol.client import CDS, cluster
from tests.protocol.serving import DELTA_ADS, SOTW_ADS, DeltaCall, Serving, serving
from xds_server.certs import Pair, authority, issued
from xds_server.xds.credentials import CredentialsError, TlsFiles, credentials

from xds_server.xds.server import SERVICES, Options  # isort: skip

import grpc
from envoy.config.core.v3.base_pb2 import Node
from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryRequest, DiscoveryRequest
from grpc_health.v1 import health_pb2, health_pb2_grpc

Code = grpc.StatusCode
NOW = datetime.datetime.now(datetime.UTC)
CA, FOREIGN = authority(NOW, 10), authority(NOW, 10)
SERVER = ["localhost", "127.0.0.1"]
METHODS = [f"/{service}/{prefix}{noun}" for service, (noun, _) in SERVICES.items() for prefix in ("Stream", "Delta")]
WEB = {"NAMESPACE": "shop"}  # its service account is `default`
NODE = "sidecar~10.0.0.1~web-1.shop~shop.svc.cluster.local"


def client(namespace: str, account: str, ca: Pair = CA) -> Pair:
    return issued(ca, [f"spiffe://cluster.local/ns/{namespace}/sa/{account}"], NOW, 5)


GOOD = client("shop", "default")
UNNAMED = issued(CA, ["https://web.shop"], NOW, 5)


class Files:
    """The server's files, which a test can replace."""

    def __init__(self, folder: Path) -> None:
        self.paths = TlsFiles(str(folder / "cert.pem"), str(folder / "key.pem"), str(folder / "ca.pem"))
        self.write(issued(CA, SERVER, NOW, 5), CA)

    def write(self, pair: Pair, ca: Pair) -> None:
        contents = pair.certificate, pair.key, ca.certificate
        for path, content in zip(self.paths.paths(), contents, strict=True):
            draft = path.with_suffix(".new")
            draft.write_bytes(content)
            draft.replace(path)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


@asynccontextmanager
async def secured(files: Files) -> AsyncIterator[Serving]:
    options = Options(port=0, credentials=credentials(files.paths), trust_domain="cluster.local")
    async with serving([cluster("a")], options) as server:
        yield server


def channel(server: Serving, pair: Pair | None, ca: Pair = CA) -> grpc.aio.Channel:
    own = ("grpc.use_local_subchannel_pool", 1)
    key, certificate = (pair.key, pair.certificate) if pair else (None, None)
    return grpc.aio.secure_channel(
        f"localhost:{server.port}", grpc.ssl_channel_credentials(ca.certificate, key, certificate), options=[own]
    )


async def served(server: Serving, pair: Pair | None, ca: Pair = CA) -> list[str]:
    """The names of the clusters that the client is given."""
    async with channel(server, pair, ca) as connection:
        call = DeltaCall(connection, node=NODE)
        await call.ask(CDS)
        return [resource.name for resource in (await call.read()).resources]


def node(**metadata: Any) -> Node:
    result = Node(id=NODE)
    result.metadata.update(metadata)
    return result


def first(method: str, **metadata: Any) -> bytes:
    """The first message of a stream of this method, by a node with this metadata."""
    request = DeltaDiscoveryRequest if "Delta" in method else DiscoveryRequest
    only = SERVICES[method.split("/")[1]][1] or CDS
    return bytes(request(type_url=only, node=node(**metadata)).SerializeToString())


async def refusal(server: Serving, pair: Pair | None, method: str, message: bytes) -> tuple[Code, str]:
    """How a stream ends that is not served."""
    async with channel(server, pair) as connection:
        call = connection.stream_stream(method)()
        with suppress(grpc.aio.AioRpcError):  # the connection may have failed before
            await call.write(message)
        with pytest.raises(grpc.aio.AioRpcError):
            await call.read()
        return await call.code(), await call.details()


async def test_a_client_with_the_certificate_of_its_node_is_served(files: Files) -> None:
    async with secured(files) as server:
        assert await served(server, GOOD) == ["a"]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "pair",
    [pytest.param(None, id="no certificate"), pytest.param(client("shop", "default", FOREIGN), id="a foreign one")],
)
async def test_no_method_is_open_to_strangers(files: Files, method: str, pair: Pair | None) -> None:
    async with secured(files) as server:
        code, _ = await refusal(server, pair, method, first(method, **WEB))
        assert code is Code.UNAVAILABLE  # the handshake failed


@pytest.mark.parametrize("method", METHODS)
async def test_no_method_takes_a_node_of_another_account(files: Files, method: str) -> None:
    async with secured(files) as server:
        code, words = await refusal(server, GOOD, method, first(method, NAMESPACE="shop", SERVICE_ACCOUNT="bank"))
        assert code is Code.PERMISSION_DENIED
        assert words == (
            "the node claims to be spiffe://cluster.local/ns/shop/sa/bank; "
            "its certificate is for spiffe://cluster.local/ns/shop/sa/default"
        )
        assert server.fleet.groups() == ()
        assert server.fleet.tally.refused_streams == {"PERMISSION_DENIED": 1}


@pytest.mark.parametrize(
    ("pair", "metadata"),
    [
        pytest.param(GOOD, {"NAMESPACE": "bank"}, id="a node of another namespace"),
        pytest.param(client("shop", "web"), WEB, id="a node that does not name its account"),
        pytest.param(UNNAMED, WEB, id="a certificate without a SPIFFE name"),
    ],
)
@pytest.mark.parametrize("method", [SOTW_ADS, DELTA_ADS], ids=["sotw", "delta"])
async def test_refused(files: Files, method: str, pair: Pair, metadata: dict[str, str]) -> None:
    async with secured(files) as server:
        code, _ = await refusal(server, pair, method, first(method, **metadata))
        assert code is Code.PERMISSION_DENIED


async def test_health_is_not_open_to_strangers_either(files: Files) -> None:
    async with secured(files) as server:
        for pair, code in ((GOOD, Code.OK), (None, Code.UNAVAILABLE)):
            async with channel(server, pair) as connection:
                call = health_pb2_grpc.HealthStub(connection).Check(health_pb2.HealthCheckRequest())
                assert await call.code() is code


async def test_plain_text_gets_nothing(files: Files) -> None:
    async with secured(files) as server, server.channel() as connection:
        call = connection.stream_stream(DELTA_ADS)()
        assert await call.code() is Code.UNAVAILABLE


async def test_without_an_authority_for_clients_they_need_no_certificate(files: Files) -> None:
    alone = TlsFiles(files.paths.certificate, files.paths.key)
    async with serving([cluster("a")], Options(port=0, credentials=credentials(alone))) as server:
        for pair in (None, GOOD):
            assert await served(server, pair) == ["a"]


async def test_new_files_count_for_new_connections_and_old_ones_go_on(files: Files) -> None:
    async with secured(files) as server, channel(server, GOOD) as connection:
        old = DeltaCall(connection, node=NODE)
        await old.ask(CDS)
        assert len((await old.read()).resources) == 1
        files.write(issued(FOREIGN, SERVER, NOW, 5), FOREIGN)
        assert await served(server, client("shop", "default", FOREIGN), FOREIGN) == ["a"]
        code, _ = await refusal(server, GOOD, DELTA_ADS, first(DELTA_ADS, **WEB))
        assert code is Code.UNAVAILABLE
        server.publish([cluster("a"), cluster("b")])
        assert [resource.name for resource in (await old.read()).resources] == ["b"]


def _remove(files: Files) -> None:
    Path(files.paths.key).unlink()


def _mix(files: Files) -> None:
    Path(files.paths.certificate).write_bytes(issued(CA, SERVER, NOW, 5).certificate)


def _garble(files: Files) -> None:
    Path(files.paths.client_ca).write_bytes(b"nonsense")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        pytest.param(_remove, "key.pem cannot be read", id="a file is missing"),
        pytest.param(_mix, "key.pem is not the key of", id="a certificate without its key"),
        pytest.param(_garble, "ca.pem holds no certificates", id="not PEM"),
    ],
)
async def test_bad_files_are_logged_once_and_the_last_good_ones_stay(
    files: Files, spoil: Callable[[Files], None], words: str
) -> None:
    with structlog.testing.capture_logs() as logs:
        async with secured(files) as server:
            spoil(files)
            assert await served(server, GOOD) == ["a"]
            assert await served(server, GOOD) == ["a"]
    assert [entry["error"] for entry in logs if entry["log_level"] == "error" and words in entry["error"]] != []
    assert len([entry for entry in logs if entry["log_level"] == "error"]) == 1


@pytest.mark.parametrize("spoil", [_remove, _mix, _garble], ids=["missing", "mixed", "not PEM"])
def test_bad_files_at_the_start_are_an_error(files: Files, spoil: Callable[[Files], None]) -> None:
    spoil(files)
    with pytest.raises(CredentialsError, match=r"\.pem"):
        credentials(files.paths)


@pytest.mark.parametrize(
    ("content", "words"),
    [pytest.param(b"x" * 2**21, "larger than 1 MiB", id="huge"), pytest.param(b"", "not a private key", id="empty")],
)
def test_a_key_is_looked_at_before_it_is_used(files: Files, content: bytes, words: str) -> None:
    Path(files.paths.key).write_bytes(content)
    with pytest.raises(CredentialsError, match=words):
        credentials(files.paths)
