// The page: a picture goes in, its latent code comes out, sliders edit it.

import { Problem, call, events, json, key, post } from "./api.js";
import { fill, readOptions, readSample, showMethod, showModel } from "./forms.js";
import { Latest } from "./latest.js";
import { download, openOnClick, showPicture } from "./pictures.js";
import { readWeights, resetSliders, showSliders } from "./sliders.js";

const $ = (id) => document.getElementById(id);
const state = { models: [], latent: null, job: null, following: null };
const edits = new Latest(renderEdit, show);

function model() {
  return state.models.find(({ name }) => name === $("model").value);
}

/** Run an action of the user; what goes wrong is shown, once. */
function attempt(action) {
  return async (event) => {
    event?.preventDefault();
    $("problem").hidden = true;
    try {
      await action(event);
    } catch (error) {
      show(error);
    }
  };
}

function show(error) {
  if (error.name === "AbortError") return;
  if (!(error instanceof Problem)) console.error(error);
  $("problem").textContent = error.message;
  $("problem").hidden = false;
}

// Models and directions

async function loadModels() {
  state.models = (await json("models")).models;
  fill($("model"), state.models.map(({ name }) => name), "portraits");
  await selectModel();
}

async function changeKey() {
  key.set($("key").value);
  if (!state.models.length) await loadModels();
}

async function selectModel() {
  forgetLatent();
  for (const id of ["target", "current"]) $(id).hidden = true;
  showModel(model());
  await loadDirections();
}

async function loadDirections() {
  const query = new URLSearchParams({
    model: model().name,
    method: $("direction-method").value,
    layers: $("layers").value,
    k: $("count").value,
  });
  const { directions } = await json(`directions?${query}`);
  showSliders($("sliders"), directions, () => edits.request());
  if (state.latent) edits.request();
}

// Inversion

function forgetLatent() {
  state.following?.abort();
  state.latent = null;
  $("metrics").hidden = true;
  enableEditing(false);
}

function enableEditing(enabled) {
  for (const id of ["sliders", "reset", "save-picture", "save-latent"]) $(id).disabled = !enabled;
}

async function invert(picture) {
  forgetLatent();
  resetSliders($("sliders"));
  showPicture($("target"), picture, "The picture to invert");
  $("current").hidden = true;
  const form = new FormData();
  form.append("image", picture, "picture");
  form.append("model", model().name);
  for (const [name, value] of readOptions(model())) form.append(name, value);
  const job = await json("invert", { method: "POST", body: form });
  await (job.status === "succeeded" ? finish(job) : follow(job));
}

async function follow(job) {
  state.job = job.id;
  state.following = new AbortController();
  const { signal } = state.following;
  $("progress").hidden = false;
  showProgress({ step: 0, steps: null });
  try {
    for (let last; ; ) {
      for await (const { id, event, data } of events(job.id, { signal, last })) {
        last = id ?? last;
        if (event === "progress") showProgress(JSON.parse(data));
        if (event === "preview") showPreview(JSON.parse(data));
        if (event === "terminal") return await finish(await json(`jobs/${job.id}`));
      }
      const now = await json(`jobs/${job.id}`, { signal }); // the stream was cut
      if (!["queued", "running"].includes(now.status)) return await finish(now);
    }
  } finally {
    if (state.job === job.id) $("progress").hidden = true;
  }
}

function showProgress({ step, steps, eta_s: eta }) {
  $("bar").value = steps ? step / steps : 0;
  const left = eta == null ? "" : `, ${Math.max(1, Math.round(eta))} s left`;
  $("step").textContent = steps ? `step ${step} of ${steps}${left}` : "waiting";
}

function showPreview({ media_type: type, images }) {
  const bytes = Uint8Array.from(atob(images[0]), (character) => character.charCodeAt(0));
  showPicture($("current"), new Blob([bytes], { type }), "What the latent code regenerates so far");
}

async function finish(job) {
  if (job.status === "failed") throw new Problem(job.error?.detail ?? "The inversion failed.");
  if (job.status !== "succeeded") throw new Problem(`The inversion was ${job.status}.`);
  await open(job.result.latents[0]);
}

async function open(latent) {
  state.latent = latent;
  enableEditing(true);
  showMetrics(latent.metrics);
  await edits.request();
}

function showMetrics(metrics) {
  $("metrics").hidden = !metrics;
  if (!metrics) return;
  const shown = {
    "PSNR": `${metrics.psnr.toFixed(1)} dB`,
    "SSIM": metrics.ssim.toFixed(3),
    [`LPIPS (${metrics.trunk})`]: metrics.lpips.toFixed(4),
    "MSE": metrics.mse.toFixed(5),
  };
  $("metrics").replaceChildren(...Object.entries(shown).map(([name, value]) => {
    const row = document.createElement("div");
    row.append(element("dt", name), element("dd", value));
    return row;
  }));
}

function element(tag, text) {
  const node = document.createElement(tag);
  node.textContent = text;
  return node;
}

// Edits

function edit(more, accept) {
  const body = { latent: state.latent.id, weights: readWeights($("sliders")), ...more };
  return call("edit", post(body, { Accept: accept }));
}

async function renderEdit() {
  const { latent } = state;
  if (!latent) return;
  const picture = await (await edit({}, "image/webp")).blob();
  if (state.latent === latent) showPicture($("current"), picture, "The picture with the edits of the sliders");
}

async function savePicture() {
  download(await (await edit({}, "image/png")).blob(), "picture.png");
}

async function saveLatent() {
  const saved = await (await edit({ save: true }, "application/json")).json();
  const answer = await call(`latents/${saved.latent}`, { headers: { Accept: "application/vnd.safetensors" } });
  download(await answer.blob(), "latent.safetensors");
}

// Ways in

async function sample() {
  forgetLatent();
  resetSliders($("sliders"));
  const latent = await json("latents", post(readSample(model())));
  const image = await call(`latents/${latent.id}/image`, { headers: { Accept: "image/webp" } });
  showPicture($("target"), await image.blob(), `The sample of seed ${$("seed").value}`);
  await open(latent);
}

async function example() {
  await invert(await (await fetch(new URL("sample.png", import.meta.url))).blob());
}

function choose() {
  const [picture] = $("file").files;
  $("file").value = ""; // so that the same file can be chosen again
  return picture && invert(picture);
}

function drop(event) {
  $("drop").classList.remove("over");
  const [picture] = event.dataTransfer.files;
  return picture && invert(picture);
}

$("key").value = key.get();
$("key").addEventListener("change", attempt(changeKey));
$("model").addEventListener("change", attempt(selectModel));
$("method").addEventListener("change", () => showMethod(model()));
$("file").addEventListener("change", attempt(choose));
$("drop").addEventListener("dragover", (event) => { event.preventDefault(); $("drop").classList.add("over"); });
$("drop").addEventListener("dragleave", () => $("drop").classList.remove("over"));
$("drop").addEventListener("drop", attempt(drop));
$("sample").addEventListener("submit", attempt(sample));
$("example").addEventListener("click", attempt(example));
$("find").addEventListener("submit", attempt(loadDirections));
$("cancel").addEventListener("click", attempt(() => call(`jobs/${state.job}`, { method: "DELETE" })));
$("reset").addEventListener("click", attempt(() => { resetSliders($("sliders")); return edits.request(); }));
$("direction-method").addEventListener("change", attempt(loadDirections));
for (const id of ["target", "current"]) openOnClick($(id), $("full"));
$("save-picture").addEventListener("click", attempt(savePicture));
$("save-latent").addEventListener("click", attempt(saveLatent));

attempt(loadModels)();
