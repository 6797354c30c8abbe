"""CPython's tests of sockets."""
import pytest

from conftest import LONG
from python_tests import compare


@pytest.mark.skipif(not LONG, reason="a minute: with LIBRETTOS_TEST_LONG=1")
def test_passes_as_on_linux(librettos):
    assert compare(librettos, "test_socket") > 400
