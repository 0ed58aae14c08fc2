"""A moving figure of chapter 7: click a place of the spectrogram and see its row of the adjacency laid over it."""

import html
import zlib
from collections.abc import Sequence

import numpy as np
import torch
import traitlets
from torch import Tensor

from lib.cenet.model import CENet, Trace
from lib.cenet.spotter import Spotter
from lib.errors import UserError
from lib.speech.features import FeatureConfig
from lib.widgets.base import BookWidget, pack
from lib.widgets.kit import module, still, style
from lib.widgets.png import png_address

MOST_CLIPS = 6
START = (0.5, 0.4)
"""The place chosen at first, as shares of time and of bands: a word lies in the middle of its clip."""
POOLED = 2
"""The initial block joins two frames and two bands; each stage then halves the map again."""

_CSS = """
.ptr-maps { display: grid; grid-template-columns: minmax(0, 1fr); gap: 16px; }
@container ptr (min-width: 600px) { .ptr-maps.ptr-maps-2 { grid-template-columns: repeat(2, minmax(0, 1fr)); } }
@container ptr (min-width: 600px) { .ptr-maps.ptr-maps-3 { grid-template-columns: repeat(3, minmax(0, 1fr)); } }
.ptr-mode { flex: 1 1 260px; max-width: 330px; }
.ptr-map { min-width: 0; display: flex; flex-direction: column; gap: 6px; }
.ptr-map h4 { margin: 0; }
.ptr-map svg { width: 100%; height: auto; touch-action: manipulation; }
.ptr-ground { cursor: crosshair; border-radius: 6px; }
.ptr-ground:focus-visible { outline: 3px solid var(--ptr-accent2); outline-offset: 2px; }
.ptr-map ol { margin: 0; padding-left: 1.5em; }
.ptr-map ol, .ptr-map p { font-size: 12.5px; font-variant-numeric: tabular-nums; }
.ptr-map li { margin: 0; padding: 0; }
.ptr-map li::marker { font-weight: 600; color: var(--ptr-accent); }
.ptr-ramp { display: flex; align-items: center; gap: 6px; font-size: 11.5px; color: var(--ptr-muted); }
.ptr-ramp i { flex: 1 1 40px; max-width: 90px; height: 9px; border: 1px solid var(--ptr-line); border-radius: 2px;
  background: linear-gradient(to right, transparent, color-mix(in srgb, var(--ptr-accent2) 82%, transparent)); }
"""


def node_centres(nodes: int, stage: int) -> np.ndarray:
    """Where the nodes of a stage lie along one side of the input, in frames or bands from 0: float64 (nodes,).

    The initial block's pooling puts its place p at 2 p + 1/2, and a stride of 2 keeps every other place, the first
    included.
    """
    return POOLED * 2.0**stage * np.arange(nodes) + (POOLED - 1) / 2


def cell_edges(nodes: int, stage: int, length: int) -> np.ndarray:
    """The edges of the nodes' cells as shares 0 ... 1 of a side of ``length`` frames or bands: float64 (nodes + 1,).

    A cell holds what lies nearer to its node than to any other, so the first one is narrower.
    """
    centres = node_centres(nodes, stage)
    edges = np.concatenate([[-0.5], (centres[1:] + centres[:-1]) / 2, [length - 0.5]])
    return (edges + 0.5) / length


def band_centres(config: FeatureConfig) -> np.ndarray | None:
    """Hz of the peak of each mel band: float64 (bands,); None for cepstral features, which have no bands."""
    if config.cepstral:
        return None
    low, high = (2595 * np.log10(1 + hz / 700) for hz in (config.low_hz, config.top_hz))
    mel = np.linspace(low, high, config.bands + 2)[1:-1]
    return 700 * (10 ** (mel / 2595) - 1)


def row_entropies(adjacency: np.ndarray) -> np.ndarray:
    """Entropy of every row of (..., N, N) as a share of the largest, log N: 0 one place, 1 all places alike."""
    nodes = adjacency.shape[-1]
    if nodes == 1:
        return np.zeros(adjacency.shape[:-1])
    weights = adjacency.astype(np.float64)
    terms = np.where(weights > 0, weights * np.log(np.maximum(weights, 1e-300)), 0.0)
    return np.clip(-terms.sum(-1) / np.log(nodes), 0.0, 1.0)


def quantised(adjacency: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows of (N, N) as uint8 (N, N), each scaled to its largest weight, and these: float32 (N,).

    A weight comes back as byte / 255 * largest, wrong by 1/510 of the largest at most.
    """
    largest = adjacency.max(1)
    return np.round(255 * adjacency / largest[:, None]).astype(np.uint8), largest.astype(np.float32)


def _grey(features: np.ndarray) -> np.ndarray:
    """(frames, width) -> uint8 picture (width, frames): time to the right, low bands at the bottom, loud is bright."""
    low, high = np.quantile(features, [0.02, 0.998])
    shares = np.clip((features - low) / max(high - low, 1e-6), 0, 1)
    return np.round(255 * shares.T[::-1]).astype(np.uint8)


def _milliseconds(config: FeatureConfig, frame: float) -> float:
    """The middle of a frame, which may lie between two."""
    first, stop = config.frame_span(0)
    return 1000 * ((first + stop) / 2 + frame * config.hop) / config.sample_rate


def _ticks(config: FeatureConfig, frames: int) -> dict:
    """Numbers for both axes, each with its place as a share of the side."""
    first, last = _milliseconds(config, 0), _milliseconds(config, frames - 1)
    times = [t for t in range(0, 10000, 250) if first <= t <= last + 1]
    hertz = band_centres(config)
    if hertz is None:
        bands = {str(number): float(number) for number in range(0, config.width, 10)}
    else:
        rounds = [hz for hz in (125, 250, 500, 1000, 2000, 4000) if hertz[0] <= hz <= hertz[-1]]
        bands = {f"{hz}": float(np.interp(hz, hertz, np.arange(len(hertz)))) for hz in rounds}
    step = (last - first) / max(frames - 1, 1)
    return {
        "time": [[f"{t / 1000:g}", ((t - first) / step + 0.5) / frames] for t in times],
        "band": [[name, (place + 0.5) / config.width] for name, place in bands.items()],
    }


def _stage_state(trace: Trace, config: FeatureConfig, frames: int) -> dict:
    """What all clips share of one stage: its places, in milliseconds and Hz, and their cells on the picture."""
    height, width = trace.before.shape[2:]
    times, bands = node_centres(height, trace.stage), node_centres(width, trace.stage)
    hertz = band_centres(config)
    names = bands if hertz is None else np.interp(bands, np.arange(len(hertz)), hertz)
    return {
        "stage": trace.stage,
        "height": height,
        "width": width,
        "gamma": trace.gamma,
        "milliseconds": [round(_milliseconds(config, float(t))) for t in times],
        "bands": [round(float(name)) for name in names],
        "time_edges": cell_edges(height, trace.stage, frames).tolist(),
        "band_edges": cell_edges(width, trace.stage, config.width).tolist(),
        "time_centres": ((times + 0.5) / frames).tolist(),
        "band_centres": ((bands + 0.5) / config.width).tolist(),
    }


@torch.no_grad()
def adjacency_state(spotter: Spotter, waveforms: Tensor, titles: Sequence[str]) -> dict:
    """The state of `AdjacencyMaps`; arguments and errors as in `AdjacencyMaps.from_spotter`."""
    network, config = spotter.model.network, spotter.config.features
    if not isinstance(network, CENet) or not network.graphs:
        raise UserError("This spotter has no graph module to look into: take a CENet-GCN, such as cenet-gcn-6.")
    if waveforms.ndim != 2 or waveforms.shape[1] != spotter.samples:
        raise UserError(f"The clips have shape (k, {spotter.samples}), not {tuple(waveforms.shape)}.")
    if not 1 <= len(waveforms) <= MOST_CLIPS or len(titles) != len(waveforms):
        raise UserError(
            f"The figure takes 1 to {MOST_CLIPS} clips with a title each, not {len(waveforms)} clips and "
            f"{len(titles)} titles."
        )
    if not torch.isfinite(waveforms).all():
        raise UserError("The clips hold NaN or infinity: the figure cannot draw them.")
    spotter.model.eval()
    device = next(network.parameters()).device
    raw = spotter.model.extract(waveforms.to(device))
    features = spotter.model.normalise(raw)
    traces = network.trace(features)
    if not all(torch.isfinite(trace.adjacency).all() for trace in traces):
        raise UserError("The adjacency of this network holds NaN: its training has diverged.")
    # the zeroth coefficient of a cepstrum would outshine all others: of these we show what the network gets
    pictures = (features if config.cepstral else raw).cpu().numpy()
    entries, weights, largest, entropies = [], [], [], []
    for number, (title, picture) in enumerate(zip(titles, pictures, strict=True)):
        entries.append(
            {
                "title": str(title),
                "picture": png_address(_grey(picture)),
                "change": [float((t.after - t.before)[number].norm() / t.before[number].norm()) for t in traces],
            }
        )
        for trace in traces:
            adjacency = trace.adjacency[number].cpu().numpy()
            rows, tops = quantised(adjacency)
            weights.append(rows.ravel())
            largest.append(tops)
            entropies.append(row_entropies(adjacency))
    return {
        "clips": entries,
        "stages": [_stage_state(trace, config, features.shape[1]) for trace in traces],
        "weights": pack(np.concatenate(weights), "uint8"),
        "largest": pack(np.concatenate(largest)),
        "entropies": pack(np.concatenate(entropies)),
        "ticks": _ticks(config, features.shape[1]),
        "cepstral": config.cepstral,
        "start": list(START),
    }


class AdjacencyMaps(BookWidget):
    """Whom each place of a sound's map looks at, stage by stage, laid over the picture of the sound."""

    label = "The learned graph over the spectrogram: whom the chosen place looks at, one panel a stage."
    _esm = module("cenet_adjacency")
    _css = style() + _CSS

    clips = traitlets.List().tag(sync=True)
    stages = traitlets.List().tag(sync=True)
    weights = traitlets.Bytes().tag(sync=True)
    largest = traitlets.Bytes().tag(sync=True)
    entropies = traitlets.Bytes().tag(sync=True)
    ticks = traitlets.Dict().tag(sync=True)
    cepstral = traitlets.Bool(False).tag(sync=True)
    start = traitlets.List(list(START)).tag(sync=True)

    @classmethod
    def from_spotter(cls, spotter: Spotter, waveforms: Tensor, titles: Sequence[str]) -> "AdjacencyMaps":
        """Build the figure from a trained spotter and a few sounds.

        Args:
            spotter: with a CENet that has a graph at one stage or more, learned or one of the controls.
            waveforms: (k, samples), as long as the spotter listens; 2 to 4 are enough.
            titles: what the reader chooses a sound by, one each.

        Raises:
            UserError: a network without a graph, sounds of another length, no or too many sounds, NaN.
        """
        return cls(**adjacency_state(spotter, waveforms, titles))

    def adjacency(self, clip: int, stage: int) -> np.ndarray:
        """A of a clip at a stage, both places in the lists, as the script decodes it: float64 (N, N)."""
        sizes = [entry["height"] * entry["width"] for entry in self.stages]
        nodes = sizes[stage]
        start = clip * sum(n * n for n in sizes) + sum(n * n for n in sizes[:stage])
        rows = np.frombuffer(self.weights, np.uint8, nodes * nodes, start).reshape(nodes, nodes)
        top = np.frombuffer(self.largest, "<f4", nodes, 4 * (clip * sum(sizes) + sum(sizes[:stage])))
        return rows / 255.0 * top[:, None].astype(np.float64)

    def preview(self) -> str:
        """The first clip with the row of the first chosen place at every stage, as a still."""
        side, height, gap, top = 250, 196, 20, 26
        first = self.clips[0]
        # a mask lets the ink of the page shine through where the sound is loud: right on a light ground and a dark one
        mask = f"ptr-still-{zlib.crc32(first['picture'].encode()):08x}"
        parts = []
        for number, entry in enumerate(self.stages):
            left = number * (side + gap)
            times, bands = (np.array(entry[key]) for key in ("time_edges", "band_edges"))
            chosen = tuple(int(np.searchsorted(e, s)) - 1 for e, s in zip((times, bands), self.start, strict=True))
            row = self.adjacency(0, number)[chosen[0] * entry["width"] + chosen[1]]
            shares = (row / row.max()).reshape(entry["height"], entry["width"])
            parts.append(
                f'<text x="{left}" y="16" font-size="13" font-weight="600" fill="var(--ptr-ink)">Stage '
                f"{entry['stage']}: {entry['height']} × {entry['width']} places</text>"
                f'<g transform="translate({left} {top})"><rect width="{side}" height="{height}" '
                'fill="var(--ptr-panel)"/>'
                f'<rect width="{side}" height="{height}" fill="var(--ptr-ink)" opacity="0.6" mask="url(#{mask})"/>'
            )
            boxes = {
                (i, j): f'x="{side * times[i]:.1f}" y="{height * (1 - bands[j + 1]):.1f}" '
                f'width="{side * (times[i + 1] - times[i]):.1f}" height="{height * (bands[j + 1] - bands[j]):.1f}"'
                for i, j in np.ndindex(shares.shape)
            }
            parts += [
                f'<rect {box} fill="var(--ptr-accent2)" fill-opacity="{0.82 * shares[place]:.2f}"/>'
                for place, box in boxes.items()
                if shares[place] >= 0.01
            ]
            parts.append(f'<rect {boxes[chosen]} fill="none" stroke="var(--ptr-ink)" stroke-width="2.5"/></g>')
        width = len(self.stages) * (side + gap) - gap
        title = html.escape(first["title"], quote=True)
        sentence = (
            f"Spectrogram of {title}, once for each stage; coloured are the places that the outlined place looks at; "
            "time runs to the right, low bands lie at the bottom."
        )
        return still(
            f'<svg viewBox="0 0 {width} {top + height + 4}" role="img" aria-label="{sentence}">'
            f'<mask id="{mask}"><image width="{side}" height="{height}" preserveAspectRatio="none" '
            f'href="{first["picture"]}" style="image-rendering:pixelated"/></mask>{"".join(parts)}</svg>'
        )
