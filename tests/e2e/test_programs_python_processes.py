"""CPython's tests of child processes, but for those that are run a second time with select for poll."""
from python_tests import compare


def test_passes_as_on_linux(librettos):
    compare(librettos, "test_subprocess", left_out=("*NoPoll*",))
