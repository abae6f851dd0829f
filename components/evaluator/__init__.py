"""What TFX's Evaluator measures."""
