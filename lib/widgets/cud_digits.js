// Images on their way from noise to digit: every state was computed beforehand, the script only leafs through them.

// The state holds one block per (method, calls): states (samples, steps + 1, pixels), then as many clean estimates.
function blockReader(view, shape, samples) {
  const pixels = shape[0] * shape[1] * shape[2];
  return (block, kind, sample, step) => {
    const planes = samples * (block.steps + 1), plane = sample * (block.steps + 1) + step;
    const start = view.byteOffset + block.offset + (kind * planes + plane) * pixels;
    return new Uint8Array(view.buffer, start, pixels);
  };
}

function paintImage(canvas, values, [channels, height, width]) {
  const picture = new ImageData(width, height), size = width * height;
  for (let i = 0; i < size; i++) {
    for (let c = 0; c < 3; c++) picture.data[4 * i + c] = values[(channels === 3 ? c : 0) * size + i];
    picture.data[4 * i + 3] = 255;
  }
  canvas.getContext("2d").putImageData(picture, 0, 0);
}

// Mean absolute difference of two images, as a share of the range from black to white.
function difference(a, b) {
  let total = 0;
  for (let i = 0; i < a.length; i++) total += Math.abs(a[i] - b[i]);
  return total / a.length / 255;
}

function render({ model, el, signal }) {
  const methods = model.get("methods"), budgets = model.get("budgets"), blocks = model.get("blocks");
  const shape = model.get("shape"), samples = model.get("samples");
  const read = blockReader(model.get("pixels"), shape, samples);
  const chosen = { method: 0, other: methods.length > 1 ? 1 : -1, budget: model.get("start"), step: 0, guess: false };
  const blockOf = (method) => blocks[method][chosen.budget];
  chosen.step = blockOf(0).steps;

  // -- rows of canvases: one row for the method, one for the method beside it
  const row = () => {
    const title = make("h4", {});
    const cells = Array.from({ length: samples }, () => ["ptr-state", "ptr-guess"].map((kind) =>
      make("canvas", { class: kind, width: shape[2], height: shape[1], "aria-hidden": "true" })));
    const grid = make("div", { class: "ptr-cells", role: "img" }, ...cells.map((pair) => make("div", {}, ...pair)));
    return { title, cells, grid, element: make("div", {}, title, grid) };
  };
  const rows = [row(), row()];

  // -- controls
  const names = methods.map((name, i) => [String(i), name]);
  const methodBox = selectBox("Method", names, "0", (v) => change(() => { chosen.method = Number(v); }));
  const otherBox = selectBox("Beside it", [["-1", "nothing"], ...names], String(chosen.other), (v) => change(() => { chosen.other = Number(v); }));
  const budget = sliderBox("Network calls (NFE)", { min: 0, max: budgets.length - 1, value: chosen.budget, say: (i) => String(budgets[i]) },
    (i) => change(() => { player.halt(); chosen.budget = i; }));
  const step = sliderBox("Step", { min: 0, max: chosen.step, value: chosen.step, say: (n) => `${n} of ${blockOf(chosen.method).steps}`, ends: ["t = 1, noise", "t = 0, sample"] },
    (n) => { player.halt(); chosen.step = n; paint(); });
  const guess = checkBox("Clean estimate x − t·v", false, (on) => { chosen.guess = on; paint(); });
  let from = 0;
  const player = playButton({
    signal,
    start: () => { const last = blockOf(chosen.method).steps; from = chosen.step >= last ? 0 : chosen.step; spoken.quiet(true); },
    frame: (seconds) => {
      const last = blockOf(chosen.method).steps, pace = Math.max(2, last / 3);
      chosen.step = Math.min(last, from + Math.floor(seconds * pace));
      step.set(chosen.step);
      paint();
      return chosen.step < last;
    },
    stop: () => { spoken.quiet(false); paint(); },
  });
  const spoken = readOut();

  el.append(make("div", { class: "ptr ptr-root" }, make("div", { class: "ptr-stack" },
    make("div", { class: "ptr-bar" }, methodBox.element, methods.length > 1 ? otherBox.element : null, budget.element),
    make("div", { class: "ptr-bar" }, player.element, step.element, guess.element),
    make("div", { class: "ptr-rows" }, ...rows.map((r) => r.element)),
    spoken.element,
    make("p", { class: "ptr-note" }, "The same column starts from the same noise. Dashed frame: where one straight step from here would end."))));

  // Another method or budget, and then as far along the walk as before.
  function change(alter) {
    const share = chosen.step / blockOf(chosen.method).steps;
    alter();
    const last = blockOf(chosen.method).steps;
    chosen.step = Math.round(share * last);
    step.box.max = last;
    step.set(chosen.step);
    paint();
  }

  // The step of another method's walk that lies at the same time t.
  const stepOf = (method) => Math.round((chosen.step / blockOf(chosen.method).steps) * blockOf(method).steps);

  function paintRow(target, method) {
    target.element.hidden = method < 0;
    if (method < 0) return null;
    const block = blockOf(method), n = stepOf(method), t = 1 - n / block.steps;
    let left = 0;
    target.cells.forEach(([state, estimate], sample) => {
      paintImage(state, read(block, 0, sample, n), shape);
      estimate.hidden = !chosen.guess;
      if (chosen.guess) paintImage(estimate, read(block, 1, sample, n), shape);
      left += difference(read(block, 1, sample, n), read(block, 0, sample, block.steps)) / samples;
    });
    target.title.textContent = methods[method];
    target.grid.setAttribute("aria-label", `${plural(samples, "image")} of ${methods[method]} at time ${t.toFixed(2)}, after step ${n} of ${block.steps}.`);
    return { name: methods[method], t, left };
  }

  function paint() {
    const shown = [paintRow(rows[0], chosen.method), paintRow(rows[1], chosen.other)].filter(Boolean);
    const gaps = shown.map((s) => `${s.name} ${figure(100 * s.left, 2)} %`).join(", ");
    const last = blockOf(chosen.method).steps;
    spoken.say(`${plural(budgets[chosen.budget], "network call")}, step ${chosen.step} of ${last}, t = ${shown[0].t.toFixed(2)}. ` +
      (chosen.step === last
        ? `These are the samples of ${shown.map((s) => s.name).join(", and below them of ")}.`
        : `Distance of the clean estimate from the final sample, in per cent of the pixel range: ${gaps}.`));
  }

  paint();
  return player.halt;
}

export default { render };
