"""`xds-server certs`."""

from __future__ import annotations

import datetime
import os
from collections.abc import Iterator
from pathlib import Path

import click
import msgspec

from xds_server.certs import Pair, authority, fresh, issued, still_good, why_unusable
from xds_server.cli.exits import CannotRun
from xds_server.cli.options import Command
from xds_server.cli.output import formatted
from xds_server.xds.identity import Identity

CERTIFICATE, KEY, AUTHORITY = "cert.pem", "key.pem", "ca.pem"
CA_YEARS = 10


class Wanted(msgspec.Struct, frozen=True):
    """A certificate to be made. folder: below DIR. secret: namespace and name of the Secret that is written beside
    it."""

    folder: Path
    names: tuple[str, ...]
    secret: tuple[str, str] | None = None


def _clients(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> list[tuple[str, str]]:
    pairs = [tuple(value.split("/")) for value in values]
    for value, pair in zip(values, pairs, strict=True):
        if len(pair) != 2 or not all(pair):
            raise click.BadParameter(f"{value!r} must be of the form NAMESPACE/SERVICE_ACCOUNT")
    return [(pair[0], pair[1]) for pair in pairs]


def _secrets(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> list[tuple[str, str, tuple[str, ...]]]:
    result = []
    for value in values:
        namespace, slash, rest = value.partition("/")
        name, equals, hosts = rest.partition("=")
        if not (namespace and slash and name and equals and hosts):
            raise click.BadParameter(f"{value!r} must be of the form NAMESPACE/NAME=HOST,HOST")
        result.append((namespace, name, tuple(hosts.split(","))))
    return result


def _mode(_: click.Context, __: click.Parameter, value: str) -> int:
    try:
        return int(value, 8)
    except ValueError:
        raise click.BadParameter(f"{value!r} is not an octal file mode such as 600") from None


@click.command("certs", cls=Command)
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--server",
    "servers",
    multiple=True,
    default=("localhost", "127.0.0.1"),
    show_default=True,
    help="A name or address that proxies call the server by; repeat for more.",
)
@click.option(
    "--client",
    "clients",
    multiple=True,
    default=("default/default",),
    show_default=True,
    callback=_clients,
    help="NAMESPACE/SERVICE_ACCOUNT of a proxy; repeat for more.",
)
@click.option(
    "--secret",
    "secrets",
    multiple=True,
    callback=_secrets,
    help="NAMESPACE/NAME=HOST,HOST: also a certificate for a gateway, as a kubernetes.io/tls Secret in YAML.",
)
@click.option("--trust-domain", default="cluster.local", show_default=True, help="That of the clients' names.")
@click.option("--days", type=click.IntRange(1, 3650), default=365, show_default=True, help="How long they are good.")
@click.option("--key-mode", default="600", show_default=True, callback=_mode, help="File mode of the keys.")
def command(
    directory: Path,
    servers: tuple[str, ...],
    clients: list[tuple[str, str]],
    secrets: list[tuple[str, str, tuple[str, ...]]],
    trust_domain: str,
    days: int,
    key_mode: int,
) -> None:
    """Make certificates for TLS on the xDS channel, in DIR.

    \b
    DIR/ca.pem, DIR/ca.key                  the authority; only this command needs its key
    DIR/server/                             cert.pem, key.pem and ca.pem for `xds-server serve`
    DIR/clients/NAMESPACE/SERVICE_ACCOUNT/  the same for a proxy
    DIR/secrets/NAMESPACE/NAME/             the same, and secret.yaml for the directory that is served

    What is there already is kept as long as a third of its life is left, so that the command can run again and again;
    the authority may also be your own. A running server follows its files.
    """
    now = datetime.datetime.now(datetime.UTC)
    wanted = [Wanted(Path("server"), servers)]
    wanted += [
        Wanted(Path("clients") / namespace / account, (str(Identity(trust_domain, namespace, account)),))
        for namespace, account in clients
    ]
    wanted += [
        Wanted(Path("secrets") / namespace / name, hosts, (namespace, name)) for namespace, name, hosts in secrets
    ]
    try:
        ca, made = _authority(directory, now, key_mode)
        click.echo(f"{'made' if made else 'kept'} {directory / AUTHORITY}")
        for one in wanted:
            made = _leaf(directory / one.folder, one, ca, now, days, key_mode)
            click.echo(f"{'made' if made else 'kept'} {directory / one.folder / CERTIFICATE}: {', '.join(one.names)}")
    except OSError as error:
        raise CannotRun(f"{error.filename or directory} cannot be written: {error.strerror}") from None


def _authority(directory: Path, now: datetime.datetime, key_mode: int) -> tuple[Pair, bool]:
    """The authority of the directory, and whether it is new."""
    files = directory / AUTHORITY, directory / "ca.key"
    if [file.exists() for file in files] in ([True, False], [False, True]):
        raise CannotRun(f"{files[0]} and {files[1]} belong together; put both there, or none for a new authority")
    if old := _existing(*files):
        if reason := why_unusable(old):
            raise CannotRun(f"{files[0]} and {files[1]} cannot be used: {reason}; remove both for a new authority")
        if fresh(old, now):
            return old, False
    new = authority(now, CA_YEARS * 365)
    _write(files[1], new.key, key_mode & 0o600)
    _write(files[0], new.certificate, 0o644)
    return new, True


def _leaf(folder: Path, wanted: Wanted, ca: Pair, now: datetime.datetime, days: int, key_mode: int) -> bool:
    """Whether the certificate had to be made."""
    old = _existing(folder / CERTIFICATE, folder / KEY)
    if old and still_good(old, wanted.names, ca, now):
        return False
    new = issued(ca, wanted.names, now, days)
    for path, content, mode in _files(folder, wanted, ca, new, key_mode):
        _write(path, content, mode)
    return True


def _files(folder: Path, wanted: Wanted, ca: Pair, pair: Pair, key_mode: int) -> Iterator[tuple[Path, bytes, int]]:
    yield folder / AUTHORITY, ca.certificate, 0o644
    yield folder / KEY, pair.key, key_mode
    yield folder / CERTIFICATE, pair.certificate, 0o644
    if wanted.secret:
        namespace, name = wanted.secret
        secret = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name, "namespace": namespace},
            "type": "kubernetes.io/tls",
            "stringData": {"tls.crt": pair.certificate.decode(), "tls.key": pair.key.decode()},
        }
        yield folder / "secret.yaml", formatted(secret, "yaml").encode(), key_mode


def _existing(certificate: Path, key: Path) -> Pair | None:
    try:
        return Pair(certificate.read_bytes(), key.read_bytes())
    except FileNotFoundError:
        return None


def _write(path: Path, content: bytes, mode: int) -> None:
    """Replaces the file in one step; nobody can read a key in between."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.new")
    draft.unlink(missing_ok=True)
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
    draft.chmod(mode)
    draft.replace(path)
