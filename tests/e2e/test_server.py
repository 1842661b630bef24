"""The process: what a second start finds, what it leaves on disk and in its log, its own command line."""

import base64
import json
import stat

import pytest

import aws
from aws import refused
from server import Server


@pytest.fixture
def own(tmp_path):
    """A server of the test's own, to be stopped and started."""
    server = Server(tmp_path).start()
    yield server
    if server.process.poll() is None:
        server.kill()


@pytest.mark.parametrize("ending", ["stop", "kill"])
def test_a_second_start_finds_everything_again(own, ending):
    kms = aws.client(own.environment)
    key = kms.create_key(Description="kept", Tags=[{"TagKey": "a", "TagValue": "b"}])["KeyMetadata"]
    rsa = kms.create_key(KeySpec="RSA_2048", KeyUsage="ENCRYPT_DECRYPT")["KeyMetadata"]
    kms.create_alias(AliasName="alias/kept", TargetKeyId=key["KeyId"])
    public = kms.get_public_key(KeyId=rsa["KeyId"])["PublicKey"]
    sealed = kms.encrypt(KeyId="alias/kept", Plaintext=b"x", EncryptionContext={"a": "b"})["CiphertextBlob"]
    before = own.environment
    getattr(own, ending)()

    own.start()
    kms = aws.client(own.environment)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"):
        assert own.environment[name] == before[name]
    assert kms.describe_key(KeyId="alias/kept")["KeyMetadata"] == key
    assert kms.decrypt(CiphertextBlob=sealed, EncryptionContext={"a": "b"})["Plaintext"] == b"x"
    assert kms.get_public_key(KeyId=rsa["KeyId"])["PublicKey"] == public
    assert kms.list_resource_tags(KeyId=key["KeyId"])["Tags"] == [{"TagKey": "a", "TagValue": "b"}]
    assert {entry["KeyId"] for entry in kms.list_keys()["Keys"]} == {key["KeyId"], rsa["KeyId"]}


def test_a_polite_end_is_status_0(own):
    assert own.stop() == 0


def test_a_key_disabled_before_the_end_is_disabled_after_it(own):
    kms = aws.client(own.environment)
    key = kms.create_key()["KeyMetadata"]
    kms.disable_key(KeyId=key["KeyId"])
    own.kill()
    own.start()
    with refused("DisabledException", f"{key['Arn']} is disabled."):
        aws.client(own.environment).encrypt(KeyId=key["KeyId"], Plaintext=b"x")


def written(server):
    """Everything the server has written: its log and every file of its data directory."""
    files = [server.log, *(path for path in server.data.rglob("*") if path.is_file())]
    return {path: path.read_bytes() for path in files}


def test_no_secret_is_written_anywhere(own):
    kms = aws.client(own.environment)
    key = kms.create_key()["KeyMetadata"]
    marker = b"a plaintext that must not be found again"
    sealed = kms.encrypt(KeyId=key["KeyId"], Plaintext=marker)["CiphertextBlob"]
    kms.decrypt(CiphertextBlob=sealed)
    data_key = kms.generate_data_key(KeyId=key["KeyId"], KeySpec="AES_256")["Plaintext"]
    own.stop()
    for path, content in written(own).items():
        for secret in (marker, data_key):
            assert secret not in content and base64.b64encode(secret) not in content, path
    assert own.environment["AWS_SECRET_ACCESS_KEY"] not in own.stderr()


def test_files_are_for_their_owner_only(own):
    assert stat.S_IMODE(own.data.stat().st_mode) & 0o077 == 0
    for path in own.data.rglob("*"):
        if path.is_file():
            assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def audit_records(server):
    files = list(server.data.rglob("audit*.jsonl"))
    assert files, "no audit trail in the data directory"
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def test_every_call_is_in_the_audit_trail_when_its_answer_arrives(own):
    kms = aws.client(own.environment)
    done = kms.create_key()
    with pytest.raises(aws.ClientError) as caught:
        kms.describe_key(KeyId=aws.UNKNOWN_ID)
    records = {record["requestID"]: record for record in audit_records(own) if "requestID" in record}
    created = records[done["ResponseMetadata"]["RequestId"]]
    failed = records[caught.value.response["ResponseMetadata"]["RequestId"]]
    assert (created["eventName"], created["eventSource"]) == ("CreateKey", "kms.amazonaws.com")
    assert created["userIdentity"]["arn"] == aws.ADMINISTRATOR
    assert "errorCode" not in created or created["errorCode"] is None
    assert (failed["eventName"], failed["errorCode"]) == ("DescribeKey", "NotFoundException")


def test_the_probe_prints_a_table_and_json(own):
    assert "OAEP" in own.cli("hsm", "probe").upper()
    assert isinstance(json.loads(own.cli("hsm", "probe", "--json")), dict | list)


def test_access_keys_and_principals_are_listed(own):
    own.cli("principal", "create", "--name", "visitor")
    assert "administrator" in own.cli("principal", "list") and "visitor" in own.cli("principal", "list")
    listed = own.cli("access-key", "list")
    assert own.environment["AWS_ACCESS_KEY_ID"] in listed
    assert own.environment["AWS_SECRET_ACCESS_KEY"] not in listed


def test_the_effective_configuration_shows_no_secret(own):
    shown = own.cli("config", "check")
    pins = [path.read_text().strip() for path in own.data.rglob("*pin*") if path.is_file()]
    assert "listen" in shown and pins
    assert not any(pin in shown for pin in pins)
