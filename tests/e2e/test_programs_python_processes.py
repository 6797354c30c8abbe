"""CPython's tests of child processes, but for those that are run a second time with select for poll."""
import pytest

from conftest import LONG
from python_tests import compare


@pytest.mark.skipif(not LONG, reason="a minute: with LIBRETTOS_TEST_LONG=1")
def test_passes_as_on_linux(librettos):
    compare(librettos, "test_subprocess", left_out=("*NoPoll*",))
