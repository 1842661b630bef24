"""Rotation and multi-Region keys, as boto3 sees them."""

import os

import pytest

import aws
from aws import key_arn, refused
from server import REGION
from test_import import bring
from test_keys import paged

ELSEWHERE = "eu-elsewhere-1"


@pytest.fixture(scope="module")
def elsewhere(server):
    return aws.client(server.environment, region=ELSEWHERE)


def current(kms, key):
    return kms.describe_key(KeyId=key["KeyId"])["KeyMetadata"]["CurrentKeyMaterialId"]


def test_rotation_is_switched_on_and_off(kms, new_key):
    key = new_key()
    off = {"KeyId": key["Arn"], "KeyRotationEnabled": False}

    def status():
        answer = kms.get_key_rotation_status(KeyId=key["KeyId"])
        del answer["ResponseMetadata"]
        return answer

    assert status() == off
    kms.enable_key_rotation(KeyId=key["KeyId"], RotationPeriodInDays=90)
    on = status()
    assert (on["KeyRotationEnabled"], on["RotationPeriodInDays"]) == (True, 90)
    assert round((on["NextRotationDate"] - key["CreationDate"]).total_seconds() / 86400) == 90
    kms.disable_key_rotation(KeyId=key["KeyId"])
    assert status() == off


def test_old_material_opens_what_it_sealed_and_the_list_has_all(kms, new_key):
    key = new_key()
    materials, blobs = [], []
    for turn in range(4):
        materials.append(current(kms, key))
        blobs.append(kms.encrypt(KeyId=key["KeyId"], Plaintext=b"%d" % turn)["CiphertextBlob"])
        assert kms.rotate_key_on_demand(KeyId=key["KeyId"])["KeyId"] == key["Arn"]
    for turn, blob in enumerate(blobs):
        opened = kms.decrypt(CiphertextBlob=blob)
        assert (opened["Plaintext"], opened["KeyMaterialId"]) == (b"%d" % turn, materials[turn])
    listed = paged(kms, "list_key_rotations", "Rotations", 2, KeyId=key["KeyId"], IncludeKeyMaterial="ALL_KEY_MATERIAL")
    assert [entry["KeyMaterialId"] for entry in listed] == [*materials, current(kms, key)]
    assert [entry["KeyMaterialState"] for entry in listed] == ["NON_CURRENT"] * 4 + ["CURRENT"]
    assert {entry["RotationType"] for entry in listed[1:]} == {"ON_DEMAND"}
    rotations = paged(kms, "list_key_rotations", "Rotations", 3, KeyId=key["KeyId"])
    assert rotations == listed[1:]


def test_imported_material_waits_for_its_rotation(kms, new_key):
    key = new_key(Origin="EXTERNAL")
    first = bring(kms, key, "RSAES_OAEP_SHA_256", os.urandom(32))["KeyMaterialId"]
    new = {"ImportType": "NEW_KEY_MATERIAL", "KeyMaterialDescription": "second"}
    second = bring(kms, key, "RSAES_OAEP_SHA_256", os.urandom(32), **new)["KeyMaterialId"]
    assert current(kms, key) == first != second
    with refused("KMSInvalidStateException"):
        bring(kms, key, "RSAES_OAEP_SHA_256", os.urandom(32), **new)
    kms.rotate_key_on_demand(KeyId=key["KeyId"])
    assert current(kms, key) == second
    listed = kms.list_key_rotations(KeyId=key["KeyId"])["Rotations"]
    assert [entry["KeyMaterialDescription"] for entry in listed] == ["second"]


def test_a_replica_opens_what_its_primary_key_sealed(kms, elsewhere, new_key):
    primary = new_key(MultiRegion=True)
    made = kms.replicate_key(KeyId=primary["KeyId"], ReplicaRegion=ELSEWHERE, Tags=[{"TagKey": "a", "TagValue": "b"}])
    replica = made["ReplicaKeyMetadata"]
    assert (replica["KeyState"], replica["Arn"]) == ("Creating", key_arn(primary["KeyId"], ELSEWHERE))
    assert made["ReplicaTags"] == [{"TagKey": "a", "TagValue": "b"}]
    described = elsewhere.describe_key(KeyId=primary["KeyId"])["KeyMetadata"]
    assert (described["KeyState"], described["CurrentKeyMaterialId"]) == ("Enabled", current(kms, primary))
    blob = kms.encrypt(KeyId=primary["KeyId"], Plaintext=b"far")["CiphertextBlob"]
    assert elsewhere.decrypt(CiphertextBlob=blob)["Plaintext"] == b"far"
    assert elsewhere.list_resource_tags(KeyId=primary["KeyId"])["Tags"] == made["ReplicaTags"]
    with refused("AlreadyExistsException"):
        kms.replicate_key(KeyId=primary["KeyId"], ReplicaRegion=ELSEWHERE)


def test_the_primary_key_moves_and_goes_last(kms, elsewhere, new_key):
    key_id = new_key(MultiRegion=True)["KeyId"]
    kms.replicate_key(KeyId=key_id, ReplicaRegion=ELSEWHERE)
    kms.update_primary_region(KeyId=key_id, PrimaryRegion=ELSEWHERE)
    family = kms.describe_key(KeyId=key_id)["KeyMetadata"]["MultiRegionConfiguration"]
    assert (family["MultiRegionKeyType"], family["PrimaryKey"]["Region"]) == ("REPLICA", ELSEWHERE)
    assert family["ReplicaKeys"] == [{"Arn": key_arn(key_id), "Region": REGION}]
    with refused("UnsupportedOperationException", f"{key_arn(key_id)} is not a multi-region primary key."):
        kms.rotate_key_on_demand(KeyId=key_id)
    waiting = elsewhere.schedule_key_deletion(KeyId=key_id, PendingWindowInDays=7)
    assert (waiting["KeyState"], waiting["PendingWindowInDays"]) == ("PendingReplicaDeletion", 7)
    assert "DeletionDate" not in waiting
    elsewhere.cancel_key_deletion(KeyId=key_id)
