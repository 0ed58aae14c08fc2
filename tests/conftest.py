"""What every test shares: one torch thread, quiet bars, and no telemetry."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # two torch threads on two busy cores are slower than one
os.environ.setdefault("TQDM_DISABLE", "1")
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("MPLBACKEND", "agg")

import torch

torch.set_num_threads(1)
