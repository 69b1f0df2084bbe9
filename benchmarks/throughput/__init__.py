"""pytest-benchmark suites, and the comparison of their sessions."""
