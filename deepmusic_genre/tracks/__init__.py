"""Where tracks come from: one class a form of audio analysis, and the labels that go with them."""
