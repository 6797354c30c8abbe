"""CPython's tests of files, polling, memory and threads."""
import pytest

from conftest import LONG
from python_tests import compare

MODULES = ["test_select", "test_mmap"] + (["test_os", "test_threading"] if LONG else [])


@pytest.mark.parametrize("module", MODULES)
def test_passes_as_on_linux(librettos, module):
    compare(librettos, module)
