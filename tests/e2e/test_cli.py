"""The AWS CLI, as pasted from what `strongroom dev` prints, and as scripts use it."""

import base64
import json
import subprocess

import pytest

import aws
from server import CLI_SECONDS, bare_environment


@pytest.fixture
def shell(server, tmp_path):
    """Runs a bash script in an empty directory, with the environment lines of the server and nothing more."""

    def run(script):
        environment = {**bare_environment(tmp_path), **server.environment, "AWS_PAGER": ""}
        return subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=CLI_SECONDS,
        )

    return run


@pytest.fixture
def ok(shell):
    def run(script):
        done = shell(script)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return run


def test_the_environment_lines_are_all_a_client_needs(server):
    wanted = {"AWS_ENDPOINT_URL_KMS", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
    assert wanted <= server.environment.keys()
    # boto3 and the AWS CLI version 1 read AWS_DEFAULT_REGION alone, the others AWS_REGION.
    assert server.environment["AWS_REGION"] == server.environment["AWS_DEFAULT_REGION"] == aws.REGION
    assert server.greeting.splitlines()[-1] == f"# strongroom is ready on {server.endpoint}"


def test_everything_that_is_printed_works_when_pasted(server, ok):
    pasted = server.greeting
    assert "aws kms create-key" in pasted and "aws kms encrypt" in pasted
    ok(pasted)


def test_encrypt_and_decrypt_a_file(ok):
    assert (
        ok("""
        printf 'attack at dawn' > plain
        key=$(aws kms create-key --query KeyMetadata.KeyId --output text)
        aws kms create-alias --alias-name alias/cli --target-key-id "$key"
        aws kms encrypt --key-id alias/cli --plaintext fileb://plain --encryption-context app=e2e \
          --output text --query CiphertextBlob | base64 -d > sealed
        aws kms decrypt --ciphertext-blob fileb://sealed --encryption-context app=e2e \
          --output text --query Plaintext | base64 -d
        """)
        == "attack at dawn"
    )


def test_rsa_by_the_command_line_and_openssl_alone(ok):
    assert (
        ok("""
        key=$(aws kms create-key --key-spec RSA_2048 --key-usage ENCRYPT_DECRYPT --query KeyMetadata.KeyId \
          --output text)
        aws kms get-public-key --key-id "$key" --output text --query PublicKey | base64 -d > public.der
        printf 'attack at dawn' | openssl pkeyutl -encrypt -pubin -keyform DER -inkey public.der \
          -pkeyopt rsa_padding_mode:oaep -pkeyopt rsa_oaep_md:sha256 > sealed
        aws kms decrypt --key-id "$key" --encryption-algorithm RSAES_OAEP_SHA_256 --ciphertext-blob fileb://sealed \
          --output text --query Plaintext | base64 -d
        """)
        == "attack at dawn"
    )


def test_a_data_key_opens_again(ok):
    assert (
        ok("""
        key=$(aws kms create-key --query KeyMetadata.Arn --output text)
        aws kms generate-data-key --key-id "$key" --key-spec AES_256 --query '[CiphertextBlob,Plaintext]' \
          --output text > made
        read -r sealed plain < made
        base64 -d <<< "$sealed" > sealed
        opened=$(aws kms decrypt --ciphertext-blob fileb://sealed --query Plaintext --output text)
        test "$opened" = "$plain" && echo same
        """)
        == "same"
    )


# As in README.md.
SIGN = """
    openssl dgst -sha256 -binary release.tar > digest
    aws kms sign --key-id "$key" --message-type DIGEST --message fileb://digest --signing-algorithm ALGORITHM \
      --output text --query Signature | base64 -d > release.sig
    aws kms get-public-key --key-id "$key" --output text --query PublicKey | base64 -d > public.der
"""
VERIFY = """
    aws kms verify --key-id "$key" --message fileb://release.tar --signature fileb://release.sig \
      --signing-algorithm ALGORITHM --output text --query SignatureValid
"""


def signing(spec, algorithm, then):
    """A script that makes a key, signs a file with it, and goes on."""
    make = f"""
    printf 'what is released' > release.tar
    key=$(aws kms create-key --key-spec {spec} --key-usage SIGN_VERIFY --query KeyMetadata.KeyId --output text)
    """
    return make + (SIGN + then).replace("ALGORITHM", algorithm)


def test_sign_and_verify_a_file(ok, shell):
    assert ok(signing("ECC_NIST_P256", "ECDSA_SHA_256", VERIFY)) == "True"
    tampered = "\n    printf 'something else' > release.tar\n" + VERIFY
    done = shell(signing("ECC_NIST_P256", "ECDSA_SHA_256", tampered))
    assert done.returncode == 255
    assert "(KMSInvalidSignatureException) when calling the Verify operation" in done.stderr


def test_openssl_verifies_ecdsa(ok):
    openssl = "openssl dgst -sha256 -verify public.der -keyform DER -signature release.sig release.tar"
    assert ok(signing("ECC_NIST_P256", "ECDSA_SHA_256", openssl)) == "Verified OK"


def test_openssl_verifies_rsa_pss(ok):
    openssl = """
    openssl dgst -sha256 -verify public.der -keyform DER -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:digest \
      -sigopt rsa_mgf1_md:sha256 -signature release.sig release.tar
    """
    assert ok(signing("RSA_2048", "RSASSA_PSS_SHA_256", openssl)) == "Verified OK"


def test_a_mac_is_made_and_verified(ok):
    assert (
        ok("""
        printf 'a message' > message
        key=$(aws kms create-key --key-spec HMAC_256 --key-usage GENERATE_VERIFY_MAC --query KeyMetadata.KeyId \
          --output text)
        aws kms generate-mac --key-id "$key" --message fileb://message --mac-algorithm HMAC_SHA_256 \
          --output text --query Mac | base64 -d > mac
        aws kms verify-mac --key-id "$key" --message fileb://message --mac fileb://mac --mac-algorithm HMAC_SHA_256 \
          --output text --query MacValid
        """)
        == "True"
    )


def test_an_error_reads_as_it_does_from_aws(shell):
    done = shell(f"aws kms describe-key --key-id {aws.UNKNOWN_ID}")
    # 255 is what version 1 of the AWS CLI says; version 2 says 254.
    assert done.returncode == 255
    assert (
        "An error occurred (NotFoundException) when calling the DescribeKey operation: "
        f"Key '{aws.key_arn(aws.UNKNOWN_ID)}' does not exist" in done.stderr
    )


def test_lists_are_followed_to_their_end(ok, kms, new_key):
    made = {new_key()["KeyId"] for _ in range(3)}
    listed = json.loads(ok("aws kms list-keys --page-size 2 --query 'Keys[].KeyId' --output json"))
    assert made <= set(listed)


def test_any_region_is_a_key_space_of_its_own(ok):
    key = ok("aws --region eu-onprem-1 kms create-key --query KeyMetadata.Arn --output text")
    assert key.startswith(f"arn:aws:kms:eu-onprem-1:{aws.ACCOUNT}:key/")
    assert key not in ok("aws kms list-keys --query 'Keys[].KeyArn' --output text")
    assert key in ok("aws --region eu-onprem-1 kms list-keys --query 'Keys[].KeyArn' --output text")


def test_random_bytes(ok):
    assert (
        len(base64.b64decode(ok("aws kms generate-random --number-of-bytes 64 --query Plaintext --output text"))) == 64
    )
