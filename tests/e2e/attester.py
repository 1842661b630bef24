"""A platform that attests: a root, an issuer, a signer, and the documents that it signs. Written from RFC 8949, RFC 9052 and
AWS's specification of attestation documents alone, so that it and the server do not share a misunderstanding."""

import struct
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

ES384 = bytes.fromhex("a1013822")


def cbor(value):
    """The preferred serialization of what documents are made of."""
    match value:
        case None:
            return b"\xf6"
        case int():
            return head(0, value)
        case bytes():
            return head(2, len(value)) + value
        case str():
            return head(3, len(value.encode())) + value.encode()
        case list():
            return head(4, len(value)) + b"".join(map(cbor, value))
        case dict():
            return head(5, len(value)) + b"".join(cbor(key) + cbor(entry) for key, entry in value.items())


def head(major, argument):
    for code, form, limit in [(24, ">BB", 1 << 8), (25, ">BH", 1 << 16), (26, ">BI", 1 << 32), (27, ">BQ", 1 << 64)]:
        if argument < 24:
            return bytes([major << 5 | argument])
        if argument < limit:
            return struct.pack(form, major << 5 | code, argument)
    raise ValueError(argument)


class Attester:
    def __init__(self):
        root_key, issuer_key, self.key = (ec.generate_private_key(ec.SECP384R1()) for _ in range(3))
        root = certificate("root", root_key, "root", root_key, is_ca=True)
        issuer = certificate("issuer", issuer_key, "root", root_key, is_ca=True)
        signer = certificate("signer", self.key, "issuer", issuer_key, is_ca=False)
        self.root_pem = root.public_bytes(serialization.Encoding.PEM)
        self.bundle = [der(root), der(issuer)]
        self.certificate = der(signer)

    def document(self, public_key, **claims):
        """A document for the public key of a recipient (DER), made now unless `claims` say otherwise."""
        payload = cbor(
            {
                "module_id": "i-0123456789abcdef0-enc0123456789abcdef",
                "digest": "SHA384",
                "timestamp": int(datetime.now(UTC).timestamp() * 1000),
                "pcrs": {number: bytes(48) for number in range(16)},
                "certificate": self.certificate,
                "cabundle": self.bundle,
                "public_key": public_key,
                "user_data": None,
                "nonce": None,
                **claims,
            }
        )
        signed = cbor(["Signature1", ES384, b"", payload])
        r, s = decode_dss_signature(self.key.sign(signed, ec.ECDSA(hashes.SHA384())))
        return cbor([ES384, {}, payload, r.to_bytes(48) + s.to_bytes(48)])


def certificate(name, key, issuer, issuer_key, *, is_ca):
    now = datetime.now(UTC)
    usage = dict.fromkeys(
        ["digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"]
        + ["key_cert_sign", "crl_sign", "encipher_only", "decipher_only"],
        False,
    )
    usage["key_cert_sign" if is_ca else "digital_signature"] = True
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(**usage), critical=True)
        .sign(issuer_key, hashes.SHA384())
    )


def der(made):
    return made.public_bytes(serialization.Encoding.DER)
