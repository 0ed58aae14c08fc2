// Norm and threshold of a gate over the steps of a search: where they cross, the gate opens or closes.

const GATES = 9, LISTED = 80, MARGIN = { left: 44, right: 12 }, SKIP = 0, EXPANSION = 1, KERNEL = 2;

// ---- what the numbers say ---------------------------------------------------------------------------------------

// Two numbers with as many digits as it takes to tell them apart, up to six.
export function apart(a, b) {
  for (let digits = 2; digits < 6; digits++) if (a.toFixed(digits) !== b.toFixed(digits)) return [a.toFixed(digits), b.toFixed(digits)];
  return [a.toFixed(6), b.toFixed(6)];
}

// Bits of a convolution from its two gates: the finer one counts only where the coarser one is open.
const bitsOf = (four, eight) => (four ? (eight ? 8 : 4) : 2);

// For each flip, in their order, the bits of its convolution before and after; null for the gates of the shape.
export function bitsAround(flips, atFirst) {
  const open = new Map(), key = (block, gate) => block * GATES + gate, isOpen = (block, gate) => open.get(key(block, gate)) ?? atFirst(block, gate);
  return flips.map(({ block, gate, opened }) => {
    const four = gate - ((gate - 3) % 2), bits = () => bitsOf(isOpen(block, four), isOpen(block, four + 1));
    const before = gate > KERNEL ? bits() : null;
    open.set(key(block, gate), opened);
    return gate > KERNEL ? [before, bits()] : null;
  });
}

// A block in words, from its nine gates: "5×5, expansion 6, 8/4/2 bits".
export function blockWords(row) {
  if (!row[SKIP]) return "left out";
  const bits = [0, 1, 2].map((part) => bitsOf(row[3 + 2 * part], row[4 + 2 * part]));
  return `${row[KERNEL] ? "5×5" : "3×3"}, expansion ${row[EXPANSION] ? 6 : 3}, ${bits.join("/")} bits`;
}

// Why a gate that changed did so: which of the two numbers moved more. Where they do not cross, something else decided.
export function reason({ opened, norm, threshold, normBefore, thresholdBefore, step }, frozen) {
  const [n, t] = apart(norm, threshold), verb = opened ? "opened" : "closed";
  if (opened !== norm >= threshold)
    return frozen != null && step >= frozen ? `the gates were frozen, and this one was ${verb} for the sake of the target (norm ${n}, threshold ${t})` : `the gate was ${verb} from outside (norm ${n}, threshold ${t})`;
  const moved = Math.abs(threshold - thresholdBefore) >= Math.abs(norm - normBefore);
  if (moved) return opened ? `the threshold fell to ${t}, and the norm, ${n}, reaches it, so the gate opened` : `the threshold rose to ${t}, above the norm ${n}, and the gate closed`;
  return opened ? `the norm ${n} reached the threshold ${t}, and the gate opened` : `the norm ${n} fell below the threshold ${t}, and the gate closed`;
}

// Round numbers that cut a range into about so many pieces.
function niceTicks(low, high, pieces) {
  const rough = (high - low) / pieces, power = 10 ** Math.floor(Math.log10(rough)), step = [1, 2, 5, 10].find((m) => m * power >= rough * 0.999) * power;
  const ticks = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + 1e-9 * step; k++) ticks.push(Number((k * step).toPrecision(12)));
  return ticks;
}

// ---- the figure -------------------------------------------------------------------------------------------------

function render({ model, el, signal }) {
  const whole = (view) => new Int32Array(view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength));
  const blocks = model.get("blocks"), words = model.get("words"), unit = model.get("unit"), target = model.get("target"), warm = model.get("warm"), frozen = model.get("frozen");
  const steps = whole(model.get("steps")), norms = float32(model.get("norms")), thresholds = float32(model.get("thresholds")), cost = float32(model.get("cost"));
  const bytes = model.get("gates"), gates = new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const places = whole(model.get("flips")), numbers = float32(model.get("flip_numbers")), rows = steps.length, lastStep = steps[rows - 1];
  const flips = Array.from({ length: places.length / 4 }, (_, k) => {
    const [step, block, gate, opened] = places.slice(4 * k, 4 * k + 4), [norm, threshold, normBefore, thresholdBefore] = numbers.slice(4 * k, 4 * k + 4);
    return { place: k, step, block, gate, opened: opened === 1, norm, threshold, normBefore, thresholdBefore };
  });
  const rowAt = (step) => { let row = 0; while (row < rows - 1 && steps[row] < step) row += 1; return row; };  // the first that is not before it
  const [firstBlock, firstGate, firstStep] = model.get("start");
  const chosen = { block: firstBlock, gate: firstGate, row: firstStep < 0 ? rows - 1 : rowAt(firstStep), listed: "all", flip: -1 };
  const at = (row, block = chosen.block, gate = chosen.gate) => (row * blocks.length + block) * GATES + gate;
  const isMine = (flip) => flip.block === chosen.block && flip.gate === chosen.gate;
  const bits = bitsAround(flips, (block, gate) => gates[at(0, block, gate)] === 1);
  const sides = ({ place, gate, opened }) => bits[place] ?? (opened ? [words[gate].closed, words[gate].open] : [words[gate].open, words[gate].closed]);
  const change = (flip) => {
    const [from, to] = sides(flip), w = words[flip.gate];
    return from === to ? `${w.what} stays at ${from} bits (gate of ${w.open} ${flip.opened ? "opens" : "closes"})` : `${w.what} ${from} → ${to}${w.unit}`;
  };
  const became = (flip) => {
    const [from, to] = sides(flip), w = words[flip.gate];
    if (flip.gate === SKIP) return `the block was ${flip.opened ? "taken back" : "left out"}`;
    if (from === to) return `${w.what} stays at ${from} bits, as the gate of 4 is closed`;
    return `${flip.gate === EXPANSION ? "expansion " : ""}${from}${w.unit} became ${to}`;
  };
  // the chosen step: that of a row, or that of a decision between two rows; and the gates there, exactly
  const nowStep = () => (chosen.flip >= 0 ? flips[chosen.flip].step : steps[chosen.row]);
  const isOpen = (block, gate) => flips.findLast((f) => f.block === block && f.gate === gate && f.step <= nowStep())?.opened ?? gates[at(0, block, gate)] === 1;
  chosen.flip = flips.findIndex((flip) => isMine(flip) && flip.step === firstStep);

  // -- controls
  const blockBox = selectBox("Block", blocks.map((b, i) => [String(i), b.name]), String(chosen.block), (v) => { chosen.block = Number(v); forget(); settle(); paint(); });
  const gateBox = selectBox("Gate", [["0", ""]], "0", (v) => { chosen.gate = Number(v); forget(); paint(); });
  gateBox.element.classList.add("ptr-gate-pick");
  const slider = sliderBox("Step", { min: 0, max: rows - 1, value: chosen.row, say: (i) => String(chosen.flip >= 0 ? nowStep() : steps[i]), ends: ["start", "end of the search"] }, (i) => { chosen.row = i; chosen.flip = -1; slider.refresh(); paint(); });
  const filter = selectBox("Decisions of", [["all", "all blocks"], ["block", "this block"], ["gate", "this gate"]], "all", (v) => { chosen.listed = v; paint(); });
  const chart = make("div", { class: "ptr-chart" }), spoken = readOut(), title = make("h4"), list = make("ol", { "aria-label": "Decisions, in the order of the steps. Arrow keys move between them." });
  el.append(make("div", { class: "ptr ptr-root" }, make("div", { class: "ptr-stack" },
    make("div", { class: "ptr-bar" }, blockBox.element, gateBox.element, slider.element),
    make("div", { class: "ptr-gates" },
      make("div", { class: "ptr-stack" }, chart, spoken.element),
      make("div", { class: "ptr-decisions" }, filter.element, title, list)),
    make("p", { class: "ptr-note" }, "A gate is open while the norm is not below the threshold, until all are frozen. Hatched: closed. ▼ closes, ▲ opens. In the list: ● taken by the chosen step, ○ still to come; choose one to jump there."))));

  function forget() { chosen.flip = -1; slider.refresh(); }

  // A block that cannot be left out has no gate for it.
  function settle() {
    const free = words.map((w, i) => [i, w.name]).filter(([i]) => i !== SKIP || blocks[chosen.block].skippable);
    if (!free.some(([i]) => i === chosen.gate)) chosen.gate = KERNEL;
    gateBox.box.replaceChildren(...free.map(([i, name]) => make("option", { value: i, selected: i === chosen.gate }, name)));
    gateBox.box.value = String(chosen.gate);
    blockBox.box.value = String(chosen.block);
  }

  function jump(flip) {
    Object.assign(chosen, { block: flip.block, gate: flip.gate, row: rowAt(flip.step), flip: flip.place });
    settle();
    slider.set(chosen.row);
    paint();
  }

  // -- the list of decisions: one tab stop, arrow keys inside
  function paintList() {
    const now = nowStep(), all = flips.filter((f) => chosen.listed === "all" || (f.block === chosen.block && (chosen.listed === "block" || f.gate === chosen.gate)));
    const done = all.filter((f) => f.step <= now).length;
    title.textContent = `By step ${now}: ${done} of ${plural(all.length, "decision")}`;
    const current = all.findIndex((f) => f.place === chosen.flip), focus = current >= 0 ? current : Math.max(0, done - 1);
    const first = Math.max(0, Math.min(focus - LISTED / 2, all.length - LISTED)), shown = all.slice(first, first + LISTED);
    const held = list.contains(document.activeElement);
    const rowOf = (flip, i) => {
      const later = flip.step > now, name = chosen.listed === "all" ? [make("span", {}, change(flip), make("small", {}, blocks[flip.block].name))] : [make("span", {}, change(flip))];
      return make("li", {}, make("button", {
        type: "button", class: later ? "ptr-later" : null, tabindex: first + i === focus ? 0 : -1, "aria-current": flip.place === chosen.flip ? "true" : null,
        "aria-label": `Step ${flip.step}, ${blocks[flip.block].name}: ${change(flip)}${later ? " (still to come)" : ""}`, "data-flip": flip.place, onclick: () => jump(flip),
      }, make("span", { "aria-hidden": "true" }, later ? "○" : "●"), make("span", {}, String(flip.step)), ...name));
    };
    const rest = (number, where) => (number > 0 ? [make("li", { class: "ptr-empty" }, `… and ${number} ${where}`)] : []);
    list.replaceChildren(...rest(first, "earlier"), ...shown.map(rowOf), ...rest(all.length - first - shown.length, "later"));
    if (!shown.length) list.append(make("li", { class: "ptr-empty" }, "No gate changed."));
    const active = list.querySelectorAll("button")[focus - first];
    if (held) active?.focus({ preventScroll: true });
    if (active) {  // the list moves, never the page
      const line = active.parentElement, above = line.offsetTop - 40, below = line.offsetTop + line.offsetHeight - list.clientHeight + 40;
      if (list.scrollTop > above) list.scrollTop = above; else if (list.scrollTop < below) list.scrollTop = below;
    }
  }
  list.addEventListener("keydown", (event) => {
    const lines = [...list.querySelectorAll("button")], here = lines.indexOf(document.activeElement);
    const next = { ArrowDown: here + 1, ArrowUp: here - 1, Home: 0, End: lines.length - 1 }[event.key];
    if (here < 0 || next === undefined) return;
    event.preventDefault();
    lines[Math.min(Math.max(next, 0), lines.length - 1)].click();
  });

  // -- the chart
  const text = (x, y, said, more = {}) => draw("text", { x, y, fill: "var(--ptr-muted)", "font-size": 12, ...more }, said);
  function paintChart() {
    const width = Math.max(280, chart.clientWidth || 540), left = MARGIN.left, right = width - MARGIN.right, height = 372;
    const upper = { top: 44, bottom: 222 }, lower = { top: 262, bottom: height - 38 };
    const toX = linearScale(steps[0], Math.max(lastStep, steps[0] + 1), left, right), x = (step) => toX(step).toFixed(1);
    const mine = { norm: [], threshold: [] };
    for (let row = 0; row < rows; row++) { mine.norm.push(norms[at(row)]); mine.threshold.push(thresholds[at(row)]); }
    const own = flips.filter(isMine), both = [...mine.norm, ...mine.threshold, ...own.flatMap((f) => [f.norm, f.threshold])];
    const low = Math.min(0, ...both), high = Math.max(...both) || 1, toY = linearScale(low, high * 1.06, upper.bottom, upper.top);
    const name = `${blocks[chosen.block].name}, ${words[chosen.gate].name}`, hatch = freshId("hatch");
    const picture = draw("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img",
      "aria-label": `Norm and threshold of the gate of ${name}, over the steps of the search, and below them the cost; step ${nowStep()} is marked.` },
    draw("pattern", { id: hatch, width: 7, height: 7, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" }, draw("rect", { width: 7, height: 7, fill: "var(--ptr-panel)" }), draw("path", { d: "M0 0v7", stroke: "var(--ptr-faint)", "stroke-width": 1.6 })));

    // legend
    const edge = width < 330 ? 2 : left;
    const key = (from, look, said) => picture.append(draw("path", { d: `M${from} 9h24`, fill: "none", ...look }), text(from + 30, 13, said, { fill: "var(--ptr-ink)" }));
    const looks = { norm: { stroke: "var(--ptr-accent)", "stroke-width": 2.3 }, threshold: { stroke: "var(--ptr-accent2)", "stroke-width": 2.3, "stroke-dasharray": "6 3" } };
    key(edge, looks.norm, "norm");
    key(edge + 82, looks.threshold, "threshold");
    picture.append(draw("rect", { x: edge + 186, y: 3, width: 24, height: 12, fill: `url(#${hatch})`, stroke: "var(--ptr-line)", "stroke-width": 0.8 }), text(edge + 216, 13, "closed", { fill: "var(--ptr-ink)" }));

    // where it is closed: from each flip that closed it to the next that opened it
    let shut = !(own.length ? !own[0].opened : gates[at(0)]) ? steps[0] : null;
    const closed = [];
    for (const flip of own) {
      if (flip.opened && shut !== null) { closed.push([shut, flip.step]); shut = null; }
      else if (!flip.opened) shut = flip.step;
    }
    if (shut !== null) closed.push([shut, lastStep]);
    for (const [from, to] of closed) picture.append(draw("rect", { x: x(from), y: upper.top, width: Math.max(0, toX(to) - toX(from)).toFixed(1), height: upper.bottom - upper.top, fill: `url(#${hatch})`, class: "ptr-closed" }));

    for (const tick of niceTicks(low, high * 1.06, 4)) picture.append(draw("path", { d: `M${left} ${toY(tick).toFixed(1)}H${right}`, stroke: "var(--ptr-grid)" }), text(left - 7, toY(tick) + 4, figure(tick, 2).replace(/^(-?\d+\.\d*?)0+$/, "$1").replace(/\.$/, ""), { "text-anchor": "end" }));

    // cost
    const dearest = Math.max(...cost, target ?? 0) * 1.08 || 1, costY = linearScale(0, dearest, lower.bottom, lower.top);
    for (const tick of niceTicks(0, dearest, 4)) picture.append(draw("path", { d: `M${left} ${costY(tick).toFixed(1)}H${right}`, stroke: "var(--ptr-grid)" }), text(left - 7, costY(tick) + 4, String(tick), { "text-anchor": "end" }));
    picture.append(text(2, lower.top - 12, `cost${unit ? ` (${unit})` : ""}`));
    if (target != null) picture.append(
      draw("path", { d: `M${left} ${costY(target).toFixed(1)}H${right}`, stroke: "var(--ptr-ink)", "stroke-dasharray": "1 4", "stroke-linecap": "round", "stroke-width": 2, class: "ptr-target" }),
      text(right, lower.top - 12, `dotted: target ${figure(target)}`, { "text-anchor": "end" }));
    picture.append(draw("path", { d: "M" + Array.from(cost, (c, row) => `${x(steps[row])} ${costY(c).toFixed(1)}`).join("L"), fill: "none", stroke: "var(--ptr-mark2)", "stroke-width": 2, class: "ptr-cost" }));

    // phases
    const edges = [steps[0], ...[warm, frozen].filter((s) => s != null && s > steps[0] && s < lastStep), lastStep];
    const phases = [[warm, "warm-up"], [frozen, "search"], [null, "frozen"]];
    for (let k = 1; k < edges.length - 1; k++) for (const panel of [upper, lower]) picture.append(draw("path", { d: `M${x(edges[k])} ${panel.top}V${panel.bottom}`, stroke: "var(--ptr-muted)", "stroke-width": 1.2, "stroke-dasharray": "7 3 2 3", class: "ptr-phase" }));
    for (let k = 0; k < edges.length - 1 && edges.length > 2; k++) {
      const said = edges[k] === frozen ? "frozen" : edges[k] === warm || warm == null || warm <= steps[0] ? "search" : phases[0][1];
      if (toX(edges[k + 1]) - toX(edges[k]) > 7.4 * said.length) picture.append(text((toX(edges[k]) + toX(edges[k + 1])) / 2, upper.top - 7, said, { "text-anchor": "middle", "font-size": 11.5 }));
    }
    for (const panel of [upper, lower]) picture.append(draw("path", { d: `M${left} ${panel.top}V${panel.bottom}H${right}`, fill: "none", stroke: "var(--ptr-line)" }));
    for (const tick of niceTicks(steps[0], Math.max(lastStep, steps[0] + 1), width < 420 ? 4 : 7)) if (Number.isInteger(tick)) picture.append(
      draw("path", { d: `M${x(tick)} ${lower.bottom}v4`, stroke: "var(--ptr-line)" }), text(toX(tick), lower.bottom + 17, String(tick), { "text-anchor": toX(tick) > right - 12 ? "end" : "middle" }));
    picture.append(text((left + right) / 2, height - 4, "step of the search", { "text-anchor": "middle" }));

    // the two curves, with the exact numbers of every decision between the rows
    const line = (which) => {
      const points = [...Array.from(steps, (step, row) => [step, mine[which][row]]), ...own.map((f) => [f.step, f[which]])].sort((a, b) => a[0] - b[0]);
      return "M" + points.map(([step, v]) => `${x(step)} ${toY(v).toFixed(1)}`).join("L");
    };
    picture.append(
      draw("path", { d: line("norm"), fill: "none", ...looks.norm, class: "ptr-norm" }), draw("path", { d: line("threshold"), fill: "none", ...looks.threshold, class: "ptr-threshold-line" }));
    const here = x(nowStep());
    for (const panel of [upper, lower]) picture.append(draw("path", { d: `M${here} ${panel.top}V${panel.bottom}`, stroke: "var(--ptr-ink)", "stroke-width": 1.6, "stroke-opacity": 0.7, class: "ptr-cursor" }));
    for (const flip of own) picture.append(draw("path", { d: SHAPES[flip.opened ? "triangle" : "triangle-down"](toX(flip.step), toY(flip.norm), flip.place === chosen.flip ? 8 : 4.2), fill: "var(--ptr-ink)", stroke: "var(--ptr-bg)", "stroke-width": 1, class: "ptr-flip" }));
    picture.append(draw("path", { d: SHAPES.circle(Number(here), costY(cost[chosen.row]), 4.5), fill: "var(--ptr-mark2)", stroke: "var(--ptr-bg)", "stroke-width": 1.2 }));
    chart.replaceChildren(picture);
  }

  // -- words
  function tell() {
    const step = nowStep(), open = isOpen(chosen.block, chosen.gate), w = words[chosen.gate], mine = flips.filter((f) => isMine(f) && f.step <= step);
    const last = mine.find((f) => f.place === chosen.flip) ?? mine.at(-1), row = Array.from({ length: GATES }, (_, g) => isOpen(chosen.block, g));
    const name = blocks[chosen.block].name, [n, t] = apart(norms[at(chosen.row)], thresholds[at(chosen.row)]);
    const aside = open === norms[at(chosen.row)] >= thresholds[at(chosen.row)] ? "" : frozen != null && step >= frozen ? "; it is frozen and follows the norm no more" : "; it was set from outside";
    let said;
    if (last) {
      const why = reason(last, frozen);
      said = `${name}, ${w.name}. At step ${last.step} ${why}: ${became(last)}.`;
      if (last.step !== step) said += ` At step ${step} it is ${open ? "open" : "closed"} (norm ${n}, threshold ${t}${aside}).`;
      if (mine.length > 1) said += ` That was its decision number ${mine.indexOf(last) + 1}.`;
    } else said = `${name}, ${w.name}. Up to step ${step} the gate has stayed ${open ? "open" : "closed"} (norm ${n}, threshold ${t}${aside}).`;
    const idle = chosen.gate !== SKIP && !row[SKIP] ? " The block is left out, so this gate has no effect now."
      : chosen.gate > KERNEL && chosen.gate % 2 === 0 && !row[chosen.gate - 1] ? " It has no effect while the gate of 4 bits is closed." : "";
    const price = `${figure(cost[chosen.row])}${unit ? ` ${unit}` : ""}`;
    spoken.say(`${said}${idle} The block is now ${row[SKIP] ? blockWords(row) : "left out"}; the whole network costs ${price}${target == null ? "" : ` (target ${figure(target)})`}.`);
  }

  function paint() { paintChart(); paintList(); tell(); }

  settle();
  paint();
  let width = chart.clientWidth;
  const watcher = new ResizeObserver(() => { if (chart.clientWidth !== width) { width = chart.clientWidth; paintChart(); } });
  watcher.observe(chart);
  signal?.addEventListener("abort", () => watcher.disconnect());
  return () => watcher.disconnect();
}

export default { render };
