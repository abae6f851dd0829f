"""Our own audio analyser: from a sound file to segments with loudness, timbre and pitches.

What an analysis is follows the public descriptions of the Echo Nest's analyser: T. Jehan, *Creating Music by
Listening*, MIT, 2005, and *Analyzer Documentation*, The Echo Nest, 2014. The timbre's basis is our own, so that values
are comparable only with those of the same analyser: :func:`analyser.basis.analyser_name`.
"""
