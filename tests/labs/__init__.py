"""What the labs of tests/images and tests/fabric share: packages of the distribution, and small Debian systems."""
