"""The pipeline: its settings, its wiring, and a thin file a runner."""
