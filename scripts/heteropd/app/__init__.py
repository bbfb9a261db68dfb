"""What a verb needs, built once: from arguments to a plan, to what it is started with, to a verdict."""
