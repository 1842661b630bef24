"""The wire: raw HTTP signed by botocore, so that the server sees what no SDK would send."""

import base64
import http.client
import json
import re
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import botocore.auth
import botocore.session
import pytest
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

import aws

CONTENT_TYPE = "application/x-amz-json-1.1"
TIMEOUT_SECONDS = 20
ALL_OPERATIONS = set(botocore.session.get_session().get_service_model("kms").operation_names)
ENCRYPT = {"Plaintext": base64.b64encode(b"attack at dawn").decode()}


class Answer:
    def __init__(self, response):
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()

    def json(self):
        return json.loads(self.body)

    def error(self):
        return self.json()["__type"]

    def message(self):
        return self.json().get("message", self.json().get("Message"))


class Wire:
    """Sends one operation; every part of the request can be made wrong."""

    def __init__(self, environment, monkeypatch):
        self.environment = environment
        self.monkeypatch = monkeypatch
        self.host = urlsplit(environment["AWS_ENDPOINT_URL_KMS"]).netloc

    def connect(self):
        return http.client.HTTPConnection(self.host, timeout=TIMEOUT_SECONDS)

    def signed(
        self, operation, body, at=None, region=aws.REGION, service="kms", secret=None, access_key=None, **headers
    ):
        headers = {"Content-Type": CONTENT_TYPE, "X-Amz-Target": f"TrentService.{operation}", **headers}
        request = AWSRequest("POST", self.environment["AWS_ENDPOINT_URL_KMS"] + "/", data=body, headers=headers)
        credentials = Credentials(
            access_key or self.environment["AWS_ACCESS_KEY_ID"], secret or self.environment["AWS_SECRET_ACCESS_KEY"]
        )
        with self.monkeypatch.context() as patch:
            if at is not None:
                patch.setattr(botocore.auth, "get_current_datetime", lambda *_, **__: at)
            botocore.auth.SigV4Auth(credentials, service, region).add_auth(request)
        return dict(request.headers.items())

    def send(self, body, headers, connection=None, method="POST"):
        connection = connection or self.connect()
        connection.request(method, "/", body, headers)
        return Answer(connection.getresponse())

    def call(self, operation, body=None, connection=None, **how):
        body = body if isinstance(body, bytes) else json.dumps({} if body is None else body).encode()
        return self.send(body, self.signed(operation, body, **how), connection)


@pytest.fixture
def wire(server, monkeypatch):
    return Wire(server.environment, monkeypatch)


def check(answer, error, message=None):
    """A refusal as the wire shows it. No message means that the body must have none."""
    assert (answer.status, answer.error(), answer.message()) == (400, error, message)
    assert answer.headers["Content-Type"] == CONTENT_TYPE
    assert re.fullmatch(aws.UUID_SHAPE, answer.headers["x-amzn-RequestId"])


# Answers


def test_an_answer_carries_the_headers_clients_read(wire):
    answer = wire.call("GenerateRandom", {"NumberOfBytes": 1})
    assert (answer.status, answer.headers["Content-Type"]) == (200, CONTENT_TYPE)
    assert re.fullmatch(aws.UUID_SHAPE, answer.headers["x-amzn-RequestId"])
    assert int(answer.headers["Content-Length"]) == len(answer.body)
    served = datetime.strptime(answer.headers["Date"], "%a, %d %b %Y %H:%M:%S GMT").replace(tzinfo=UTC)
    assert abs(served - datetime.now(UTC)) < timedelta(minutes=1)
    assert "no-store" in answer.headers["Cache-Control"]


def test_an_operation_without_an_answer_has_an_empty_body(wire, symmetric):
    answer = wire.call("EnableKey", {"KeyId": symmetric["KeyId"]})
    assert (answer.status, answer.body, answer.headers["Content-Length"]) == (200, b"", "0")


def test_times_are_numbers_of_seconds(wire, symmetric):
    created = wire.call("DescribeKey", {"KeyId": symmetric["KeyId"]}).json()["KeyMetadata"]["CreationDate"]
    assert isinstance(created, int | float)
    assert abs(datetime.fromtimestamp(created, UTC) - symmetric["CreationDate"]) < timedelta(milliseconds=1)


def test_five_hundred_requests_on_one_connection(wire, symmetric):
    connection = wire.connect()
    connection.connect()
    socket = connection.sock
    for number in range(500):
        plaintext = base64.b64encode(f"request {number}".encode()).decode()
        sealed = wire.call("Encrypt", {"KeyId": symmetric["KeyId"], "Plaintext": plaintext}, connection=connection)
        assert sealed.status == 200 and connection.sock is socket, f"request {number}"
    blob = sealed.json()["CiphertextBlob"]
    assert wire.call("Decrypt", {"CiphertextBlob": blob}, connection=connection).json()["Plaintext"] == plaintext


# Signatures


def test_an_unsigned_request_is_refused(wire):
    headers = {"Content-Type": CONTENT_TYPE, "X-Amz-Target": "TrentService.ListKeys"}
    check(wire.send(b"{}", headers), "MissingAuthenticationTokenException", "Missing Authentication Token")


MISMATCH = (
    "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key "
    "and signing method. Consult the service documentation for details."
)


def test_a_wrong_secret_is_refused(wire):
    check(wire.call("ListKeys", secret="wrong" * 8), "InvalidSignatureException", MISMATCH)


def test_a_changed_body_is_refused(wire):
    headers = wire.signed("ListKeys", b"{}")
    check(wire.send(b"{ }", headers), "InvalidSignatureException", MISMATCH)


def test_a_changed_operation_is_refused(wire):
    headers = {**wire.signed("ListKeys", b"{}"), "X-Amz-Target": "TrentService.ListAliases"}
    check(wire.send(b"{}", headers), "InvalidSignatureException", MISMATCH)


def test_an_unknown_access_key_is_refused(wire):
    answer = wire.call("ListKeys", access_key="AKIAIOSFODNN7EXAMPLE")
    check(answer, "UnrecognizedClientException", "The security token included in the request is invalid.")


def test_an_unknown_session_token_is_refused(wire):
    answer = wire.call("ListKeys", **{"X-Amz-Security-Token": "from nowhere"})
    check(answer, "UnrecognizedClientException", "The security token included in the request is invalid.")


def test_another_service_is_refused(wire):
    answer = wire.call("ListKeys", service="s3")
    check(answer, "InvalidSignatureException", "Credential should be scoped to correct service: 'kms'. ")


def test_another_algorithm_is_refused(wire):
    headers = wire.signed("ListKeys", b"{}")
    headers["Authorization"] = headers["Authorization"].replace("AWS4-HMAC-SHA256", "AWS4-HMAC-SHA512")
    check(wire.send(b"{}", headers), "IncompleteSignatureException", "Unsupported AWS 'algorithm': 'AWS4-HMAC-SHA512'.")


def stamp(moment):
    return moment.strftime("%Y%m%dT%H%M%SZ")


def test_a_clock_may_be_wrong_by_less_than_five_minutes(wire):
    for minutes in (-4.5, 4.5):
        assert wire.call("ListKeys", at=datetime.now(UTC) + timedelta(minutes=minutes)).status == 200


def test_an_expired_signature_is_refused(wire):
    signed_at = datetime.now(UTC) - timedelta(minutes=5, seconds=30)
    answer = wire.call("ListKeys", at=signed_at)
    check(answer, "InvalidSignatureException", answer.message())
    assert re.fullmatch(
        rf"Signature expired: {stamp(signed_at)} is now earlier than \d+T\d+Z \(\d+T\d+Z - 5 min\.\)", answer.message()
    )


def test_a_signature_of_the_future_is_refused(wire):
    signed_at = datetime.now(UTC) + timedelta(minutes=5, seconds=30)
    answer = wire.call("ListKeys", at=signed_at)
    check(answer, "InvalidSignatureException", answer.message())
    assert re.fullmatch(
        rf"Signature not yet current: {stamp(signed_at)} is still later than \d+T\d+Z \(\d+T\d+Z \+ 5 min\.\)",
        answer.message(),
    )


# Operations


@pytest.mark.parametrize("operation", sorted(ALL_OPERATIONS))
def test_every_operation_of_the_model_is_offered(wire, operation):
    answer = wire.call(operation)
    assert answer.status == 200 or answer.error() == "ValidationException"


@pytest.mark.parametrize("operation", ["NoSuchThing", "listKeys", "LISTKEYS", "ListKeysX", ""])
def test_any_other_name_is_unknown(wire, operation):
    check(wire.call(operation), "UnknownOperationException")


def test_a_foreign_target_is_unknown(wire):
    answer = wire.call("ListKeys", **{"X-Amz-Target": "DynamoDB_20120810.ListTables"})
    check(answer, "UnknownOperationException")


# Bodies


@pytest.mark.parametrize("body", [b"", b"null", b'"text"', b"{", b'{"Limit":1,}', b'{"Limit":1} x', b"\xff\xfe"])
def test_what_is_not_json_is_refused(wire, body):
    check(wire.call("ListKeys", body), "SerializationException")


def test_a_list_is_not_a_request(wire):
    check(wire.call("ListKeys", b"[]"), "SerializationException", "Start of list found where not expected")


@pytest.mark.parametrize(
    ("operation", "body", "message"),
    [
        ("DescribeKey", {"KeyId": 7}, "NUMBER_VALUE can not be converted to a String"),
        ("DescribeKey", {"KeyId": True}, "TRUE_VALUE can not be converted to a String"),
        ("DescribeKey", {"KeyId": ["x"]}, "Start of list found where not expected"),
        ("DescribeKey", {"KeyId": {}}, "Start of structure or map found where not expected."),
        ("ListKeys", {"Limit": "many"}, "STRING_VALUE can not be converted to an Integer"),
        ("CreateKey", {"Tags": "blue"}, "Expected list or null"),
        ("Encrypt", {"KeyId": "x", **ENCRYPT, "EncryptionContext": "a"}, "Expected map or null"),
        (
            "Encrypt",
            {"KeyId": "x", "Plaintext": "abc"},
            "The value can not be converted to a Blob: "
            "Base64 encoded length is expected a multiple of 4 bytes but found: 3",
        ),
        (
            "Encrypt",
            {"KeyId": "x", "Plaintext": "ab*="},
            "The value can not be converted to a Blob: Invalid Base64 character: '*'",
        ),
    ],
)
def test_wrong_types_are_named(wire, operation, body, message):
    check(wire.call(operation, body), "SerializationException", message)


def test_a_missing_member_is_named(wire):
    message = "1 validation error detected: Value null at 'keyId' failed to satisfy constraint: Member must not be null"
    check(wire.call("DescribeKey"), "ValidationException", message)
    check(wire.call("DescribeKey", {"KeyId": None}), "ValidationException", message)


def test_null_and_unknown_members_are_as_if_absent(wire, symmetric):
    request = {"KeyId": symmetric["KeyId"], **ENCRYPT, "EncryptionContext": None, "DryRun": None, "OfTomorrow": [1, {}]}
    assert wire.call("Encrypt", request).status == 200


def test_a_body_that_is_too_long_is_refused(wire):
    answer = wire.call("ListKeys", b'{"Marker":"' + b"x" * (1 << 20) + b'"}')
    assert answer.status == 413


def test_no_answer_repeats_a_secret(wire, symmetric):
    secret = base64.b64encode(b"never to be seen again" * 200).decode()
    assert secret[:40] not in wire.call("Encrypt", {"KeyId": symmetric["KeyId"], "Plaintext": secret}).body.decode()


# Beside the API


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
def test_health_and_metrics_need_no_signature(wire, path):
    connection = wire.connect()
    connection.request("GET", path)
    assert Answer(connection.getresponse()).status == 200


def test_metrics_count_calls(wire):
    wire.call("ListKeys")
    connection = wire.connect()
    connection.request("GET", "/metrics")
    text = Answer(connection.getresponse()).body.decode()
    assert re.search(r'^\w+\{[^}]*"ListKeys"[^}]*\} [1-9]', text, re.MULTILINE), text[:2000]


def test_nothing_else_is_served(wire):
    connection = wire.connect()
    connection.request("GET", "/")
    assert Answer(connection.getresponse()).status in (403, 404, 405)
