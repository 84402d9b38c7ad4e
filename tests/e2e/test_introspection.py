"""`ps` and `why` ask a running server about a real Envoy."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

from tests.e2e.harness import Lab, answered, eventually
from tests.e2e.test_serve import EDGE, SUBSETS, gateway, routes, service
from xds_server.admin import introspection_pb2
from xds_server.demo.client import Target
from xds_server.demo.ports import free_port

ROOT = Path(__file__).parents[2]


async def run(lab: Lab, *arguments: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "xds_server", *arguments, "--server", f"127.0.0.1:{lab.xds_port}"]
    result = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=60)
    return result.returncode, result.stdout or result.stderr


async def test_every_resource_is_traced_to_the_lines_that_made_it(lab: Lab) -> None:
    port = free_port()
    v1, v2 = await lab.upstream("web", "v1"), await lab.upstream("web", "v2")
    lab.write("web.yaml", service("web", v1, v2))
    lab.write("subsets.yaml", SUBSETS)
    lab.write("routes.yaml", routes(50, 50))
    lab.write("gateway.yaml", gateway(port))
    await lab.serve()
    await lab.envoy(EDGE)
    await eventually(lambda: answered(Target(port, "web.example")))

    async def synced() -> str:
        code, text = await run(lab, "ps")
        assert code == 0, text
        assert "edge" in text
        assert text.count("SYNCED") == 4, text
        return text

    text = await eventually(synced)
    assert "STALE" not in text
    metrics = await lab.admin("/metrics")
    assert 'xds_server_streams{variant="delta"} 1.0' in metrics
    assert 'xds_server_stream_types{state="SYNCED",type="cds"} 1.0' in metrics

    assert (await run(lab, "why", "edge", "no-such-resource"))[0] == 1
    code, text = await run(lab, "why", "edge", "-t", "rds", "-o", "json")
    assert code == 0
    (table,) = json.loads(text)
    places = {
        origin["place"].rpartition("/")[2]
        for origin in table["origins"]
        if origin["object"] == "VirtualService/default/web"
    }
    assert "routes.yaml:9:5" in places
    code, text = await run(lab, "why", "edge", "|v2|web")
    assert code == 0
    assert "cds outbound|" in text
    assert "web.yaml:" in text


async def test_without_a_server_the_commands_say_where_they_looked(lab: Lab) -> None:
    code, text = await run(lab, "ps")
    assert code == 3
    assert f"no server answers on 127.0.0.1:{lab.xds_port}" in text


def test_the_compiled_protos_are_those_of_the_folder(tmp_path: Path) -> None:
    target = tmp_path / "descriptors"
    folder = ROOT / "protos"
    files = [str(file.relative_to(folder)) for file in folder.rglob("*.proto")]
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{folder}", f"--descriptor_set_out={target}", *files]
    subprocess.run(command, check=True)
    (expected,) = FileDescriptorSet.FromString(target.read_bytes()).file
    actual = FileDescriptorProto()
    introspection_pb2.DESCRIPTOR.CopyToProto(actual)
    for message in expected.message_type:
        for field in message.field:
            field.ClearField("json_name")
    assert actual == expected, "`make protos` compiles them"


@pytest.mark.parametrize("kind", ["cds", "nonsense"])
def test_only_the_known_types_can_be_asked_for(kind: str) -> None:
    from click.testing import CliRunner

    from xds_server.cli.main import cli

    result = CliRunner().invoke(cli, ["why", "edge", "-t", kind, "--server", "127.0.0.1:1"])
    assert result.exit_code == (3 if kind == "cds" else 2)
