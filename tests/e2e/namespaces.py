"""Two machines in one: network namespaces joined by a cable, each with a sidecar to which iptables sends everything.

The rules are those of istio-iptables (istio tools/istio-iptables/pkg/capture/run.go), for IPv4.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import functools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

from xds_server.bootstrap import Admin, Channel, Node, bootstrap
from xds_server.demo.processes import Child, Server, child, find_envoy

PROXY_USER = 1337
_TOOLS = ("ip", "iptables", "setpriv")
_NEW_NETWORK = 0x40000000  # CLONE_NEWNET of sched.h


@functools.cache
def missing() -> str:
    """Why redirection cannot be tested on this machine; empty when it can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if absent := [tool for tool in _TOOLS if shutil.which(tool) is None]:
        return f"there is no {absent[0]}; install iptables, iproute2 and util-linux"
    probe = f"xds-probe-{os.getpid()}"
    try:
        _run("ip", "netns", "add", probe)
        try:
            _run("ip", "netns", "exec", probe, "iptables", "-t", "nat", *_rule("OUTPUT -m owner --uid-owner 1337"))
        finally:
            _run("ip", "netns", "del", probe)
        _run(*_as_proxy(), find_envoy(), "--version")
    except subprocess.CalledProcessError as error:
        return f"{' '.join(error.cmd)}: {error.stderr.strip()}"
    return ""


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)


def _rule(text: str) -> list[str]:
    return ["-A", *text.split(), "-j", "RETURN"]


def _as_proxy(*more: str) -> list[str]:
    return ["setpriv", f"--reuid={PROXY_USER}", f"--regid={PROXY_USER}", "--clear-groups", *more]


OUTBOUND = """
nat -N ISTIO_REDIRECT
nat -N ISTIO_IN_REDIRECT
nat -N ISTIO_OUTPUT
nat -A ISTIO_REDIRECT -p tcp -j REDIRECT --to-ports 15001
nat -A ISTIO_IN_REDIRECT -p tcp -j REDIRECT --to-ports 15006
nat -A OUTPUT -p tcp -j ISTIO_OUTPUT
nat -A ISTIO_OUTPUT -s 127.0.0.6/32 -o lo -j RETURN
"""
TO_ITSELF = "nat -A ISTIO_OUTPUT ! -d 127.0.0.1/32 -o lo -m owner --uid-owner 1337 -j ISTIO_IN_REDIRECT"
MORE_OUTBOUND = """
nat -A ISTIO_OUTPUT -o lo -m owner ! --uid-owner 1337 -j RETURN
nat -A ISTIO_OUTPUT -m owner --uid-owner 1337 -j RETURN
nat -A ISTIO_OUTPUT -d 127.0.0.1/32 -j RETURN
nat -A ISTIO_OUTPUT -j ISTIO_REDIRECT
nat -A OUTPUT -p udp --dport 53 -m owner ! --uid-owner 1337 -j REDIRECT --to-ports 15053
"""
REDIRECT = f"""{OUTBOUND}{TO_ITSELF}{MORE_OUTBOUND}
nat -N ISTIO_INBOUND
nat -A PREROUTING -p tcp -j ISTIO_INBOUND
nat -A ISTIO_INBOUND -j ISTIO_IN_REDIRECT
"""
TPROXY = f"""{OUTBOUND}{MORE_OUTBOUND}
mangle -N ISTIO_INBOUND
mangle -N ISTIO_DIVERT
mangle -N ISTIO_TPROXY
mangle -A ISTIO_DIVERT -j MARK --set-mark 1337
mangle -A ISTIO_DIVERT -j ACCEPT
mangle -A ISTIO_TPROXY ! -d 127.0.0.1/32 -p tcp -j TPROXY --tproxy-mark 1337/0xffffffff --on-port 15006
mangle -A PREROUTING -p tcp -j ISTIO_INBOUND
mangle -A PREROUTING -p tcp -m mark --mark 1337 -j CONNMARK --save-mark
mangle -A OUTPUT -p tcp -o lo -m mark --mark 1337 -j RETURN
mangle -A OUTPUT ! -d 127.0.0.1/32 -p tcp -o lo -m owner --uid-owner 1337 -j MARK --set-mark 1338
mangle -A OUTPUT -p tcp -m connmark --mark 1337 -j CONNMARK --restore-mark
mangle -A ISTIO_INBOUND -p tcp -m mark --mark 1337 -j RETURN
mangle -A ISTIO_INBOUND -p tcp -s 127.0.0.6/32 -i lo -j RETURN
mangle -A ISTIO_INBOUND -p tcp -i lo -m mark ! --mark 1338 -j RETURN
mangle -A ISTIO_INBOUND -p tcp -m conntrack --ctstate RELATED,ESTABLISHED -j ISTIO_DIVERT
mangle -A ISTIO_INBOUND -p tcp -j ISTIO_TPROXY
"""


class Machine:
    """One network namespace. directory: what its sidecar writes; the user of the proxy may write there too."""

    def __init__(self, name: str, directory: Path) -> None:
        self.name, self.directory = name, directory
        directory.parent.chmod(0o755)
        directory.mkdir()
        directory.chmod(0o777)

    def run(self, *command: str) -> None:
        _run("ip", "netns", "exec", self.name, *command)

    def redirect(self, transparent: bool = False) -> None:
        """Sends what the workload opens, and what comes for it, to the proxy."""
        for line in filter(None, (TPROXY if transparent else REDIRECT).splitlines()):
            table, *rule = line.split()
            self.run("iptables", "-t", table, *rule)
        if transparent:
            self.run("ip", "rule", "add", "fwmark", "1337", "lookup", "133")
            self.run("ip", "route", "add", "local", "default", "dev", "lo", "table", "133")

    def socket(self, kind: int = socket.SOCK_STREAM) -> socket.socket:
        """A socket of this machine: it belongs to the namespace in which it was made, whoever uses it."""
        made: list[socket.socket] = []
        thread = threading.Thread(target=self._make_socket, args=(kind, made))
        thread.start()
        thread.join()
        if not made:
            raise OSError(f"no socket could be made in {self.name}")
        made[0].setblocking(False)
        return made[0]

    def _make_socket(self, kind: int, made: list[socket.socket]) -> None:
        with Path(f"/run/netns/{self.name}").open() as namespace:
            if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), _NEW_NETWORK) == 0:
                made.append(socket.socket(socket.AF_INET, kind))

    @contextlib.asynccontextmanager
    async def sidecar(self, config: Path, node: Node, *capabilities: str) -> AsyncIterator[Child]:
        """The server on this machine's loopback, and beside it an Envoy of the user to whom iptables is blind."""
        inside = ["ip", "netns", "exec", self.name]
        serve = [*inside, sys.executable, "-m", "xds_server", "serve", str(config), "--log-format", "json"]
        running = Server()
        options = ["--xds-port", "15010", "--admin-port", "15014"]
        async with child([*serve, *options], self.directory / "server.log", running.on_line) as running.child:
            await running.event("serving")
            written = bootstrap(node, Channel(port=15010), Admin(socket=str(self.directory / "admin.sock")))
            (self.directory / "envoy.json").write_text(json.dumps(written))
            command = [*inside, *_as_proxy(*capabilities), find_envoy(), "-c", str(self.directory / "envoy.json")]
            command += ["--concurrency", "1", "--disable-hot-restart", "--log-level", "warn"]
            async with child(command, self.directory / "envoy.log") as envoy:
                yield envoy

    @contextlib.asynccontextmanager
    async def app(
        self,
        port: int,
        serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
        address: str = "0.0.0.0",
    ) -> AsyncIterator[None]:
        """A server of the workload."""

        async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                await serve(reader, writer)
            writer.close()

        listening = self.socket()
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((address, port))
        server = await asyncio.start_server(connection, sock=listening)
        try:
            yield
        finally:
            server.close()

    async def exchange(self, address: str, port: int, sent: bytes = b"", until: bytes = b"") -> bytes:
        """What comes back on a new connection of the workload: until it ends with `until`, or up to the end."""
        async with asyncio.timeout(10):
            connecting = self.socket()
            try:
                await asyncio.get_running_loop().sock_connect(connecting, (address, port))
                reader, writer = await asyncio.open_connection(sock=connecting)
            except OSError:
                connecting.close()
                raise
            try:
                writer.write(sent)
                await writer.drain()
                return await (reader.readuntil(until) if until else reader.read())
            finally:
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()

    async def ask(self, address: str, port: int, sent: bytes) -> bytes:
        """The answer to one datagram."""
        loop = asyncio.get_running_loop()
        with self.socket(socket.SOCK_DGRAM) as asking:
            await loop.sock_connect(asking, (address, port))
            await loop.sock_sendall(asking, sent)
            async with asyncio.timeout(3):
                return await loop.sock_recv(asking, 4096)


CLIENT, SERVER, SECOND = "10.201.0.1", "10.201.0.2", "10.201.0.3"
"""The addresses: one of the first machine, two of the second."""


@contextlib.contextmanager
def machines(directory: Path) -> Iterator[tuple[Machine, Machine]]:
    """Two machines joined by a cable, gone in the end whatever happens. The way to all other addresses leads over
    the cable too, so that there is a way at all."""
    made = [Machine(f"xds-{os.getpid()}-{side}", directory / side) for side in ("client", "server")]
    first, second = made
    try:
        for machine in made:
            _run("ip", "netns", "add", machine.name)
            machine.run("ip", "link", "set", "lo", "up")
        cable = ["ip", "link", "add", "eth0", "netns", first.name, "type", "veth"]
        _run(*cable, "peer", "name", "eth0", "netns", second.name)
        for machine, addresses, gateway in ((first, [CLIENT], SERVER), (second, [SERVER, SECOND], CLIENT)):
            for address in addresses:
                machine.run("ip", "address", "add", f"{address}/24", "dev", "eth0")
            machine.run("ip", "link", "set", "eth0", "up")
            machine.run("ip", "route", "add", "default", "via", gateway)
        yield first, second
    finally:
        for machine in made:
            _end(machine.name)


def _end(namespace: str) -> None:
    listed = subprocess.run(["ip", "netns", "pids", namespace], capture_output=True, text=True, timeout=60, check=False)
    for process in listed.stdout.split():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(process), signal.SIGKILL)
    subprocess.run(["ip", "netns", "del", namespace], capture_output=True, timeout=60, check=False)
