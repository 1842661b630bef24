"""The calls that the AWS provider of Terraform makes, in its order: create, read until stable, read again, update, destroy.

The provider reads some things several times in a row before it believes them, and plans again if any differs: so does this. It
waits between its reads, which changes nothing here and is left out.
"""

import json
import os

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding

import aws
from aws import refused
from server import ACCOUNT

ELSEWHERE = "eu-elsewhere-1"
# How often the provider wants to read the same before it goes on.
EQUAL_READS, EQUAL_STATES = 5, 15
POLICY = {
    "Version": "2012-10-17",
    "Id": "terraform",
    "Statement": [
        {
            "Sid": "Enable IAM User Permissions",
            "Effect": "Allow",
            "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"},
            "Action": "kms:*",
            "Resource": "*",
        }
    ],
}


@pytest.fixture(scope="module")
def elsewhere(server):
    return aws.client(server.environment, region=ELSEWHERE)


def read_key(kms, key_id):
    """What a refresh of aws_kms_key reads, as the provider keeps it."""
    key = kms.describe_key(KeyId=key_id)["KeyMetadata"]
    policy = json.loads(kms.get_key_policy(KeyId=key_id, PolicyName="default")["Policy"])
    rotation = {}
    if key["Origin"] == "AWS_KMS":
        rotation = kms.get_key_rotation_status(KeyId=key_id)
    tags = kms.list_resource_tags(KeyId=key_id)["Tags"]
    return {
        "arn": key["Arn"],
        "key_id": key["KeyId"],
        "spec": key["KeySpec"],
        "usage": key["KeyUsage"],
        "description": key["Description"],
        "is_enabled": key["Enabled"],
        "multi_region": key["MultiRegion"],
        "type": key.get("MultiRegionConfiguration", {}).get("MultiRegionKeyType"),
        "state": key["KeyState"],
        "policy": policy,
        "rotation": rotation.get("KeyRotationEnabled"),
        "period": rotation.get("RotationPeriodInDays"),
        "tags": {tag["TagKey"]: tag["TagValue"] for tag in tags},
    }


def stable(read, times=EQUAL_READS):
    """What is read so many times in a row, and always the same."""
    first = read()
    assert all(read() == first for _ in range(times - 1))
    return first


def destroy_key(kms, key_id):
    """Schedules the deletion; doing so again is the provider's way to know that it is done."""
    kms.schedule_key_deletion(KeyId=key_id, PendingWindowInDays=7)
    with refused("KMSInvalidStateException") as _:
        kms.schedule_key_deletion(KeyId=key_id, PendingWindowInDays=7)
    state = kms.describe_key(KeyId=key_id)["KeyMetadata"]["KeyState"]
    assert state in ("PendingDeletion", "PendingReplicaDeletion")


def create_key(kms, **wanted):
    request = {"Description": "made by code", "Tags": [{"TagKey": "team", "TagValue": "vault"}], "Policy": json.dumps(POLICY)}
    return kms.create_key(**{**request, **wanted})["KeyMetadata"]["KeyId"]


def test_aws_kms_key(kms):
    key_id = create_key(kms, CustomerMasterKeySpec="SYMMETRIC_DEFAULT", KeyUsage="ENCRYPT_DECRYPT", MultiRegion=False)
    kms.enable_key_rotation(KeyId=key_id, RotationPeriodInDays=180)
    made = stable(lambda: read_key(kms, key_id))
    assert (made["rotation"], made["period"], made["is_enabled"]) == (True, 180, True)
    assert (made["policy"], made["tags"], made["description"]) == (POLICY, {"team": "vault"}, "made by code")
    assert stable(lambda: read_key(kms, key_id)) == made, "no drift"

    kms.update_key_description(KeyId=key_id, Description="changed by code")
    assert stable(lambda: read_key(kms, key_id))["description"] == "changed by code"
    kms.disable_key(KeyId=key_id)
    assert stable(lambda: read_key(kms, key_id), EQUAL_STATES)["is_enabled"] is False
    kms.enable_key(KeyId=key_id)
    assert stable(lambda: read_key(kms, key_id), EQUAL_STATES)["is_enabled"] is True
    kms.enable_key_rotation(KeyId=key_id, RotationPeriodInDays=365)
    assert stable(lambda: read_key(kms, key_id))["period"] == 365
    kms.disable_key_rotation(KeyId=key_id)
    assert stable(lambda: read_key(kms, key_id))["rotation"] is False
    policy = {**POLICY, "Id": "changed"}
    kms.put_key_policy(KeyId=key_id, PolicyName="default", Policy=json.dumps(policy), BypassPolicyLockoutSafetyCheck=False)
    assert stable(lambda: read_key(kms, key_id))["policy"] == policy
    kms.untag_resource(KeyId=key_id, TagKeys=["team"])
    kms.tag_resource(KeyId=key_id, Tags=[{"TagKey": "owner", "TagValue": "ops"}])
    assert stable(lambda: read_key(kms, key_id))["tags"] == {"owner": "ops"}
    destroy_key(kms, key_id)


@pytest.mark.parametrize(
    "spec, usage",
    [("RSA_2048", "SIGN_VERIFY"), ("ECC_NIST_P256", "SIGN_VERIFY"), ("HMAC_256", "GENERATE_VERIFY_MAC")],
)
def test_aws_kms_key_of_other_specs(kms, spec, usage):
    key_id = create_key(kms, CustomerMasterKeySpec=spec, KeyUsage=usage)
    made = stable(lambda: read_key(kms, key_id))
    assert (made["spec"], made["usage"], made["rotation"]) == (spec, usage, False)
    destroy_key(kms, key_id)


def find_alias(kms, name):
    """The provider finds an alias by paging through all."""
    pages = kms.get_paginator("list_aliases").paginate()
    return next((alias for page in pages for alias in page["Aliases"] if alias["AliasName"] == name), None)


def test_aws_kms_alias(kms):
    one, other = create_key(kms), create_key(kms)
    name = "alias/terraform"
    kms.create_alias(AliasName=name, TargetKeyId=one)
    assert stable(lambda: find_alias(kms, name))["TargetKeyId"] == one
    kms.update_alias(AliasName=name, TargetKeyId=other)
    assert stable(lambda: find_alias(kms, name))["TargetKeyId"] == other
    assert kms.describe_key(KeyId=name)["KeyMetadata"]["KeyId"] == other
    kms.delete_alias(AliasName=name)
    assert find_alias(kms, name) is None
    with refused("NotFoundException"):
        kms.delete_alias(AliasName=name)
    destroy_key(kms, one)
    destroy_key(kms, other)


def import_into(kms, key_id, material):
    parameters = kms.get_parameters_for_import(
        KeyId=key_id, WrappingAlgorithm="RSAES_OAEP_SHA_256", WrappingKeySpec="RSA_2048"
    )
    oaep = padding.OAEP(mgf=padding.MGF1(hashes.SHA256()), algorithm=hashes.SHA256(), label=None)
    wrapped = serialization.load_der_public_key(parameters["PublicKey"]).encrypt(material, oaep)
    kms.import_key_material(
        KeyId=key_id,
        ImportToken=parameters["ImportToken"],
        EncryptedKeyMaterial=wrapped,
        ExpirationModel="KEY_MATERIAL_DOES_NOT_EXPIRE",
    )


def test_aws_kms_external_key(kms):
    key_id = create_key(kms, Origin="EXTERNAL", KeyUsage="ENCRYPT_DECRYPT")
    assert stable(lambda: read_key(kms, key_id))["state"] == "PendingImport"
    import_into(kms, key_id, os.urandom(32))
    made = stable(lambda: read_key(kms, key_id), EQUAL_STATES)
    assert (made["state"], made["is_enabled"], made["rotation"]) == ("Enabled", True, None)
    kms.disable_key(KeyId=key_id)
    assert stable(lambda: read_key(kms, key_id), EQUAL_STATES)["state"] == "Disabled"
    destroy_key(kms, key_id)


def test_aws_kms_replica_key(kms, elsewhere):
    key_id = create_key(kms, MultiRegion=True)
    primary = stable(lambda: read_key(kms, key_id))
    assert (primary["multi_region"], primary["type"]) == (True, "PRIMARY")
    made = kms.replicate_key(
        KeyId=key_id,
        ReplicaRegion=ELSEWHERE,
        Description="replica by code",
        Policy=json.dumps(POLICY),
        Tags=[{"TagKey": "team", "TagValue": "far"}],
    )["ReplicaKeyMetadata"]
    assert made["KeyState"] == "Creating"
    replica = stable(lambda: read_key(elsewhere, key_id), EQUAL_STATES)
    assert (replica["state"], replica["type"], replica["description"]) == ("Enabled", "REPLICA", "replica by code")
    assert (replica["policy"], replica["tags"], replica["rotation"]) == (POLICY, {"team": "far"}, False)
    assert stable(lambda: read_key(kms, key_id)) == primary, "the primary key does not drift"
    destroy_key(elsewhere, key_id)
    destroy_key(kms, key_id)


# aws_kms_grant


def find_grant(kms, key_id, grant_id):
    """The grant among all of its key, a hundred at a time, as the provider keeps it; nothing if it is not there."""
    pages = kms.get_paginator("list_grants").paginate(KeyId=key_id, PaginationConfig={"PageSize": 100})
    found = [grant for page in pages for grant in page["Grants"] if grant["GrantId"] == grant_id]
    # One whose grantee is no ARN belongs to a principal that is gone, and the provider asks again.
    assert all(grant["GranteePrincipal"].startswith("arn:aws:iam::") for grant in found)
    return found[0] if found else None


@pytest.mark.parametrize("retire_on_delete", [False, True])
def test_a_grant(kms, new_key, retire_on_delete):
    key = new_key()
    grantee, retiring = f"arn:aws:iam::{ACCOUNT}:role/lambda", f"arn:aws:iam::{ACCOUNT}:root"
    terms = {
        "KeyId": key["KeyId"],
        "Name": "of-terraform",
        "GranteePrincipal": grantee,
        "RetiringPrincipal": retiring,
        "Operations": ["Encrypt", "Decrypt", "GenerateDataKey"],
        "Constraints": {"EncryptionContextEquals": {"Department": "Finance"}},
    }
    made = kms.create_grant(**terms)
    grant = stable(lambda: find_grant(kms, key["KeyId"], made["GrantId"]))
    assert {name: grant[name] for name in terms if name not in ("KeyId", "Operations")} == {
        name: terms[name] for name in terms if name not in ("KeyId", "Operations")
    }
    assert set(grant["Operations"]) == set(terms["Operations"])
    # It is made again when something changes, and the old one goes afterwards or before.
    other = kms.create_grant(**{**terms, "Operations": ["Encrypt"]})
    assert other["GrantId"] != made["GrantId"]
    for grant_id in (made["GrantId"], other["GrantId"]):
        if retire_on_delete:
            kms.retire_grant(GrantId=grant_id, KeyId=key["Arn"])
        else:
            kms.revoke_grant(GrantId=grant_id, KeyId=key["KeyId"])
        assert find_grant(kms, key["KeyId"], grant_id) is None
