"""Keys that users bring: made and encrypted by `cryptography`, imported by boto3, used by the service as their owner would."""

import hashlib
import hmac
import os

import pytest
from cryptography.hazmat.primitives import hashes, keywrap, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from aws import NO_MESSAGE, refused

OAEP = {
    "SHA_1": padding.OAEP(mgf=padding.MGF1(hashes.SHA1()), algorithm=hashes.SHA1(), label=None),
    "SHA_256": padding.OAEP(mgf=padding.MGF1(hashes.SHA256()), algorithm=hashes.SHA256(), label=None),
}
BY_RSA = ["RSAES_OAEP_SHA_1", "RSAES_OAEP_SHA_256"]
BY_AES = ["RSA_AES_KEY_WRAP_SHA_1", "RSA_AES_KEY_WRAP_SHA_256"]
FOR_EVER = {"ExpirationModel": "KEY_MATERIAL_DOES_NOT_EXPIRE"}


@pytest.fixture(scope="module")
def external(new_key):
    return lambda **wanted: new_key(Origin="EXTERNAL", **wanted)


def wrap(kms, key, algorithm, material, spec="RSA_2048"):
    """The material as the service wants it, and the token that goes with it."""
    parameters = kms.get_parameters_for_import(KeyId=key["KeyId"], WrappingAlgorithm=algorithm, WrappingKeySpec=spec)
    public = serialization.load_der_public_key(parameters["PublicKey"])
    assert public.key_size == int(spec.removeprefix("RSA_"))
    oaep = OAEP["SHA_1" if algorithm.endswith("SHA_1") else "SHA_256"]
    if algorithm in BY_RSA:
        return public.encrypt(material, oaep), parameters["ImportToken"]
    aes = os.urandom(32)
    wrapped = keywrap.aes_key_wrap_with_padding(aes, material)
    return public.encrypt(aes, oaep) + wrapped, parameters["ImportToken"]


def bring(kms, key, algorithm, material, **more):
    blob, token = wrap(kms, key, algorithm, material)
    answer = kms.import_key_material(KeyId=key["KeyId"], ImportToken=token, EncryptedKeyMaterial=blob, **{**FOR_EVER, **more})
    assert answer["KeyId"] == key["Arn"]
    assert kms.describe_key(KeyId=key["KeyId"])["KeyMetadata"]["KeyState"] == "Enabled"
    return answer


def pkcs8(private):
    encoding, form = serialization.Encoding.DER, serialization.PrivateFormat.PKCS8
    return private.private_bytes(encoding, form, serialization.NoEncryption())


@pytest.mark.parametrize("algorithm", BY_RSA + BY_AES)
def test_an_hmac_key_makes_the_macs_of_its_owner(kms, external, algorithm):
    key, material = external(KeySpec="HMAC_256", KeyUsage="GENERATE_VERIFY_MAC"), os.urandom(32)
    assert "KeyMaterialId" not in bring(kms, key, algorithm, material)
    answer = kms.generate_mac(KeyId=key["KeyId"], Message=b"message", MacAlgorithm="HMAC_SHA_256")
    assert answer["Mac"] == hmac.digest(material, b"message", hashlib.sha256)


@pytest.mark.parametrize("algorithm", BY_RSA + BY_AES)
def test_an_ec_key_signs_for_the_public_key_of_its_owner(kms, external, algorithm):
    private = ec.generate_private_key(ec.SECP256R1())
    key = external(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")
    bring(kms, key, algorithm, pkcs8(private))
    signature = kms.sign(KeyId=key["KeyId"], Message=b"message", SigningAlgorithm="ECDSA_SHA_256")["Signature"]
    private.public_key().verify(signature, b"message", ec.ECDSA(hashes.SHA256()))


@pytest.mark.parametrize("algorithm", BY_AES)
def test_an_rsa_key_opens_what_its_owner_closed(kms, external, algorithm):
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    key = external(KeySpec="RSA_2048", KeyUsage="ENCRYPT_DECRYPT")
    bring(kms, key, algorithm, pkcs8(private))
    sealed = private.public_key().encrypt(b"plaintext", OAEP["SHA_256"])
    answer = kms.decrypt(KeyId=key["KeyId"], CiphertextBlob=sealed, EncryptionAlgorithm="RSAES_OAEP_SHA_256")
    assert answer["Plaintext"] == b"plaintext"


def test_symmetric_material_comes_goes_and_comes_again(kms, external):
    key, material = external(), os.urandom(32)
    described = kms.describe_key(KeyId=key["KeyId"])["KeyMetadata"]
    assert described["KeyState"] == "PendingImport" and "CurrentKeyMaterialId" not in described
    first = bring(kms, key, "RSAES_OAEP_SHA_256", material)
    sealed = kms.encrypt(KeyId=key["KeyId"], Plaintext=b"plaintext")["CiphertextBlob"]
    deleted = kms.delete_imported_key_material(KeyId=key["KeyId"])
    assert deleted["KeyMaterialId"] == first["KeyMaterialId"]
    with refused("KMSInvalidStateException", f"{key['Arn']} is pending import."):
        kms.decrypt(CiphertextBlob=sealed)
    assert bring(kms, key, "RSA_AES_KEY_WRAP_SHA_1", material)["KeyMaterialId"] == first["KeyMaterialId"]
    assert kms.decrypt(CiphertextBlob=sealed)["Plaintext"] == b"plaintext"


def test_material_that_is_damaged_wrong_or_anothers_is_refused(kms, external):
    key, other = external(), external()
    blob, token = wrap(kms, key, "RSAES_OAEP_SHA_256", os.urandom(32))
    damaged = blob[:-1] + bytes([blob[-1] ^ 1])

    short, _ = wrap(kms, key, "RSAES_OAEP_SHA_256", os.urandom(16))
    for wanted, into, with_token, brought in [
        ("InvalidCiphertextException", key, token, damaged),
        ("InvalidImportTokenException", other, token, blob),
        ("InvalidImportTokenException", key, token[:-1], blob),
        # Under the wrapping key of another token.
        ("InvalidCiphertextException", key, token, short),
    ]:
        with refused(wanted, NO_MESSAGE):
            kms.import_key_material(
                KeyId=into["KeyId"], ImportToken=with_token, EncryptedKeyMaterial=brought, **FOR_EVER
            )


@pytest.mark.parametrize("bytes", [16, 31, 33])
def test_material_of_another_length_is_refused(kms, external, bytes):
    key = external()
    with refused("IncorrectKeyMaterialException", NO_MESSAGE):
        bring(kms, key, "RSAES_OAEP_SHA_256", os.urandom(bytes))
