"""The quickstart of the tests of e2e, run once for both."""

from tests.e2e.conftest import quickstart  # noqa: F401
