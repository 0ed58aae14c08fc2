"""The networks of this book and of the paper, by name. Parameter counts are held by tests."""

from lib.cud.networks.config import MLPConfig, UNetConfig


def toy_mlp() -> MLPConfig:
    """Points on the plane: three hidden layers of 128."""
    return MLPConfig(dimension=2, width=128, depth=3)


def toy_encoder() -> MLPConfig:
    """q for points: no time in, mean and log variance out."""
    return MLPConfig(dimension=2, width=128, depth=2, out_dimension=4, time=False)


def digits_unet() -> UNetConfig:
    """8x8 grey digits on one processor core: 93,697 parameters, two levels of 16 and 32 channels.

    Five residual blocks, bare resampling, no attention. At equal time on one thread, neither more channels, more
    blocks, a third level, nor attention at the bottleneck lowered the flow-matching loss on held-out digits (one seed).
    """
    return UNetConfig(
        resolution=8, in_channels=1, channels=16, multipliers=(1, 2), blocks=1, bottleneck_attention=False,
        bottleneck_blocks=1, resample_in_blocks=False, skip_resampled=False,
    )  # fmt: skip


def mnist_unet(phi: float | None = 0.75) -> UNetConfig:
    """MNIST at 28x28: 2,155,201 parameters with one head."""
    return UNetConfig(
        resolution=28, in_channels=1, channels=32, multipliers=(2, 2, 2), blocks=2,
        attention_resolutions=(16,), dropout=0.13, phi=phi,
    )  # fmt: skip


def cifar10_unet(phi: float | None = 0.75) -> UNetConfig:
    """CIFAR-10, DDPM++ as in EDM (Karras et al. 2022), no preconditioning: 55,732,739 parameters."""
    return UNetConfig(
        resolution=32, in_channels=3, channels=128, multipliers=(2, 2, 2), blocks=4,
        attention_resolutions=(16,), dropout=0.13, phi=phi,
    )  # fmt: skip


def imagenet64_unet(phi: float | None = 0.75) -> UNetConfig:
    """ImageNet at 64x64 with labels, ADM (Dhariwal and Nichol 2021): 295,899,267 parameters."""
    return UNetConfig(
        resolution=64, in_channels=3, channels=192, multipliers=(1, 2, 3, 4), blocks=3,
        attention_resolutions=(32, 16, 8), attention_in_all_decoder_blocks=True, attention_head_channels=64,
        dropout=0.1, scale_shift=True, residual_scale=1.0, project_resampled=False, norm_epsilon=1e-5,
        classes=1000, phi=phi,
    )  # fmt: skip


def digits_encoder() -> UNetConfig:
    """q for the 8x8 digits: mean and log variance, two channels."""
    return UNetConfig(
        resolution=8, in_channels=1, out_channels=2, channels=16, multipliers=(1, 2), blocks=1,
        bottleneck_attention=False, bottleneck_blocks=1, resample_in_blocks=False, skip_resampled=False,
    )  # fmt: skip


def mnist_encoder() -> UNetConfig:
    """q of the learned coupling for MNIST: 2,155,778 parameters."""
    return UNetConfig(
        resolution=28, in_channels=1, out_channels=2, channels=32, multipliers=(2, 2, 2), blocks=2,
        attention_resolutions=(16,), dropout=0.13,
    )  # fmt: skip


def cifar10_encoder() -> UNetConfig:
    """q of the learned coupling for CIFAR-10: 2,208,966 parameters."""
    return UNetConfig(
        resolution=32, in_channels=3, out_channels=6, channels=32, multipliers=(2, 2, 2), blocks=2,
        attention_resolutions=(16,), dropout=0.13,
    )  # fmt: skip
