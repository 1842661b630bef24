"""Custom key stores: an HSM of its owner's beside the server's own, and the keys in it."""

import os
import subprocess
from datetime import UTC, datetime, timedelta

import pytest

import aws
from aws import refused
from server import Server

CLUSTER = "cluster-2abcdefghij"
PASSWORD = "their-user-pin"


def certificate(directory):
    """A certificate that openssl makes, PEM."""
    made = directory / "anchor.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", os.devnull, "-subj", "/CN=cluster"]
    subprocess.run([*command, "-out", made], check=True, capture_output=True)
    return made.read_text()


def make_token(directory):
    """A SoftHSM2 token called `theirs`, whose configuration file is answered."""
    tokens, configuration = directory / "tokens", directory / "softhsm2.conf"
    tokens.mkdir(parents=True)
    configuration.write_text(f"directories.tokendir = {tokens}\nlog.level = ERROR\n")
    command = ["softhsm2-util", "--init-token", "--free", "--label", "theirs", "--pin", PASSWORD, "--so-pin", "their-so-pin"]
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, "SOFTHSM2_CONF": str(configuration)})
    return configuration


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A client of a server that knows a cluster, and a certificate."""
    directory = tmp_path_factory.mktemp("key-stores")
    server = Server(directory).start()
    server.stop()
    configuration = make_token(directory / "theirs")
    with (server.data / "strongroom.toml").open("a") as file:
        file.write(f'\n[[clusters]]\nid = "{CLUSTER}"\ntoken = "pkcs11:token=theirs"\n')
        file.write(f'environment = {{ SOFTHSM2_CONF = "{configuration}" }}\n')
    server.start()
    yield aws.client(server.environment), certificate(directory)
    assert server.stop() == 0, server.stderr()[-4000:]


def described(kms, **which):
    return kms.describe_custom_key_stores(**which)["CustomKeyStores"][0]


def comes_to(kms, store, state):
    aws.eventually(lambda: described(kms, CustomKeyStoreId=store)["ConnectionState"] == state, seconds=30)


@pytest.fixture
def store(world):
    """A custom key store that is not connected; it is gone afterwards, if its keys are."""
    kms, anchor = world
    made = kms.create_custom_key_store(
        CustomKeyStoreName="theirs",
        CloudHsmClusterId=CLUSTER,
        KeyStorePassword=PASSWORD,
        TrustAnchorCertificate=anchor,
    )
    yield made["CustomKeyStoreId"]
    if described(kms, CustomKeyStoreId=made["CustomKeyStoreId"])["ConnectionState"] != "DISCONNECTED":
        kms.disconnect_custom_key_store(CustomKeyStoreId=made["CustomKeyStoreId"])
        comes_to(kms, made["CustomKeyStoreId"], "DISCONNECTED")
    try:
        kms.delete_custom_key_store(CustomKeyStoreId=made["CustomKeyStoreId"])
    except kms.exceptions.CustomKeyStoreHasCMKsException:
        pass


def test_one_is_described_in_full(world, store):
    kms, anchor = world
    found = described(kms, CustomKeyStoreName="theirs")
    assert abs(datetime.now(UTC) - found["CreationDate"]) < timedelta(minutes=1)
    assert found == {
        "CustomKeyStoreId": store,
        "CustomKeyStoreName": "theirs",
        "CloudHsmClusterId": CLUSTER,
        "TrustAnchorCertificate": anchor,
        "ConnectionState": "DISCONNECTED",
        "CreationDate": found["CreationDate"],
        "CustomKeyStoreType": "AWS_CLOUDHSM",
    }
    pages = kms.get_paginator("describe_custom_key_stores").paginate()
    assert [item for page in pages for item in page["CustomKeyStores"]] == [found]


def test_it_is_renamed_and_deleted(world, store):
    kms, _ = world
    kms.update_custom_key_store(CustomKeyStoreId=store, NewCustomKeyStoreName="ours")
    assert described(kms, CustomKeyStoreId=store)["CustomKeyStoreName"] == "ours"
    with refused("CustomKeyStoreNotFoundException", status=400):
        kms.describe_custom_key_stores(CustomKeyStoreName="theirs")


def test_a_wrong_password_is_told_when_it_is_connected(world, store):
    kms, _ = world
    kms.update_custom_key_store(CustomKeyStoreId=store, KeyStorePassword="not-their-pin")
    kms.connect_custom_key_store(CustomKeyStoreId=store)
    comes_to(kms, store, "FAILED")
    assert described(kms, CustomKeyStoreId=store)["ConnectionErrorCode"] == "INVALID_CREDENTIALS"


def test_the_life_of_a_key_in_it(world, store):
    kms, _ = world
    wanted = {"Origin": "AWS_CLOUDHSM", "CustomKeyStoreId": store}
    with refused("CustomKeyStoreInvalidStateException"):
        kms.create_key(**wanted)
    kms.connect_custom_key_store(CustomKeyStoreId=store)
    comes_to(kms, store, "CONNECTED")
    key = kms.create_key(**wanted)["KeyMetadata"]
    assert (key["Origin"], key["CustomKeyStoreId"], key["CloudHsmClusterId"]) == ("AWS_CLOUDHSM", store, CLUSTER)
    assert "CurrentKeyMaterialId" not in key
    sealed = kms.encrypt(KeyId=key["KeyId"], Plaintext=b"x")["CiphertextBlob"]
    assert kms.decrypt(CiphertextBlob=sealed)["Plaintext"] == b"x"
    assert len(kms.generate_random(NumberOfBytes=24, CustomKeyStoreId=store)["Plaintext"]) == 24

    kms.disconnect_custom_key_store(CustomKeyStoreId=store)
    with refused("KMSInvalidStateException", f"{key['Arn']} is unavailable."):
        kms.decrypt(CiphertextBlob=sealed)
    assert kms.describe_key(KeyId=key["KeyId"])["KeyMetadata"]["KeyState"] == "Unavailable"
    comes_to(kms, store, "DISCONNECTED")
    with refused("CustomKeyStoreHasCMKsException"):
        kms.delete_custom_key_store(CustomKeyStoreId=store)
    kms.connect_custom_key_store(CustomKeyStoreId=store)
    comes_to(kms, store, "CONNECTED")
    assert kms.decrypt(CiphertextBlob=sealed)["Plaintext"] == b"x"
