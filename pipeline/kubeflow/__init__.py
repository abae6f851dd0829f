"""The pipeline on Kubeflow Pipelines: its specification, the image and the command of its steps, a run of it here."""
