// Draws one widget in a page that has no kernel. Python writes the element's id in place of WIDGET_ID.
const box = document.getElementById("WIDGET_ID");
const root = box.querySelector(".bw-root");
const spec = JSON.parse(box.querySelector("script[type='application/json']").textContent);

const state = { ...spec.state };
for (const [name, base64] of Object.entries(spec.bytes)) {
  const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  state[name] = new DataView(bytes.buffer); // what a live widget hands over for bytes, too
}

// The part of the kernel's model that a figure needs: get, set, and being told of a change.
const listeners = new Map();
const announce = (event) => [...(listeners.get(event) ?? [])].forEach((listener) => listener());
const model = {
  get: (name) => state[name],
  set(name, value) {
    if (Object.is(state[name], value)) return;
    state[name] = value;
    announce(`change:${name}`);
    announce("change");
  },
  on(events, listener) {
    for (const event of events.split(/\s+/)) {
      if (!listeners.has(event)) listeners.set(event, new Set());
      listeners.get(event).add(listener);
    }
  },
  off(events, listener) {
    for (const event of events ? events.split(/\s+/) : [...listeners.keys()]) {
      if (listener) listeners.get(event)?.delete(listener);
      else listeners.delete(event);
    }
  },
  save_changes() {},
  send() {},
};

const still = [...root.childNodes];
try {
  const address = URL.createObjectURL(new Blob([spec.esm], { type: "text/javascript" }));
  const exported = (await import(address)).default;
  URL.revokeObjectURL(address);
  const widget = typeof exported === "function" ? await exported() : exported;
  const signal = new AbortController().signal;
  await widget.initialize?.({ model, signal });
  root.replaceChildren();
  await widget.render({ model, el: root, signal });
  box.dataset.ready = "1";
} catch (error) {
  root.replaceChildren(...still); // the still picture is better than half a figure
  box.dataset.ready = "failed";
  throw error;
}
