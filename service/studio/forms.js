// The fields of the page, as far as the chosen model has a use for them.

const $ = (id) => document.getElementById(id);

const SAMPLE_PSI = 0.7; // nearer to the average than a draw, where the model has W

export function fill(select, values, preferred) {
  const unique = [...new Set(values)];
  select.replaceChildren(...unique.map((value) => new Option(value, value)));
  if (unique.includes(preferred)) select.value = preferred;
}

export function showModel(model) {
  const rows = model.num_layers;
  fill($("method"), ["auto", ...model.methods], "auto");
  showMethod(model);
  fill($("direction-method"), model.direction_methods, "sefa");
  $("layers").value = "all";
  $("layers").readOnly = !rows;
  $("layers-help").textContent = rows
    ? `Rows of W+, 0 to ${rows - 1}: all, 0-${Math.min(5, rows - 1)} or 1,3.`
    : "This model has no layers.";
  $("class-field").hidden = !model.num_classes;
  $("class").max = Math.max(0, model.num_classes - 1);
  $("class").value = 0;
}

/** Show the fields that the chosen method reads. */
export function showMethod(model) {
  const { space, steps } = Object.fromEntries(optionsOf(model).map((option) => [option.name, option]));
  const spaces = model.spaces.filter((name) => space?.choices.includes(name));
  fill($("space"), ["default", ...spaces], "default");
  $("space-field").hidden = !space;
  $("steps-field").hidden = !steps;
  $("steps").max = steps?.maximum ?? "";
}

function optionsOf(model) {
  const method = $("method").value === "auto" ? model.methods[0] : $("method").value;
  return model.options[method] ?? [];
}

/** Yield the fields of an inversion as pairs; what is left as it is has the method's default. */
export function* readOptions(model) {
  yield ["method", $("method").value];
  for (const { name } of optionsOf(model)) {
    if (name === "space" && $("space").value !== "default") yield ["space", $("space").value];
    if (name === "steps" && $("steps").value) yield ["steps", $("steps").value];
  }
}

/** Return the body that draws a latent by its seed. */
export function readSample(model) {
  return {
    model: model.name,
    seed: Number($("seed").value),
    ...(model.num_layers && { psi: SAMPLE_PSI }),
    ...(model.num_classes && { label: Number($("class").value) }),
  };
}
