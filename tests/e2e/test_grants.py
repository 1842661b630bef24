"""Grants, as boto3 sees them."""

from datetime import UTC, datetime, timedelta

import pytest

import aws
from aws import ADMINISTRATOR, key_arn, not_authorized, refused
from server import ACCOUNT
from test_keys import paged

ROOT = f"arn:aws:iam::{ACCOUNT}:root"
WITHOUT_POLICY = "because no identity-based policy allows the kms:{} action"


@pytest.fixture(scope="module")
def grantee(new_principal):
    """A principal without any policy: its client and its ARN."""
    return aws.client(new_principal("grantee")), ADMINISTRATOR.replace("administrator", "grantee")


def granted(kms, key, principal, **more):
    terms = {"GranteePrincipal": principal, "Operations": ["Encrypt", "Decrypt", "DescribeKey"], **more}
    return kms.create_grant(KeyId=key["KeyId"], **terms)


def test_a_grant_is_enough_until_it_is_revoked(kms, new_key, grantee):
    (as_grantee, arn), key = grantee, new_key()
    refusal = not_authorized(arn, "Encrypt", key["Arn"], WITHOUT_POLICY.format("Encrypt"))
    with refused("AccessDeniedException", refusal):
        as_grantee.encrypt(KeyId=key["KeyId"], Plaintext=b"x")
    grant = granted(kms, key, arn)
    assert len(grant["GrantId"]) == 64
    sealed = as_grantee.encrypt(KeyId=key["KeyId"], Plaintext=b"x", GrantTokens=[grant["GrantToken"]])["CiphertextBlob"]
    assert as_grantee.decrypt(CiphertextBlob=sealed)["Plaintext"] == b"x"
    assert as_grantee.describe_key(KeyId=key["Arn"])["KeyMetadata"]["Arn"] == key["Arn"]
    with refused("AccessDeniedException"):
        as_grantee.generate_data_key(KeyId=key["KeyId"], KeySpec="AES_256")
    with refused("DryRunOperationException"):
        kms.revoke_grant(KeyId=key["Arn"], GrantId=grant["GrantId"], DryRun=True)
    assert aws.sent(kms.revoke_grant(KeyId=key["Arn"], GrantId=grant["GrantId"])) == {}
    with refused("AccessDeniedException", refusal):
        as_grantee.encrypt(KeyId=key["KeyId"], Plaintext=b"x")
    with refused("InvalidGrantTokenException"):
        kms.encrypt(KeyId=key["KeyId"], Plaintext=b"x", GrantTokens=[grant["GrantToken"]])
    with refused("NotFoundException", f"Grant ID {grant['GrantId']} not found"):
        kms.revoke_grant(KeyId=key["KeyId"], GrantId=grant["GrantId"])


def test_the_context_must_meet_the_constraint(kms, new_key, grantee):
    (as_grantee, arn), key = grantee, new_key()
    granted(kms, key, arn, Constraints={"EncryptionContextSubset": {"tenant": "7"}})
    context = {"tenant": "7", "file": "a"}
    sealed = as_grantee.encrypt(KeyId=key["KeyId"], Plaintext=b"x", EncryptionContext=context)["CiphertextBlob"]
    assert as_grantee.decrypt(CiphertextBlob=sealed, EncryptionContext=context)["Plaintext"] == b"x"
    for other in ({"tenant": "8"}, {"Tenant": "7"}, {}):
        with refused("AccessDeniedException"):
            as_grantee.encrypt(KeyId=key["KeyId"], Plaintext=b"x", EncryptionContext=other)
    with refused("ValidationException", "More than one constraint supplied"):
        granted(kms, key, arn, Constraints={"EncryptionContextSubset": {"a": "b"}, "EncryptionContextEquals": {}})


def test_grants_are_listed(kms, new_key, grantee):
    (_, arn), key = grantee, new_key()
    assert aws.sent(kms.list_grants(KeyId=key["KeyId"])) == {"Grants": [], "Truncated": False}
    named = granted(kms, key, arn, Name="named", RetiringPrincipal=ROOT, Constraints={"EncryptionContextEquals": {}})
    assert granted(kms, key, arn, Name="named", RetiringPrincipal=ROOT, Constraints={"EncryptionContextEquals": {}})[
        "GrantId"
    ] == (named["GrantId"])
    others = [granted(kms, key, ADMINISTRATOR)["GrantId"] for _ in range(4)]
    listed = paged(kms, "list_grants", "Grants", 2, KeyId=key["Arn"])
    assert {grant["GrantId"] for grant in listed} == {named["GrantId"], *others} and len(listed) == 5
    (grant,) = kms.list_grants(KeyId=key["KeyId"], GranteePrincipal=arn)["Grants"]
    assert abs(grant["CreationDate"] - datetime.now(UTC)) < timedelta(minutes=1)
    assert grant == {
        "KeyId": key["Arn"],
        "GrantId": named["GrantId"],
        "Name": "named",
        "CreationDate": grant["CreationDate"],
        "GranteePrincipal": arn,
        "RetiringPrincipal": ROOT,
        "IssuingAccount": ROOT,
        "Operations": grant["Operations"],
        "Constraints": {"EncryptionContextEquals": {}},
    }
    assert sorted(grant["Operations"]) == ["Decrypt", "DescribeKey", "Encrypt"]
    assert kms.list_grants(KeyId=key["KeyId"], GrantId=named["GrantId"])["Grants"] == [grant]


def test_retirable_grants_are_listed_over_all_keys(kms, new_key, grantee):
    _, arn = grantee
    retiring = f"arn:aws:iam::{ACCOUNT}:role/Retires"
    keys = [new_key() for _ in range(3)]
    for key in keys:
        granted(kms, key, arn, RetiringPrincipal=retiring)
        granted(kms, key, arn)
    listed = paged(kms, "list_retirable_grants", "Grants", 2, RetiringPrincipal=retiring)
    assert {grant["KeyId"] for grant in listed} == {key["Arn"] for key in keys} and len(listed) == 3


@pytest.mark.parametrize("by", ["token", "ids"])
def test_a_grant_is_retired_by_whom_it_lets(kms, new_key, grantee, by):
    (as_grantee, arn), key = grantee, new_key()

    def names(grant):
        return {"GrantToken": grant["GrantToken"]} if by == "token" else {"KeyId": key["Arn"], "GrantId": grant["GrantId"]}

    with refused("AccessDeniedException"):
        as_grantee.retire_grant(**names(granted(kms, key, arn)))
    grant = granted(kms, key, ADMINISTRATOR, RetiringPrincipal=arn)
    with refused("DryRunOperationException"):
        as_grantee.retire_grant(**names(grant), DryRun=True)
    assert aws.sent(as_grantee.retire_grant(**names(grant))) == {}
    with refused("InvalidGrantTokenException" if by == "token" else "NotFoundException"):
        as_grantee.retire_grant(**names(grant))


def test_a_grant_passes_on_what_it_gives(kms, new_key, grantee):
    (as_grantee, arn), key = grantee, new_key()
    granted(kms, key, arn, Operations=["CreateGrant", "Encrypt"])
    assert as_grantee.create_grant(KeyId=key["KeyId"], GranteePrincipal=ADMINISTRATOR, Operations=["Encrypt"])["GrantId"]
    with refused(
        "AccessDeniedException", not_authorized(arn, "CreateGrant", key["Arn"], WITHOUT_POLICY.format("CreateGrant"))
    ):
        as_grantee.create_grant(KeyId=key["KeyId"], GranteePrincipal=ADMINISTRATOR, Operations=["Decrypt"])


def test_what_a_grant_cannot_be(kms, new_key):
    key, alias = new_key(), aws.new_alias()
    kms.create_alias(AliasName=alias, TargetKeyId=key["KeyId"])
    with refused("InvalidArnException", "Key Aliases are not supported for this operation."):
        kms.create_grant(KeyId=alias, GranteePrincipal=ADMINISTRATOR, Operations=["Encrypt"])
    with refused("ValidationException", "Grants must not contain only the CreateGrant operation."):
        granted(kms, key, ADMINISTRATOR, Operations=["CreateGrant"])
    with refused("ValidationException"):
        granted(kms, key, ADMINISTRATOR, Operations=["Sign"])
    with refused("InvalidArnException"):
        granted(kms, key, f"arn:aws:iam::{ACCOUNT}:group/all")
    with refused("NotFoundException", f"Key '{key_arn(aws.UNKNOWN_ID)}' does not exist"):
        kms.create_grant(KeyId=aws.UNKNOWN_ID, GranteePrincipal=ADMINISTRATOR, Operations=["Encrypt"])
