"""An index of the tracks' gradients: a new clip costs one gradient, a search, and the exact scores of a shortlist.

A track's score for a clip is a' b with a = F^-1/2 (the track's gradient) and b = F^1/2 (the clip's unlearning step).
The index holds a sketch of a for every track, so that all scores are estimated by one small product.
"""
