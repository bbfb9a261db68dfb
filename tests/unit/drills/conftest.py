"""The server that tests of drills ask."""

import pytest
from drill_answers import Server


@pytest.fixture
def server():
    one = Server()
    yield one
    one.close()
