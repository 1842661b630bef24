"""Recipient: plaintexts that the caller never sees, opened by `openssl` with the key that was attested."""

import subprocess
import time

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

import aws
from attester import Attester
from aws import refused
from server import Server

OAEP = "RSAES_OAEP_SHA_256"


@pytest.fixture(scope="module")
def attester():
    return Attester()


@pytest.fixture(scope="module")
def trusting(tmp_path_factory, attester):
    """A client of a server that trusts the attester."""
    directory = tmp_path_factory.mktemp("trusting")
    root = directory / "root.pem"
    root.write_bytes(attester.root_pem)
    server = Server(directory, STRONGROOM__ATTESTATION__ROOTS=str(root)).start()
    yield aws.client(server.environment)
    assert server.stop() == 0, server.stderr()[-4000:]


class Enclave:
    """Who has an RSA key that nobody else has."""

    def __init__(self, directory, bits):
        key = rsa.generate_private_key(65537, bits)
        self.directory = directory
        self.key_file = directory / f"{bits}.pem"
        encoding = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        self.key_file.write_bytes(key.private_bytes(*encoding))
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        self.public_key = key.public_key().public_bytes(serialization.Encoding.DER, form)

    def open(self, envelope):
        file = self.directory / "envelope"
        file.write_bytes(envelope)
        command = ["openssl", "cms", "-decrypt", "-inform", "DER", "-in", file, "-inkey", self.key_file]
        return subprocess.run(command, check=True, capture_output=True).stdout

    def structure(self):
        command = ["openssl", "cms", "-cmsout", "-print", "-inform", "DER", "-in", self.directory / "envelope"]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="module", params=[2048, 3072, 4096])
def enclave(tmp_path_factory, request):
    return Enclave(tmp_path_factory.mktemp("enclave"), request.param)


def recipient(document):
    return {"KeyEncryptionAlgorithm": OAEP, "AttestationDocument": document}


def test_a_plaintext_goes_to_the_enclave_alone(trusting, attester, enclave):
    key = trusting.create_key()["KeyMetadata"]["KeyId"]
    blob = trusting.encrypt(KeyId=key, Plaintext=b"attack at dawn")["CiphertextBlob"]
    answer = trusting.decrypt(CiphertextBlob=blob, Recipient=recipient(attester.document(enclave.public_key)))
    assert answer.keys() - {"ResponseMetadata"} == {"CiphertextForRecipient", "EncryptionAlgorithm", "KeyId"}
    assert enclave.open(answer["CiphertextForRecipient"]) == b"attack at dawn"
    structure = enclave.structure()
    for word in ["pkcs7-envelopedData", "aes-256-cbc", "rsaesOaep", "mgf1", "sha256", "d.ktri"]:
        assert word in structure, structure


def test_a_data_key_goes_to_the_enclave_alone(trusting, attester, enclave):
    key = trusting.create_key()["KeyMetadata"]["KeyId"]
    document = attester.document(enclave.public_key)
    answer = trusting.generate_data_key(KeyId=key, KeySpec="AES_256", Recipient=recipient(document))
    assert answer.keys() - {"ResponseMetadata"} == {"CiphertextBlob", "CiphertextForRecipient", "KeyId"}
    opened = trusting.decrypt(CiphertextBlob=answer["CiphertextBlob"])["Plaintext"]
    assert enclave.open(answer["CiphertextForRecipient"]) == opened


def test_random_bytes_go_to_the_enclave_alone(trusting, attester, enclave):
    document = attester.document(enclave.public_key)
    answer = trusting.generate_random(NumberOfBytes=1000, Recipient=recipient(document))
    assert answer.keys() - {"ResponseMetadata"} == {"CiphertextForRecipient"}
    assert len(enclave.open(answer["CiphertextForRecipient"])) == 1000


def test_who_is_not_attested_gets_nothing(trusting, kms, attester, enclave):
    good = attester.document(enclave.public_key)
    of_another = Attester().document(enclave.public_key)
    old = attester.document(enclave.public_key, timestamp=int(time.time() * 1000) - 6 * 60_000)
    without_key = attester.document(None)
    for document in [of_another, old, without_key, good[:-1] + bytes([good[-1] ^ 1]), b"garbage"]:
        with refused("ValidationException"):
            trusting.generate_random(NumberOfBytes=32, Recipient=recipient(document))
    # A server that trusts nobody.
    with refused("ValidationException", "Recipient is not supported: no attestation roots are configured."):
        kms.generate_random(NumberOfBytes=32, Recipient=recipient(good))
