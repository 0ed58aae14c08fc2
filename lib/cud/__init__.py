"""Catch-Up Distillation (CUD): few-step sampling learnt in one training session.

Shao, Dai, Yin, Li, Chen and Hu, "Catch-Up Distillation: You Only Need to Train Once for Accelerating Sampling", 2023,
arXiv:2305.10769. The body of the paper could not be retrieved: equations are read from its abstract, its method figure
and the official code, and our own derivations are marked as such.

The map, idea by idea:

=====================================================  ==================================================
straight path x_t, target u, base loss L_ori           ``flow``
catch-up loss L_kd, schemes RK12, RK23, RK34           ``catchup``
step h, grid constant T_N, lag of the learnt velocity  ``step_sizes``
noise with data: independent, learnt (β, KL), optimal  ``coupling``
Prior ShakeDrop (φ), networks, heads g_1 ... g_K       ``networks``, ``model``
wavelet term (ImageNet-64 recipe)                      ``wavelet``
the whole objective L                                  ``objective``
first session                                          ``train``
second session, to one step                            ``second_session``
solvers and whole trajectories                         ``samplers``
straightness S                                         ``straightness``
peers: reflow, progressive, consistency                ``baselines``, ``comparison``
distances from the data                                ``evaluate``
the card's claims, tested                              ``claims``, ``reproduce``, ``curves``
presets: toy, scaled, mnist, cifar10, imagenet64       ``config``
=====================================================  ==================================================
"""
