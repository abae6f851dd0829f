"""The laptop's stand-in for TensorFlow Serving: the same REST and gRPC interfaces, in Python."""
