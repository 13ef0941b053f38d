// One slider per direction, over the range in which pictures stay sane.

export function showSliders(fieldset, directions, changed) {
  const kept = new Map([...sliders(fieldset)].map((input) => [input.name, input.value]));
  fieldset.querySelectorAll(".slider").forEach((row) => row.remove());
  for (const direction of directions) fieldset.append(row(direction, kept.get(direction.id), changed));
}

function row(direction, value, changed) {
  const [low, high] = direction.range;
  const input = Object.assign(document.createElement("input"), {
    type: "range", id: `weight-${direction.id}`, name: direction.id, min: low, max: high, step: "any",
  });
  input.value = value ?? 0;
  const label = Object.assign(document.createElement("label"), {
    htmlFor: input.id, textContent: direction.name ?? `Direction ${direction.index + 1}`, title: direction.id,
  });
  const output = document.createElement("output");
  output.htmlFor = input.id;
  const write = () => { output.textContent = Number(input.value).toFixed(2); };
  input.addEventListener("input", () => { write(); changed(); });
  input.addEventListener("reset", write);
  input.addEventListener("dblclick", () => { input.value = 0; write(); changed(); });
  input.addEventListener("keydown", (event) => step(event, input, (high - low) / 40));
  write();
  const div = Object.assign(document.createElement("div"), { className: "slider" });
  div.append(label, output, input);
  return div;
}

/** Arrow keys move by a fortieth of the range, Home to 0: step="any" alone would move by 1. */
function step(event, input, size) {
  const moves = { ArrowRight: size, ArrowUp: size, ArrowLeft: -size, ArrowDown: -size };
  if (event.key === "Home") input.value = 0;
  else if (event.key in moves) input.value = Number(input.value) + moves[event.key];
  else return;
  event.preventDefault();
  input.dispatchEvent(new Event("input"));
}

function sliders(fieldset) {
  return fieldset.querySelectorAll("input[type=range]");
}

export function resetSliders(fieldset) {
  for (const input of sliders(fieldset)) {
    input.value = 0;
    input.dispatchEvent(new Event("reset"));
  }
}

/** Return the weights that are not 0, by direction id. */
export function readWeights(fieldset) {
  const moved = [...sliders(fieldset)].filter((input) => Number(input.value) !== 0);
  return Object.fromEntries(moved.map((input) => [input.name, Number(input.value)]));
}
