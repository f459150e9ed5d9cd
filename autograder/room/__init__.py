"""Where a student's code runs. ``outside`` is the judge's end; ``warm``, ``inside`` and ``cell`` run behind the wall.

Behind it, this folder is all that exists of the autograder, so those files import one another, torch, numpy, IPython
and the standard library only: ``frames``, ``wire``, ``packing`` and ``confine`` are on both sides.
"""
