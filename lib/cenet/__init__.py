"""CENet: compact keyword spotting, with a graph convolution for context.

Chen, Yin, Song, Ouyang, Liu and Wei, "Small-Footprint Keyword Spotting with Graph Convolutional Network", ASRU 2019,
arXiv:1912.05124. The abstract and opening could be read; equations, blocks and figures come from a detailed summary by
others, channel widths from matching the published parameter counts. What is ours is marked as such.

The map, idea by idea:

=====================================================  ==================================================
initial, bottleneck and connection block               ``blocks``
graph A, X̃ = ReLU(A X W), X_a = γ X̃ + X, controls     ``graph``
CENet-6/24/40 and CENet-GCN-6/24/40                    ``model``
TC-ResNet, res8 and res15, BC-ResNet                   ``baselines``
every choice, and the presets                          ``config``
clips of one length: words, unknown, silence           ``clips``, ``task``
what is heard in training                              ``stream``
training; a trained spotter                            ``train``, ``spotter``
accuracy, false alarms and rejects, noise              ``evaluate``
two words far apart                                    ``long_range``
listening all the time; detections                     ``streaming``
ONNX                                                   ``export``
time of one second of sound                            ``latency``
what is compared; the card's claims, tested            ``comparison``, ``claims``, ``reproduce``, ``study``
=====================================================  ==================================================
"""
