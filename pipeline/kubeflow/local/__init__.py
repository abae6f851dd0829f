"""The compiled pipeline on this machine, without Kubeflow."""
