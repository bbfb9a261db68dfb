"""What the suites of tests/infra share: pytest plugins, and what reads and judges hosts and engines."""
