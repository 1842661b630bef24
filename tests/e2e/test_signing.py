"""Signatures and MACs, as others verify them: boto3 on one side, `cryptography` on the other."""

import hashlib

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, utils

import aws
from aws import NO_MESSAGE, constraint, refused

MESSAGE = b"attack at dawn"
HASHES = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}
RSA_ALGORITHMS = [f"RSASSA_{scheme}_SHA_{bits}" for scheme in ("PKCS1_V1_5", "PSS") for bits in HASHES]
# As the answers list them: AWS's order, without what the HSM cannot do. SoftHSM2 has no Ed25519ph.
ALGORITHMS = {
    "RSA_2048": RSA_ALGORITHMS,
    "RSA_3072": RSA_ALGORITHMS,
    "RSA_4096": RSA_ALGORITHMS,
    "ECC_NIST_P256": ["ECDSA_SHA_256"],
    "ECC_NIST_P384": ["ECDSA_SHA_384"],
    "ECC_NIST_P521": ["ECDSA_SHA_512"],
    "ECC_SECG_P256K1": ["ECDSA_SHA_256"],
    "ECC_NIST_EDWARDS25519": ["ED25519_SHA_512"],
}
OFFERED = [(spec, name) for spec, names in ALGORITHMS.items() for name in names]
HASHED = [(spec, name) for spec, name in OFFERED if name != "ED25519_SHA_512"]
MACS = {"HMAC_224": 28, "HMAC_256": 32, "HMAC_384": 48, "HMAC_512": 64}


@pytest.fixture(scope="module")
def signer(new_key):
    """A signing key of each spec, made when first asked for."""
    return aws.once(lambda spec: new_key(KeySpec=spec, KeyUsage="SIGN_VERIFY"))


@pytest.fixture(scope="module")
def mac_key(new_key):
    return aws.once(lambda spec: new_key(KeySpec=spec, KeyUsage="GENERATE_VERIFY_MAC"))


def sign(kms, key, algorithm, message=MESSAGE, **more):
    return kms.sign(KeyId=key["KeyId"], Message=message, SigningAlgorithm=algorithm, **more)["Signature"]


def verify(kms, key, algorithm, signature, message=MESSAGE, **more):
    answer = kms.verify(
        KeyId=key["KeyId"], Message=message, Signature=signature, SigningAlgorithm=algorithm, **more
    )
    assert aws.sent(answer) == {"KeyId": key["Arn"], "SignatureValid": True, "SigningAlgorithm": algorithm}


def digest(algorithm, message=MESSAGE):
    return hashlib.new(f"sha{algorithm[-3:]}", message).digest()


def verify_elsewhere(kms, key, algorithm, signature, message=MESSAGE):
    """By `cryptography`, with nothing but the public key that the service gives out."""
    public = serialization.load_der_public_key(kms.get_public_key(KeyId=key["KeyId"])["PublicKey"])
    match algorithm.rsplit("_SHA_", 1)[0]:
        case "RSASSA_PKCS1_V1_5":
            public.verify(signature, message, padding.PKCS1v15(), HASHES[algorithm[-3:]])
        case "RSASSA_PSS":
            public.verify(signature, message, pss(algorithm), HASHES[algorithm[-3:]])
        case "ECDSA":
            public.verify(signature, message, ec.ECDSA(HASHES[algorithm[-3:]]))
        case "ED25519":
            public.verify(signature, message)
        case other:
            raise AssertionError(f"who verifies {other}?")


def pss(algorithm, salt_length=padding.PSS.DIGEST_LENGTH):
    return padding.PSS(mgf=padding.MGF1(HASHES[algorithm[-3:]]), salt_length=salt_length)


def damaged(signature):
    yield signature[:-1] + bytes([signature[-1] ^ 1])
    yield signature[:-1]
    yield signature + b"\0"
    yield b"\0"
    yield bytes(len(signature))


# Sign and Verify


@pytest.mark.parametrize("spec", ALGORITHMS)
def test_a_signing_key_says_what_it_is(kms, signer, spec):
    key = signer(spec)
    assert (key["KeySpec"], key["KeyUsage"], key["SigningAlgorithms"]) == (spec, "SIGN_VERIFY", ALGORITHMS[spec])
    answer = kms.get_public_key(KeyId=key["KeyId"])
    assert (answer["KeyUsage"], answer["SigningAlgorithms"]) == ("SIGN_VERIFY", ALGORITHMS[spec])
    assert key.keys().isdisjoint({"EncryptionAlgorithms", "MacAlgorithms", "CurrentKeyMaterialId"})


@pytest.mark.parametrize(("spec", "algorithm"), OFFERED)
def test_others_verify_what_is_signed_and_nothing_else(kms, signer, spec, algorithm):
    key = signer(spec)
    answer = kms.sign(KeyId=key["KeyId"], Message=MESSAGE, SigningAlgorithm=algorithm)
    signature = answer.pop("Signature")
    assert aws.sent(answer) == {"KeyId": key["Arn"], "SigningAlgorithm": algorithm}
    verify_elsewhere(kms, key, algorithm, signature)
    verify(kms, key, algorithm, signature)
    with pytest.raises(InvalidSignature):
        verify_elsewhere(kms, key, algorithm, signature, message=b"attack at dusk")
    with refused("KMSInvalidSignatureException", NO_MESSAGE):
        verify(kms, key, algorithm, signature, message=b"attack at dusk")


@pytest.mark.parametrize(("spec", "algorithm"), OFFERED)
def test_a_damaged_signature_is_an_invalid_signature(kms, signer, spec, algorithm):
    key = signer(spec)
    for wrong in damaged(sign(kms, key, algorithm)):
        with refused("KMSInvalidSignatureException", NO_MESSAGE):
            verify(kms, key, algorithm, wrong)


@pytest.mark.parametrize(("spec", "algorithm"), HASHED)
def test_a_digest_stands_for_its_message(kms, signer, spec, algorithm):
    key = signer(spec)
    of_digest = sign(kms, key, algorithm, digest(algorithm), MessageType="DIGEST")
    verify_elsewhere(kms, key, algorithm, of_digest)
    verify(kms, key, algorithm, of_digest, MessageType="RAW")
    verify(kms, key, algorithm, sign(kms, key, algorithm), digest(algorithm), MessageType="DIGEST")
    with refused("ValidationException", f"Digest is invalid length for algorithm {algorithm}."):
        sign(kms, key, algorithm, digest(algorithm)[1:], MessageType="DIGEST")


@pytest.mark.parametrize("bits", HASHES)
def test_the_salt_is_as_long_as_the_hash(kms, signer, bits):
    key, algorithm = signer("RSA_2048"), f"RSASSA_PSS_SHA_{bits}"
    public = serialization.load_der_public_key(kms.get_public_key(KeyId=key["KeyId"])["PublicKey"])
    signature, exactly = sign(kms, key, algorithm), int(bits) // 8
    public.verify(signature, MESSAGE, pss(algorithm, exactly), HASHES[bits])
    with pytest.raises(InvalidSignature):
        public.verify(signature, MESSAGE, pss(algorithm, exactly - 1), HASHES[bits])


def test_a_signature_is_bound_to_its_algorithm_and_its_key(kms, signer, new_key):
    key, other = signer("RSA_2048"), new_key(KeySpec="RSA_2048", KeyUsage="SIGN_VERIFY")
    signature = sign(kms, key, "RSASSA_PSS_SHA_256")
    for wrong_key, algorithm in [(key, "RSASSA_PKCS1_V1_5_SHA_256"), (other, "RSASSA_PSS_SHA_256")]:
        with refused("KMSInvalidSignatureException", NO_MESSAGE):
            verify(kms, wrong_key, algorithm, signature)
    with refused("InvalidKeyUsageException", "Algorithm ECDSA_SHA_256 is incompatible with key spec RSA_2048."):
        sign(kms, key, "ECDSA_SHA_256")


def test_an_ecdsa_signature_is_der_and_not_two_bare_numbers(kms, signer):
    key = signer("ECC_NIST_P256")
    r, s = utils.decode_dss_signature(sign(kms, key, "ECDSA_SHA_256"))
    with refused("KMSInvalidSignatureException", NO_MESSAGE):
        verify(kms, key, "ECDSA_SHA_256", r.to_bytes(32) + s.to_bytes(32))


@pytest.mark.parametrize("spec", ["RSA_2048", "ECC_NIST_P256", "ECC_NIST_EDWARDS25519"])
def test_messages_of_every_size_up_to_4096(kms, signer, spec):
    key, algorithm = signer(spec), ALGORITHMS[spec][0]
    for size in (1, 4096):
        verify_elsewhere(kms, key, algorithm, sign(kms, key, algorithm, bytes(size)), bytes(size))
    with refused("ValidationException", constraint(None, "message", "have length less than or equal to 4096")):
        sign(kms, key, algorithm, bytes(4097))


def test_a_dry_run_signs_nothing(kms, signer):
    with refused("DryRunOperationException"):
        sign(kms, signer("ECC_NIST_P256"), "ECDSA_SHA_256", DryRun=True)


# GenerateMac and VerifyMac


@pytest.mark.parametrize("spec", MACS)
def test_a_mac_is_the_same_each_time_and_is_verified(kms, mac_key, spec):
    key, algorithm = mac_key(spec), spec.replace("_", "_SHA_")
    assert key["MacAlgorithms"] == [algorithm]
    request = {"KeyId": key["KeyId"], "Message": MESSAGE, "MacAlgorithm": algorithm}
    answer = kms.generate_mac(**request)
    mac = answer.pop("Mac")
    assert aws.sent(answer) == {"KeyId": key["Arn"], "MacAlgorithm": algorithm}
    assert (len(mac), mac) == (MACS[spec], kms.generate_mac(**request)["Mac"])
    answer = kms.verify_mac(Mac=mac, **request)
    assert aws.sent(answer) == {"KeyId": key["Arn"], "MacValid": True, "MacAlgorithm": algorithm}


@pytest.mark.parametrize("spec", MACS)
def test_a_wrong_mac_is_an_invalid_mac(kms, mac_key, spec):
    request = {"KeyId": mac_key(spec)["KeyId"], "MacAlgorithm": spec.replace("_", "_SHA_")}
    mac = kms.generate_mac(Message=MESSAGE, **request)["Mac"]
    for wrong in damaged(mac):
        with refused("KMSInvalidMacException", NO_MESSAGE):
            kms.verify_mac(Message=MESSAGE, Mac=wrong, **request)
    with refused("KMSInvalidMacException", NO_MESSAGE):
        kms.verify_mac(Message=b"attack at dusk", Mac=mac, **request)


def test_macs_of_two_keys_differ(kms, mac_key, new_key):
    other = new_key(KeySpec="HMAC_256", KeyUsage="GENERATE_VERIFY_MAC")
    macs = {
        kms.generate_mac(KeyId=key["KeyId"], Message=MESSAGE, MacAlgorithm="HMAC_SHA_256")["Mac"]
        for key in (mac_key("HMAC_256"), other)
    }
    assert len(macs) == 2


def test_a_mac_key_has_one_algorithm(kms, mac_key):
    with refused("InvalidKeyUsageException", "Algorithm HMAC_SHA_512 is incompatible with key spec HMAC_256."):
        kms.generate_mac(KeyId=mac_key("HMAC_256")["KeyId"], Message=MESSAGE, MacAlgorithm="HMAC_SHA_512")


# What SoftHSM2 has not


@pytest.mark.parametrize(
    ("spec", "usage"),
    [
        *[(f"ML_DSA_{size}", "SIGN_VERIFY") for size in (44, 65, 87)],
        *[(f"ML_KEM_{size}", "ENCAPSULATE_DECAPSULATE") for size in (512, 768, 1024)],
        *[("SM2", usage) for usage in ("ENCRYPT_DECRYPT", "SIGN_VERIFY", "KEY_AGREEMENT")],
    ],
)
def test_keys_that_the_hsm_cannot_make_are_refused(lax, spec, usage):
    with refused("UnsupportedOperationException"):
        lax.create_key(KeySpec=spec, KeyUsage=usage)


def test_ed25519ph_is_refused_and_is_not_signed_as_something_else(kms, signer):
    with refused("InvalidKeyUsageException"):
        sign(kms, signer("ECC_NIST_EDWARDS25519"), "ED25519_PH_SHA_512", digest("SHA_512"), MessageType="DIGEST")
