// The network that a search found for a budget, block by block, with its layers' shares of the cost, on the front.

const PARTS = ["expand", "depthwise", "project"], LETTERS = ["E", "D", "P"], STRENGTHS = [[0, 2, 1], [2, 4, 0.62], [4, 8, 0.34]];
const GAP = 0.85, NARROWEST = 23, WIDEST = 33, HEAD = 46;

// ---- what changed between two networks --------------------------------------------------------------------------

export function changes(blocks, before, after) {
  const shape = [], bits = [];
  blocks.forEach(({ name }, k) => {
    const a = before[k], b = after[k];
    if (!a && !b) return;
    if (!b) return shape.push(`${name} was left out`);
    if (!a) return shape.push(`${name} came back`);
    if (a.kernel !== b.kernel) shape.push(b.kernel < a.kernel ? `${name} lost its 5×5 kernel` : `${name} got a 5×5 kernel`);
    if (a.expansion !== b.expansion) shape.push(b.expansion < a.expansion ? `${name} shrank to expansion ${b.expansion}` : `${name} grew to expansion ${b.expansion}`);
    PARTS.forEach((part, p) => { if (a.bits[p] !== b.bits[p]) bits.push({ name: `${name}, ${part}`, from: a.bits[p], to: b.bits[p] }); });
  });
  const said = shape.slice(0, 4);
  if (shape.length > 4) said.push(`${plural(shape.length - 4, "more change")} of shape`);
  if (bits.length <= 2) said.push(...bits.map((one) => `${one.name} went from ${one.from} to ${one.to} bits`));
  else {
    const fewer = bits.filter((one) => one.to < one.from).length, more = bits.length - fewer;
    if (fewer) said.push(`${plural(fewer, "convolution")} lost bits`);
    if (more) said.push(`${plural(more, "convolution")} gained bits`);
  }
  return said;
}

// ---- numbers ----------------------------------------------------------------------------------------------------

const mean = (values) => values.reduce((a, b) => a + b, 0) / values.length;
const percent = (share) => { const hundredths = 100 * share; return hundredths === 0 ? "0" : hundredths < 1 ? "<1" : String(Math.round(hundredths)); };

// Round numbers that cut a range into about so many pieces.
function niceTicks(low, high, pieces) {
  const rough = (high - low) / pieces, power = 10 ** Math.floor(Math.log10(rough)), step = [1, 2, 5, 10].find((m) => m * power >= rough * 0.999) * power;
  const ticks = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + 1e-9 * step; k++) ticks.push(Number((k * step).toPrecision(12)));
  return ticks;
}

// ---- the figure -------------------------------------------------------------------------------------------------

function render({ model, el, signal }) {
  const blocks = model.get("blocks"), devices = model.get("devices"), widest = model.get("widest");
  const chosen = { device: 0, entry: devices[0].start, before: null };
  const device = () => devices[chosen.device], entries = () => device().entries, entry = () => entries()[chosen.entry];
  const budget = (one) => (one.share == null ? `${figure(one.cost)} ${device().unit}` : `${Number((100 * one.share).toPrecision(3))} %`);
  const neighbour = () => (chosen.entry + 1 < entries().length ? chosen.entry + 1 : chosen.entry - 1);  // what the first one is compared with
  const highestShare = () => Math.max(...entries().flatMap((one) => [one.front, one.behind, ...one.parts.flat()].map((cost) => cost / one.cost)));

  // -- controls
  const devicesBox = selectBox("Device", devices.map((d, i) => [String(i), d.name]), "0", (v) => { chosen.device = Number(v); settle(); paint(); });
  devicesBox.element.classList.add("ptr-device");
  const slider = sliderBox(devices.some((d) => d.entries.some((one) => one.share != null)) ? "Budget" : "Cost", { min: 0, max: 1, value: 0, say: (i) => { const one = entries()[i]; return one ? (one.share == null ? budget(one) : `${budget(one)} of the full cost`) : ""; }, ends: ["small", "large"] },
    (i) => { if (i !== chosen.entry) chosen.before = chosen.entry; chosen.entry = i; paint(); });
  const drawing = make("div", { class: "ptr-chart" }), front = make("div", { class: "ptr-chart" }), spoken = readOut();
  const strip = (bits) => draw("svg", { width: 22, height: 16, viewBox: "0 0 22 16", "aria-hidden": "true" }, ...barOf(1, 1, 20, 14, bits, false));
  const keys = make("div", { class: "ptr-keys" }, ...[2, 4, 8].map((bits) => make("span", {}, strip(bits), `${bits} bits`)),
    make("span", {}, draw("svg", { width: 22, height: 16, viewBox: "0 0 22 16", "aria-hidden": "true" }, draw("rect", { x: 1, y: 1, width: 20, height: 14, fill: "var(--ptr-faint)", stroke: "var(--ptr-line)" })), "not searched, 8 bits"));
  el.append(make("div", { class: "ptr ptr-root" }, make("div", { class: "ptr-stack" },
    make("div", { class: "ptr-bar" }, devices.length > 1 ? devicesBox.element : null, slider.element),
    keys, drawing,
    make("div", { class: "ptr-beside" }, front, spoken.element),
    make("p", { class: "ptr-note" }, "A block has three convolutions: E expand, D depthwise (with the kernel drawn above the block), P project. Their bars are as long as they have channels, and painted as far across as they have bits; ×6 means six times as many channels inside as come in. ▴ and ▾ mark what grew and shrank since the last budget."))));

  function settle() {
    slider.box.max = entries().length - 1;
    slider.box.disabled = entries().length < 2;
    chosen.entry = device().start;
    chosen.before = null;
    slider.set(chosen.entry);
  }

  const text = (x, y, said, more = {}) => draw("text", { x: x.toFixed(1), y: y.toFixed(1), fill: "var(--ptr-muted)", "font-size": 12, ...more }, said);

  // A bar with its bits painted across it: left to right where it stands, top to bottom where it lies.
  function barOf(x, y, width, height, bits, lying) {
    const parts = [draw("rect", { x, y, width, height, fill: "var(--ptr-bg)" })];
    for (const [low, high, strength] of STRENGTHS) if (bits >= high) parts.push(draw("rect", lying
      ? { x, y: y + (height * low) / 8, width, height: (height * (high - low)) / 8, fill: "var(--ptr-accent)", "fill-opacity": strength }
      : { x: x + (width * low) / 8, y, width: (width * (high - low)) / 8, height, fill: "var(--ptr-accent)", "fill-opacity": strength }));
    parts.push(draw("rect", { x, y, width, height, fill: "none", stroke: "var(--ptr-accent)", "stroke-width": 1.1, class: "ptr-conv", "data-bits": bits }));
    return parts;
  }

  // The kernel as little squares; those of the ring are empty where it is 3×3.
  function kernelOf(x, y, side, kernel) {
    const cell = side / 5, parts = [];
    for (let i = 0; i < 5; i++) for (let j = 0; j < 5; j++) {
      const inside = kernel === 5 || (i > 0 && i < 4 && j > 0 && j < 4);
      parts.push(draw("rect", { x: (x + i * cell + 0.5).toFixed(1), y: (y + j * cell + 0.5).toFixed(1), width: (cell - 1).toFixed(1), height: (cell - 1).toFixed(1), fill: inside ? "var(--ptr-accent)" : "none", stroke: inside ? "none" : "var(--ptr-line)", "stroke-width": 0.5, class: inside ? "ptr-tap" : null }));
    }
    return parts;
  }

  const grew = (a, b) => (a == null || a === b ? "" : b > a ? "▴" : "▾");
  // A value that changed has a sign and the second colour.
  const marked = (x, y, said, sign, more = {}) => text(x, y, `${said}${sign}`, { fill: sign ? "var(--ptr-accent2)" : "var(--ptr-ink)", "font-weight": 700, ...more });

  function paintDrawing() {
    const width = Math.max(280, drawing.clientWidth || 800), slots = 2 * (1 + GAP) + blocks.length * (3 + GAP) - GAP;
    const left = 54, slot = Math.min(WIDEST, (width - left - 4) / slots);
    const picture = slot >= NARROWEST ? standing(width, left, slot) : lying(width);
    picture.setAttribute("aria-label", `The network for ${device().name} at ${budget(entry())}, block by block: ${entry().choices.map((c, k) => `${blocks[k].name} ${c ? `${c.kernel}×${c.kernel}, expansion ${c.expansion}, ${c.bits.join("/")} bits` : "left out"}`).join("; ")}; and each layer's share of the cost.`);
    drawing.replaceChildren(picture);
  }

  const channelsOf = (block, choice) => [choice.expansion * block.inputs, choice.expansion * block.inputs, block.outputs];
  const previous = () => entries()[chosen.before ?? neighbour()]?.choices;

  // Blocks from left to right, bars upwards.
  function standing(width, left, slot) {
    const one = entry(), before = previous(), thick = slot * 0.76, pad = (slot - thick) / 2, top = HEAD + 42, base = top + 112, costs = base + 116, height = costs + 8, most = highestShare();
    const used = slot * (2 * (1 + GAP) + blocks.length * (3 + GAP) - GAP), start = left + Math.max(0, (width - left - used) / 2);
    const picture = draw("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img" });
    const up = linearScale(0, widest, 0, base - top - 14), share = linearScale(0, most, 0, 54);
    const aside = (y, said) => text(0, y, said, { "font-size": 11.5 });
    picture.append(aside(base - 46, "channels"), aside(base + 18, "bits"), aside(costs - 26, "share of"), aside(costs - 12, "cost, %"));
    const cost = (x, value, wide = thick, searched = true) => {
      const h = share(value / one.cost);
      picture.append(draw("rect", { x: x.toFixed(1), y: (costs - h).toFixed(1), width: wide.toFixed(1), height: h.toFixed(1), fill: searched ? "var(--ptr-mark2)" : "var(--ptr-faint)", class: "ptr-share", "data-share": (value / one.cost).toFixed(4) }),
        text(x + wide / 2, costs - h - 4, percent(value / one.cost), { "text-anchor": "middle", "font-size": 11, fill: "var(--ptr-ink)" }));
    };
    const rail = (from, to, dashed) => picture.append(draw("path", { d: `M${from.toFixed(1)} ${base}H${to.toFixed(1)}`, stroke: dashed ? "var(--ptr-ink)" : "var(--ptr-line)", "stroke-width": dashed ? 1.8 : 1.2, "stroke-dasharray": dashed ? "5 4" : null, class: dashed ? "ptr-left-out" : null }));
    const fixed = (x, name, value, side) => {
      picture.append(text(side < 0 ? x : x + slot, HEAD - 18, name[0], { fill: "var(--ptr-ink)", "font-size": 12, "text-anchor": side < 0 ? "start" : "end" }), text(side < 0 ? x : x + slot, HEAD - 3, name[1], { "font-size": 12, fill: "var(--ptr-ink)", "text-anchor": side < 0 ? "start" : "end" }),
        draw("rect", { x: x + pad, y: base - 34, width: thick, height: 34, fill: "var(--ptr-faint)", stroke: "var(--ptr-line)" }), text(x + slot / 2, base + 18, "8", { "text-anchor": "middle" }));
      rail(x, x + slot);
      cost(x + pad, value, thick, false);
    };
    let x = start;
    fixed(x, ["first", "layers"], one.front, -1);
    rail(x + slot, x + slot * (1 + GAP));
    x += slot * (1 + GAP);
    blocks.forEach((block, k) => {
      const choice = one.choices[k], was = before?.[k], known = before != null, [first, second] = [block.name.split(", ")[0], block.name.split(", ").slice(1).join(", ")], whole = 3 * slot;
      picture.append(draw("path", { d: `M${x.toFixed(1)} ${HEAD + 3}h${whole.toFixed(1)}`, stroke: "var(--ptr-grid)" }), text(x, HEAD - 18, first, { "font-weight": 600, fill: "var(--ptr-ink)" }), text(x, HEAD - 3, second || (block.stride > 1 ? "halves the map" : ""), { "font-size": 12, fill: second ? "var(--ptr-ink)" : "var(--ptr-muted)" }));
      if (!choice) {
        rail(x, x + whole, true);
        picture.append(marked(x + whole / 2, base - 10, "left out", known && was ? "▾" : "", { "text-anchor": "middle", "font-weight": 600 }));
      } else {
        const back = known && !was, side = 30;
        picture.append(...kernelOf(x, HEAD + 9, side, choice.kernel),
          marked(x + side + 7, HEAD + 21, `${choice.kernel}×${choice.kernel}`, back ? "▴" : grew(was?.kernel, choice.kernel), { "font-size": 12.5 }), marked(x + side + 7, HEAD + 37, `×${choice.expansion}`, back ? "" : grew(was?.expansion, choice.expansion), { "font-size": 12.5 }));
        rail(x, x + whole);
        channelsOf(block, choice).forEach((channels, p) => {
          const at = x + p * slot + pad, h = up(channels);
          picture.append(...barOf(at, base - h, thick, h, choice.bits[p], false), text(at + thick / 2, base - h - 4, String(channels), { "text-anchor": "middle", "font-size": 11 }),
            marked(at + thick / 2, base + 18, String(choice.bits[p]), grew(was?.bits[p], choice.bits[p]), { "text-anchor": "middle", "font-size": 14 }), text(at + thick / 2, base + 33, LETTERS[p], { "text-anchor": "middle", "font-size": 11 }));
        });
        if (one.parts[k].length === 1) cost(x + pad, one.parts[k][0], whole - 2 * pad);
        else one.parts[k].forEach((value, p) => cost(x + p * slot + pad, value));
      }
      rail(x + whole, x + whole + slot * GAP);
      x += whole + slot * GAP;
    });
    fixed(x, ["last", "layers"], one.behind, 1);
    picture.append(draw("path", { d: `M${start.toFixed(1)} ${costs}H${(x + slot).toFixed(1)}`, stroke: "var(--ptr-line)" }));
    return picture;
  }

  // The same from top to bottom, bars to the right.
  function lying(width) {
    const one = entry(), before = previous(), row = 19, thick = 14, head = 24, gap = 13, block3 = head + 3 * row + gap, top = 22, most = highestShare();
    const height = top + 2 * (row + gap) + blocks.length * block3;
    const bars = 84, middle = bars + (width - bars) * 0.5, costs = middle + 40, across = linearScale(0, widest, 0, middle - bars), share = linearScale(0, most, 0, width - costs - 26);
    const picture = draw("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img" });
    picture.append(text(56, 12, "bits"), text(bars, 12, "channels"), costs > width - 106 ? text(width, 12, "share of cost, %", { "text-anchor": "end" }) : text(costs, 12, "share of cost, %"));
    const cost = (y, value, tall = thick, searched = true) => {
      const w = share(value / one.cost);
      picture.append(draw("rect", { x: costs, y, width: w.toFixed(1), height: tall, fill: searched ? "var(--ptr-mark2)" : "var(--ptr-faint)", class: "ptr-share", "data-share": (value / one.cost).toFixed(4) }), text(costs + w + 4, y + tall / 2 + 4, percent(value / one.cost), { "font-size": 11, fill: "var(--ptr-ink)" }));
    };
    const fixed = (y, name, value) => { picture.append(text(0, y + 11, name, { fill: "var(--ptr-ink)" }), draw("rect", { x: bars, y, width: 34, height: thick, fill: "var(--ptr-faint)", stroke: "var(--ptr-line)" }), text(66, y + 11, "8")); cost(y, value, thick, false); };
    let y = top;
    fixed(y, "first", one.front);
    y += row + gap;
    blocks.forEach((block, k) => {
      const choice = one.choices[k], was = before?.[k], known = before != null;
      picture.append(draw("path", { d: `M0 ${y - 6}H${width}`, stroke: "var(--ptr-grid)" }), text(0, y + 12, block.name, { "font-weight": 600, fill: "var(--ptr-ink)" }));
      if (!choice) {
        picture.append(draw("path", { d: `M${bars} ${y + head - 2}v${3 * row}`, stroke: "var(--ptr-ink)", "stroke-width": 1.8, "stroke-dasharray": "5 4", class: "ptr-left-out" }), marked(bars + 12, y + head + 1.5 * row + 2, "left out", known && was ? "▾" : "", { "font-weight": 600 }));
      } else {
        const back = known && !was;
        picture.append(...kernelOf(0, y + head - 1, 32, choice.kernel), marked(0, y + head + 47, `${choice.kernel}×${choice.kernel}`, back ? "▴" : grew(was?.kernel, choice.kernel), { "font-size": 12 }),
          marked(width, y + 12, `×${choice.expansion}`, back ? "" : grew(was?.expansion, choice.expansion), { "text-anchor": "end", "font-size": 12.5 }));
        channelsOf(block, choice).forEach((channels, p) => {
          const at = y + head + p * row, w = across(channels);
          picture.append(text(46, at + 11, LETTERS[p], { "font-size": 11 }), marked(62, at + 12, String(choice.bits[p]), grew(was?.bits[p], choice.bits[p]), { "font-size": 13.5 }), ...barOf(bars, at, w, thick, choice.bits[p], true), text(bars + w + 4, at + 11, String(channels), { "font-size": 11 }));
          if (one.parts[k].length > 1) cost(at, one.parts[k][p]);
        });
        if (one.parts[k].length === 1) cost(y + head, one.parts[k][0], 2 * row + thick);
      }
      y += block3;
    });
    picture.append(draw("path", { d: `M0 ${y - 6}H${width}`, stroke: "var(--ptr-grid)" }));
    fixed(y, "last", one.behind);
    return picture;
  }

  function paintFront() {
    const width = Math.max(270, front.clientWidth || 400), height = 236, box = { left: 40, right: width - 14, top: 28, bottom: height - 40 }, all = entries();
    const costs = all.flatMap((one) => one.costs), accuracies = all.flatMap((one) => one.accuracies), lowest = Math.min(...accuracies), highest = Math.max(...accuracies), room = Math.max((highest - lowest) * 0.12, 0.5);
    const least = Math.min(...costs), dearest = Math.max(...costs), log = dearest > 4 * least;
    const toX = log ? logScale(least / 1.15, dearest * 1.15, box.left, box.right) : linearScale(least - (dearest - least || dearest) * 0.08, dearest + (dearest - least || dearest) * 0.08, box.left, box.right);
    const toY = linearScale(lowest - room, Math.min(100, highest + room) + (highest + room > 100 ? 0.001 : 0), box.bottom, box.top);
    const picture = draw("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `Accuracy over cost on ${device().name} for ${plural(all.length, "budget")}; the chosen one has a ring.` });
    for (const tick of niceTicks(lowest - room, Math.min(100, highest + room), 4)) picture.append(draw("path", { d: `M${box.left} ${toY(tick).toFixed(1)}H${box.right}`, stroke: "var(--ptr-grid)" }), text(box.left - 6, toY(tick) + 4, String(tick), { "text-anchor": "end" }));
    const ticks = log ? logTicks(least / 1.15, dearest * 1.15) : niceTicks(least - (dearest - least || dearest) * 0.08, dearest + (dearest - least || dearest) * 0.08, 4);
    for (const tick of ticks) picture.append(draw("path", { d: `M${toX(tick).toFixed(1)} ${box.bottom}v4`, stroke: "var(--ptr-line)" }), text(toX(tick), box.bottom + 17, String(tick), { "text-anchor": "middle" }));
    picture.append(draw("path", { d: `M${box.left} ${box.top}V${box.bottom}H${box.right}`, fill: "none", stroke: "var(--ptr-line)" }), text(2, 13, all.some((one) => one.accuracies.length > 1) ? "accuracy, % (small: single seeds)" : "accuracy, %"), text((box.left + box.right) / 2, height - 5, `cost, ${device().unit}${log ? ", logarithmic" : ""}`, { "text-anchor": "middle" }));
    const points = all.map((one, i) => ({ i, x: toX(mean(one.costs)), y: toY(mean(one.accuracies)), one })), path = [...points].sort((a, b) => a.x - b.x);
    for (const { one, i } of points) if (one.accuracies.length > 1) one.accuracies.forEach((a, s) => picture.append(draw("circle", { cx: toX(one.costs[s]).toFixed(1), cy: toY(a).toFixed(1), r: 2.6, fill: "none", stroke: i === chosen.entry ? "var(--ptr-accent2)" : "var(--ptr-faint)", "stroke-width": 1.4, class: "ptr-seed" })));
    picture.append(draw("path", { d: "M" + path.map((p) => `${p.x.toFixed(1)} ${p.y.toFixed(1)}`).join("L"), fill: "none", stroke: "var(--ptr-accent)", "stroke-width": 1.6, "stroke-opacity": 0.7, class: "ptr-front" }));
    for (const { i, x, y } of points) {
      const now = i === chosen.entry;
      if (now) picture.append(draw("path", { d: `M${box.left} ${y.toFixed(1)}H${x.toFixed(1)}V${box.bottom}`, fill: "none", stroke: "var(--ptr-accent2)", "stroke-dasharray": "2 3", "stroke-width": 1.4 }), draw("circle", { cx: x.toFixed(1), cy: y.toFixed(1), r: 9.5, fill: "none", stroke: "var(--ptr-accent2)", "stroke-width": 2.2, class: "ptr-now" }));
      picture.append(draw("circle", { cx: x.toFixed(1), cy: y.toFixed(1), r: 5, fill: now ? "var(--ptr-accent2)" : "var(--ptr-accent)", stroke: "var(--ptr-bg)", "stroke-width": 1.2 }));
    }
    front.replaceChildren(picture);
  }

  function tell() {
    const one = entry(), runs = one.accuracies, before = entries()[chosen.before ?? neighbour()], unit = device().unit;
    const rightly = runs.length === 1 ? `${figure(runs[0])} % of the test images are named rightly` :
      `${figure(mean(runs))} % of the test images are named rightly (mean of ${runs.length} seeds, ${figure(Math.min(...runs))} to ${figure(Math.max(...runs))}; the drawn network: ${figure(mean(runs.slice(0, one.own)))})`;
    const costs = [["the first layers", one.front], ["the last layers", one.behind], ...one.parts.flatMap((parts, k) => parts.map((c, p) => [parts.length > 1 ? `${blocks[k].name}, ${PARTS[p]}` : blocks[k].name, c]))].sort((a, b) => b[1] - a[1]);
    const changed = before && before !== one ? changes(blocks, before.choices, one.choices) : null;
    const against = changed ? ` Against ${budget(before)}: ${changed.length ? changed.join("; ") : "the same network"}.` : "";
    spoken.say(`${device().name}${one.share == null ? "" : `, budget ${budget(one)} of the full cost`}: the network costs ${figure(one.cost)} ${unit}, and ${rightly}.${against} Most is spent on ${costs[0][0]}: ${percent(costs[0][1] / one.cost)} %.`);
  }

  function paint() { paintDrawing(); paintFront(); tell(); }

  settle();
  paint();
  let width = drawing.clientWidth;
  const watcher = new ResizeObserver(() => { if (drawing.clientWidth !== width) { width = drawing.clientWidth; paintDrawing(); paintFront(); } });
  watcher.observe(drawing);
  signal?.addEventListener("abort", () => watcher.disconnect());
  return () => watcher.disconnect();
}

export default { render };
