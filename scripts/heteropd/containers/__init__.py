"""The docker runtime: hosts of it, options, lifecycle, endings, faults, transfer of images and models."""
