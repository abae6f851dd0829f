"""The development server: TensorFlow Serving's REST and gRPC interfaces, in Python."""
