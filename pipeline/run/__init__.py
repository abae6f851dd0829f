"""A run on this machine, from its preparation to its conclusion."""
