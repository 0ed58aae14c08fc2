// A cloud of particles carried from noise (t = 1) to data (t = 0) by a small trained network that runs right here.

// ---- the network ------------------------------------------------------------------------------------------------

function half(bits) {
  const sign = bits & 0x8000 ? -1 : 1, exponent = (bits >> 10) & 31, fraction = bits & 1023;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

// Layout written by `pack_mlp`: uint16 [uses time, layers, inputs, outputs, inputs, outputs, ...], then for each layer
// the weight (outputs x inputs) and the bias as float16, all little-endian.
export function decodeMlp(view) {
  let at = 0;
  const word = () => { const value = view.getUint16(at, true); at += 2; return value; };
  const floats = (count) => Float32Array.from({ length: count }, () => half(word()));
  const usesTime = word() === 1;
  const sizes = Array.from({ length: word() }, () => [word(), word()]);
  const layers = sizes.map(([inputs, outputs]) => ({ inputs, outputs, weight: floats(inputs * outputs), bias: floats(outputs) }));
  return { usesTime, layers };
}

// output = input W^T + b for a batch in rows. Four rows at once: each weight is read once for all four.
function affine({ inputs, outputs, weight, bias }, input, batch) {
  const output = new Float32Array(batch * outputs);
  let row = 0;
  for (; row + 4 <= batch; row += 4) {
    const r0 = row * inputs, r1 = r0 + inputs, r2 = r1 + inputs, r3 = r2 + inputs;
    for (let o = 0; o < outputs; o++) {
      const w = o * inputs;
      let s0 = bias[o], s1 = s0, s2 = s0, s3 = s0;
      for (let i = 0; i < inputs; i++) {
        const k = weight[w + i];
        s0 += k * input[r0 + i]; s1 += k * input[r1 + i]; s2 += k * input[r2 + i]; s3 += k * input[r3 + i];
      }
      const at = row * outputs + o;
      output[at] = s0; output[at + outputs] = s1; output[at + 2 * outputs] = s2; output[at + 3 * outputs] = s3;
    }
  }
  for (; row < batch; row++)
    for (let o = 0; o < outputs; o++) {
      let sum = bias[o];
      for (let i = 0; i < inputs; i++) sum += weight[o * inputs + i] * input[row * inputs + i];
      output[row * outputs + o] = sum;
    }
  return output;
}

// v(x, t) for points [x0, y0, x1, y1, ...]: linear layers with SiLU between them, on the point with the time appended.
export function velocity(net, points, t) {
  const batch = points.length / 2;
  let values = points;
  if (net.usesTime) {
    values = new Float32Array(batch * 3);
    for (let i = 0; i < batch; i++) { values[3 * i] = points[2 * i]; values[3 * i + 1] = points[2 * i + 1]; values[3 * i + 2] = t; }
  }
  net.layers.forEach((layer, index) => {
    values = affine(layer, values, batch);
    if (index + 1 < net.layers.length)
      for (let i = 0; i < values.length; i++) values[i] /= 1 + Math.exp(-values[i]);
  });
  return values;
}

// ---- the solvers ------------------------------------------------------------------------------------------------

// x + sum of factor * vector
function combine(x, ...terms) {
  const out = Float32Array.from(x);
  for (const [factor, vector] of terms) for (let i = 0; i < out.length; i++) out[i] += factor * vector[i];
  return out;
}

// Each rule is a generator: it yields {x, t} where it needs a velocity, is sent that velocity, and returns the state
// at the end of the step. `memory` outlives the step, for rules that look back.
const RULES = {
  euler: {
    label: "Euler", calls: (n) => n, price: "1 call a step",
    *step(x, t, h) { return combine(x, [-h, yield { x, t }]); },
  },
  heun: {
    label: "Heun", calls: (n) => 2 * n - 1, price: "2 calls a step, 1 in the last",
    *step(x, t, h, memory, last) {
      const first = yield { x, t }, proposal = combine(x, [-h, first]);
      if (last) return proposal;
      return combine(x, [-h / 2, first], [-h / 2, yield { x: proposal, t: t - h }]);
    },
  },
  rk4: {
    label: "Runge–Kutta 4", calls: (n) => 4 * n, price: "4 calls a step",
    *step(x, t, h) {
      const k1 = yield { x, t };
      const k2 = yield { x: combine(x, [-h / 2, k1]), t: t - h / 2 };
      const k3 = yield { x: combine(x, [-h / 2, k2]), t: t - h / 2 };
      const k4 = yield { x: combine(x, [-h, k3]), t: t - h };
      return combine(x, [-h / 6, k1], [-h / 3, k2], [-h / 3, k3], [-h / 6, k4]);
    },
  },
  dpm_solver_2: {
    label: "DPM-Solver 2", calls: (n) => n, price: "1 call a step, uses the last two",
    *step(x, t, h, memory) {
      const now = yield { x, t }, before = memory.before;
      memory.before = now;
      return before ? combine(x, [-1.5 * h, now], [0.5 * h, before]) : combine(x, [-h, now]);
    },
  },
};

// Walk from t = 1 to t = 0 in `steps` equal steps; pauses after each network call. Returns {states, calls}.
export function* walk(net, noise, steps, solver) {
  const states = [noise], memory = {};
  let x = noise, calls = 0;
  for (let n = 0; n < steps; n++) {
    const rule = RULES[solver].step(x, 1 - n / steps, 1 / steps, memory, n === steps - 1);
    let move = rule.next();
    while (!move.done) {
      const v = velocity(net, move.value.x, move.value.t);
      calls += 1;
      yield;
      move = rule.next(v);
    }
    x = move.value;
    states.push(x);
  }
  return { states, calls };
}

// The same, in one go.
export function solve(net, noise, steps, solver) {
  const run = walk(net, noise, steps, solver);
  let move = run.next();
  while (!move.done) move = run.next();
  return move.value;
}

// ---- what the read-out measures ---------------------------------------------------------------------------------

// Sliced Wasserstein-2 distance of the points from the data, of which `quantiles` (directions x points) and `spread`
// tell all that is needed: see `data_quantiles`.
export function slicedDistance(points, quantiles, spread) {
  const count = points.length / 2, directions = quantiles.length / count, line = new Float64Array(count);
  let total = 0;
  for (let k = 0; k < directions; k++) {
    const cos = Math.cos((Math.PI * k) / directions), sin = Math.sin((Math.PI * k) / directions);
    for (let i = 0; i < count; i++) line[i] = cos * points[2 * i] + sin * points[2 * i + 1];
    line.sort();
    for (let i = 0; i < count; i++) total += (line[i] - quantiles[k * count + i]) ** 2;
  }
  return Math.sqrt(total / quantiles.length + spread);
}

export function meanGap(a, b) {
  let total = 0;
  for (let i = 0; i < a.length; i += 2) total += Math.hypot(a[i] - b[i], a[i + 1] - b[i + 1]);
  return (2 * total) / a.length;
}

// The cloud at time t: the solver's states lie at i / N, between them it moves on straight lines.
function stateAt(states, t) {
  const steps = states.length - 1, place = (1 - t) * steps, before = Math.min(Math.floor(place + 1e-9), steps - 1), part = place - before;
  return combine(states[before], [-part, states[before]], [part, states[before + 1]]);
}

// ---- the figure -------------------------------------------------------------------------------------------------

const SIDE = 480, FIELD = 15, REFERENCE_STEPS = 16, SLICE_MS = 10, PLAY_SECONDS = 3.5;

function render({ model, el, signal }) {
  const bytes = model.get("weights"), entries = model.get("models");
  const nets = entries.map((m) => decodeMlp(new DataView(bytes.buffer, bytes.byteOffset + m.offset, m.bytes)));
  const data = float32(model.get("data")), firstNoise = float32(model.get("noise"));
  const quantiles = float32(model.get("quantiles")), spread = model.get("spread");
  const limit = model.get("limit"), floor = model.get("floor");
  const toX = linearScale(-limit, limit, 0, SIDE), toY = linearScale(-limit, limit, SIDE, 0);

  const chosen = { model: 0, solver: "euler", steps: model.get("steps"), seed: 0, t: 0, field: false, paths: true };
  const clouds = new Map([[0, firstNoise]]), walks = new Map();
  const noise = () => {
    if (!clouds.has(chosen.seed)) clouds.set(chosen.seed, normalNumbers(firstNoise.length, chosen.seed));
    return clouds.get(chosen.seed);
  };

  // -- picture
  const layer = (attributes) => draw("path", { fill: "none", "stroke-linecap": "round", "stroke-linejoin": "round", ...attributes });
  const layers = {
    data: layer({ stroke: "var(--ptr-faint)", "stroke-width": 3, class: "ptr-data", d: dotsPath(data, toX, toY) }),
    field: layer({ stroke: "var(--ptr-muted)", "stroke-width": 1.3, class: "ptr-field-arrows" }),
    paths: layer({ stroke: "var(--ptr-accent)", "stroke-width": 1.1, "stroke-opacity": 0.42, class: "ptr-paths" }),
    nodes: layer({ stroke: "var(--ptr-accent)", "stroke-width": 3, "stroke-opacity": 0.6 }),
    rim: layer({ stroke: "var(--ptr-bg)", "stroke-width": 8 }),
    points: layer({ stroke: "var(--ptr-accent2)", "stroke-width": 5.6, class: "ptr-particles" }),
  };
  const clock = draw("text", { x: 14, y: 28, fill: "var(--ptr-ink)", "font-size": 19, class: "ptr-clock" });
  const picture = draw("svg", { viewBox: `0 0 ${SIDE} ${SIDE}`, role: "img" }, ...Object.values(layers), clock);

  // -- controls
  const methods = selectBox("Method", entries.map((m, i) => [String(i), m.name]), "0", (v) => { chosen.model = Number(v); update(); });
  const solvers = selectBox("Solver", Object.entries(RULES).map(([k, r]) => [k, r.label]), "euler", (v) => { chosen.solver = v; update(); });
  const steps = sliderBox("Steps N", { min: 1, max: 32, value: chosen.steps, say: (n) => String(n) }, (n) => { chosen.steps = n; update(); });
  const time = sliderBox("Time t", { min: 0, max: 1, step: 0.005, value: 1, say: (s) => (1 - s).toFixed(2), ends: ["t = 1, noise", "t = 0, data"] },
    (s) => { player.halt(); chosen.t = 1 - s; paint(); });
  const field = checkBox("Velocity field at t", false, (on) => { chosen.field = on; paint(); });
  const paths = checkBox("Paths", true, (on) => { chosen.paths = on; paint(); });
  const fresh = button("New noise", () => { chosen.seed += 1; update(); });
  let startedAt = 1;
  const player = playButton({
    signal,
    start: () => { if (chosen.t < 0.004) chosen.t = 1; startedAt = chosen.t; spoken.quiet(true); },
    frame: (seconds) => {
      chosen.t = Math.max(0, startedAt - seconds / PLAY_SECONDS);
      time.set(1 - chosen.t);
      paint();
      return chosen.t > 0;
    },
    stop: () => { spoken.quiet(false); paint(); },
  });

  // -- read-out
  const fact = (term, extra) => {
    const value = make("span", { class: "ptr-value" });
    return { value, element: make("div", {}, make("span", { class: "ptr-note" }, term), value, extra ? make("span", { class: "ptr-note" }, extra) : null) };
  };
  const facts = {
    nfe: fact("Network calls (NFE)"),
    distance: fact("Distance from the data", `sliced Wasserstein; fresh data: ${figure(floor)}`),
    error: fact("Solver error"),
    straight: fact("Straightness S of the field", "0 = straight paths"),
  };
  facts.error.element.append(make("span", { class: "ptr-note" }, "to where this model's exact paths end"));
  const spoken = readOut();

  const root = make("div", { class: "ptr ptr-root" }, make("div", { class: "ptr-stack" },
    make("div", { class: "ptr-bar" }, methods.element, solvers.element, steps.element, fresh),
    make("div", { class: "ptr-plane" }, picture, make("div", { class: "ptr-facts" }, ...Object.values(facts).map((f) => f.element))),
    make("div", { class: "ptr-bar" }, player.element, time.element, field.element, paths.element),
    spoken.element,
    make("p", { class: "ptr-note" }, "Grey: data. Filled dots: particles. Arrows show where the field pushes a particle. The network runs in your browser.")));
  el.append(root);

  // -- computing: a walk runs in slices between frames, so that the page stays responsive
  let ticket = 0;
  const keyOf = (net, solver, n, seed) => [net, solver, n, seed].join("/");
  const current = () => walks.get(keyOf(chosen.model, chosen.solver, chosen.steps, chosen.seed));
  const reference = () => walks.get(keyOf(chosen.model, "rk4", REFERENCE_STEPS, chosen.seed));

  function compute(solver, n, mine, done) {
    const key = keyOf(chosen.model, solver, n, chosen.seed);
    if (walks.has(key)) return done();
    const run = walk(nets[chosen.model], noise(), n, solver);
    const slice = () => {
      if (mine !== ticket || signal?.aborted) return;
      const until = performance.now() + SLICE_MS;
      let move;
      do move = run.next(); while (!move.done && performance.now() < until);
      if (!move.done) return setTimeout(slice);
      if (walks.size > 120) walks.delete(walks.keys().next().value);
      walks.set(key, move.value);
      done();
    };
    slice();
  }

  function update() {
    const mine = ++ticket;
    root.dataset.busy = "1";
    compute(chosen.solver, chosen.steps, mine, () => {
      paint();
      compute("rk4", REFERENCE_STEPS, mine, () => { delete root.dataset.busy; paint(); });
    });
  }

  // -- painting
  function paintField() {
    const grid = new Float32Array(FIELD * FIELD * 2);
    for (let i = 0; i < FIELD * FIELD; i++) {
      grid[2 * i] = limit * (2 * ((i % FIELD) + 0.5) / FIELD - 1);
      grid[2 * i + 1] = limit * (2 * (Math.floor(i / FIELD) + 0.5) / FIELD - 1);
    }
    const v = velocity(nets[chosen.model], grid, chosen.t), cell = SIDE / FIELD, parts = [];
    let longest = 1e-6;
    for (let i = 0; i < v.length; i += 2) longest = Math.max(longest, Math.hypot(v[i], v[i + 1]));
    for (let i = 0; i < v.length; i += 2) {
      // t falls while sampling, so a particle moves along -v; screen y points down
      const dx = (-v[i] / longest) * cell * 0.95, dy = (v[i + 1] / longest) * cell * 0.95;
      const x = toX(grid[i]) - dx / 2, y = toY(grid[i + 1]) - dy / 2, tip = `${(x + dx).toFixed(1)} ${(y + dy).toFixed(1)}`;
      const barb = (turn) => `${(x + dx - 0.32 * (dx * Math.cos(turn) - dy * Math.sin(turn))).toFixed(1)} ${(y + dy - 0.32 * (dx * Math.sin(turn) + dy * Math.cos(turn))).toFixed(1)}`;
      parts.push(`M${x.toFixed(1)} ${y.toFixed(1)}L${tip}M${barb(0.5)}L${tip}L${barb(-0.5)}`);
    }
    return parts.join("");
  }

  function paintPaths(states, now) {
    const done = Math.min(Math.floor((1 - chosen.t) * (states.length - 1) + 1e-9), states.length - 1);
    const trail = [], nodes = [];
    for (let i = 0; i < now.length; i += 2) {
      trail.push(`M${toX(states[0][i]).toFixed(1)} ${toY(states[0][i + 1]).toFixed(1)}`);
      for (let n = 1; n <= done; n++) {
        const corner = `${toX(states[n][i]).toFixed(1)} ${toY(states[n][i + 1]).toFixed(1)}`;
        trail.push(`L${corner}`);
        if (n < states.length - 1 && states.length <= 10) nodes.push(`M${corner}h0`);
      }
      trail.push(`L${toX(now[i]).toFixed(1)} ${toY(now[i + 1]).toFixed(1)}`);
    }
    return [trail.join(""), nodes.join("")];
  }

  function paint() {
    const result = current();
    if (!result) return;
    const now = stateAt(result.states, chosen.t), dots = dotsPath(now, toX, toY);
    layers.points.setAttribute("d", dots);
    layers.rim.setAttribute("d", dots);
    const [trail, nodes] = chosen.paths ? paintPaths(result.states, now) : ["", ""];
    layers.paths.setAttribute("d", trail);
    layers.nodes.setAttribute("d", nodes);
    layers.field.setAttribute("d", chosen.field ? paintField() : "");
    clock.textContent = `t = ${chosen.t.toFixed(2)}`;

    const entry = entries[chosen.model], exact = reference(), end = result.states.at(-1);
    const distance = (result.distance ??= slicedDistance(end, quantiles, spread));
    if (exact) result.error ??= meanGap(end, exact.states.at(-1));
    facts.nfe.value.replaceChildren(String(result.calls), " ", make("small", {}, RULES[chosen.solver].price));
    facts.distance.value.textContent = figure(distance);
    facts.error.value.textContent = exact ? figure(result.error) : "…";
    facts.straight.value.textContent = figure(entry.straightness);
    picture.setAttribute("aria-label",
      `${now.length / 2} particles at time ${chosen.t.toFixed(2)}, carried by ${entry.name} with ${RULES[chosen.solver].label} in ${plural(chosen.steps, "step")}.`);
    spoken.say(`${entry.name}, ${RULES[chosen.solver].label}, ${plural(chosen.steps, "step")}, ${plural(result.calls, "network call")}. ` +
      (chosen.t > 0 ? `At t = ${chosen.t.toFixed(2)} the particles are at a distance of ${figure(slicedDistance(now, quantiles, spread))} from the data; at the end of ${figure(distance)}`
        : `At the end, t = 0.00, the particles are at a distance of ${figure(distance)} from the data`) +
      (exact ? `, and of ${figure(result.error)} from where exact paths would end.` : "."));
  }

  update();
  return player.halt;
}

export default { render };
