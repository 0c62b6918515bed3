"""A server that does not answer is told apart from one that has answered, by errors that libraries really raise."""

import socket
import ssl
from typing import ClassVar

import pytest
from botocore.exceptions import ClientError, NoCredentialsError
from deltalake import DeltaTable

from tests.answering_store import answering
from towers.answering import does_not_answer
from towers.errors import Unreachable, UserError


def raised(call) -> BaseException:
    with pytest.raises(Exception) as caught:  # noqa: PT011 - which one it is, is the library's
        call()
    return caught.value


def led_to(cause: Exception, error: Exception) -> Exception:
    try:
        raise error from cause
    except type(error) as chained:
        return chained


def nobody() -> int:
    """Returns a port on which no process listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def test_sockets():
    port = nobody()
    assert does_not_answer(raised(lambda: socket.create_connection(("127.0.0.1", port))))
    assert does_not_answer(raised(lambda: socket.getaddrinfo("no address", 80, flags=socket.AI_NUMERICHOST)))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client = socket.create_connection(silent.getsockname(), timeout=0.01)
        assert does_not_answer(raised(lambda: client.recv(1)))
        client.close()


def test_the_cause_counts_and_an_answer_outweighs_it():
    refused = ConnectionRefusedError(111, "refused")
    assert does_not_answer(led_to(refused, ValueError("cannot list")))
    assert does_not_answer(led_to(Unreachable("no"), RuntimeError("cannot list")))
    denied = ClientError({"ResponseMetadata": {"HTTPStatusCode": 403}}, "ListObjects")
    for answer in (
        NoCredentialsError(),
        denied,
        PermissionError("denied"),
        FileNotFoundError("no bucket"),
        ssl.SSLError("certificate"),
    ):
        assert not does_not_answer(led_to(refused, answer))
    for other in (ValueError("column status 500 is missing"), UserError("error sending request"), OSError(28, "full")):
        assert not does_not_answer(other)


class TestRust:
    OPTIONS: ClassVar = {
        "allow_http": "true",
        "max_retries": "0",
        "aws_access_key_id": "key",
        "aws_secret_access_key": "secret",
    }

    def opened(self, **options: str) -> BaseException:
        return raised(lambda: DeltaTable("s3://plays/set", storage_options={**self.OPTIONS, **options}))

    def test_a_store_that_is_not_there(self):
        assert does_not_answer(self.opened(aws_endpoint=f"http://127.0.0.1:{nobody()}"))

    @pytest.mark.parametrize(("status", "is_later"), [(503, True), (403, False), (404, False)])
    def test_a_store_that_answers(self, status, is_later):
        with answering(status) as address:
            assert does_not_answer(self.opened(aws_endpoint=address)) == is_later
