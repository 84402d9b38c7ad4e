"""The certificates that `xds-server certs` makes, keeps and makes again."""

from __future__ import annotations

import datetime
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from cryptography.x509.verification import PolicyBuilder, Store

from xds_server.certs import Pair, authority, issued, still_good
from xds_server.cli.exits import CANNOT_RUN, USAGE
from xds_server.cli.main import cli, run
from xds_server.sources.directory import read
from xds_server.store import snapshot_of

Run = Callable[..., list[str]]
NOW = datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC)
CLIENT = "spiffe://cluster.local/ns/shop/sa/web"
CA, OTHER = authority(NOW, 3650), authority(NOW, 3650)
MADE = issued(CA, [CLIENT], NOW, 90)


@pytest.fixture
def certs(tmp_path: Path) -> Run:
    """Runs the command on one directory; gives the lines that it prints, with paths relative to the directory."""

    def call(*arguments: str) -> list[str]:
        result = CliRunner().invoke(cli, ["certs", str(tmp_path), *arguments], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return [line.replace(f"{tmp_path}/", "") for line in result.stdout.splitlines()]

    return call


def names(file: Path) -> set[str]:
    certificate = x509.load_pem_x509_certificate(file.read_bytes())
    value = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return {str(name.value) for name in value}


def test_a_server_and_a_client_are_what_others_verify(certs: Run, tmp_path: Path) -> None:
    certs("--server", "xds.example", "--server", "10.0.0.1", "--client", "shop/web")
    store = Store(x509.load_pem_x509_certificates((tmp_path / "ca.pem").read_bytes()))
    server, client = (
        x509.load_pem_x509_certificate((tmp_path / folder / "cert.pem").read_bytes())
        for folder in ("server", "clients/shop/web")
    )
    PolicyBuilder().store(store).build_server_verifier(x509.DNSName("xds.example")).verify(server, [])
    found = PolicyBuilder().store(store).build_client_verifier().verify(client, [])
    assert [name.value for name in found.subjects or ()] == [CLIENT]
    assert names(tmp_path / "server/cert.pem") == {"xds.example", "10.0.0.1"}


def test_a_proxy_cannot_play_the_server(certs: Run, tmp_path: Path) -> None:
    certs("--client", "shop/web")
    client = x509.load_pem_x509_certificate((tmp_path / "clients/shop/web/cert.pem").read_bytes())
    usages = client.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usages) == [ExtendedKeyUsageOID.CLIENT_AUTH]


def test_keys_are_for_their_owner_only(certs: Run, tmp_path: Path) -> None:
    certs()
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*.key")} == {0o600}
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("key.pem")} == {0o600}


def test_the_mode_of_keys_can_be_chosen_but_not_that_of_the_authority(certs: Run, tmp_path: Path) -> None:
    certs("--key-mode", "644")
    assert stat.S_IMODE((tmp_path / "server/key.pem").stat().st_mode) == 0o644
    assert stat.S_IMODE((tmp_path / "ca.key").stat().st_mode) == 0o600


def test_the_second_time_everything_is_kept(certs: Run, tmp_path: Path) -> None:
    certs("--secret", "shop/tls=shop.example")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    lines = certs("--secret", "shop/tls=shop.example")
    assert {line.split()[0] for line in lines} == {"kept"}
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_only_what_changed_is_made_again(certs: Run) -> None:
    certs("--server", "a.example")
    assert certs("--server", "b.example") == [
        "kept ca.pem",
        "made server/cert.pem: b.example",
        "kept clients/default/default/cert.pem: spiffe://cluster.local/ns/default/sa/default",
    ]


def test_without_its_authority_everything_is_made_again(certs: Run, tmp_path: Path) -> None:
    certs()
    (tmp_path / "ca.pem").unlink()
    (tmp_path / "ca.key").unlink()
    assert {line.split()[0] for line in certs()} == {"made"}


def rsa_authority() -> Pair:
    """An authority of another kind, as a company has one."""
    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Example CA")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + datetime.timedelta(days=99))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    form = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return Pair(
        certificate.public_bytes(serialization.Encoding.PEM), key.private_bytes(serialization.Encoding.PEM, *form)
    )


def test_an_authority_of_ones_own_signs(certs: Run, tmp_path: Path) -> None:
    own = rsa_authority()
    (tmp_path / "ca.pem").write_bytes(own.certificate)
    (tmp_path / "ca.key").write_bytes(own.key)
    certs()
    made = x509.load_pem_x509_certificate((tmp_path / "server/cert.pem").read_bytes())
    made.verify_directly_issued_by(own.leaf())


@pytest.mark.parametrize(
    ("certificate", "key", "words"),
    [
        pytest.param(b"mine", None, "belong together", id="without its key"),
        pytest.param(b"mine", b"mine", "cannot be used", id="not PEM"),
        pytest.param(CA.certificate, OTHER.key, "the key is not that of", id="with another key"),
        pytest.param(MADE.certificate, MADE.key, "not that of an authority", id="no authority"),
    ],
)
def test_an_authority_that_is_there_is_never_replaced_in_silence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], certificate: bytes, key: bytes | None, words: str
) -> None:
    (tmp_path / "ca.pem").write_bytes(certificate)
    if key:
        (tmp_path / "ca.key").write_bytes(key)
    assert run(["certs", str(tmp_path)]) == CANNOT_RUN
    assert words in capsys.readouterr().err
    assert (tmp_path / "ca.pem").read_bytes() == certificate


def test_a_secret_for_a_gateway_is_an_object_of_the_directory(certs: Run, tmp_path: Path) -> None:
    certs("--secret", "shop/tls=shop.example,www.shop.example")
    assert names(tmp_path / "secrets/shop/tls/cert.pem") == {"shop.example", "www.shop.example"}
    snapshot = snapshot_of(read(str(tmp_path / "secrets")))
    assert snapshot.diagnostics == ()
    [secret] = [found for kind in snapshot.by_type.values() for found in kind.values()]
    assert (secret.metadata.namespace, secret.metadata.name) == ("shop", "tls")
    text = yaml.safe_load((tmp_path / "secrets/shop/tls/secret.yaml").read_text())
    assert text["stringData"]["tls.key"] == (tmp_path / "secrets/shop/tls/key.pem").read_text()


@pytest.mark.parametrize(
    ("pair", "ca", "days", "good"),
    [
        pytest.param(MADE, CA, 59, True, id="with a third of its life left"),
        pytest.param(MADE, CA, 61, False, id="with less"),
        pytest.param(MADE, CA, 100, False, id="expired"),
        pytest.param(MADE, OTHER, 0, False, id="of another authority with the same name"),
        pytest.param(Pair(MADE.certificate, CA.key), CA, 0, False, id="with a key that is not its own"),
        pytest.param(Pair(b"", b""), CA, 0, False, id="empty files"),
        pytest.param(issued(CA, ["a.example"], NOW, 90), CA, 0, False, id="for other names"),
    ],
)
def test_a_certificate_is_kept(pair: Pair, ca: Pair, days: int, good: bool) -> None:
    assert still_good(pair, [CLIENT], ca, NOW + datetime.timedelta(days=days)) is good


def test_a_certificate_never_outlives_its_authority() -> None:
    short = authority(NOW, 10)
    assert issued(short, [CLIENT], NOW, 90).leaf().not_valid_after_utc <= short.leaf().not_valid_after_utc


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["--client", "web"], id="a client without a namespace"),
        pytest.param(["--client", "a/b/c"], id="a client with too many parts"),
        pytest.param(["--secret", "shop/tls"], id="a secret without hosts"),
        pytest.param(["--key-mode", "rw"], id="a mode in words"),
    ],
)
def test_wrong_usage_exits_2(arguments: list[str], tmp_path: Path) -> None:
    assert run(["certs", str(tmp_path), *arguments]) == USAGE


def test_a_directory_that_cannot_be_made_exits_3(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert run(["certs", str(tmp_path / "file" / "below")]) == CANNOT_RUN
