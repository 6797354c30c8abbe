"""CPython's tests of files, polling, memory and threads."""
import pytest

from python_tests import compare


@pytest.mark.parametrize("module", ["test_os", "test_select", "test_mmap", "test_threading"])
def test_passes_as_on_linux(librettos, module):
    compare(librettos, module)
