"""What TFX's Evaluator measures, and how its result is read."""
