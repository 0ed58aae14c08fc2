"""What all systems share when they train.

seeding      seeds by name, generators            schedule   learning rate as a function of the step
ema          moving average of weights            progress   bar and live curve
checkpoint   safetensors + JSON, replaced whole   devices    Lightning Fabric, threads
state        all that a run must remember         loop       the resumable loop
digest       a short name for a network's weights     run        seed, place, length and devices of one training
order        which samples a step sees                settings   single settings changed by name
multiplies   parameters and multiplications           side_by_side  several trainings at a time
"""
