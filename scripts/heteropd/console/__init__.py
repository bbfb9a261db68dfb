"""What people read while they wait: width, progress, log tails, generated sections of docs."""
