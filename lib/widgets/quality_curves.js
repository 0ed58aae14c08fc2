// Quality against network calls, all methods of a data set, both axes logarithmic.

const HEIGHT = 360, NARROW = 560, LABEL = 16;

// Labels at the line ends must not overlap: push them apart from top to bottom, then back into the frame.
function spreadLabels(wanted, gap, bottom) {
  const order = wanted.map((y, i) => [y, i]).sort((a, b) => a[0] - b[0]), placed = [];
  let last = -Infinity;
  for (const [y, i] of order) { last = Math.max(y, last + gap); placed[i] = last; }
  let next = bottom;
  for (const [, i] of order.reverse()) { placed[i] = Math.min(placed[i], next); next = placed[i] - gap; }
  return placed;
}

function render({ model, el, signal }) {
  const records = model.get("records"), sets = model.get("datasets"), looks = model.get("marks");
  const lookOf = Object.fromEntries(looks.map((look) => [look.name, look]));
  const first = new Set(model.get("shown"));  // the others wait below
  const chosen = { set: 0, hidden: new Set(looks.map((look) => look.name).filter((name) => !first.has(name))), spread: model.get("has_spread"), at: 0 };
  const inSet = () => records.filter((r) => r.dataset === sets[chosen.set].name);
  const visible = () => inSet().filter((r) => !chosen.hidden.has(r.method));
  const budgets = () => [...new Set(inSet().flatMap((r) => r.nfe))].sort((a, b) => a - b);

  // -- controls
  const setBox = selectBox("Data set", sets.map((s, i) => [String(i), s.name]), "0", (v) => { chosen.set = Number(v); settle(); });
  const cursor = sliderBox("Read at NFE", { min: 0, max: 1, value: 0, say: (i) => String(budgets()[i] ?? "") }, (i) => { chosen.at = i; paint(); });
  const spread = checkBox("Spread over seeds", chosen.spread, (on) => { chosen.spread = on; paint(); });
  const legend = make("fieldset", { class: "ptr-legend-box" });
  const others = make("fieldset", { class: "ptr-legend-box", "aria-label": "More methods" }), title = make("summary");
  const allOthers = button("", () => tickAll());
  const more = make("details", { class: "ptr-more" }, title, others);
  const chart = make("div", { class: "ptr-chart" });
  const table = make("table", { class: "ptr-table" });
  const spoken = readOut();
  const root = make("div", { class: "ptr ptr-root" }, make("div", { class: "ptr-stack" },
    make("div", { class: "ptr-bar" }, sets.length > 1 ? setBox.element : null, cursor.element, model.get("has_spread") ? spread.element : null),
    legend, more, chart, spoken.element, table));
  el.append(root);

  function settle() {
    const count = budgets().length, wish = budgets().indexOf(4);
    cursor.box.max = count - 1;
    chosen.at = wish >= 0 ? wish : Math.min(chosen.at, count - 1);
    cursor.set(chosen.at);
    settleLegend();
    paint();
  }

  const waiting = () => inSet().filter((r) => !first.has(r.method));
  const allTicked = () => waiting().every((r) => !chosen.hidden.has(r.method));

  function settleLegend() {
    const boxOf = (r) => checkBox(r.method, !chosen.hidden.has(r.method), (on) => { tick(r, on); paint(); }, markIcon(lookOf[r.method])).element;
    legend.replaceChildren(make("legend", {}, "Methods"), ...inSet().filter((r) => first.has(r.method)).map(boxOf));
    others.replaceChildren(...waiting().map(boxOf), allOthers);
    title.textContent = plural(waiting().length, "more method");
    more.hidden = waiting().length === 0;
  }

  function tick({ method }, on) {
    if (on) chosen.hidden.delete(method); else chosen.hidden.add(method);
  }

  function tickAll() {
    const on = !allTicked();
    for (const r of waiting()) tick(r, on);
    for (const box of others.querySelectorAll("input")) box.checked = on;
    paint();
  }

  function paintChart() {
    const set = sets[chosen.set], shown = visible(), width = Math.max(280, chart.clientWidth || 640), narrow = width < NARROW;
    const height = narrow ? HEIGHT : Math.max(HEIGHT, 100 + LABEL * shown.length);  // a label for each line
    const all = inSet().flatMap((r) => [...r.value, ...(r.low ?? []), ...(r.high ?? [])]).concat(set.floor ?? []);
    const low = Math.min(...all) / 1.12, high = Math.max(...all) * 1.12, xs = budgets();
    const longest = Math.max(0, ...shown.map((r) => r.method.length));
    const box = { left: 52, right: width - (narrow ? 14 : Math.min(262, longest * 7.6 + 26)), top: set.floor == null ? 26 : 42, bottom: height - 46 };
    const one = xs.length === 1;
    const toX = one ? () => (box.left + box.right) / 2 : logScale(xs[0], xs.at(-1), box.left + 14, box.right - 14);
    const toY = logScale(low, high, box.bottom, box.top);
    const text = (x, y, words, more = {}) => draw("text", { x, y, fill: "var(--ptr-muted)", "font-size": 12, ...more }, words);
    const picture = draw("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img",
      "aria-label": `${set.unit} against network calls on ${set.name}, for ${plural(shown.length, "method")}; lower is better.` });

    for (const tick of logTicks(low, high)) picture.append(
      draw("path", { d: `M${box.left} ${toY(tick).toFixed(1)}H${box.right}`, stroke: "var(--ptr-grid)" }),
      text(box.left - 8, toY(tick) + 4, String(tick), { "text-anchor": "end" }));
    for (const x of xs) picture.append(
      draw("path", { d: `M${toX(x).toFixed(1)} ${box.bottom}v5`, stroke: "var(--ptr-line)" }),
      text(toX(x), box.bottom + 19, String(x), { "text-anchor": "middle" }));
    picture.append(
      draw("path", { d: `M${box.left} ${box.bottom}H${box.right}`, stroke: "var(--ptr-line)" }),
      text((box.left + box.right) / 2, height - 8, "network function evaluations (NFE)", { "text-anchor": "middle" }),
      text(2, 13, `${set.unit}: lower is better`));

    if (set.floor != null) picture.append(
      draw("path", { d: `M${box.left} ${toY(set.floor).toFixed(1)}H${box.right}`, stroke: "var(--ptr-ink)", "stroke-dasharray": "1 4", "stroke-linecap": "round", "stroke-width": 2, class: "ptr-floor" }),
      text(2, 30, `dotted line: data floor, ${figure(set.floor)}`));  // beside the line it would lie under the marks

    const at = toX(xs[chosen.at]);
    picture.append(draw("path", { d: `M${at.toFixed(1)} ${box.top}V${box.bottom}`, stroke: "var(--ptr-ink)", "stroke-opacity": 0.55, "stroke-width": 1.5, class: "ptr-cursor" }));

    for (const r of shown) {
      const look = lookOf[r.method], spot = (i) => [toX(r.nfe[i]), toY(r.value[i])];
      const group = draw("g", { class: "ptr-line" });
      if (chosen.spread && r.low && r.high) group.append(draw("path", { class: "ptr-spread", stroke: look.colour, "stroke-width": 1.6, "stroke-opacity": 0.75, fill: "none",
        d: r.nfe.map((n, i) => `M${(toX(n) - 4).toFixed(1)} ${toY(r.high[i]).toFixed(1)}h8m-4 0V${toY(r.low[i]).toFixed(1)}m-4 0h8`).join("") }));
      group.append(draw("path", { d: "M" + r.nfe.map((_, i) => spot(i).map((v) => v.toFixed(1)).join(" ")).join("L"), fill: "none", stroke: look.colour, "stroke-width": 2, "stroke-dasharray": look.dash || null }));
      r.nfe.forEach((n, i) => group.append(draw("path", { d: SHAPES[look.shape](...spot(i), i === r.nfe.indexOf(xs[chosen.at]) ? 6.5 : 4.3), fill: look.colour, stroke: "var(--ptr-bg)", "stroke-width": 0.8 })));
      picture.append(group);
    }
    if (!narrow) {
      const ends = shown.map((r) => toY(r.value.at(-1))), places = spreadLabels(ends, LABEL, box.bottom);
      shown.forEach((r, i) => {
        const x = toX(r.nfe.at(-1)) + 7;
        picture.append(
          draw("path", { d: `M${x} ${ends[i].toFixed(1)}L${box.right + 8} ${places[i].toFixed(1)}`, stroke: lookOf[r.method].colour, "stroke-opacity": 0.6, fill: "none" }),
          text(box.right + 12, places[i] + 4, r.method, { fill: lookOf[r.method].colour, "font-weight": 600, "font-size": 12.5 }));
      });
    }
    chart.replaceChildren(picture);
  }

  function paint() {
    paintChart();
    allOthers.textContent = allTicked() ? "Untick all of these" : "Tick all of these";
    const set = sets[chosen.set], nfe = budgets()[chosen.at];
    const ranked = visible().map((r) => ({ r, i: r.nfe.indexOf(nfe) })).filter(({ i }) => i >= 0)
      .sort((a, b) => a.r.value[a.i] - b.r.value[b.i]);
    const range = ({ r, i }) => (r.low && r.high ? `${figure(r.low[i])} – ${figure(r.high[i])}` : "–");
    const many = model.get("has_spread");
    table.replaceChildren(
      make("thead", {}, make("tr", {}, make("th", { scope: "col" }, `At ${plural(nfe, "call")}, best first`), make("th", { scope: "col" }, set.unit),
        many ? make("th", { scope: "col" }, "seeds, least – most") : null)),
      make("tbody", {}, ...ranked.map((entry) => make("tr", {},
        make("th", { scope: "row" }, markIcon(lookOf[entry.r.method], 18), entry.r.method), make("td", {}, figure(entry.r.value[entry.i])),
        many ? make("td", {}, range(entry)) : null))));
    const floor = set.floor == null ? "" : ` Fresh data reach ${figure(set.floor)}.`;
    if (!ranked.length) return spoken.say(`${set.name}: no method is ticked that was measured with ${plural(nfe, "network call")}.`);
    const [best, worst] = [ranked[0], ranked.at(-1)];
    spoken.say(`${set.name}, ${plural(nfe, "network call")}: best is ${best.r.method} with ${figure(best.r.value[best.i])}` +
      (ranked.length > 1 ? `, last of ${ranked.length} is ${worst.r.method} with ${figure(worst.r.value[worst.i])}.` : ".") + floor);
  }

  settle();
  let width = chart.clientWidth;
  const watcher = new ResizeObserver(() => { if (chart.clientWidth !== width) { width = chart.clientWidth; paintChart(); } });
  watcher.observe(chart);
  signal?.addEventListener("abort", () => watcher.disconnect());
  return () => watcher.disconnect();
}

export default { render };
