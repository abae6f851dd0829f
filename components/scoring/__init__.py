"""What a classifier's answers are worth: plain functions on arrays, without TFX or TensorFlow."""
