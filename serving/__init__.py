"""From a pushed model to answers: deployment files for TF Serving, and a stand-in for it on a laptop."""
