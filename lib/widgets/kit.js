// Shared by all widgets; put as text before each widget's own script. No import: a figure must run from a blob.

// ---- elements ---------------------------------------------------------------------------------------------------

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value != null) node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child != null));
  return node;
}

function make(tag, attributes, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

function draw(tag, attributes, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

let kitCounter = 0;
const freshId = (stem) => `ptr-${stem}-${++kitCounter}-${Math.random().toString(36).slice(2, 7)}`;

// ---- native controls with labels --------------------------------------------------------------------------------

function selectBox(label, options, value, onchange) {
  const box = make("select", { "aria-label": label, onchange: () => onchange(box.value) },
    ...options.map(([key, text]) => make("option", { value: key, selected: key === value }, text)));
  return { element: make("label", { class: "ptr-field ptr-pick" }, make("span", {}, label), box), box };
}

// `say(value)` is shown beside the label and read aloud by screen readers.
function sliderBox(label, { min, max, step = 1, value, say, ends }, oninput) {
  const shown = make("output", {});
  const box = make("input", { type: "range", min, max, step, value, "aria-label": label });
  const refresh = () => {
    const text = say(Number(box.value));
    shown.textContent = text;
    box.setAttribute("aria-valuetext", text);
  };
  box.addEventListener("input", () => { refresh(); oninput(Number(box.value)); });
  refresh();
  const set = (next) => { box.value = next; refresh(); };
  const element = make("label", { class: "ptr-field ptr-wide" },
    make("span", {}, `${label}: `, shown), box,
    ends ? make("span", { class: "ptr-ends", "aria-hidden": "true" }, make("span", {}, ends[0]), make("span", {}, ends[1])) : null);
  return { element, box, set, refresh };
}

function checkBox(label, checked, onchange, icon) {
  const box = make("input", { type: "checkbox", checked, onchange: () => onchange(box.checked) });
  return { element: make("label", { class: "ptr-check" }, box, icon, make("span", {}, label)), box };
}

const button = (label, onclick, extra = {}) => make("button", { type: "button", onclick, ...extra }, label);

// Play and pause: `frame(seconds since the start)` returns false when it has arrived.
function playButton({ start, frame, stop, signal }) {
  let handle = 0;
  const face = (playing) => {
    element.textContent = playing ? "❚❚ Pause" : "▶ Play";
    element.setAttribute("aria-label", playing ? "Pause" : "Play");
  };
  const halt = () => { if (handle) { cancelAnimationFrame(handle); handle = 0; face(false); stop?.(); } };
  const go = () => {
    start();
    face(true);
    let began = null;
    const tick = (now) => {
      began ??= now;
      if (frame((now - began) / 1000)) handle = requestAnimationFrame(tick);
      else halt();
    };
    handle = requestAnimationFrame(tick);
  };
  const element = button("", () => (handle ? halt() : go()), { class: "ptr-play" });
  face(false);
  signal?.addEventListener("abort", halt);
  return { element, halt };
}

// ---- text -------------------------------------------------------------------------------------------------------

// Significant digits without an exponent for the sizes met here: 0.0731, 12.4, 1798.
function figure(value, digits = 3) {
  if (value == null || !Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  if (size >= 10 ** digits) return Math.round(value).toString();
  const decimals = size === 0 ? 0 : Math.max(0, digits - 1 - Math.floor(Math.log10(size)));
  return value.toFixed(Math.min(decimals, 5));
}

const plural = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;

// A polite live region. While something plays it keeps still, so that a screen reader is not flooded.
function readOut() {
  const element = make("p", { class: "ptr-readout", "aria-live": "polite" });
  return {
    element,
    say: (text) => { if (element.textContent !== text) element.textContent = text; },
    quiet: (yes) => element.setAttribute("aria-live", yes ? "off" : "polite"),
  };
}

// ---- scales and marks -------------------------------------------------------------------------------------------

function linearScale(from, to, low, high) {
  return (value) => low + ((value - from) / (to - from)) * (high - low);
}

function logScale(from, to, low, high) {
  const a = Math.log(from), b = Math.log(to);
  return (value) => low + ((Math.log(value) - a) / (b - a)) * (high - low);
}

// 1, 2, 5, 10 ... within [low, high]; only the tens where that would be crowded.
function logTicks(low, high) {
  const ticks = [];
  for (let e = Math.floor(Math.log10(low)); e <= Math.ceil(Math.log10(high)); e++)
    for (const m of [1, 2, 5]) ticks.push(Number((m * 10 ** e).toPrecision(1)));
  const inside = ticks.filter((t) => t >= low * 0.999 && t <= high * 1.001);
  return inside.length <= 9 ? inside : inside.filter((t) => Number.isInteger(Math.round(Math.log10(t) * 1e6) / 1e6));
}

// Round dots as one path: a stroke of no length with round ends is a disc.
function dotsPath(points, toX, toY) {
  const parts = [];
  for (let i = 0; i < points.length; i += 2) parts.push(`M${toX(points[i]).toFixed(1)} ${toY(points[i + 1]).toFixed(1)}h0`);
  return parts.join("");
}

function polygon(corners, x, y, radius, turn = -90, inner = null) {
  const count = inner ? corners * 2 : corners;
  const at = (i) => {
    const angle = ((turn + (360 / count) * i) * Math.PI) / 180, r = inner && i % 2 ? radius * inner : radius;
    return `${(x + r * Math.cos(angle)).toFixed(1)} ${(y + r * Math.sin(angle)).toFixed(1)}`;
  };
  return `M${Array.from({ length: count }, (_, i) => at(i)).join("L")}Z`;
}

function cross(x, y, radius, turn) {
  const a = radius, b = radius * 0.36, angle = (turn * Math.PI) / 180;
  const corners = [[-b, -a], [b, -a], [b, -b], [a, -b], [a, b], [b, b], [b, a], [-b, a], [-b, b], [-a, b], [-a, -b], [-b, -b]];
  const spun = corners.map(([u, v]) => `${(x + u * Math.cos(angle) - v * Math.sin(angle)).toFixed(1)} ${(y + u * Math.sin(angle) + v * Math.cos(angle)).toFixed(1)}`);
  return `M${spun.join("L")}Z`;
}

const SHAPES = {
  circle: (x, y, r) => polygon(20, x, y, r),
  square: (x, y, r) => polygon(4, x, y, r * 1.2, 45),
  triangle: (x, y, r) => polygon(3, x, y, r * 1.3),
  diamond: (x, y, r) => polygon(4, x, y, r * 1.3),
  "triangle-down": (x, y, r) => polygon(3, x, y, r * 1.3, 90),
  plus: (x, y, r) => cross(x, y, r * 1.15, 0),
  cross: (x, y, r) => cross(x, y, r * 1.15, 45),
  star: (x, y, r) => polygon(5, x, y, r * 1.4, -90, 0.45),
  pentagon: (x, y, r) => polygon(5, x, y, r * 1.15),
  hexagon: (x, y, r) => polygon(6, x, y, r * 1.15),
};

// A short line with its marker, for legends and tables.
function markIcon(mark, width = 26) {
  return draw("svg", { width, height: 14, viewBox: `0 0 ${width} 14`, "aria-hidden": "true" },
    draw("path", { d: `M0 7H${width}`, stroke: mark.colour, "stroke-width": 2, "stroke-dasharray": mark.dash || null }),
    draw("path", { d: SHAPES[mark.shape](width / 2, 7, 4), fill: mark.colour }));
}

// ---- numbers ----------------------------------------------------------------------------------------------------

// Standard normal numbers from a seed (mulberry32 and Box-Muller): the same in every browser.
function normalNumbers(count, seed) {
  let state = (seed * 2654435761 + 1013904223) >>> 0;
  const uniform = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let z = state;
    z = Math.imul(z ^ (z >>> 15), z | 1);
    z ^= z + Math.imul(z ^ (z >>> 7), z | 61);
    return ((z ^ (z >>> 14)) >>> 0) / 4294967296;
  };
  const out = new Float32Array(count);
  for (let i = 0; i < count; i += 2) {
    const radius = Math.sqrt(-2 * Math.log(1 - uniform())), angle = 2 * Math.PI * uniform();
    out[i] = radius * Math.cos(angle);
    if (i + 1 < count) out[i + 1] = radius * Math.sin(angle);
  }
  return out;
}

// Python's bytes arrive as a DataView; float32 arrays must start on a multiple of four, hence the copy.
const float32 = (view) => new Float32Array(view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength));
