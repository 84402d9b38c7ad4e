"""The settings of the server: the only place that reads flags, the environment and the config file.

A flag wins over the environment (`XDS_SERVER_XDS_PORT`), that over the config file (`xds-port: 15010`), and that
over the default.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

PREFIX = "XDS_SERVER_"
_Doc = msgspec.Meta


KUBERNETES = "kubernetes"
"""The source that is a cluster; every other is a directory or a file."""


class Inputs(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="kebab"):
    """What is read. The descriptions are also the help texts of the flags."""

    source: Annotated[
        tuple[str, ...],
        _Doc(
            description="What to read: `kubernetes` for a cluster, or a directory or file. May be given more than "
            "once; where two have the same object, the first counts."
        ),
    ] = ()
    kubeconfig: Annotated[
        str,
        _Doc(description="The kubeconfig of the cluster; else $KUBECONFIG, ~/.kube/config, or the Pod's own account."),
    ] = ""
    context: Annotated[str, _Doc(description="The context in the kubeconfig; else the current one.")] = ""
    namespace: Annotated[
        tuple[str, ...], _Doc(description="Read only this namespace of the cluster. May be given more than once.")
    ] = ()
    selector: Annotated[
        tuple[str, ...],
        _Doc(
            description="Read only objects with these labels, as `team=shop`; or `KIND:team=shop` for one kind. "
            "May be given more than once."
        ),
    ] = ()
    secrets: Annotated[
        Literal["all", "referenced", "none"],
        _Doc(description="Which Secrets of the cluster to read: referenced are those that a gateway or rule names."),
    ] = "all"

    mesh_config: Annotated[
        str,
        _Doc(description="A YAML file of Istio's MeshConfig; else that in the ConfigMap istio of istio-system counts."),
    ] = ""

    @property
    def sources(self) -> tuple[str, ...]:
        """All that is read, the most important first."""
        return (self.mesh_config, *self.source) if self.mesh_config else self.source

    def __post_init__(self) -> None:
        if self.mesh_config in self.source:
            raise ValueError(f"{self.mesh_config} cannot be both a source and the mesh-config")
        for name in self.source:
            if self.source.count(name) > 1:
                raise ValueError(f"the source {name} is given twice")


class Settings(Inputs, frozen=True, forbid_unknown_fields=True, rename="kebab"):
    """How `serve` runs."""

    xds_host: Annotated[str, _Doc(description="Address of the xDS server.")] = "127.0.0.1"
    xds_port: Annotated[int, _Doc(ge=0, le=65535, description="Port of the xDS server; 0 picks a free one.")] = 15010
    admin_host: Annotated[str, _Doc(description="Address of the admin endpoints; loopback only.")] = "127.0.0.1"
    admin_port: Annotated[int, _Doc(ge=0, le=65535, description="Port of the admin endpoints; 0 picks a free one.")] = (
        15014
    )
    tls_cert: Annotated[
        str, _Doc(description="Certificate chain of the xDS server, PEM; followed when it changes.")
    ] = ""
    tls_key: Annotated[str, _Doc(description="Its private key, PEM.")] = ""
    tls_client_ca: Annotated[
        str, _Doc(description="Authorities that sign the clients' certificates, PEM; then every client must have one.")
    ] = ""
    trust_domain: Annotated[
        str,
        _Doc(
            min_length=1,
            description="Clients are named spiffe://TRUST_DOMAIN/ns/NAMESPACE/sa/SERVICE_ACCOUNT, as their nodes say.",
        ),
    ] = "cluster.local"
    insecure: Annotated[
        bool, _Doc(description="Allow xDS without client certificates on an address that is not loopback.")
    ] = False
    state_dir: Annotated[
        str,
        _Doc(
            description="A directory of the server's own, made if it is not there. It keeps what proxies got and what "
            "files said, for a start while sources cannot be read or files are broken. Without it nothing is kept."
        ),
    ] = ""
    state_key: Annotated[
        str,
        _Doc(
            description="A file with a key, as `openssl rand -base64 32` writes it. What is kept is encrypted with it, "
            "and the private keys of gateways are kept too; without it they are left out."
        ),
    ] = ""
    max_streams: Annotated[
        int, _Doc(ge=1, description="Streams at the same time; more are answered RESOURCE_EXHAUSTED.")
    ] = 20_000
    streams_per_second: Annotated[
        float,
        _Doc(
            ge=0,
            description="New streams a second, on average, after a burst of five seconds' worth; faster ones are "
            "answered RESOURCE_EXHAUSTED, and clients try again. 0 for no limit.",
        ),
    ] = 2_000.0
    requests_per_second: Annotated[
        float,
        _Doc(ge=0, description="The same for the requests on one stream, which ends when there are more."),
    ] = 10_000.0
    max_request_bytes: Annotated[
        int,
        _Doc(
            ge=4096,
            le=2**31 - 1,
            description="The largest request; an Envoy that comes back lists all that it has. A larger one ends its "
            "stream with RESOURCE_EXHAUSTED.",
        ),
    ] = 128 * 2**20
    max_connection_age: Annotated[
        float,
        _Doc(
            ge=0,
            description="Seconds after which a client that was answered is asked to connect anew, up to 30 % later by "
            "chance, so that new replicas get their share. 0 for never.",
        ),
    ] = 0.0
    introspection: Annotated[
        Literal["local", "none"],
        _Doc(description="Who may ask what proxies have (CSDS, `ps`, `why`): clients on this machine, or nobody."),
    ] = "local"
    drain_seconds: Annotated[
        float, _Doc(ge=0, description="Seconds that streams may take to end after SIGTERM or SIGINT.")
    ] = 5.0
    profile: Annotated[
        str,
        _Doc(
            description="A file for a profile of the running server: the stacks that used CPU time, for speedscope and "
            "flamegraph.pl. Written at the end and on SIGUSR2."
        ),
    ] = ""
    log_format: Annotated[
        Literal["auto", "console", "json"],
        _Doc(description="Form of the logs; auto is console on a terminal."),
    ] = "auto"
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], _Doc(description="The least level that is logged.")
    ] = "info"

    def __post_init__(self) -> None:
        super().__post_init__()
        if bool(self.tls_cert) != bool(self.tls_key):
            raise ValueError("tls-cert and tls-key belong together; one of them is missing")
        if self.tls_client_ca and not self.tls_cert:
            raise ValueError("tls-client-ca needs tls-cert and tls-key; `xds-server certs` makes all three")
        if self.state_key and not self.state_dir:
            raise ValueError("state-key needs state-dir; without it nothing is kept that it could encrypt")
        if not (self.tls_client_ca or self.insecure or is_loopback(self.xds_host)):
            raise ValueError(
                f"xds-host {self.xds_host} is not a loopback address, and xDS carries private keys; "
                "add --tls-cert, --tls-key and --tls-client-ca (`xds-server certs` makes them), use 127.0.0.1, "
                "or add --insecure if you trust everything that can reach this port"
            )
        if not is_loopback(self.admin_host):
            raise ValueError(f"admin-host {self.admin_host} is not a loopback address; these endpoints have no login")


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the address; a name other than `localhost` counts as reachable."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


class SettingsError(ValueError):
    """A setting is wrong; the text says which one and where it was set."""


def load(flags: Mapping[str, Any], environ: Mapping[str, str], config: Path | None = None) -> Settings:
    """The settings from all places. `flags` holds only what was given, by field name (`xds_port`).

    Raises SettingsError, also when the config file cannot be read.
    """
    names = {field.name: field.encode_name for field in msgspec.structs.fields(Settings)}
    layers = (
        (str(config), _config_file(config) if config else {}),
        ("the environment", _environment(environ)),
        ("the command line", {names[name]: value for name, value in flags.items()}),
    )
    merged: dict[str, Any] = {}
    where: dict[str, str] = {}
    for origin, values in layers:
        merged |= values
        where |= dict.fromkeys(values, origin)
    try:
        return msgspec.convert(merged, Settings, strict=False)
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at `$.")
        name = path.rstrip("`")
        raise SettingsError(f"{name} in {where[name]}: {message}" if name else message) from None


def _environment(environ: Mapping[str, str]) -> dict[str, Any]:
    """Several values in one variable are separated by semicolons: a selector may hold commas and spaces."""
    found: dict[str, Any] = {}
    for field in msgspec.structs.fields(Settings):
        text = environ.get(PREFIX + field.name.upper())
        if text is not None:
            found[field.encode_name] = text.split(";") if field.default == () else text
    return found


def _config_file(path: Path) -> dict[str, Any]:
    import yaml  # slow to import, and only needed here

    try:
        value = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise SettingsError(f"the config file {path} cannot be read: {error}") from None
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise SettingsError(f"the config file {path} must be a mapping of settings, such as xds-port: 15010")
    if unknown := value.keys() - {field.encode_name for field in msgspec.structs.fields(Settings)}:
        raise SettingsError(f"{path}: unknown setting {sorted(unknown)[0]!r}")
    return value
