"""Augmentation: what a microphone, a room and a line do to speech. All of it takes a torch.Generator.

mixing.py     mix speech and noise at a ratio in dB, gain, shifts in time, babble of several talkers
noise.py      noise of any colour, steady or in bursts
rooms.py      reverberation: responses of synthetic rooms, convolution
telephone.py  the telephone: 8 kHz, its band, mu-law
speed.py      faster and slower at one of a few speeds, well resampled
tape.py       faster and slower at any speed, whole batches at once, interpolated
masking.py    SpecAugment, on features
draws.py      one random number for each example

Waveforms are (batch, samples) in -1 ... 1. A generator on the CPU serves waveforms on any device.
"""
