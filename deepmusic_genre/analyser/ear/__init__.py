"""What a network hears that was trained on the sound of the Million Song Dataset: 400 values a track.

The network is ``MSD_musicnn`` of the package musicnn 0.1.0 (ISC licence, Music Technology Group, Universitat Pompeu
Fabra): J. Pons, X. Serra, *musicnn: pre-trained convolutional neural networks for music audio tagging*, ISMIR 2019
late-breaking demo. Its weights are fetched from the package index, see :mod:`.weights`; nothing of the package's code
runs, which asks for NumPy below 1.17 and TensorFlow 1.
"""
