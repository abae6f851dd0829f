"""The client of a served model, over REST or gRPC."""
