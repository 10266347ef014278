"""The quickstart of the tests of e2e, whose prepared set the examples find."""

from tests.e2e.conftest import new_home, quickstart  # noqa: F401
