"""CPython's tests of signals, but for those that take a minute by themselves."""
from python_tests import compare


def test_passes_as_on_linux(librettos):
    compare(librettos, "test_signal", left_out=("*SiginterruptTest*", "*ItimerTest*"))
