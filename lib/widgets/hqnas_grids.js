// Nested quantization grids over a histogram of weights: a range to move, a weight to follow, errors at three widths.

const BITS = [2, 4, 8], STEPS = 100, BINS = 61, LONG = { 2: 28, 4: 17, 8: 8 }, SUB = { 2: "₂", 4: "₄", 8: "₈" };

// ---- the quantizer, as lib/hqnas/quantizer.py has it: in numbers of 32 bits, halves rounded to even -------------

const F = Math.fround, JUST_BELOW = F(1 - 1e-6);

function halfToEven(x) {
  const up = Math.round(x);
  return up - x === 0.5 && up % 2 ? up - 1 : up + 0;
}

export const stepSize = (bits, limit) => F(F(limit) * F(2 / (2 ** bits - 1)));

export function codeOf(weight, bits, limit) {
  const inside = F(F(limit) * JUST_BELOW);
  return halfToEven(F(Math.min(Math.max(weight, -inside), inside) / stepSize(bits, limit)));
}

export const quantized = (weight, bits, limit) => F(codeOf(weight, bits, limit) * stepSize(bits, limit));

// Root of the mean square of what rounding changes, as a share of that of the weights.
export function relativeError(weights, bits, limit) {
  let wrong = 0, whole = 0;
  for (const w of weights) { wrong += (w - quantized(w, bits, limit)) ** 2; whole += w * w; }
  return Math.sqrt(wrong / whole);
}

// What the thresholds of 4 and 8 bits are compared with: the norms of both corrections over that of the weights, each times
// its scale.
export function correctionNorms(weights, limit, scales) {
  let four = 0, eight = 0, whole = 0;
  for (const w of weights) {
    const [q2, q4, q8] = BITS.map((bits) => quantized(w, bits, limit));
    four += (q4 - q2) ** 2;
    eight += (q8 - q4) ** 2;
    whole += w * w;
  }
  return [scales[0] * Math.sqrt(four / whole), scales[1] * Math.sqrt(eight / whole)];
}

// ---- the figure -------------------------------------------------------------------------------------------------

const signed = (value, digits) => value.toFixed(digits).replace("-", "−");
const percent = (share) => `${figure(100 * share, share < 0.1 ? 2 : 3)} %`;

function render({ model, el, signal }) {
  const weights = float32(model.get("weights")), sigma = model.get("deviation"), largest = model.get("largest"), count = weights.length;
  const high = largest / sigma, low = high > 1.2 ? 1 : high / 2;
  const sigmas = (i) => low + ((high - low) * i) / STEPS;
  const limitOf = (i) => (i === STEPS ? largest : F(sigma * sigmas(i)));
  const chosen = { bits: 2, range: Math.round((STEPS * (model.get("start") - low)) / (high - low)), weight: Math.round(0.87 * (count - 1)) };
  const power = Math.floor(Math.log10(largest)), unit = power < -3 || power > 3 ? power : 0;  // tiny and huge weights are told in a unit of their own
  const digits = Math.max(2, 3 - power + unit), size = (v) => (v / 10 ** unit).toFixed(digits), value = (v) => size(v).replace("-", "−");
  const inUnits = unit ? ` (in units of 10 to the power of ${signed(unit, 0)})` : "";

  // -- controls
  const radios = freshId("bits");
  const pick = (bits) => make("label", { class: "ptr-check" },
    make("input", { type: "radio", name: radios, value: bits, checked: bits === chosen.bits, "aria-label": `${bits} bits`, onchange: () => { chosen.bits = bits; paint(); } }), make("span", {}, `${bits} bits`));
  const bitsBox = make("fieldset", { class: "ptr-radios" }, make("legend", {}, "Drawn over the weights"), make("div", {}, ...BITS.map(pick)));
  const range = sliderBox("Range m", { min: 0, max: STEPS, value: chosen.range, say: (i) => `${sigmas(i).toFixed(2)} standard deviations`, ends: ["narrow", "largest weight"] }, (i) => { chosen.range = i; paint(); });
  range.element.classList.add("ptr-range");
  const follow = sliderBox("Weight to follow", { min: 0, max: count - 1, value: chosen.weight, say: (i) => value(weights[i]), ends: ["smallest", "largest"] }, (i) => { chosen.weight = i; paint(); });
  const chart = make("div", { class: "ptr-chart" }), errorChart = make("div", { class: "ptr-chart" }), table = make("table", { class: "ptr-table ptr-grids-table" }), spoken = readOut();
  el.append(make("div", { class: "ptr ptr-root" }, make("div", { class: "ptr-stack" },
    make("div", { class: "ptr-bar" }, bitsBox, range.element, follow.element),
    chart, spoken.element,
    make("div", { class: "ptr-two" }, errorChart, table),
    make("p", { class: "ptr-note" }, `Grey: the weights. Outlined: the same weights after rounding to the chosen bits, one bar a level, equal areas for equal numbers of weights. Ticks: levels, long for 2 bits, middle for 4, short for 8. Hatched: beyond the range; these weights become the last level. One step of 2 bits is 5 steps of 4 bits and 85 of 8. Norm of correction: ${model.get("scales")[0]} times that of r₄, and ${model.get("scales")[1]} times that of r₈, over the norm of the weights; this is what a gate compares with its threshold.`))));

  // -- what does not depend on the controls
  const bins = new Array(BINS).fill(0);
  for (const w of weights) bins[Math.min(BINS - 1, Math.floor(((w / largest + 1) / 2) * BINS))] += 1;
  const densest = Math.max(...bins) / ((2 * largest) / BINS);
  const errors = BITS.map((bits) => Array.from({ length: STEPS / 2 + 1 }, (_, i) => relativeError(weights, bits, limitOf(2 * i))));
  const best = errors.map((line) => 2 * line.indexOf(Math.min(...line)));

  const words = (x, y, text, more = {}) => draw("text", { x, y, fill: "var(--ptr-muted)", "font-size": 12, ...more }, text);
  const halo = { stroke: "var(--ptr-bg)", "stroke-width": 4, "paint-order": "stroke", "stroke-linejoin": "round" };

  // From one place to another on a row; where there is no room for a line, a dot.
  function arrow(from, to, y, name) {
    const length = Math.abs(to - from), way = Math.sign(to - from), tip = Math.min(7, length);
    if (length < 3) return draw("path", { d: SHAPES.circle(to, y, 3.5), fill: "var(--ptr-accent)", class: name });
    return draw("path", { class: name, d: `M${from.toFixed(1)} ${y}H${to.toFixed(1)}m${(-way * tip).toFixed(1)} -4l${(way * tip).toFixed(1)} 4l${(-way * tip).toFixed(1)} 4M${from.toFixed(1)} ${y - 4}v8`,
      fill: "none", stroke: "var(--ptr-accent)", "stroke-width": 2.2, "stroke-linejoin": "round", "stroke-linecap": "round" });
  }

  function combs(toX, limit, y, first, last, scale = 1) {
    const parts = [];
    for (const bits of [8, 4, 2]) {
      const step = stepSize(bits, limit), end = 2 ** (bits - 1) - 1, path = [], on = bits === chosen.bits;
      for (let code = Math.max(-end, Math.ceil(first / step)); code <= Math.min(end, Math.floor(last / step)); code++)
        path.push(`M${toX(code * step).toFixed(1)} ${y}v${LONG[bits]}`);
      parts.push(draw("path", { d: path.join(""), stroke: on ? "var(--ptr-accent)" : "var(--ptr-ink)", "stroke-width": scale * { 2: 3, 4: 1.6, 8: 0.7 }[bits] * (on ? 1.25 : 1), class: `ptr-grid-${bits}` }));
    }
    return parts;
  }

  function paintChart() {
    const width = Math.max(280, chart.clientWidth || 640), left = 40, right = width - 12, top = 24, base = 148, limit = limitOf(chosen.range);
    const w = weights[chosen.weight], [q2, q4, q8] = BITS.map((bits) => quantized(w, bits, limit)), s4 = stepSize(4, limit);
    const toX = linearScale(-largest, largest, left, right), room = 1.3 * densest, toY = linearScale(0, room, base, top);
    const hatch = freshId("hatch"), clip = freshId("clip"), height = 346;
    const picture = draw("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img",
      "aria-label": `Histogram of the weights, ${model.get("name")}, over the levels of 2, 4 and 8 bits; the weight ${value(w)} is taken apart into a coarse value and two corrections.` },
    draw("pattern", { id: hatch, width: 6, height: 6, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" }, draw("path", { d: "M0 0v6", stroke: "var(--ptr-muted)", "stroke-opacity": 0.45, "stroke-width": 1.6 })),
    draw("clipPath", { id: clip }, draw("rect", { x: left - 1, y: top, width: right - left + 2, height: base - top })));
    // the weights, and the same rounded: bars as wide as a step, as high as their share asks for
    const cell = (2 * largest) / BINS, step = stepSize(chosen.bits, limit), levels = new Map();
    const fine = toX(step) - toX(0) < 2.5;  // too fine for outlines
    for (const one of weights) { const code = codeOf(one, chosen.bits, limit); levels.set(code, (levels.get(code) ?? 0) + 1); }
    const bar = (at, half, density) => `M${toX(at - half).toFixed(1)} ${base}V${toY(density).toFixed(1)}H${toX(at + half).toFixed(1)}V${base}`;
    picture.append(
      draw("path", { d: bins.map((n, i) => (n ? bar(-largest + (i + 0.5) * cell, cell / 2, n / cell) : "")).join(""), fill: "var(--ptr-faint)", stroke: "var(--ptr-bg)", "stroke-width": 0.6, class: "ptr-histogram" }),
      draw("g", { "clip-path": `url(#${clip})` }, draw("path", { d: [...levels].sort((a, b) => a[0] - b[0]).map(([code, n]) => bar(code * step, step / 2, n / step)).join(""),
        fill: "var(--ptr-accent)", "fill-opacity": fine ? 0.45 : 0.16, stroke: fine ? "none" : "var(--ptr-accent)", "stroke-width": chosen.bits === 8 ? 0.8 : 1.5, class: "ptr-rounded" })));
    for (const side of [-1, 1]) {
      const from = toX(side * limit), to = toX(side * largest);
      if (Math.abs(to - from) > 1) picture.append(draw("rect", { x: Math.min(from, to), y: top, width: Math.abs(to - from), height: base - top, fill: `url(#${hatch})`, class: "ptr-beyond" }));
      picture.append(draw("path", { d: `M${from.toFixed(1)} ${top}V${base + 30}`, stroke: "var(--ptr-muted)", "stroke-width": 1.3, "stroke-dasharray": "5 3" }));
    }
    picture.append(draw("path", { d: `M${left} ${base}H${right}`, stroke: "var(--ptr-line)" }), ...combs(toX, limit, base, -limit, limit));
    const mx = toX(limit), near = mx > right - 26;
    picture.append(words(mx, base + 44, "m", { "text-anchor": near ? "end" : "middle", "font-style": "italic" }), words(toX(-limit), base + 44, "−m", { "text-anchor": "middle", "font-style": "italic" }), words(toX(0), base + 44, "0", { "text-anchor": "middle" }));

    // the followed weight, its coarse value and the first correction
    const x = toX(w), rows = [base + 64, base + 88];
    picture.append(draw("path", { d: `M${x.toFixed(1)} ${top - 4}V${rows[1] + 12}`, stroke: "var(--ptr-accent2)", "stroke-width": 1.8, "stroke-dasharray": "2 3", class: "ptr-followed" }),
      draw("path", { d: SHAPES["triangle-down"](x, top - 6, 4.5), fill: "var(--ptr-accent2)" }),
      words(Math.min(Math.max(x, left + 8), right - 8), 12, value(w), { "text-anchor": x > right - 40 ? "end" : x < left + 40 ? "start" : "middle", fill: "var(--ptr-accent2)", "font-weight": 700 }));
    for (const [k, name] of [[0, "q₂"], [1, "+ r₄"]]) picture.append(words(left - 8, rows[k] + 4, name, { "text-anchor": "end", fill: "var(--ptr-ink)" }));
    picture.append(arrow(toX(0), toX(q2), rows[0], "ptr-arrow-2"), arrow(toX(q2), toX(q4), rows[1], "ptr-arrow-4"));

    // a lens over three steps of 4 bits
    const half = 1.5 * s4, zoomed = linearScale(q8 - half, q8 + half, left, right), a = toX(q8 - half), b = toX(q8 + half), lens = base + 130;
    picture.append(
      draw("path", { d: `M${a.toFixed(1)} ${rows[1] + 9}H${b.toFixed(1)}L${right} ${lens}H${left}Z`, fill: "var(--ptr-panel)", stroke: "var(--ptr-grid)", class: "ptr-lens" }),
      draw("rect", { x: left, y: lens, width: right - left, height: height - lens - 2, fill: "var(--ptr-panel)" }),
      ...combs(zoomed, limit, lens, q8 - half, q8 + half, 1.5));
    const ends = [Math.ceil((q8 - half) / s4), Math.floor((q8 + half) / s4)];
    for (let code = Math.max(-7, ends[0]); code <= Math.min(7, ends[1]); code++) {
      const at = zoomed(code * s4);
      if (at > left + 38 && at < right - 38) picture.append(words(at, lens + 43, `4-bit code ${signed(code, 0)}`, { "text-anchor": "middle", "font-size": 11.5 }));
    }
    const seen = w > q8 - half && w < q8 + half, row = lens + 57;
    if (seen) picture.append(draw("path", { d: `M${zoomed(w).toFixed(1)} ${lens - 8}V${row + 9}`, stroke: "var(--ptr-accent2)", "stroke-width": 1.8, "stroke-dasharray": "2 3" }));
    picture.append(words(left - 8, row + 4, "+ r₈", { "text-anchor": "end", fill: "var(--ptr-ink)" }), arrow(zoomed(q4), zoomed(q8), row, "ptr-arrow-8"));
    const times = (right - left) / (b - a);
    picture.append(words(left - 8, lens + 14, `${figure(times, 2)}×`, { "text-anchor": "end" }));
    chart.replaceChildren(picture);
  }

  function paintErrors() {
    const width = Math.max(260, errorChart.clientWidth || 320), height = 196, box = { left: 44, right: width - 56, top: 28, bottom: height - 38 };
    const all = errors.flat().filter((e) => e > 0), toX = linearScale(low, high, box.left, box.right), toY = logScale(Math.min(...all) / 1.25, Math.max(...all) * 1.25, box.bottom, box.top);
    const picture = draw("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": "Relative error of 2, 4 and 8 bits over the range m, in standard deviations, with the chosen range marked." });
    for (const tick of [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1]) {
      const y = toY(tick);
      if (y <= box.bottom && y >= box.top) picture.append(draw("path", { d: `M${box.left} ${y.toFixed(1)}H${box.right}`, stroke: "var(--ptr-grid)" }), words(box.left - 6, y + 4, `${Number((100 * tick).toPrecision(1))} %`, { "text-anchor": "end" }));
    }
    for (let m = Math.ceil(low); m <= high + 1e-6; m++) picture.append(draw("path", { d: `M${toX(m).toFixed(1)} ${box.bottom}v4`, stroke: "var(--ptr-line)" }), words(toX(m), box.bottom + 17, String(m), { "text-anchor": "middle" }));
    const here = toX(sigmas(chosen.range));
    picture.append(draw("path", { d: `M${box.left} ${box.bottom}H${box.right}`, stroke: "var(--ptr-line)" }),
      words(2, 13, "relative error (rings: least)"), words((box.left + box.right) / 2, height - 4, "range m (standard deviations)", { "text-anchor": "middle" }),
      draw("path", { d: `M${here.toFixed(1)} ${box.top}V${box.bottom}`, stroke: "var(--ptr-ink)", "stroke-opacity": 0.55, "stroke-width": 1.5 }));
    BITS.forEach((bits, k) => {
      const line = errors[k], on = bits === chosen.bits, colour = on ? "var(--ptr-accent)" : "var(--ptr-ink)";
      const now = toY(Math.max(relativeError(weights, bits, limitOf(chosen.range)), 1e-9)), at = toX(sigmas(best[k])), least = toY(Math.max(line[best[k] / 2], 1e-9));
      picture.append(
        draw("path", { d: "M" + line.map((e, i) => `${toX(sigmas(2 * i)).toFixed(1)} ${toY(Math.max(e, 1e-9)).toFixed(1)}`).join("L"), fill: "none", stroke: colour, "stroke-width": on ? 2.6 : 1.6, "stroke-dasharray": { 2: null, 4: "7 3", 8: "2 3" }[bits], class: `ptr-error-${bits}` }),
        draw("path", { d: SHAPES.circle(at, least, 5.5), fill: "none", stroke: colour, "stroke-width": 1.6 }),
        draw("path", { d: SHAPES.circle(here, now, 3.8), fill: colour, stroke: "var(--ptr-bg)" }),
        words(box.right + 9, toY(line.at(-1)) + 4, `${bits} bits`, { fill: colour, "font-weight": on ? 700 : 400 }));
    });
    errorChart.replaceChildren(picture);
  }

  function paint() {
    paintChart();
    paintErrors();
    const limit = limitOf(chosen.range), w = weights[chosen.weight];
    const rows = BITS.map((bits) => ({ bits, step: stepSize(bits, limit), code: codeOf(w, bits, limit), value: quantized(w, bits, limit), error: relativeError(weights, bits, limit) })), norms = correctionNorms(weights, limit, model.get("scales"));
    table.replaceChildren(
      make("thead", {}, make("tr", {}, ...["bits", "step", "code", "value", "relative error", "norm of correction"].map((text) => make("th", { scope: "col" }, text)))),
      make("tbody", {}, ...rows.map((row) => make("tr", { class: row.bits === chosen.bits ? "ptr-now" : null }, make("th", { scope: "row" }, String(row.bits)),
        make("td", {}, value(row.step)), make("td", {}, signed(row.code, 0)), make("td", {}, value(row.value)), make("td", {}, percent(row.error)), make("td", {}, row.bits === 2 ? "–" : norms[row.bits === 4 ? 0 : 1].toFixed(3))))));
    const [two, four, eight] = rows, now = rows[BITS.indexOf(chosen.bits)], plus = (v) => `${v < 0 ? "−" : "+"} ${size(Math.abs(v))}`;
    let beyond = 0;
    for (const one of weights) beyond += Math.abs(one) > limit;
    spoken.say(`${model.get("name")}${inUnits}, range m = ${sigmas(chosen.range).toFixed(2)} standard deviations = ${value(limit)}: ` +
      `the weight ${value(w)} is ${value(two.value)} ${plus(four.value - two.value)} ${plus(eight.value - four.value)} = ${value(eight.value)}, with the codes ${rows.map((r) => signed(r.code, 0)).join(", ")} at 2, 4 and 8 bits. ` +
      `${chosen.bits} bits leave a relative error of ${percent(now.error)}; ${beyond ? `${percent(beyond / count)} of the weights lie beyond the range` : "no weight lies beyond the range"}.`);
  }

  paint();
  let width = chart.clientWidth;
  const watcher = new ResizeObserver(() => { if (chart.clientWidth !== width) { width = chart.clientWidth; paint(); } });
  watcher.observe(chart);
  signal?.addEventListener("abort", () => watcher.disconnect());
  return () => watcher.disconnect();
}

export default { render };
