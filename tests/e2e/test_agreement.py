"""Secrets and key pairs that are for the caller: ECDH with a peer of another make, data key pairs."""

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mlkem, rsa

import aws
from aws import NO_MESSAGE, refused

CURVES = {"ECC_NIST_P256": ec.SECP256R1(), "ECC_NIST_P384": ec.SECP384R1(), "ECC_NIST_P521": ec.SECP521R1()}
SECRET_BYTES = {"ECC_NIST_P256": 32, "ECC_NIST_P384": 48, "ECC_NIST_P521": 66}
# `cryptography` knows no ML_KEM_512.
PAIRS = ["RSA_2048", "RSA_3072", "RSA_4096", *CURVES, "ECC_SECG_P256K1", "ECC_NIST_EDWARDS25519", "ML_KEM_768", "ML_KEM_1024"]
CONTEXT = {"purpose": "pair"}


@pytest.fixture(scope="module")
def agreeing(new_key):
    """A key agreement key of each curve, made when first asked for."""
    return aws.once(lambda spec: new_key(KeySpec=spec, KeyUsage="KEY_AGREEMENT"))


def spki(public_key):
    return public_key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def derive(kms, key, public_key):
    return kms.derive_shared_secret(KeyId=key["KeyId"], KeyAgreementAlgorithm="ECDH", PublicKey=public_key)


# DeriveSharedSecret


@pytest.mark.parametrize("spec", CURVES)
def test_both_sides_come_to_the_same_secret(kms, agreeing, spec):
    key = agreeing(spec)
    assert key["KeyAgreementAlgorithms"] == ["ECDH"]
    ours = serialization.load_der_public_key(kms.get_public_key(KeyId=key["KeyId"])["PublicKey"])
    secrets = set()
    for _ in range(4):
        peer = ec.generate_private_key(CURVES[spec])
        answer = derive(kms, key, spki(peer.public_key()))
        secret = answer.pop("SharedSecret")
        assert (len(secret), secret) == (SECRET_BYTES[spec], peer.exchange(ec.ECDH(), ours))
        assert aws.sent(answer) == {"KeyId": key["Arn"], "KeyAgreementAlgorithm": "ECDH", "KeyOrigin": "AWS_KMS"}
        secrets.add(secret)
    assert len(secrets) == 4


@pytest.mark.parametrize("spec", CURVES)
def test_two_keys_of_the_service_agree(kms, agreeing, new_key, spec):
    one, other = agreeing(spec), new_key(KeySpec=spec, KeyUsage="KEY_AGREEMENT")
    public = {key["KeyId"]: kms.get_public_key(KeyId=key["KeyId"])["PublicKey"] for key in (one, other)}
    here = derive(kms, one, public[other["KeyId"]])["SharedSecret"]
    assert here == derive(kms, other, public[one["KeyId"]])["SharedSecret"]


def test_a_public_key_that_is_none_of_the_curve_is_refused(kms, agreeing):
    key, peer = agreeing("ECC_NIST_P256"), spki(ec.generate_private_key(ec.SECP256R1()).public_key())
    wrong = {
        "of another curve": spki(ec.generate_private_key(ec.SECP384R1()).public_key()),
        "of no elliptic curve": spki(rsa.generate_private_key(65537, 2048).public_key()),
        "beside the curve": peer[:-1] + bytes([peer[-1] ^ 1]),
        "cut short": peer[:-1],
        "with more behind it": peer + b"\0",
        "no key at all": b"\0",
    }
    for what, public_key in wrong.items():
        with refused("ValidationException", NO_MESSAGE):
            pytest.fail(f"{what}: {derive(kms, key, public_key)}")


def test_a_signing_key_does_not_agree(kms, new_key):
    key = new_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")
    with refused("InvalidKeyUsageException"):
        derive(kms, key, kms.get_public_key(KeyId=key["KeyId"])["PublicKey"])


# GenerateDataKeyPair


def kind(private_key):
    """What AWS calls such a key."""
    match private_key:
        case rsa.RSAPrivateKey():
            assert private_key.public_key().public_numbers().e == 65537
            return f"RSA_{private_key.key_size}"
        case ec.EllipticCurvePrivateKey(curve=ec.SECP256K1()):
            return "ECC_SECG_P256K1"
        case ec.EllipticCurvePrivateKey():
            return f"ECC_NIST_P{private_key.key_size}"
        case ed25519.Ed25519PrivateKey():
            return "ECC_NIST_EDWARDS25519"
        case mlkem.MLKEM768PrivateKey():
            return "ML_KEM_768"
        case mlkem.MLKEM1024PrivateKey():
            return "ML_KEM_1024"


@pytest.mark.parametrize("spec", PAIRS)
def test_a_pair_is_whole_and_its_private_key_opens_again(kms, symmetric, spec):
    made = kms.generate_data_key_pair(KeyId=symmetric["KeyId"], KeyPairSpec=spec, EncryptionContext=CONTEXT)
    plain = made.pop("PrivateKeyPlaintext")
    private_key = serialization.load_der_private_key(plain, password=None)
    assert (kind(private_key), spki(private_key.public_key())) == (spec, made.pop("PublicKey"))
    sealed = made.pop("PrivateKeyCiphertextBlob")
    assert kms.decrypt(CiphertextBlob=sealed, EncryptionContext=CONTEXT)["Plaintext"] == plain
    with refused("InvalidCiphertextException", NO_MESSAGE):
        kms.decrypt(CiphertextBlob=sealed)
    assert aws.sent(made) == {
        "KeyId": symmetric["Arn"],
        "KeyPairSpec": spec,
        "KeyMaterialId": symmetric["CurrentKeyMaterialId"],
    }


@pytest.mark.parametrize("spec", PAIRS)
def test_a_pair_without_plaintext_is_only_sealed(kms, symmetric, spec):
    made = kms.generate_data_key_pair_without_plaintext(KeyId=symmetric["KeyId"], KeyPairSpec=spec)
    assert "PrivateKeyPlaintext" not in made
    plain = kms.decrypt(CiphertextBlob=made["PrivateKeyCiphertextBlob"])["Plaintext"]
    private_key = serialization.load_der_private_key(plain, password=None)
    assert (kind(private_key), spki(private_key.public_key())) == (spec, made["PublicKey"])


def test_no_two_pairs_are_the_same(kms, symmetric):
    request = {"KeyId": symmetric["KeyId"], "KeyPairSpec": "ECC_NIST_P256"}
    assert len({kms.generate_data_key_pair(**request)["PublicKey"] for _ in range(10)}) == 10


def test_a_pair_is_sealed_by_a_symmetric_key_only(kms, rsa):
    with refused("InvalidKeyUsageException"):
        kms.generate_data_key_pair(KeyId=rsa["KeyId"], KeyPairSpec="ECC_NIST_P256")


def test_pairs_of_sm2_are_refused(lax, symmetric):
    with refused("UnsupportedOperationException"):
        lax.generate_data_key_pair(KeyId=symmetric["KeyId"], KeyPairSpec="SM2")


def test_a_key_that_encapsulates_nothing_says_so(kms, symmetric):
    """SoftHSM2 has no ML-KEM: no such key can be made, and no other does it."""
    with refused("UnsupportedOperationException"):
        kms.create_key(KeySpec="ML_KEM_768", KeyUsage="ENCAPSULATE_DECAPSULATE")
    for operation, given in [(kms.encapsulate, {}), (kms.decapsulate, {"SharedSecretCiphertextBlob": b"x" * 1088})]:
        with refused("InvalidKeyUsageException"):
            operation(KeyId=symmetric["KeyId"], EncapsulationAlgorithm="ML_KEM", **given)
