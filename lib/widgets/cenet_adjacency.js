// The learned graph of a keyword spotter over the picture of a sound: a click chooses a place at every stage.

const SIDE = 300, TALL = 236, LEFT = 34, BOTTOM = 24, STRONGEST = 3, FULL = 0.82;

const MODES = {
  row: "Row: where the place looks",
  column: "Column: who looks at it",
  received: "What every place receives",
  entropy: "Entropy of every row",
};

// The cell that holds a share 0 ... 1 of a side.
export function cellOf(edges, share) {
  let cell = 0;
  while (cell < edges.length - 2 && edges[cell + 1] <= share) cell += 1;
  return cell;
}

// A of every clip and stage as functions of two nodes, and the entropies of its rows.
export function decode(bytes, largest, entropies, stages, clips) {
  const graphs = [];
  let square = 0, line = 0;
  for (let c = 0; c < clips; c++) graphs.push(stages.map(({ height, width }) => {
    const nodes = height * width, from = square, at = line;
    square += nodes * nodes;
    line += nodes;
    return {
      nodes,
      weight: (i, j) => (bytes[from + i * nodes + j] / 255) * largest[at + i],
      entropy: (i) => entropies[at + i],
    };
  }));
  return graphs;
}

// Where a row goes, in words, and the shares behind them: on the node itself, on it and its eight neighbours.
export function lookOf(graph, { height, width }, node) {
  let own = 0, near = 0, total = 0, neighbours = 0;
  for (let j = 0; j < graph.nodes; j++) {
    const weight = graph.weight(node, j);
    const apart = Math.max(Math.abs(Math.floor(j / width) - Math.floor(node / width)), Math.abs((j % width) - (node % width)));
    total += weight;
    if (apart === 0) own += weight;
    if (apart <= 1) { near += weight; neighbours += 1; }
  }
  own /= total;
  near /= total;
  const entropy = graph.entropy(node), count = Math.round(graph.nodes ** entropy);
  let words;
  if (own >= 0.5) words = "mostly at itself";
  else if (entropy >= 0.95) words = "everywhere, nearly alike";
  else if (near >= 0.5 && near >= 1.5 * (neighbours / graph.nodes)) words = "mostly near itself";
  else if (count === 1) words = "mostly at one other place";
  else words = `${count > graph.nodes / 4 ? "far and wide" : "at few places elsewhere"}, as if at ${count} of ${graph.nodes} places`;
  return { own, near, entropy, count, words };
}

// What a mode shows of every node: a row, a column, the share of all weight that goes there, the entropy of its row.
export function valuesOf(graph, mode, node) {
  const all = Array.from({ length: graph.nodes }, (_, k) => k);
  if (mode === "row") return all.map((k) => graph.weight(node, k));
  if (mode === "column") return all.map((k) => graph.weight(k, node));
  if (mode === "entropy") return all.map((k) => graph.entropy(k));
  return all.map((k) => sum(all.map((i) => graph.weight(i, k))) / graph.nodes);
}

// The first few places by value, largest first (or smallest); earlier ones first where values are equal.
export function strongest(values, count = STRONGEST, sign = 1) {
  return values.map((value, place) => [value, place]).sort((a, b) => sign * (b[0] - a[0]) || a[1] - b[1]).slice(0, count).map(([, place]) => place);
}

const percent = (share) => `${share > 0 && share < 0.0001 ? "below 0.01" : figure(100 * share, share < 0.1 ? 2 : 3)} %`;
const received = (share) => (share > 0 ? `${percent(share)} of all weight` : "next to nothing");
const sum = (values) => values.reduce((a, b) => a + b, 0);
const signed = (value, digits) => value.toFixed(digits).replace("-", "−");

function render({ model, el }) {
  const clips = model.get("clips"), stages = model.get("stages"), ticks = model.get("ticks"), cepstral = model.get("cepstral");
  const raw = model.get("weights");
  const graphs = decode(new Uint8Array(raw.buffer, raw.byteOffset, raw.byteLength), float32(model.get("largest")), float32(model.get("entropies")), stages, clips.length);
  const finest = stages[0], [time, band] = model.get("start");
  const chosen = { clip: 0, mode: "row", time, band };  // the place as shares of both sides, so that every stage finds its own node

  const sayTime = (milliseconds) => `${milliseconds} ms`;
  const sayBand = (value) => (cepstral ? `coefficient ${value}` : `${value} Hz`);
  const rowOf = (stage) => cellOf(stage.time_edges, chosen.time);
  const columnOf = (stage) => cellOf(stage.band_edges, chosen.band);
  const nodeOf = (stage) => rowOf(stage) * stage.width + columnOf(stage);
  const nameOf = (stage, node) => `${sayTime(stage.milliseconds[Math.floor(node / stage.width)])}, ${sayBand(stage.bands[node % stage.width])}`;

  // -- controls
  const sounds = selectBox("Sound", clips.map((c, i) => [String(i), c.title]), "0", (v) => { chosen.clip = Number(v); paint(); });
  const modes = selectBox("Show", Object.entries(MODES), "row", (v) => { chosen.mode = v; paint(); });
  modes.element.classList.add("ptr-mode");
  const times = sliderBox("Time", { min: 0, max: finest.height - 1, value: rowOf(finest), say: (i) => sayTime(finest.milliseconds[i]) },
    (i) => { chosen.time = finest.time_centres[i]; paint(); });
  const bands = sliderBox(cepstral ? "Coefficient" : "Band", { min: 0, max: finest.width - 1, value: columnOf(finest), say: (i) => (cepstral ? String(finest.bands[i]) : sayBand(finest.bands[i])) },
    (i) => { chosen.band = finest.band_centres[i]; paint(); });
  const spoken = readOut();

  function choose(time, band) {
    chosen.time = Math.min(Math.max(time, 0), 1);
    chosen.band = Math.min(Math.max(band, 0), 1);
    times.set(rowOf(finest));
    bands.set(columnOf(finest));
    paint();
  }

  // -- one panel a stage
  const layer = (attributes, ...children) => draw("g", attributes, ...children);
  const words = (x, y, text, more = {}) => draw("text", { x, y, fill: "var(--ptr-muted)", "font-size": 13, ...more }, text);
  const boxOf = ({ time_edges: t, band_edges: b, width }, node) => {
    const i = Math.floor(node / width), j = node % width;
    return { x: t[i] * SIDE, y: (1 - b[j + 1]) * TALL, width: (t[i + 1] - t[i]) * SIDE, height: (b[j + 1] - b[j]) * TALL };
  };

  function axes() {
    const parts = [];
    for (const [text, share] of ticks.time) parts.push(
      draw("path", { d: `M${(share * SIDE).toFixed(1)} ${TALL}v4`, stroke: "var(--ptr-line)" }),
      words(share * SIDE, TALL + 17, share > 0.9 ? `${text} s` : text, { "text-anchor": share > 0.9 ? "end" : share < 0.1 ? "start" : "middle" }));
    for (const [text, share] of ticks.band) parts.push(
      draw("path", { d: `M0 ${((1 - share) * TALL).toFixed(1)}h-4`, stroke: "var(--ptr-line)" }),
      words(-7, (1 - share) * TALL + 4, text, { "text-anchor": "end" }));
    return parts;
  }

  function makePanel(stage, place) {
    const nodes = stage.height * stage.width, mask = freshId("sound");
    const sound = draw("image", { width: SIDE, height: TALL, preserveAspectRatio: "none", style: "image-rendering:pixelated" });
    const cells = Array.from({ length: nodes }, (_, node) => draw("rect", { ...boxOf(stage, node), class: "ptr-cell" }));
    const marks = layer({ class: "ptr-marks" });
    // the ink of the page shines through where the sound is loud: right on a light ground and on a dark one
    const picture = draw("svg", { viewBox: `${-LEFT} -4 ${SIDE + LEFT + 4} ${TALL + BOTTOM + 4}`, role: "img" },
      draw("mask", { id: mask }, sound),
      draw("rect", { width: SIDE, height: TALL, fill: "var(--ptr-panel)" }),
      draw("rect", { width: SIDE, height: TALL, fill: "var(--ptr-ink)", opacity: 0.6, mask: `url(#${mask})` }),
      layer({}, ...cells), draw("rect", { width: SIDE, height: TALL, fill: "none", stroke: "var(--ptr-line)" }), marks, ...axes());

    const at = (event) => {
      const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(picture.getScreenCTM().inverse());
      choose(point.x / SIDE, 1 - point.y / TALL);
    };
    const step = (rows, columns) => {
      const i = Math.min(Math.max(rowOf(stage) + rows, 0), stage.height - 1), j = Math.min(Math.max(columnOf(stage) + columns, 0), stage.width - 1);
      choose(stage.time_centres[i], stage.band_centres[j]);
    };
    const KEYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowDown: [0, -1], ArrowUp: [0, 1] };
    const ground = make("div", {
      class: "ptr-ground", tabindex: 0, role: "application",
      "aria-label": `Stage ${stage.stage}: ${stage.height} by ${stage.width} places. Arrow keys move the chosen place.`,
      onclick: at,
      onpointermove: (event) => { if (event.buttons === 1 && event.pointerType === "mouse") at(event); },
      onkeydown: (event) => { if (KEYS[event.key]) { event.preventDefault(); step(...KEYS[event.key]); } },
    }, picture);
    const note = make("p", { class: "ptr-note" }), caption = make("p"), list = make("ol"), most = make("span");
    const ramp = make("i", { "aria-hidden": "true" });
    const element = make("section", { class: "ptr-map" },
      make("h4", {}, `Stage ${stage.stage}: ${stage.height} × ${stage.width} places`), ground,
      make("div", { class: "ptr-ramp" }, make("span", {}, "0"), ramp, most), caption, list, note);

    function repaint() {
      const graph = graphs[chosen.clip][place], node = nodeOf(stage), mode = chosen.mode;
      const values = valuesOf(graph, mode, node), top = mode === "entropy" ? 1 : Math.max(...values), colour = mode === "entropy" ? "var(--ptr-accent)" : "var(--ptr-accent2)";
      sound.setAttribute("href", clips[chosen.clip].picture);
      cells.forEach((cell, k) => { cell.setAttribute("fill", colour); cell.setAttribute("fill-opacity", (top > 0 ? (FULL * values[k]) / top : 0).toFixed(3)); });
      ramp.style.background = `linear-gradient(to right, transparent, color-mix(in srgb, ${colour} ${100 * FULL}%, transparent))`;
      most.textContent = mode === "entropy" ? "1: all places alike" : `${percent(top)} (even share: ${percent(1 / nodes)})`;

      const first = strongest(values, STRONGEST, mode === "entropy" ? -1 : 1).filter((k) => mode === "entropy" || values[k] > 0);
      marks.replaceChildren(...first.flatMap((k, rank) => {
        const box = boxOf(stage, k);
        return [
          draw("rect", { ...box, fill: "none", stroke: "var(--ptr-bg)", "stroke-width": 3 }),
          draw("rect", { ...box, fill: "none", stroke: "var(--ptr-ink)", "stroke-width": 1.3, class: "ptr-strong" }),
          draw("text", { x: box.x + box.width / 2, y: box.y + box.height / 2 + 5, "text-anchor": "middle", "font-size": stage.height > 16 ? 12 : 14, "font-weight": 700, fill: "var(--ptr-ink)", stroke: "var(--ptr-bg)", "stroke-width": 3.5, "paint-order": "stroke", "stroke-linejoin": "round" }, String(rank + 1)),
        ];
      }), ...ring(boxOf(stage, node)));

      const look = lookOf(graph, stage, node), here = nameOf(stage, node);
      const each = (k) => (mode === "entropy" ? values[k].toFixed(2) : percent(values[k]));
      list.replaceChildren(...first.map((k) => make("li", {}, `${nameOf(stage, k)}${k !== node ? "" : mode === "row" || mode === "column" ? " (itself)" : " (the chosen place)"}: ${each(k)}`)));
      list.setAttribute("aria-label", { row: "Strongest sources", column: "Who looks most", received: "Who receives most", entropy: "Narrowest rows" }[mode]);
      if (mode === "row") caption.textContent = `${here} looks ${look.words}. Entropy ${look.entropy.toFixed(2)}. Strongest sources:`;
      else if (mode === "column") caption.textContent = `${here} receives ${received(sum(values) / nodes)}.${first.length ? " Who looks most, and how much of its row:" : ""}`;
      else if (mode === "received") caption.textContent = `${here} receives ${received(values[node])}. Who receives most:`;
      else caption.textContent = `Entropies from ${Math.min(...values).toFixed(2)} to ${Math.max(...values).toFixed(2)}, on average ${(sum(values) / nodes).toFixed(2)}. Narrowest rows:`;
      const change = clips[chosen.clip].change[place];
      note.textContent = stage.gamma === 0 ? "γ = 0: what the graph finds is not used."
        : `γ = ${signed(stage.gamma, 3)}: what is found is ${stage.gamma > 0 ? "added" : "subtracted"}; it changes the map by ${percent(change)}.`;
      const whats = {
        row: `Whom the place at ${here} looks at in stage ${stage.stage}`, column: `Who looks at the place at ${here} in stage ${stage.stage}`,
        received: `How much each place of stage ${stage.stage} is looked at`, entropy: `How widely each place of stage ${stage.stage} looks around`,
      };
      picture.setAttribute("aria-label", `${whats[mode]}, over the spectrogram.`);
      return { here, look, first, values };
    }
    return { element, repaint };
  }

  // The chosen place: a double line, thicker than all others, and a dot.
  const ring = (box) => [
    draw("rect", { ...box, fill: "none", stroke: "var(--ptr-bg)", "stroke-width": 6 }),
    draw("rect", { ...box, fill: "none", stroke: "var(--ptr-ink)", "stroke-width": 3, class: "ptr-chosen" }),
  ];

  const panels = stages.map(makePanel);
  el.append(make("div", { class: "ptr ptr-root" }, make("div", { class: "ptr-stack" },
    make("div", { class: "ptr-bar" }, sounds.element, modes.element, times.element, bands.element),
    make("div", { class: `ptr-maps ptr-maps-${stages.length}` }, ...panels.map((p) => p.element)),
    spoken.element,
    make("p", { class: "ptr-note" }, `Click a place, or move it with the arrow keys. Thick outline: the chosen place; thin ones with numbers: the first three of the list. Grey: the sound; time runs to the right (seconds), ${cepstral ? "low coefficients lie" : "low bands lie"} at the bottom${cepstral ? "" : " (Hz)"}. Entropy: 0 is one place, 1 all places alike.`))));

  function paint() {
    const told = panels.map((panel) => panel.repaint());
    const title = clips[chosen.clip].title, node = nameOf(finest, nodeOf(finest));
    const sentences = stages.map((stage, k) => {
      const { here, look, first, values } = told[k], it = here === node ? "it" : here, best = first.length ? nameOf(stage, first[0]) : "";
      const top = values[first[0]];
      return `Stage ${stage.stage}, γ ${signed(stage.gamma, 2)}: ` + {
        row: () => `${it} looks ${look.words}; most at ${best} (${percent(top)}).`,
        column: () => `${it} receives ${received(sum(values) / values.length)}${first.length ? `; ${best} looks most (${percent(top)} of its row)` : ""}.`,
        received: () => `${it} receives ${received(values[nodeOf(stage)])}; most goes to ${best} (${percent(top)}).`,
        entropy: () => `the row of ${it === "it" ? "this place" : it} has entropy ${look.entropy.toFixed(2)}; narrowest is that of ${best} (${top.toFixed(2)}).`,
      }[chosen.mode]();
    });
    spoken.say(`“${title}”, place at ${node}. ${sentences.join(" ")}`);
  }

  paint();
}

export default { render };
