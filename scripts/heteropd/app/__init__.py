"""What a verb needs, built once: from words to a plan, to what it is started with, to a verdict."""
