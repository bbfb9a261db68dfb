"""What the labs of tests/images and tests/fabric share: packages, and small Debian systems."""
