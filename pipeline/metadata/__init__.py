"""ML Metadata: the runs there were, and what they left behind."""
