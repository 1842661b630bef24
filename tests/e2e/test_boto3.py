"""The job as users meet it through boto3: encrypt and decrypt, data keys, RSA, and the answers clients rely on."""

import re

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding

import aws
from aws import NO_MESSAGE, constraint, refused, sent

CONTEXT = {"purpose": "e2e", "unicode": "żółw:/="}
RSA_HASHES = {"RSAES_OAEP_SHA_1": hashes.SHA1(), "RSAES_OAEP_SHA_256": hashes.SHA256()}
RSA_LIMITS = [
    ("RSA_2048", "RSAES_OAEP_SHA_1", 214),
    ("RSA_2048", "RSAES_OAEP_SHA_256", 190),
    ("RSA_3072", "RSAES_OAEP_SHA_1", 342),
    ("RSA_3072", "RSAES_OAEP_SHA_256", 318),
    ("RSA_4096", "RSAES_OAEP_SHA_1", 470),
    ("RSA_4096", "RSAES_OAEP_SHA_256", 446),
]


@pytest.fixture(scope="module")
def named(kms, symmetric):
    return aws.references(kms, symmetric)


@pytest.fixture(scope="module")
def rsa_key(new_key):
    """A key of each size, made when first asked for."""
    return aws.once(lambda spec: new_key(KeySpec=spec, KeyUsage="ENCRYPT_DECRYPT"))


def encrypt(kms, key, plaintext=b"attack at dawn", **more):
    return kms.encrypt(KeyId=key["KeyId"], Plaintext=plaintext, **more)["CiphertextBlob"]


# Encrypt and Decrypt


@pytest.mark.parametrize("form", ["id", "arn", "alias", "alias_arn"])
def test_encrypt_and_decrypt_by_every_form_of_the_key_id(kms, symmetric, named, form):
    sealed = kms.encrypt(KeyId=named[form], Plaintext=b"attack at dawn")
    opened = kms.decrypt(KeyId=named[form], CiphertextBlob=sealed["CiphertextBlob"])
    assert sent(sealed).keys() == {"CiphertextBlob", "KeyId", "EncryptionAlgorithm"}
    assert (sealed["KeyId"], sealed["EncryptionAlgorithm"]) == (symmetric["Arn"], "SYMMETRIC_DEFAULT")
    assert sent(opened) == {
        "KeyId": symmetric["Arn"],
        "Plaintext": b"attack at dawn",
        "EncryptionAlgorithm": "SYMMETRIC_DEFAULT",
        "KeyMaterialId": symmetric["CurrentKeyMaterialId"],
    }


def test_decrypt_needs_no_key_id(kms, symmetric):
    assert kms.decrypt(CiphertextBlob=encrypt(kms, symmetric))["Plaintext"] == b"attack at dawn"


def test_the_same_plaintext_never_gives_the_same_ciphertext(kms, symmetric):
    assert len({encrypt(kms, symmetric) for _ in range(20)}) == 20


@pytest.mark.parametrize("size", [1, 15, 16, 17, 4095, 4096])
def test_every_size_up_to_4096(kms, symmetric, size):
    assert kms.decrypt(CiphertextBlob=encrypt(kms, symmetric, bytes(size)))["Plaintext"] == bytes(size)


def test_4097_bytes_are_too_many(kms, symmetric):
    with refused("ValidationException", constraint(None, "plaintext", "have length less than or equal to 4096")):
        encrypt(kms, symmetric, bytes(4097))


def test_no_bytes_are_too_few(lax, symmetric):
    with refused("ValidationException", constraint(None, "plaintext", "have length greater than or equal to 1")):
        encrypt(lax, symmetric, b"")


def test_the_encryption_context_must_be_the_same(kms, symmetric):
    sealed = encrypt(kms, symmetric, EncryptionContext=CONTEXT)
    again = dict(reversed(CONTEXT.items()))
    assert kms.decrypt(CiphertextBlob=sealed, EncryptionContext=again)["Plaintext"] == b"attack at dawn"


@pytest.mark.parametrize("context", [{}, {"purpose": "other"}, {**CONTEXT, "more": "x"}, {"PURPOSE": "e2e"}])
def test_another_encryption_context_is_an_invalid_ciphertext(kms, symmetric, context):
    sealed = encrypt(kms, symmetric, EncryptionContext=CONTEXT)
    with refused("InvalidCiphertextException", NO_MESSAGE):
        kms.decrypt(CiphertextBlob=sealed, EncryptionContext=context)


def test_pairs_of_a_context_cannot_be_confused(kms, symmetric):
    sealed = encrypt(kms, symmetric, EncryptionContext={"a": "b", "c": "d"})
    for other in ({"a": "bc", "d": "d"}, {"ab": "c", "c": "d"}, {"a": "d", "c": "b"}):
        with refused("InvalidCiphertextException", NO_MESSAGE):
            kms.decrypt(CiphertextBlob=sealed, EncryptionContext=other)


@pytest.mark.parametrize("context", [{"a": "b", "c": ""}, {"": "d"}])
def test_a_pair_that_says_nothing_is_refused(kms, symmetric, context):
    with refused("ValidationException", "Invalid EncryptionContext"):
        encrypt(kms, symmetric, EncryptionContext=context)


def damaged(sealed):
    yield sealed[:-1] + bytes([sealed[-1] ^ 1])
    yield sealed[:-1]
    yield sealed + b"\0"
    yield b"\0"
    yield b"this was never a ciphertext of ours at all, but it is long enough to be one"


def test_a_damaged_ciphertext_is_an_invalid_ciphertext(kms, symmetric):
    for blob in damaged(encrypt(kms, symmetric)):
        with refused("InvalidCiphertextException", NO_MESSAGE):
            kms.decrypt(CiphertextBlob=blob)


def test_a_ciphertext_of_another_key_is_an_incorrect_key(kms, symmetric, new_key, rsa):
    sealed = encrypt(kms, symmetric)
    for other in (new_key(), rsa):
        with refused(
            "IncorrectKeyException",
            "The key ID in the request does not identify a CMK that can perform this operation.",
        ):
            kms.decrypt(KeyId=other["KeyId"], CiphertextBlob=sealed)


def test_a_key_of_another_region_is_not_there(server, kms, symmetric):
    elsewhere = aws.client(server.environment, region="eu-onprem-1")
    with refused(
        "AccessDeniedException",
        "The ciphertext refers to a customer master key that does not exist, does not exist in this region, "
        "or you are not allowed to access.",
    ):
        elsewhere.decrypt(CiphertextBlob=encrypt(kms, symmetric))


def test_a_dry_run_says_what_would_be(kms, symmetric):
    would = ("DryRunOperationException", "The request would have succeeded, but the DryRun option is set.")
    sealed = encrypt(kms, symmetric)
    with refused(*would):
        encrypt(kms, symmetric, DryRun=True)
    with refused(*would):
        kms.decrypt(CiphertextBlob=sealed, DryRun=True)
    with refused(*would):
        kms.re_encrypt(CiphertextBlob=sealed, DestinationKeyId=symmetric["KeyId"], DryRun=True)
    with refused(*would):
        kms.generate_data_key(KeyId=symmetric["KeyId"], KeySpec="AES_256", DryRun=True)
    with refused("NotFoundException"):
        kms.encrypt(KeyId=aws.UNKNOWN_ID, Plaintext=b"x", DryRun=True)


# ReEncrypt


def test_re_encrypt_changes_key_and_context(kms, symmetric, new_key):
    other = new_key()
    sealed = encrypt(kms, symmetric, EncryptionContext={"from": "here"})
    moved = kms.re_encrypt(
        CiphertextBlob=sealed,
        SourceEncryptionContext={"from": "here"},
        DestinationKeyId=other["KeyId"],
        DestinationEncryptionContext={"to": "there"},
    )
    opened = kms.decrypt(CiphertextBlob=moved.pop("CiphertextBlob"), EncryptionContext={"to": "there"})
    assert (opened["Plaintext"], opened["KeyId"]) == (b"attack at dawn", other["Arn"])
    assert sent(moved) == {
        "SourceKeyId": symmetric["Arn"],
        "KeyId": other["Arn"],
        "SourceEncryptionAlgorithm": "SYMMETRIC_DEFAULT",
        "DestinationEncryptionAlgorithm": "SYMMETRIC_DEFAULT",
        "SourceKeyMaterialId": symmetric["CurrentKeyMaterialId"],
        "DestinationKeyMaterialId": other["CurrentKeyMaterialId"],
    }


def test_re_encrypt_to_rsa_and_back(kms, symmetric, rsa):
    there = kms.re_encrypt(
        CiphertextBlob=encrypt(kms, symmetric),
        DestinationKeyId=rsa["KeyId"],
        DestinationEncryptionAlgorithm="RSAES_OAEP_SHA_256",
    )
    assert "DestinationKeyMaterialId" not in there
    back = kms.re_encrypt(
        CiphertextBlob=there["CiphertextBlob"],
        SourceKeyId=rsa["KeyId"],
        SourceEncryptionAlgorithm="RSAES_OAEP_SHA_256",
        DestinationKeyId=symmetric["KeyId"],
    )
    assert kms.decrypt(CiphertextBlob=back["CiphertextBlob"])["Plaintext"] == b"attack at dawn"


def test_re_encrypt_needs_the_source_context(kms, symmetric):
    sealed = encrypt(kms, symmetric, EncryptionContext=CONTEXT)
    with refused("InvalidCiphertextException", NO_MESSAGE):
        kms.re_encrypt(CiphertextBlob=sealed, DestinationKeyId=symmetric["KeyId"])


# Data keys and random bytes


@pytest.mark.parametrize(
    ("wanted", "size"),
    [
        ({"KeySpec": "AES_128"}, 16),
        ({"KeySpec": "AES_256"}, 32),
        ({"NumberOfBytes": 1}, 1),
        ({"NumberOfBytes": 1024}, 1024),
    ],
)
def test_generate_data_key(kms, symmetric, wanted, size):
    made = kms.generate_data_key(KeyId=symmetric["KeyId"], EncryptionContext=CONTEXT, **wanted)
    opened = kms.decrypt(CiphertextBlob=made["CiphertextBlob"], EncryptionContext=CONTEXT)
    assert sent(made).keys() == {"CiphertextBlob", "Plaintext", "KeyId", "KeyMaterialId"}
    assert (len(made["Plaintext"]), made["Plaintext"]) == (size, opened["Plaintext"])
    assert (made["KeyId"], made["KeyMaterialId"]) == (symmetric["Arn"], symmetric["CurrentKeyMaterialId"])


def test_generate_data_key_without_plaintext(kms, symmetric):
    made = kms.generate_data_key_without_plaintext(KeyId=symmetric["KeyId"], KeySpec="AES_256")
    assert sent(made).keys() == {"CiphertextBlob", "KeyId", "KeyMaterialId"}
    assert len(kms.decrypt(CiphertextBlob=made["CiphertextBlob"])["Plaintext"]) == 32


@pytest.mark.parametrize("wanted", [{}, {"KeySpec": "AES_256", "NumberOfBytes": 32}])
def test_a_data_key_has_either_a_spec_or_a_size(kms, symmetric, wanted):
    with refused("ValidationException", "Please specify either number of bytes or key spec."):
        kms.generate_data_key(KeyId=symmetric["KeyId"], **wanted)


def test_a_data_key_is_not_made_under_an_rsa_key(kms, rsa):
    with refused("InvalidKeyUsageException"):
        kms.generate_data_key(KeyId=rsa["KeyId"], KeySpec="AES_256")


def test_generate_random(kms):
    made = {kms.generate_random(NumberOfBytes=32)["Plaintext"] for _ in range(20)}
    assert len(made) == 20 and {len(bytes_) for bytes_ in made} == {32}
    assert len(kms.generate_random(NumberOfBytes=1024)["Plaintext"]) == 1024


def test_generate_random_knows_its_limits(kms, lax):
    with refused("ValidationException", "NumberOfBytes is required."):
        kms.generate_random()
    with refused("ValidationException", constraint(0, "numberOfBytes", "have value greater than or equal to 1")):
        lax.generate_random(NumberOfBytes=0)
    with refused("ValidationException", constraint(1025, "numberOfBytes", "have value less than or equal to 1024")):
        lax.generate_random(NumberOfBytes=1025)


# RSA


def oaep(algorithm):
    return padding.OAEP(mgf=padding.MGF1(RSA_HASHES[algorithm]), algorithm=RSA_HASHES[algorithm], label=None)


def public_key(kms, key):
    return serialization.load_der_public_key(kms.get_public_key(KeyId=key["KeyId"])["PublicKey"])


def test_get_public_key(kms, rsa):
    answer = kms.get_public_key(KeyId=rsa["KeyId"])
    loaded = serialization.load_der_public_key(answer.pop("PublicKey"))
    assert (loaded.key_size, loaded.public_numbers().e) == (2048, 65537)
    assert sent(answer) == {
        "KeyId": rsa["Arn"],
        "CustomerMasterKeySpec": "RSA_2048",
        "KeySpec": "RSA_2048",
        "KeyUsage": "ENCRYPT_DECRYPT",
        "EncryptionAlgorithms": ["RSAES_OAEP_SHA_1", "RSAES_OAEP_SHA_256"],
    }


def test_a_symmetric_key_has_no_public_key(kms, symmetric):
    with refused("UnsupportedOperationException"):
        kms.get_public_key(KeyId=symmetric["KeyId"])


@pytest.mark.parametrize(("spec", "algorithm", "limit"), RSA_LIMITS)
def test_what_is_encrypted_with_the_public_key_alone_is_decrypted(kms, rsa_key, spec, algorithm, limit):
    key = rsa_key(spec)
    for size in (1, 32, limit):
        sealed = public_key(kms, key).encrypt(bytes(size), oaep(algorithm))
        opened = kms.decrypt(KeyId=key["KeyId"], CiphertextBlob=sealed, EncryptionAlgorithm=algorithm)
        assert sent(opened) == {"KeyId": key["Arn"], "Plaintext": bytes(size), "EncryptionAlgorithm": algorithm}


@pytest.mark.parametrize(("spec", "algorithm", "limit"), RSA_LIMITS)
def test_rsa_encrypt_up_to_its_limit(kms, rsa_key, spec, algorithm, limit):
    key = rsa_key(spec)
    sealed = kms.encrypt(KeyId=key["KeyId"], Plaintext=bytes(limit), EncryptionAlgorithm=algorithm)
    assert (len(sealed["CiphertextBlob"]) * 8, sealed["EncryptionAlgorithm"]) == (int(spec[4:]), algorithm)
    opened = kms.decrypt(KeyId=key["KeyId"], CiphertextBlob=sealed["CiphertextBlob"], EncryptionAlgorithm=algorithm)
    assert opened["Plaintext"] == bytes(limit)
    with refused(
        "ValidationException",
        f"Algorithm {algorithm} and key spec {spec} cannot encrypt data larger than {limit} bytes.",
    ):
        kms.encrypt(KeyId=key["KeyId"], Plaintext=bytes(limit + 1), EncryptionAlgorithm=algorithm)


def test_an_rsa_key_needs_its_algorithm(kms, rsa):
    with refused("InvalidKeyUsageException", "Algorithm SYMMETRIC_DEFAULT is incompatible with key spec RSA_2048."):
        kms.encrypt(KeyId=rsa["KeyId"], Plaintext=b"x")


def test_a_symmetric_key_has_no_rsa_algorithm(kms, symmetric):
    with refused(
        "InvalidKeyUsageException", "Algorithm RSAES_OAEP_SHA_256 is incompatible with key spec SYMMETRIC_DEFAULT."
    ):
        kms.encrypt(KeyId=symmetric["KeyId"], Plaintext=b"x", EncryptionAlgorithm="RSAES_OAEP_SHA_256")


@pytest.mark.parametrize("algorithm", RSA_HASHES)
def test_a_damaged_rsa_ciphertext_is_an_invalid_ciphertext(kms, rsa, algorithm):
    sealed = public_key(kms, rsa).encrypt(b"x", oaep(algorithm))
    for blob in (sealed[:-1], sealed + b"\0", bytes(256), b"\xff" * 256, sealed[:-1] + bytes([sealed[-1] ^ 1])):
        with refused("InvalidCiphertextException", NO_MESSAGE):
            kms.decrypt(KeyId=rsa["KeyId"], CiphertextBlob=blob, EncryptionAlgorithm=algorithm)


def test_an_rsa_ciphertext_is_bound_to_its_algorithm(kms, rsa):
    sealed = public_key(kms, rsa).encrypt(b"x", oaep("RSAES_OAEP_SHA_1"))
    with refused("InvalidCiphertextException", NO_MESSAGE):
        kms.decrypt(KeyId=rsa["KeyId"], CiphertextBlob=sealed, EncryptionAlgorithm="RSAES_OAEP_SHA_256")


# Who was not found


def test_unknown_keys_are_not_found_in_these_words(kms):
    elsewhere = aws.key_arn(aws.UNKNOWN_ID, region="eu-west-3")
    unknown_alias = aws.new_alias()
    for key_id, message in [
        (aws.UNKNOWN_ID, f"Key '{aws.key_arn(aws.UNKNOWN_ID)}' does not exist"),
        (aws.key_arn(aws.UNKNOWN_ID), f"Key '{aws.key_arn(aws.UNKNOWN_ID)}' does not exist"),
        ("fake-key-id", "Invalid keyId 'fake-key-id'"),
        (aws.UNKNOWN_ID.replace("-", ""), f"Invalid keyId '{aws.UNKNOWN_ID.replace('-', '')}'"),
        ("mrk-fake", "Invalid keyId 'mrk-fake'"),
        (elsewhere, "Invalid arn eu-west-3"),
        (unknown_alias, f"Alias {aws.alias_arn(unknown_alias)} is not found."),
    ]:
        with refused("NotFoundException", message):
            kms.describe_key(KeyId=key_id)
        with refused("NotFoundException", message):
            kms.encrypt(KeyId=key_id, Plaintext=b"x")


def test_key_ids_and_material_ids_have_their_shape(symmetric):
    assert re.fullmatch(aws.UUID_SHAPE, symmetric["KeyId"])
    assert re.fullmatch("[0-9a-f]{64}", symmetric["CurrentKeyMaterialId"])
