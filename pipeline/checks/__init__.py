"""What is found out before a run begins."""
