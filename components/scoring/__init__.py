"""What a classifier's answers are worth: plain functions on arrays, and how answers are kept."""
