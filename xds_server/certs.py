"""A small certificate authority for the xDS channel: one key, and what it signs. `cli.certs` writes the files."""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Iterable

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_SKEW = datetime.timedelta(minutes=5)  # a clock elsewhere may be slow
_CA_USES = {"key_cert_sign", "crl_sign"}
_LEAF_USES = {"digital_signature"}
_ALL_USES = {
    "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
    "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
}  # fmt: skip


class Pair(msgspec.Struct, frozen=True):
    """A certificate and its private key, both PEM."""

    certificate: bytes
    key: bytes

    def leaf(self) -> x509.Certificate:
        return x509.load_pem_x509_certificate(self.certificate)


def authority(now: datetime.datetime, days: int) -> Pair:
    """A new authority that is good from now on. It may not sign other authorities."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "xds-server CA")])
    certificate = (
        _builder(name, name, key.public_key(), now, days)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(_CA_USES), critical=True)
        .sign(key, hashes.SHA256())
    )
    return _pair(certificate, key)


def issued(ca: Pair, names: Iterable[str], now: datetime.datetime, days: int) -> Pair:
    """A new certificate: of a server for DNS names and IP addresses, of a client for a URI. It never outlives its
    authority."""
    general = [_name(name) for name in names]
    is_client = any(isinstance(name, x509.UniformResourceIdentifier) for name in general)
    usage = ExtendedKeyUsageOID.CLIENT_AUTH if is_client else ExtendedKeyUsageOID.SERVER_AUTH
    ca_key = _signing_key(ca.key)
    issuer = ca.leaf()
    key = ec.generate_private_key(ec.SECP256R1())
    days = min(days, (issuer.not_valid_after_utc - now).days)
    certificate = (
        _builder(x509.Name([]), issuer.subject, key.public_key(), now, days)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(_LEAF_USES), critical=True)
        .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
        # Critical, as there is no other name (RFC 5280, section 4.2.1.6).
        .add_extension(x509.SubjectAlternativeName(general), critical=True)
        .sign(ca_key, hashes.SHA256())
    )
    return _pair(certificate, key)


def why_unusable(ca: Pair) -> str:
    """Why these files are no authority that can sign; empty when they are."""
    try:
        certificate, key = ca.leaf(), _signing_key(ca.key)
        is_ca = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (ValueError, TypeError, x509.ExtensionNotFound) as error:
        return str(error)
    if not is_ca:
        return "the certificate is not that of an authority"
    return "" if key.public_key() == certificate.public_key() else "the key is not that of the certificate"


def still_good(pair: Pair, names: Iterable[str], ca: Pair, now: datetime.datetime) -> bool:
    """Whether it may stay: for these names, signed by this authority, and a third of its life is left."""
    try:
        leaf = pair.leaf()
        leaf.verify_directly_issued_by(ca.leaf())
        same_key = load_pem_private_key(pair.key, None).public_key() == leaf.public_key()
        alternatives = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound):
        return False
    return same_key and set(alternatives) == {_name(name) for name in names} and fresh(pair, now)


def fresh(pair: Pair, now: datetime.datetime) -> bool:
    """Whether a third of a certificate's life is left."""
    leaf = pair.leaf()
    life = leaf.not_valid_after_utc - leaf.not_valid_before_utc
    return leaf.not_valid_before_utc <= now < leaf.not_valid_after_utc - life / 3


def _signing_key(pem: bytes) -> ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey:
    key = load_pem_private_key(pem, None)
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise ValueError("the key is neither of an elliptic curve nor RSA")
    return key


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime.datetime, days: int
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _key_usage(uses: set[str]) -> x509.KeyUsage:
    return x509.KeyUsage(**{use: use in uses for use in _ALL_USES})


def _name(name: str) -> x509.GeneralName:
    if "://" in name:
        return x509.UniformResourceIdentifier(name)
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _pair(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Pair:
    return Pair(
        certificate.public_bytes(Encoding.PEM),
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    )
