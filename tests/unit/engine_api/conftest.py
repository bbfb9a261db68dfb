"""The server that tests of the client ask."""

import pytest
from api_server import Server


@pytest.fixture
def server():
    answering = Server()
    yield answering
    answering.close()
