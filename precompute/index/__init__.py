"""An index of the tracks' gradients: a new clip costs its own gradients and a search of the index, no pass over tracks.

Of D-TRAK the index holds what a run's scores follow from (`dtrak.py`). Of unlearning: a track's score for a clip is
a' b with a = F^-1/2 (the track's gradient) and b = F^1/2 (the clip's unlearning step); the index holds a sketch of a
for every track, so that all scores are estimated by one small product, and a shortlist is scored exactly
(`unlearning.py`).
"""
