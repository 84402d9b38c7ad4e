"""The YAML of `examples/articles`, moved to addresses and ports that are free on this machine."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import yaml

from xds_server.demo.ports import free_port, is_free

ARTICLES = "articles.yaml"
"""The file with the canary, unchanged from the articles."""

_PACKAGED = Path(__file__).parent / "articles"
_CHECKOUT = Path(__file__).parents[2] / "examples" / "articles" / "config"
BLOCK = "127.0.0."
"""The addresses of the workloads as the example has them; all of 127.0.0.0/8 is this machine."""

PORTS = {"http": 18080, "https": 18443, "postgres": 15432, "redis": 16379}
"""The gateway's ports as the example has them."""


class Workload(msgspec.Struct, frozen=True):
    """A process that a Pod stands for."""

    app: str
    version: str
    host: str
    port: int


class System(msgspec.Struct, frozen=True):
    """directory: the YAML. block: the first three bytes of the workloads' addresses. ports: those of the gateway.
    http_proxy: the sidecar's port for HTTP requests."""

    directory: Path
    block: str
    ports: dict[str, int]
    http_proxy: int

    @property
    def articles(self) -> Path:
        return self.directory / ARTICLES

    @property
    def certificate(self) -> str:
        """The PEM certificate of the Secret `myapp-tls`."""
        [secret] = [item for item in self._objects() if item["kind"] == "Secret"]
        return str(secret["stringData"]["tls.crt"])

    def workloads(self) -> Iterator[Workload]:
        for item in self._objects():
            if item["kind"] == "Pod":
                labels = item["metadata"]["labels"]
                port = item["spec"]["containers"][0]["ports"][0]["containerPort"]
                yield Workload(labels["app"], labels.get("version", ""), item["status"]["podIP"], port)

    def _objects(self) -> Iterator[dict[str, Any]]:
        for file in sorted(self.directory.glob("*.yaml")):
            yield from yaml.safe_load_all(file.read_text(encoding="utf-8"))


def place(directory: Path, moved: bool = False) -> System:
    """Writes the example into the directory: as it is, but for ports that are in use; or `moved` to addresses and
    ports that nobody else is likely to have, so that several can run at the same time."""
    taken: set[int] = set()
    ports: dict[str, int] = {}
    for name, port in PORTS.items():
        ports[name] = port if not moved and is_free(port) else free_port(taken)
        taken.add(ports[name])
    block = f"127.{random.randint(1, 254)}.{random.randint(1, 254)}." if moved else BLOCK
    system = System(directory, block, ports, free_port(taken))
    for file in sorted((_PACKAGED if _PACKAGED.is_dir() else _CHECKOUT).glob("*.yaml")):
        text = file.read_text(encoding="utf-8")
        for name, port in PORTS.items():
            text = re.sub(rf"\b{port}\b", str(ports[name]), text)
        (directory / file.name).write_text(text.replace(BLOCK, block), encoding="utf-8")
    return system


def split(articles: Path) -> tuple[int, dict[str, int]]:
    """The line of the first weight of the canary, and the weight of each subset, as the file has them now.

    Raises ValueError when the file does not read like the articles' any more.
    """
    for item in yaml.safe_load_all(articles.read_text(encoding="utf-8")):
        if item and item.get("kind") == "VirtualService":
            routes = item["spec"]["http"][0]["route"]
            weights = {route["destination"]["subset"]: route.get("weight", 1) for route in routes}
            return _line_of_weight(articles), weights
    raise ValueError(f"{articles} has no VirtualService")


def _line_of_weight(articles: Path) -> int:
    lines = articles.read_text(encoding="utf-8").splitlines()
    return next((number for number, line in enumerate(lines, 1) if line.lstrip().startswith("weight:")), 1)


def set_split(articles: Path, weights: dict[str, int]) -> None:
    """Edits the weights as a user would: in the text, and with everything else left as it is."""
    text = articles.read_text(encoding="utf-8")
    for subset, weight in weights.items():
        text = re.sub(rf"(subset: {subset}}}\n\s+weight:) \d+", rf"\1 {weight}", text)
    articles.write_text(text, encoding="utf-8")
