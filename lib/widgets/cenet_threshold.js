// A threshold on the curve of false alarms and false rejects of a keyword, with clips to hear on either side of it.

const STEPS = 1000, GRID = 1000, LISTED = 12, RATE = 8000, HIGH = 320, SIGNS = { hit: "✓", alarm: "!", miss: "✗", pass: "–" };
const VERDICTS = { hit: "true detection", alarm: "false alarm", miss: "false reject", pass: "rightly rejected" };

// ---- the curve, as lib/speech/metrics/keyword.py has it ---------------------------------------------------------

// How many numbers of an ascending list lie below a threshold.
export function countBelow(sorted, threshold) {
  let low = 0, high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle] < threshold) low = middle + 1; else high = middle;
  }
  return low;
}

// One keyword: ascending scores of its clips, of the others, and for how many clips each of these stands.
export function keywordOf(name, targets, others, counts) {
  const below = [0];  // below[i]: other clips among the first i
  for (const count of counts) below.push(below.at(-1) + count);
  const total = below.at(-1);
  const at = (threshold) => {
    const missed = countBelow(targets, threshold), alarms = total - below[countBelow(others, threshold)];
    return { missed, alarms, miss: missed / targets.length, alarm: alarms / total };
  };
  // operating points from "accept all" to "accept nothing": tied scores move together
  const thresholds = [...new Set([...targets, ...others])].sort((a, b) => a - b);
  const points = [...thresholds.map((t) => { const { alarm, miss } = at(t); return [alarm, miss]; }), [0, 1]];
  return { name, at, points, area: areaOf(points), targets: targets.length, others: total };
}

// Under the false rejects over the false alarms; straight lines join neighbouring points.
function areaOf(points) {
  let area = 0;
  for (let i = 1; i < points.length; i++) area += ((points[i - 1][0] - points[i][0]) * (points[i - 1][1] + points[i][1])) / 2;
  return area;
}

// False rejects at a rate of false alarms: the fewest there, or on the straight line between two points.
export function missAt(points, alarm) {
  let i = 0;
  while (i < points.length && points[i][0] > alarm) i += 1;  // the first point with no more false alarms
  if (i === 0 || points[i][0] === alarm) return points[i][1];
  const [more, least] = points[i - 1], [fewer, most] = points[i];
  return least + ((more - alarm) / (more - fewer)) * (most - least);
}

// The curves averaged at equal false alarms, on a grid: [[alarm, miss] …], from 1 to 0.
export function averaged(keywords) {
  return Array.from({ length: GRID + 1 }, (_, i) => {
    const alarm = (GRID - i) / GRID;
    return [alarm, keywords.reduce((sum, k) => sum + missAt(k.points, alarm), 0) / keywords.length];
  });
}

// ---- sound ------------------------------------------------------------------------------------------------------

// Mu-law bytes as a WAV file of 16 bits, which every browser plays.
export function wavOf(bytes) {
  const file = new DataView(new ArrayBuffer(44 + 2 * bytes.length));
  const text = (at, letters) => [...letters].forEach((letter, i) => file.setUint8(at + i, letter.charCodeAt(0)));
  text(0, "RIFF"); file.setUint32(4, 36 + 2 * bytes.length, true); text(8, "WAVEfmt ");
  file.setUint32(16, 16, true); file.setUint16(20, 1, true); file.setUint16(22, 1, true);
  file.setUint32(24, RATE, true); file.setUint32(28, 2 * RATE, true); file.setUint16(32, 2, true); file.setUint16(34, 16, true);
  text(36, "data"); file.setUint32(40, 2 * bytes.length, true);
  bytes.forEach((byte, i) => {
    const y = (2 * byte) / 255 - 1, x = (Math.sign(y) * (256 ** Math.abs(y) - 1)) / 255;
    file.setInt16(44 + 2 * i, Math.round(32767 * x), true);
  });
  return file.buffer;
}

// One sound at a time; a second press stops it.
function makePlayer(urls) {
  const audio = new Audio();
  let playing = -1, told = () => {};
  const stop = () => { audio.pause(); playing = -1; told(); };
  audio.addEventListener("ended", stop);
  return {
    stop,
    playing: () => playing,
    onchange: (f) => { told = f; },
    toggle: (clip) => {
      if (playing === clip) return stop();
      playing = clip;
      audio.src = urls[clip];
      audio.play().catch(() => { if (playing === clip) stop(); });  // a newer press has its own sound
      told();
    },
  };
}

// ---- the figure -------------------------------------------------------------------------------------------------

function cut(array, sizes) {
  let from = 0;
  return sizes.map((size) => array.slice(from, (from += size)));
}

function render({ model, el, signal }) {
  const entries = model.get("keywords"), clips = model.get("clips"), scores = float32(model.get("scores"));
  const whole = (view) => new Int32Array(view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength));
  const targets = cut(float32(model.get("targets")), entries.map((k) => k.targets));
  const others = cut(float32(model.get("others")), entries.map((k) => k.others)), counts = cut(whole(model.get("counts")), entries.map((k) => k.others));
  const keywords = entries.map((entry, k) => keywordOf(entry.name, targets[k], others[k], counts[k]));
  const average = averaged(keywords), averageArea = keywords.reduce((sum, k) => sum + k.area, 0) / keywords.length;
  const raw = model.get("sounds");
  const urls = cut(new Uint8Array(raw.buffer, raw.byteOffset, raw.byteLength), clips.map((c) => c.bytes))
    .map((bytes) => URL.createObjectURL(new Blob([wavOf(bytes)], { type: "audio/wav" })));
  const chosen = { keyword: 0, step: Math.round(STEPS * model.get("start")), log: true, average: keywords.length > 1 };
  const threshold = () => chosen.step / STEPS;
  const scoreOf = (clip) => scores[clip * keywords.length + chosen.keyword];
  const isOwn = (clip) => clips[clip].label === keywords[chosen.keyword].name;

  // -- controls
  const words = selectBox("Keyword", keywords.map((k, i) => [String(i), k.name]), "0", (v) => { chosen.keyword = Number(v); player.stop(); settle(); });
  const slider = sliderBox("Threshold", { min: 0, max: STEPS, value: chosen.step, say: (s) => (s / STEPS).toFixed(3), ends: ["0: accepts all", "1: next to nothing"] },
    (s) => { chosen.step = s; paint(); });
  slider.element.classList.add("ptr-threshold");
  const log = checkBox("Logarithmic axes", chosen.log, (on) => { chosen.log = on; paint(); });
  const mean = checkBox(`Average of the ${keywords.length} keywords`, chosen.average, (on) => { chosen.average = on; paint(); },
    draw("svg", { width: 26, height: 14, viewBox: "0 0 26 14", "aria-hidden": "true" }, draw("path", { d: "M0 7H26", stroke: "var(--ptr-muted)", "stroke-width": 2, "stroke-dasharray": "5 4" })));
  const chart = make("div", { class: "ptr-chart" }), spoken = readOut();
  const accepted = { title: make("h4"), list: make("ul") }, rejected = { title: make("h4"), list: make("ul") };
  const section = ({ title, list }) => make("section", {}, title, list);
  el.append(make("div", { class: "ptr ptr-root" }, make("div", { class: "ptr-stack" },
    make("div", { class: "ptr-bar" }, words.element, slider.element),
    make("div", { class: "ptr-bar" }, log.element, keywords.length > 1 ? mean.element : null),
    make("div", { class: "ptr-trade" },
      make("div", { class: "ptr-stack" }, chart, spoken.element),
      make("div", { class: "ptr-clips" }, section(accepted), section(rejected))),
    make("p", { class: "ptr-note" }, "Signs: ✓ true detection, ! false alarm, ✗ false reject, – rightly rejected. The bar of a clip is its score for the chosen keyword, the line in it the threshold. Sounds are made equally loud."))));

  // -- the clips: a row each, made once, so that a button keeps its focus while the rows change places
  const player = makePlayer(urls);
  const rows = clips.map((clip, place) => {
    const sign = make("span", { class: "ptr-sign", "aria-hidden": "true" }), verdict = make("small"), number = make("span");
    const bar = make("i"), line = make("b"), spokenWord = clip.word || "no word";
    const press = button("", () => player.toggle(place));
    const element = make("li", { class: "ptr-clip" }, sign, make("span", { class: "ptr-said" }, clip.word ? `“${clip.word}”` : "no word", verdict),
      make("span", { class: "ptr-score", "aria-hidden": "true" }, bar, line), number, press);
    const face = () => {
      const on = player.playing() === place;
      press.textContent = on ? "■ Stop" : "▶ Play";
      press.setAttribute("aria-label", `${on ? "Stop" : "Play"} ${spokenWord}, ${verdict.textContent}, score ${number.textContent}`);
      press.setAttribute("aria-pressed", String(on));
    };
    const show = () => {
      const score = scoreOf(place), yes = score >= threshold(), kind = isOwn(place) ? (yes ? "hit" : "miss") : yes ? "alarm" : "pass";
      const words = VERDICTS[kind];
      sign.textContent = SIGNS[kind];
      verdict.textContent = words;
      number.textContent = score.toFixed(3);
      bar.style.width = `${100 * score}%`;
      line.style.left = `${100 * threshold()}%`;
      element.className = `ptr-clip ${kind === "hit" || kind === "pass" ? "ptr-right" : "ptr-wrong"}`;
      element.dataset.verdict = kind;
      face();
      return kind;
    };
    return { element, show, face };
  });
  player.onchange(() => rows.forEach((row) => row.face()));
  let listed = [];

  // All of the keyword's own clips, and those of the others that come nearest to a false alarm; best score first.
  function settle() {
    const all = clips.map((_, place) => place).sort((a, b) => scoreOf(b) - scoreOf(a));
    const own = all.filter(isOwn), rest = all.filter((place) => !isOwn(place)).slice(0, LISTED - Math.min(own.length, LISTED / 2));
    const kept = new Set([...own.slice(-(LISTED - rest.length)), ...rest]);
    listed = all.filter((place) => kept.has(place));
    paint();
  }

  function paintClips() {
    const kinds = new Map(listed.map((place) => [place, rows[place].show()]));
    const number = (kind) => [...kinds.values()].filter((k) => k === kind).length;
    const held = document.activeElement;
    for (const [{ title, list }, wanted, words] of [
      [accepted, ["hit", "alarm"], () => `Accepted: ${plural(number("hit"), "true detection")}, ${plural(number("alarm"), "false alarm")}`],
      [rejected, ["miss", "pass"], () => `Rejected: ${plural(number("miss"), "false reject")}, ${number("pass")} rightly`],
    ]) {
      const here = listed.filter((place) => wanted.includes(kinds.get(place))).map((place) => rows[place].element);
      title.textContent = words();
      if (here.length !== list.children.length || here.some((row, i) => list.children[i] !== row)) list.replaceChildren(...here);
    }
    if (held && held !== document.activeElement && el.contains(held)) held.focus({ preventScroll: true });
  }

  // -- the chart
  function paintChart() {
    const keyword = keywords[chosen.keyword], width = Math.max(280, chart.clientWidth || 400), now = keyword.at(threshold());
    const box = { left: 52, right: width - 14, top: 26, bottom: HIGH - 44 };
    const floorX = 0.5 / Math.max(...keywords.map((k) => k.others)), floorY = 0.5 / Math.max(...keywords.map((k) => k.targets));
    const scale = (floor, low, high) => {
      if (!chosen.log) return linearScale(0, 1, low, high);
      const logarithmic = logScale(floor, 1, low, high);
      return (rate) => logarithmic(Math.max(rate, floor));
    };
    const toX = scale(floorX, box.left, box.right), toY = scale(floorY, box.bottom, box.top);
    const text = (x, y, words, more = {}) => draw("text", { x, y, fill: "var(--ptr-muted)", "font-size": 12, ...more }, words);
    // numbers that would touch their right neighbour, or the zero, are left out
    const ticksFrom = (floor, to, room) => {
      const all = chosen.log ? [0, ...logTicks(1.5 * floor, 1)] : [0, 0.25, 0.5, 0.75, 1], kept = [1];
      for (const rate of all.slice(1, -1).reverse())
        if (Math.abs(to(rate) - to(kept[0])) >= room && Math.abs(to(rate) - to(0)) >= room) kept.unshift(rate);
      return [0, ...kept];
    };
    const name = (rate) => `${Number((100 * rate).toPrecision(3))}`;
    const picture = draw("svg", { width, height: HIGH, viewBox: `0 0 ${width} ${HIGH}`, role: "img",
      "aria-label": `False rejects over false alarms of ${keyword.name}${chosen.log ? ", logarithmic axes" : ""}; the threshold ${threshold().toFixed(3)} is marked.` });
    for (const rate of ticksFrom(floorX, toX, 30)) picture.append(
      draw("path", { d: `M${toX(rate).toFixed(1)} ${box.top}V${box.bottom}`, stroke: "var(--ptr-grid)" }),
      text(toX(rate), box.bottom + 17, name(rate), { "text-anchor": rate === 1 ? "end" : "middle" }));
    for (const rate of ticksFrom(floorY, toY, 16)) picture.append(
      draw("path", { d: `M${box.left} ${toY(rate).toFixed(1)}H${box.right}`, stroke: "var(--ptr-grid)" }),
      text(box.left - 7, toY(rate) + 4, name(rate), { "text-anchor": "end" }));
    picture.append(
      draw("path", { d: `M${box.left} ${box.top}V${box.bottom}H${box.right}`, fill: "none", stroke: "var(--ptr-line)" }),
      text(2, 13, "false rejects in a hundred clips of it"),
      text(box.right, HIGH - 8, "false alarms in a hundred other clips", { "text-anchor": "end" }));
    const path = (points) => "M" + points.map(([alarm, miss]) => `${toX(alarm).toFixed(1)} ${toY(miss).toFixed(1)}`).join("L");
    if (chosen.average && keywords.length > 1) picture.append(
      draw("path", { d: path(average), fill: "none", stroke: "var(--ptr-muted)", "stroke-width": 2, "stroke-dasharray": "5 4", class: "ptr-average" }));
    const x = toX(now.alarm), y = toY(now.miss);
    picture.append(
      draw("path", { d: path(keyword.points), fill: "none", stroke: "var(--ptr-accent)", "stroke-width": 2.4, "stroke-linejoin": "round", class: "ptr-curve" }),
      draw("path", { d: `M${box.left} ${y.toFixed(1)}H${x.toFixed(1)}V${box.bottom}`, fill: "none", stroke: "var(--ptr-accent2)", "stroke-dasharray": "2 3", "stroke-width": 1.5 }),
      draw("path", { d: SHAPES.circle(x, y, 7), fill: "var(--ptr-accent2)", stroke: "var(--ptr-bg)", "stroke-width": 2, class: "ptr-point" }));
    chart.replaceChildren(picture);
  }

  function paint() {
    paintChart();
    paintClips();
    const keyword = keywords[chosen.keyword], now = keyword.at(threshold());
    spoken.say(`“${keyword.name}” at the threshold ${threshold().toFixed(3)}: ${now.missed} of its ${plural(keyword.targets, "clip")} are missed, ` +
      `a false-reject rate of ${figure(100 * now.miss)} %; ${now.alarms} of ${keyword.others} other clips raise a false alarm, ${figure(100 * now.alarm)} in a hundred. ` +
      `Area under its curve: ${figure(keyword.area)}` + (keywords.length > 1 ? `; averaged over the ${keywords.length} keywords: ${figure(averageArea)}.` : "."));
  }

  settle();
  let width = chart.clientWidth;
  const watcher = new ResizeObserver(() => { if (chart.clientWidth !== width) { width = chart.clientWidth; paintChart(); } });
  watcher.observe(chart);
  const end = () => { watcher.disconnect(); player.stop(); urls.forEach((url) => URL.revokeObjectURL(url)); };
  signal?.addEventListener("abort", end);
  return end;
}

export default { render };
