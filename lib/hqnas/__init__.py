"""HQNAS: architecture and bit-widths searched together, for the device that the network will run on.

Chen, Wang, Liu, Wei and Yin, "HQNAS: Auto CNN deployment framework for joint quantization and architecture search",
2022, arXiv:2210.08485. Only the abstract and a machine's summary of the sections could be read. What the equations are
is rebuilt from related published code (Single-Path NAS, Bayesian Bits, BitFusion, APQ) and from our own reading; every
module says which.

The map, idea by idea:

=====================================================  ==================================================
what can be chosen: space, policy, its file            ``space``
weight-sharing: 3x3 in 5x5, few channels in many       ``super_kernel``
bit-sharing: 2 in 4 in 8 bits of one weight            ``quantizer``
hard decisions with gradients; thresholds              ``gates``
the supernet, and the network that is sliced out       ``model``
latency, energy, size: tables, simulators, this CPU    ``cost``, ``hardware``
task and hardware in one loss                          ``objective``
the search, and the log of its decisions               ``search``
training what was found, bits fixed                    ``retrain``
all of it in one call; checkpoints                     ``train``
new data, target or device: going on                   ``lifelong``
ONNX with integer weights                              ``export``
two steps, uniform, random, greedy, evolution, DARTS   ``baselines``
accuracy, bits, size                                   ``evaluate``
every choice, and the presets                          ``config``
what is compared; the card's claims, tested            ``comparison``, ``claims``, ``reproduce``, ``study``
=====================================================  ==================================================
"""
