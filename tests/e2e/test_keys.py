"""The life of a key: its description, states, aliases, tags, policies, lists, and who may use it."""

import json
from datetime import UTC, datetime, timedelta

import pytest

import aws
from aws import ADMINISTRATOR, DELEGATION, constraint, not_authorized, refused, statement
from server import Server

NOT_IDENTITY = "because no identity-based policy allows the kms:{} action"


def paged(kms, operation, member, size, **more):
    """Every entry of a list, by the paginator of boto3, a few at a time."""
    pages = list(kms.get_paginator(operation).paginate(PaginationConfig={"PageSize": size}, **more))
    assert all(len(page[member]) <= size for page in pages)
    assert [page["Truncated"] for page in pages] == [True] * (len(pages) - 1) + [False]
    return [entry for page in pages for entry in page[member]]


# CreateKey and DescribeKey


def test_a_symmetric_key_is_described_in_full(kms, new_key):
    made = new_key(Description="for the books")
    age = datetime.now(UTC) - made["CreationDate"]
    assert abs(age) < timedelta(minutes=1)
    assert made == {
        "AWSAccountId": "000000000000",
        "KeyId": made["KeyId"],
        "Arn": aws.key_arn(made["KeyId"]),
        "CreationDate": made["CreationDate"],
        "Enabled": True,
        "Description": "for the books",
        "KeyUsage": "ENCRYPT_DECRYPT",
        "KeyState": "Enabled",
        "Origin": "AWS_KMS",
        "KeyManager": "CUSTOMER",
        "CustomerMasterKeySpec": "SYMMETRIC_DEFAULT",
        "KeySpec": "SYMMETRIC_DEFAULT",
        "EncryptionAlgorithms": ["SYMMETRIC_DEFAULT"],
        "MultiRegion": False,
        "CurrentKeyMaterialId": made["CurrentKeyMaterialId"],
    }
    for reference in aws.references(kms, made).values():
        assert kms.describe_key(KeyId=reference)["KeyMetadata"] == made


def test_an_rsa_key_is_described_in_full(kms, new_key):
    made = new_key(CustomerMasterKeySpec="RSA_2048", KeyUsage="ENCRYPT_DECRYPT")
    assert (made["KeySpec"], made["CustomerMasterKeySpec"], made["Description"]) == ("RSA_2048", "RSA_2048", "")
    assert made["EncryptionAlgorithms"] == ["RSAES_OAEP_SHA_1", "RSAES_OAEP_SHA_256"]
    assert made.keys().isdisjoint({"CurrentKeyMaterialId", "SigningAlgorithms", "MultiRegionConfiguration"})
    assert kms.describe_key(KeyId=made["Arn"])["KeyMetadata"] == made


def test_create_key_refuses_what_does_not_fit(kms):
    with refused(
        "ValidationException",
        "You must specify a KeyUsage value for all KMS keys except for symmetric encryption keys.",
    ):
        kms.create_key(KeySpec="RSA_2048")
    with refused("ValidationException", "KeyUsage KEY_AGREEMENT is not compatible with KeySpec RSA_2048"):
        kms.create_key(KeySpec="RSA_2048", KeyUsage="KEY_AGREEMENT")
    with refused(
        "ValidationException",
        "You cannot specify KeySpec and CustomerMasterKeySpec in the same request. "
        "CustomerMasterKeySpec is deprecated.",
    ):
        kms.create_key(KeySpec="RSA_2048", CustomerMasterKeySpec="RSA_2048", KeyUsage="ENCRYPT_DECRYPT")


def test_the_description_can_be_changed(kms, new_key):
    key = new_key(Description="old")
    for description in ("new", ""):
        kms.update_key_description(KeyId=key["KeyId"], Description=description)
        assert kms.describe_key(KeyId=key["KeyId"])["KeyMetadata"]["Description"] == description


# States


def test_a_disabled_key_does_nothing_until_it_is_enabled(kms, new_key):
    key = new_key()
    sealed = kms.encrypt(KeyId=key["KeyId"], Plaintext=b"x")["CiphertextBlob"]
    for _ in range(2):
        kms.disable_key(KeyId=key["KeyId"])
    described = kms.describe_key(KeyId=key["KeyId"])["KeyMetadata"]
    assert (described["KeyState"], described["Enabled"]) == ("Disabled", False)
    for use in (
        lambda: kms.encrypt(KeyId=key["KeyId"], Plaintext=b"x"),
        lambda: kms.decrypt(CiphertextBlob=sealed),
        lambda: kms.generate_data_key(KeyId=key["KeyId"], KeySpec="AES_256"),
    ):
        with refused("DisabledException", f"{key['Arn']} is disabled."):
            use()
    kms.enable_key(KeyId=key["KeyId"])
    assert kms.decrypt(CiphertextBlob=sealed)["Plaintext"] == b"x"


def test_deletion_can_be_scheduled_and_cancelled(kms, new_key):
    key = new_key()
    sealed = kms.encrypt(KeyId=key["KeyId"], Plaintext=b"x")["CiphertextBlob"]
    scheduled = kms.schedule_key_deletion(KeyId=key["KeyId"], PendingWindowInDays=7)
    assert (scheduled["KeyId"], scheduled["KeyState"], scheduled["PendingWindowInDays"]) == (
        key["Arn"],
        "PendingDeletion",
        7,
    )
    assert abs(scheduled["DeletionDate"] - datetime.now(UTC) - timedelta(days=7)) < timedelta(days=1)
    described = kms.describe_key(KeyId=key["KeyId"])["KeyMetadata"]
    assert (described["KeyState"], described["Enabled"]) == ("PendingDeletion", False)
    assert described["DeletionDate"] == scheduled["DeletionDate"]
    for use in (
        lambda: kms.decrypt(CiphertextBlob=sealed),
        lambda: kms.enable_key(KeyId=key["KeyId"]),
        lambda: kms.schedule_key_deletion(KeyId=key["KeyId"]),
        lambda: kms.tag_resource(KeyId=key["KeyId"], Tags=[{"TagKey": "a", "TagValue": "b"}]),
    ):
        with refused("KMSInvalidStateException", f"{key['Arn']} is pending deletion."):
            use()
    assert kms.cancel_key_deletion(KeyId=key["KeyId"])["KeyId"] == key["Arn"]
    assert kms.describe_key(KeyId=key["KeyId"])["KeyMetadata"]["KeyState"] == "Disabled"
    with refused("KMSInvalidStateException", f"{key['Arn']} is not pending deletion."):
        kms.cancel_key_deletion(KeyId=key["KeyId"])
    kms.enable_key(KeyId=key["KeyId"])
    assert kms.decrypt(CiphertextBlob=sealed)["Plaintext"] == b"x"


def test_the_waiting_time_is_7_to_30_days_and_30_by_itself(kms, new_key):
    key = new_key()
    for days in (6, 31):
        with refused("ValidationException"):
            kms.schedule_key_deletion(KeyId=key["KeyId"], PendingWindowInDays=days)
    assert kms.schedule_key_deletion(KeyId=key["KeyId"])["PendingWindowInDays"] == 30


# Aliases


def aliases_of(kms, key):
    return {entry["AliasName"]: entry for entry in kms.list_aliases(KeyId=key["KeyId"])["Aliases"]}


def test_an_alias_is_made_moved_and_deleted(kms, new_key):
    first, second, alias = new_key(), new_key(), aws.new_alias()
    kms.create_alias(AliasName=alias, TargetKeyId=first["KeyId"])
    sealed = kms.encrypt(KeyId=alias, Plaintext=b"x")["CiphertextBlob"]
    entry = aliases_of(kms, first)[alias]
    assert (entry["AliasArn"], entry["TargetKeyId"]) == (aws.alias_arn(alias), first["KeyId"])
    assert entry["CreationDate"] == entry["LastUpdatedDate"]

    kms.update_alias(AliasName=alias, TargetKeyId=second["Arn"])
    assert aliases_of(kms, first) == {}
    assert aliases_of(kms, second)[alias]["TargetKeyId"] == second["KeyId"]
    assert kms.decrypt(CiphertextBlob=sealed)["KeyId"] == first["Arn"]
    with refused(
        "IncorrectKeyException", "The key ID in the request does not identify a CMK that can perform this operation."
    ):
        kms.decrypt(CiphertextBlob=sealed, KeyId=alias)

    kms.delete_alias(AliasName=alias)
    for use in (kms.delete_alias, lambda AliasName: kms.update_alias(AliasName=AliasName, TargetKeyId=first["KeyId"])):
        with refused("NotFoundException", f"Alias {aws.alias_arn(alias)} is not found."):
            use(AliasName=alias)


def test_an_alias_has_one_key(kms, symmetric, new_key):
    alias = aws.new_alias()
    kms.create_alias(AliasName=alias, TargetKeyId=symmetric["KeyId"])
    with refused("AlreadyExistsException", f"An alias with the name {aws.alias_arn(alias)} already exists"):
        kms.create_alias(AliasName=alias, TargetKeyId=new_key()["KeyId"])


def test_names_that_are_no_alias(kms, symmetric):
    with refused(
        "ValidationException",
        'Alias must start with the prefix "alias/". Please see '
        "https://docs.aws.amazon.com/kms/latest/developerguide/kms-alias.html",
    ):
        kms.create_alias(AliasName="no-prefix", TargetKeyId=symmetric["KeyId"])
    with refused(
        "ValidationException",
        constraint("alias/a b", "aliasName", "satisfy regular expression pattern: ^[a-zA-Z0-9:/_-]+$"),
    ):
        kms.create_alias(AliasName="alias/a b", TargetKeyId=symmetric["KeyId"])
    with refused("NotAuthorizedException"):
        kms.create_alias(AliasName="alias/aws/mine", TargetKeyId=symmetric["KeyId"])


def test_an_alias_stays_with_its_kind_of_key(kms, symmetric, rsa):
    alias = aws.new_alias()
    kms.create_alias(AliasName=alias, TargetKeyId=symmetric["KeyId"])
    with refused("ValidationException"):
        kms.update_alias(AliasName=alias, TargetKeyId=rsa["KeyId"])


def test_an_alias_does_not_name_a_key_to_be_managed(kms, symmetric):
    with refused("InvalidArnException", "Key Aliases are not supported for this operation."):
        kms.disable_key(KeyId=aws.references(kms, symmetric)["alias"])


# Tags


def tags(**pairs):
    return [{"TagKey": key, "TagValue": value} for key, value in pairs.items()]


def tags_of(kms, key):
    return sorted(kms.list_resource_tags(KeyId=key["KeyId"])["Tags"], key=lambda tag: tag["TagKey"])


def test_tags_are_set_replaced_and_removed(kms, new_key):
    key = new_key(Tags=tags(team="blue"))
    kms.tag_resource(KeyId=key["KeyId"], Tags=tags(team="red", empty=""))
    assert tags_of(kms, key) == tags(empty="", team="red")
    kms.untag_resource(KeyId=key["KeyId"], TagKeys=["team", "never-was"])
    assert tags_of(kms, key) == tags(empty="")


def test_tags_that_are_refused(kms, new_key):
    key = new_key()
    for wrong, message in [
        (tags(a="1") + tags(a="2"), "Duplicate tag keys"),
        ([{"TagKey": "AWS:mine", "TagValue": "x"}], "Tags beginning with aws: are reserved"),
        (tags(**{f"t{number}": "x" for number in range(51)}), "Too many tags"),
    ]:
        with refused("TagException", message):
            kms.tag_resource(KeyId=key["KeyId"], Tags=wrong)
        with refused("TagException", message):
            kms.create_key(Tags=wrong)
    with refused(
        "ValidationException", constraint("x" * 257, "tags.1.member.tagValue", "have length less than or equal to 256")
    ):
        kms.tag_resource(KeyId=key["KeyId"], Tags=tags(a="x" * 257))
    assert tags_of(kms, key) == []


# Policies


def test_the_default_policy_gives_the_key_to_the_account(kms, symmetric):
    answer = kms.get_key_policy(KeyId=symmetric["KeyId"])
    assert answer["PolicyName"] == "default"
    assert json.loads(answer["Policy"]) == {
        "Version": "2012-10-17",
        "Id": "key-default-1",
        "Statement": [{"Sid": "Enable IAM User Permissions", **DELEGATION}],
    }
    listed = kms.list_key_policies(KeyId=symmetric["KeyId"])
    assert (listed["PolicyNames"], listed["Truncated"]) == (["default"], False)


def test_a_policy_is_kept_as_it_was_given(kms, new_key):
    key, given = new_key(), aws.policy(DELEGATION, statement("Deny", "kms:Sign", "*"))
    kms.put_key_policy(KeyId=key["KeyId"], PolicyName="default", Policy=given)
    assert json.loads(kms.get_key_policy(KeyId=key["KeyId"], PolicyName="default")["Policy"]) == json.loads(given)


def test_there_is_one_policy(kms, symmetric):
    with refused("NotFoundException", "No such policy exists"):
        kms.get_key_policy(KeyId=symmetric["KeyId"], PolicyName="other")


def test_an_explicit_deny_of_the_key_policy_wins(kms, new_key):
    key = new_key(Policy=aws.policy(DELEGATION, statement("Deny", "kms:Encrypt", "*")))
    with refused(
        "AccessDeniedException",
        not_authorized(ADMINISTRATOR, "Encrypt", key["Arn"], "with an explicit deny in a resource-based policy"),
    ):
        kms.encrypt(KeyId=key["KeyId"], Plaintext=b"x")
    kms.put_key_policy(KeyId=key["KeyId"], Policy=aws.policy(DELEGATION))
    kms.encrypt(KeyId=key["KeyId"], Plaintext=b"x")


def test_nobody_is_locked_out_by_mistake(kms, new_key):
    key = new_key()
    locking = aws.policy(DELEGATION, statement("Deny", "kms:PutKeyPolicy", "*"))
    with refused(
        "MalformedPolicyDocumentException",
        "The new key policy will not allow you to update the key policy in the future.",
    ):
        kms.put_key_policy(KeyId=key["KeyId"], Policy=locking)
    kms.put_key_policy(KeyId=key["KeyId"], Policy=locking, BypassPolicyLockoutSafetyCheck=True)
    with refused("AccessDeniedException"):
        kms.put_key_policy(KeyId=key["KeyId"], Policy=aws.policy(DELEGATION))


@pytest.mark.parametrize(
    "wrong",
    [
        "not json",
        "{}",
        aws.policy(DELEGATION, statement("Maybe", "kms:*", "*")),
        aws.policy(DELEGATION, statement("Allow", "kms:*")),
        # Until conditions exist, a policy that has one is refused: nothing in a policy is ever ignored.
        aws.policy(DELEGATION, statement("Allow", "kms:*", "*", Condition={"Bool": {"aws:SecureTransport": "true"}})),
    ],
)
def test_policies_that_are_refused(kms, new_key, wrong):
    with refused("MalformedPolicyDocumentException"):
        kms.put_key_policy(KeyId=new_key()["KeyId"], Policy=wrong)


# Lists


def test_keys_are_listed_page_by_page(kms, new_key):
    made = {key["KeyId"]: key["Arn"] for key in (new_key() for _ in range(5))}
    listed = paged(kms, "list_keys", "Keys", 3)
    found = {entry["KeyId"]: entry["KeyArn"] for entry in listed}
    assert made.items() <= found.items() and len(found) == len(listed)


def test_aliases_are_listed_page_by_page(kms, new_key):
    key = new_key()
    made = {aws.new_alias() for _ in range(5)}
    for alias in made:
        kms.create_alias(AliasName=alias, TargetKeyId=key["KeyId"])
    everywhere = [entry["AliasName"] for entry in paged(kms, "list_aliases", "Aliases", 2)]
    assert made <= set(everywhere) and len(set(everywhere)) == len(everywhere)
    assert sorted(entry["AliasName"] for entry in paged(kms, "list_aliases", "Aliases", 2, KeyId=key["Arn"])) == sorted(
        made
    )


def test_tags_are_listed_page_by_page(kms, new_key):
    made = tags(**{f"tag-{number}": "x" for number in range(7)})
    listed = paged(kms, "list_resource_tags", "Tags", 3, KeyId=new_key(Tags=made)["KeyId"])
    assert sorted(listed, key=lambda tag: tag["TagKey"]) == made


def test_policies_are_listed_page_by_page(kms, symmetric):
    assert paged(kms, "list_key_policies", "PolicyNames", 1, KeyId=symmetric["KeyId"]) == ["default"]


def test_a_marker_of_ones_own_making_is_refused(kms, symmetric):
    with refused("InvalidMarkerException"):
        kms.list_keys(Marker="next please")
    with refused("InvalidMarkerException"):
        kms.list_resource_tags(KeyId=symmetric["KeyId"], Marker="next please")


def test_page_sizes_have_limits(lax):
    with refused("ValidationException", constraint(0, "limit", "have value greater than or equal to 1")):
        lax.list_keys(Limit=0)
    with refused("ValidationException", constraint(1001, "limit", "have value less than or equal to 1000")):
        lax.list_keys(Limit=1001)


# Who may


def test_a_principal_may_do_what_its_policy_says_and_no_more(server, kms, new_key, new_principal):
    mine, other = new_key(), new_key()
    reader = new_principal("reader", statement("Allow", ["kms:Decrypt", "kms:Describe*"], Resource=mine["Arn"]))
    as_reader = aws.client(reader)
    sealed = kms.encrypt(KeyId=mine["KeyId"], Plaintext=b"x")["CiphertextBlob"]
    sealed_elsewhere = kms.encrypt(KeyId=other["KeyId"], Plaintext=b"x")["CiphertextBlob"]
    reader_arn = ADMINISTRATOR.replace("administrator", "reader")

    assert as_reader.decrypt(CiphertextBlob=sealed)["Plaintext"] == b"x"
    assert as_reader.describe_key(KeyId=mine["KeyId"])["KeyMetadata"]["Arn"] == mine["Arn"]
    with refused(
        "AccessDeniedException", not_authorized(reader_arn, "Encrypt", mine["Arn"], NOT_IDENTITY.format("Encrypt"))
    ):
        as_reader.encrypt(KeyId=mine["KeyId"], Plaintext=b"x")
    with refused(
        "AccessDeniedException",
        not_authorized(reader_arn, "DescribeKey", other["Arn"], NOT_IDENTITY.format("DescribeKey")),
    ):
        as_reader.describe_key(KeyId=other["KeyId"])
    with refused(
        "AccessDeniedException", not_authorized(reader_arn, "CreateKey", "*", NOT_IDENTITY.format("CreateKey"))
    ):
        as_reader.create_key()
    with refused(
        "AccessDeniedException",
        "The ciphertext refers to a customer master key that does not exist, does not exist in this region, "
        "or you are not allowed to access.",
    ):
        as_reader.decrypt(CiphertextBlob=sealed_elsewhere)


def test_a_key_policy_alone_is_enough(kms, new_key, new_principal):
    guest = new_principal("guest")
    guest_arn = ADMINISTRATOR.replace("administrator", "guest")
    key = new_key(Policy=aws.policy(DELEGATION, statement("Allow", "kms:Encrypt", {"AWS": guest_arn})))
    assert aws.client(guest).encrypt(KeyId=key["KeyId"], Plaintext=b"x")["KeyId"] == key["Arn"]
    with refused("AccessDeniedException"):
        aws.client(guest).decrypt(CiphertextBlob=kms.encrypt(KeyId=key["KeyId"], Plaintext=b"x")["CiphertextBlob"])


def test_a_deny_of_the_identity_policy_wins(kms, symmetric, new_principal):
    everything_but = [statement("Allow", "kms:*"), statement("Deny", "kms:Encrypt")]
    careful = aws.client(new_principal("careful", *everything_but))
    assert careful.generate_data_key(KeyId=symmetric["KeyId"], KeySpec="AES_256")["KeyId"] == symmetric["Arn"]
    with refused(
        "AccessDeniedException",
        not_authorized(
            ADMINISTRATOR.replace("administrator", "careful"),
            "Encrypt",
            symmetric["Arn"],
            "with an explicit deny in an identity-based policy",
        ),
    ):
        careful.encrypt(KeyId=symmetric["KeyId"], Plaintext=b"x")


def test_a_disabled_access_key_opens_nothing(server, new_principal):
    leaver = new_principal("leaver", statement("Allow", "kms:*"))
    kms = aws.client(leaver)
    kms.list_keys()
    server.cli("access-key", "disable", leaver["AWS_ACCESS_KEY_ID"])

    def shut():
        try:
            return not kms.list_keys()
        except aws.ClientError as refusal:
            return refusal.response["Error"]["Code"] == "UnrecognizedClientException"

    aws.eventually(shut)
    with refused("UnrecognizedClientException", "The security token included in the request is invalid."):
        kms.list_keys()


# GetKeyLastUsage


def test_the_last_use_of_a_key_is_the_call_that_used_it(kms, new_key):
    key = new_key()
    unused = kms.get_key_last_usage(KeyId=key["KeyId"])
    assert (unused["KeyId"], unused["KeyLastUsage"]) == (key["Arn"], {})
    assert unused["TrackingStartDate"] == unused["KeyCreationDate"] == key["CreationDate"]
    for use in (
        lambda: kms.encrypt(KeyId=key["Arn"], Plaintext=b"x"),
        lambda: kms.generate_data_key_without_plaintext(KeyId=key["KeyId"], KeySpec="AES_256"),
    ):
        used = use()
        last = kms.get_key_last_usage(KeyId=key["Arn"])["KeyLastUsage"]
        assert last["KmsRequestId"] == used["ResponseMetadata"]["RequestId"]
        assert abs(datetime.now(UTC) - last["Timestamp"]) < timedelta(minutes=1)
    assert last["Operation"] == "GenerateDataKeyWithoutPlaintext"
    kms.describe_key(KeyId=key["KeyId"])
    assert kms.get_key_last_usage(KeyId=key["KeyId"])["KeyLastUsage"] == last


def test_the_last_use_is_known_after_a_restart(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("uses")).start()
    kms = aws.client(server.environment)
    key = kms.create_key()["KeyMetadata"]["KeyId"]
    used = kms.encrypt(KeyId=key, Plaintext=b"x")["ResponseMetadata"]["RequestId"]
    assert server.stop() == 0
    server.start()
    try:
        last = aws.client(server.environment).get_key_last_usage(KeyId=key)["KeyLastUsage"]
        assert (last["Operation"], last["KmsRequestId"]) == ("Encrypt", used)
        assert server.cli("clock", "show").startswith("it has run for ")
        assert server.cli("clock", "confirm") == "the clock was not in doubt\n"
        assert server.cli("deleted-key", "list").startswith("KEY ")
    finally:
        server.stop()
