"""From a pushed model to answers: deployment files for TF Serving, and a server for development."""
