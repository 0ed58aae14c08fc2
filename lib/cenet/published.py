"""What papers print of these networks, on Speech Commands (version 1, twelve classes): to lay beside our own counts."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Published:
    """One row of a paper's table.

    Attributes:
        label: the network as papers write it. parameters, multiplies: of one second of sound, as the paper counts them.
        accuracy: percent. of_this_paper: a row of the chapter's paper, as restated by others; else a peer's.
    """

    label: str
    parameters: float
    multiplies: float
    accuracy: float
    of_this_paper: bool = False


PUBLISHED = {
    "cenet-6": Published("CENet-6", 16.2e3, 1.95e6, 93.9, True),
    "cenet-24": Published("CENet-24", 44.3e3, 8.51e6, 95.6, True),
    "cenet-40": Published("CENet-40", 61e3, 16.18e6, 96.4, True),
    "cenet-gcn-6": Published("CENet-GCN-6", 27.6e3, 2.55e6, 95.2, True),
    "cenet-gcn-24": Published("CENet-GCN-24", 55.6e3, 9.11e6, 96.5, True),
    "cenet-gcn-40": Published("CENet-GCN-40", 72.3e3, 16.78e6, 96.8, True),
    "res8-narrow": Published("res8-narrow", 19.9e3, 5.65e6, 90.1),
    "res15": Published("res15", 238e3, 894e6, 95.8),
    "tc-resnet8": Published("TC-ResNet8", 66e3, 1.5e6, 96.1),
    "tc-resnet14-1.5": Published("TC-ResNet14-1.5", 305e3, 6.7e6, 96.6),
    "bc-resnet-1": Published("BC-ResNet-1", 9.2e3, 3.1e6, 96.6),
    "bc-resnet-3": Published("BC-ResNet-3", 54.2e3, 16.2e6, 97.6),
}
"""By the names of ``lib.cenet.config.NETWORKS``. The peers' rows come from the tables of later papers, of BC-ResNet's
above all; TC-ResNet8's accuracy is the one figure that no table at hand confirmed."""

THIS_PAPER = {name: row for name, row in PUBLISHED.items() if row.of_this_paper}
