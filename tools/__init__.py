"""What the Makefile runs besides the pipeline."""
