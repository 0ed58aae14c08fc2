// A canvas to draw a digit on: after each stroke the picture, as the data URL of a PNG, is this component's value.
const canvas = element.querySelector("canvas");
const pen = canvas.getContext("2d");
let pointer = null, last = null;

function wipe() {
  pen.fillStyle = "#fff";
  pen.fillRect(0, 0, canvas.width, canvas.height);
}

function place(event) {
  const box = canvas.getBoundingClientRect();
  return [(event.clientX - box.left) * canvas.width / box.width, (event.clientY - box.top) * canvas.height / box.height];
}

function draw(to) {
  pen.strokeStyle = "#000";
  pen.lineCap = pen.lineJoin = "round";
  pen.lineWidth = canvas.width / 14;
  pen.beginPath();
  pen.moveTo(...last);
  pen.lineTo(...to);
  pen.stroke();
  last = to;
}

function tell(value) {
  props.value = value;
  trigger("input");
}

canvas.addEventListener("pointerdown", (event) => {
  if (pointer !== null || event.button) return;
  event.preventDefault();
  pointer = event.pointerId;
  canvas.setPointerCapture(pointer);
  last = place(event);
  draw(last);
});
canvas.addEventListener("pointermove", (event) => {
  if (event.pointerId !== pointer) return;
  for (const one of event.getCoalescedEvents?.() ?? []) draw(place(one));
  draw(place(event));
});
for (const end of ["pointerup", "pointercancel"]) {
  canvas.addEventListener(end, (event) => {
    if (event.pointerId !== pointer) return;
    pointer = null;
    tell(canvas.toDataURL("image/png"));
  });
}
element.querySelector("button").addEventListener("click", () => { wipe(); tell(""); });
watch("value", () => { if (!props.value) wipe(); });  // whoever shows something else empties it
wipe();
