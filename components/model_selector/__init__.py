"""Takes the best of several trained models on."""
