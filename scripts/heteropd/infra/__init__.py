"""`make infra` on hosts: which suites of tests/infra run where, and what their facts are judged by."""
