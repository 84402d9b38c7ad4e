"""docker-compose.yml as a running project of its own name, on ports of its own, with a copy of its YAML to edit."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
import ssl
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from xds_server.demo.client import Target
from xds_server.demo.ports import free_port

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "deploy" / "compose" / "config"
PORTS = ("HTTP_PORT", "HTTPS_PORT", "REDIS_PORT", "XDS_PORT", "PROMETHEUS_PORT")
START_SECONDS = 900  # of the first build
GET = "import sys, urllib.request as r; print(r.urlopen('http://127.0.0.1:15014' + sys.argv[1]).read().decode())"


class Failed(AssertionError):
    """A command of docker ended with an error; the text is what it wrote."""


def no_engine() -> str:
    """Why there is nothing to run containers with; empty when there is."""
    if not shutil.which("docker"):
        return "docker is not installed"
    done = subprocess.run(["docker", "info"], capture_output=True, text=True, check=False)
    if done.returncode:
        return f"no Docker engine answers: {(done.stderr or done.stdout).strip().splitlines()[-1]}"
    return "" if _command() else "there is no docker compose"


def _command() -> list[str]:
    """`docker compose`, or the older `docker-compose`."""
    for command in (["docker", "compose"], ["docker-compose"]):
        if (
            shutil.which(command[0])
            and not subprocess.run([*command, "version"], capture_output=True, check=False).returncode
        ):
            return command
    return []


class Project:
    """config: the YAML that the server reads."""

    def __init__(self, directory: Path) -> None:
        self.name = "xds-server-test-" + hashlib.sha256(str(ROOT).encode()).hexdigest()[:6]
        self.directory, self.config = directory, directory / "config"
        self.ports: dict[str, int] = {}
        for name in PORTS:
            self.ports[name] = free_port(self.ports.values())
        self._files: list[str] = []
        self._command = _command()
        self._has_wait = (
            "--wait"
            in subprocess.run([*self._command, "up", "--help"], capture_output=True, text=True, check=False).stdout
        )
        _readable_copy(CONFIG, self.config)

    def compose(self, *arguments: str, profile: str = "") -> str:
        """What a subcommand prints. Raises Failed."""
        profiles = ["--profile", profile] if profile else []
        files = [part for file in ("docker-compose.yml", *self._files) for part in ("-f", str(ROOT / file))]
        command = [*self._command, *files, "-p", self.name, *profiles, *arguments]
        environment = {name: str(port) for name, port in self.ports.items()}
        return _run(command, environment | {"CONFIG": str(self.config), "TEST_DIR": str(self.directory)})

    async def do(self, *arguments: str) -> str:
        """The same, while other things go on."""
        return await asyncio.to_thread(self.compose, *arguments)

    def up(self) -> None:
        """Builds and starts everything and returns when it is healthy, as `docker compose up --wait` does."""
        self.compose("build", "certs")
        self.compose("up", *(["--wait"] if self._has_wait else ["-d"]), "--no-build")

    def down(self) -> None:
        self.compose("down", "-v", "--remove-orphans", profile="observability")

    def left(self) -> list[str]:
        """What exists of the project: containers, volumes and networks."""
        label = f"label=com.docker.compose.project={self.name}"
        kinds: Sequence[Sequence[str]] = (("ps", "-a"), ("volume", "ls"), ("network", "ls"))
        return [line for kind in kinds for line in _run(["docker", *kind, "-q", "--filter", label]).split()]

    def health(self) -> dict[str, str]:
        """Service -> its health, or its state where it has no health check."""
        found = {}
        for container in self.containers():
            state = container["State"]
            found[self.service(container)] = state.get("Health", {}).get("Status", state["Status"])
        return found

    def containers(self) -> list[Any]:
        """What Docker knows of every container."""
        label = f"label=com.docker.compose.project={self.name}"
        names = _run(["docker", "ps", "-aq", "--filter", label]).split()
        result: list[Any] = json.loads(_run(["docker", "inspect", *names])) if names else []
        return result

    @staticmethod
    def service(container: Any) -> str:
        return str(container["Config"]["Labels"]["com.docker.compose.service"])

    def docker(self, *arguments: str) -> str:
        """What a command of docker prints. Raises Failed."""
        return _run(["docker", *arguments])

    def intruder(self, certificates: Path) -> str:
        """A container like that of the ingress gateway, with certificates of this folder. Gives its name."""
        [ingress] = [item for item in self.containers() if self.service(item) == "ingress"]
        mounts = {"/etc/envoy/envoy.yaml": ROOT / "deploy/compose/envoy/ingress.yaml", "/certs": certificates}
        volumes = [part for target, source in mounts.items() for part in ("-v", f"{source}:{target}:ro")]
        label = f"com.docker.compose.project={self.name}"
        options = ["-d", "--rm", "--user", "101:101", "--network", f"{self.name}_default", "--label", label]
        return self.docker("run", *options, *volumes, ingress["Config"]["Image"], *ingress["Config"]["Cmd"]).strip()

    def write(self, name: str, text: str) -> None:
        """A file of the config, replaced in one step as editors do."""
        draft = self.directory / "draft"
        draft.write_text(text, encoding="utf-8")
        draft.chmod(0o644)
        draft.replace(self.config / name)

    def restore(self) -> None:
        """The config as it is in the repository."""
        for file in self.config.iterdir():
            if not (CONFIG / file.name).exists():
                file.unlink()
        for file in CONFIG.iterdir():
            if (self.config / file.name).read_bytes() != file.read_bytes():
                self.write(file.name, file.read_text(encoding="utf-8"))

    def admin(self, path: str) -> Any:
        """What an admin endpoint of the server answers; it listens on loopback inside of its container."""
        text = self.compose("exec", "-T", "xds-server", "python", "-c", GET, path)
        return text if path == "/metrics" else json.loads(text)

    def target(self, authority: str = "shop.example", **headers: str) -> Target:
        """The ingress gateway."""
        pairs = tuple((name.replace("_", "-"), value) for name, value in headers.items())
        return Target(self.ports["HTTP_PORT"], authority, headers=pairs)

    def secure_target(self) -> Target:
        """The same over HTTPS; only certificates of this project's authority are taken."""
        authority = self.compose("exec", "-T", "xds-server", "cat", "/certs/ca.pem")
        return Target(self.ports["HTTPS_PORT"], "shop.example", tls=ssl.create_default_context(cadata=authority))

    @property
    def redis(self) -> Target:
        return Target(self.ports["REDIS_PORT"], "")


def _run(command: Sequence[str], environment: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        timeout=START_SECONDS,
        env=os.environ | (environment or {}),
    )
    if done.returncode:
        raise Failed(f"{' '.join(command)}: {done.returncode}\n{done.stdout[-4000:]}\n{done.stderr[-8000:]}")
    return done.stdout


def _readable_copy(source: Path, target: Path) -> None:
    """The containers run as other users."""
    shutil.copytree(source, target)
    target.chmod(0o755)
    for file in target.iterdir():
        file.chmod(0o644)
