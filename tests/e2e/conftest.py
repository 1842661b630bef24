"""One server for the whole run, and what tests take from it."""

import botocore.session
import pytest

import aws
from server import Server, exports


# SoftHSM2 has no keys for these; boto3 asks for them all the same.
NOT_ON_SOFTHSM2 = {"Encapsulate", "Decapsulate"}


def pytest_addoption(parser):
    parser.addoption("--every-operation", action="store_true", help="fail unless every operation of KMS was answered")


def pytest_sessionfinish(session):
    """A run of all tests calls every operation that botocore knows."""
    if not session.config.getoption("--every-operation"):
        return
    every = set(botocore.session.get_session().get_service_model("kms").operation_names)
    missing = (every - NOT_ON_SOFTHSM2 - aws.answered) | (NOT_ON_SOFTHSM2 - aws.asked)
    print(f"\noperations of KMS: {len(every)}, answered {len(every & aws.answered)}, missing {sorted(missing) or 'none'}")
    if missing:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    running = Server(tmp_path_factory.mktemp("strongroom")).start()
    yield running
    assert running.stop() == 0, running.stderr()[-4000:]


@pytest.fixture(scope="session")
def kms(server):
    return aws.client(server.environment)


@pytest.fixture(scope="session")
def lax(server):
    """A client that checks nothing itself."""
    return aws.client(server.environment, validate=False)


@pytest.fixture(scope="session")
def new_key(kms):
    return lambda **wanted: kms.create_key(**wanted)["KeyMetadata"]


@pytest.fixture(scope="session")
def symmetric(new_key):
    """A key that no test may change."""
    return new_key(Description="shared by tests that only use it")


@pytest.fixture(scope="session")
def rsa(new_key):
    """An RSA_2048 key that no test may change."""
    return new_key(KeySpec="RSA_2048", KeyUsage="ENCRYPT_DECRYPT")


@pytest.fixture(scope="session")
def new_principal(server, tmp_path_factory):
    """Makes a principal with an access key by the command line, and gives the environment it would use."""

    def make(name, *statements):
        server.cli("principal", "create", "--name", name)
        if statements:
            file = tmp_path_factory.mktemp("policies") / "policy.json"
            file.write_text(aws.policy(*statements))
            server.cli("principal", "attach-policy", "--name", name, "--policy", str(file))
        printed = exports(server.cli("access-key", "create", "--principal", name))
        environment = {**server.environment, **printed}
        assert environment["AWS_ACCESS_KEY_ID"] != server.environment["AWS_ACCESS_KEY_ID"]
        aws.eventually(lambda: known(environment))
        return environment

    return make


def known(environment):
    """Whether the server knows this access key yet; what it may do is another matter."""
    try:
        aws.client(environment).generate_random(NumberOfBytes=1)
    except aws.ClientError as refusal:
        return refusal.response["Error"]["Code"] == "AccessDeniedException"
    return True
