"""Makes genres equally frequent by leaving tracks out."""
