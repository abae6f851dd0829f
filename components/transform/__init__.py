"""From a track's segments to the tensors that every model reads."""
