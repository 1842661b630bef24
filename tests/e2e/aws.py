"""What every test says about AWS: clients, the refusal expected, ARNs, policies."""

import json
import time
import uuid
from contextlib import contextmanager

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from server import ACCOUNT, REGION

ADMINISTRATOR = f"arn:aws:iam::{ACCOUNT}:user/administrator"
NO_MESSAGE = ""
UUID_SHAPE = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
UNKNOWN_ID = "00000000-1111-4222-8333-444444444444"


# What was asked of any server, and what of it was answered: boto3's parser, which knows AWS's model, has read each answer.
asked, answered = set(), set()

# What every operation may answer beside what the model declares for it: see src/operations/exceptions.rs.
COMMON = {
    "AccessDeniedException",
    "IncompleteSignatureException",
    "InvalidArnException",
    "InvalidGrantTokenException",
    "InvalidSignatureException",
    "MissingAuthenticationTokenException",
    "NotAuthorizedException",
    "SerializationException",
    "ServiceUnavailableException",
    "ThrottlingException",
    "UnrecognizedClientException",
    "ValidationException",
}


def _note(http_response, parsed, model, **_):
    asked.add(model.name)
    if http_response.status_code == 200:
        answered.add(model.name)
        return
    declared = {shape.name for shape in model.error_shapes}
    assert parsed["Error"]["Code"] in declared | COMMON, f"{model.name} does not declare {parsed['Error']}"


def client(environment, region=REGION, validate=True):
    """A boto3 client that tries once and waits briefly. validate=False lets bad parameters reach the server."""
    made = boto3.client(
        "kms",
        endpoint_url=environment["AWS_ENDPOINT_URL_KMS"],
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
        region_name=region,
        config=Config(
            connect_timeout=5, read_timeout=20, retries={"total_max_attempts": 1}, parameter_validation=validate
        ),
    )
    made.meta.events.register("after-call.kms", _note)
    return made


@contextmanager
def refused(code, message=None, status=400):
    """The block must end in this AWS error, word for word; no message given means that any will do."""
    with pytest.raises(ClientError) as caught:
        yield
    answer = caught.value.response
    assert answer["Error"]["Code"] == code, answer
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == status
    if message is not None:
        assert answer["Error"]["Message"] == message


def eventually(check, seconds=5):
    """The first true answer of check, asked again and again for a while: changes by the CLI reach a server shortly."""
    deadline = time.monotonic() + seconds
    while not (answer := check()):
        assert time.monotonic() < deadline, f"not true within {seconds} s"
        time.sleep(0.05)
    return answer


def key_arn(key_id, region=REGION):
    return f"arn:aws:kms:{region}:{ACCOUNT}:key/{key_id}"


def alias_arn(alias, region=REGION):
    return f"arn:aws:kms:{region}:{ACCOUNT}:{alias}"


def new_alias():
    return f"alias/e2e/{uuid.uuid4()}"


def once(make):
    """Makes a thing of each name when it is first asked for, and gives the same one ever after."""
    made = {}

    def of(name):
        if name not in made:
            made[name] = make(name)
        return made[name]

    return of


def sent(answer):
    """The members of an answer, without what boto3 adds."""
    return {name: value for name, value in answer.items() if name != "ResponseMetadata"}


def references(kms, key):
    """The four ways to name a key."""
    alias = new_alias()
    kms.create_alias(AliasName=alias, TargetKeyId=key["KeyId"])
    return {"id": key["KeyId"], "arn": key["Arn"], "alias": alias, "alias_arn": alias_arn(alias)}


def policy(*statements):
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def statement(effect, action, principal=None, **more):
    made = {"Effect": effect, "Action": action, "Resource": "*", **more}
    return made if principal is None else {**made, "Principal": principal}


DELEGATION = statement("Allow", "kms:*", {"AWS": f"arn:aws:iam::{ACCOUNT}:root"})


def constraint(value, member, rule):
    shown = "Value" if value is None else f"Value '{value}'"
    return f"1 validation error detected: {shown} at '{member}' failed to satisfy constraint: Member must {rule}"


def not_authorized(principal, action, resource, reason):
    return f"User: {principal} is not authorized to perform: kms:{action} on resource: {resource} {reason}"
