"""CPython's tests of sockets."""
from python_tests import compare


def test_passes_as_on_linux(librettos):
    assert compare(librettos, "test_socket") > 400
