"""What every test shares: one thread each, and answers judged, never how long this machine took to find them."""

import torch
from hypothesis import settings

torch.set_num_threads(1)  # tests run beside one another, and small operations only lose by being shared out
settings.register_profile("course", deadline=None)
settings.load_profile("course")
