"""CPython's tests of child processes."""
from python_tests import compare


def test_passes_as_on_linux(librettos):
    compare(librettos, "test_subprocess")
