/** Choice of the model: where each one is now, and what a switch to it would cost. */
import { useId } from "preact/hooks";
import { html } from "../html.js";
import { chosenModel, model } from "../state/form.js";
import { plan } from "../state/plan.js";
import { models, usableModels } from "../state/server.js";
import { bytes, plural, seconds } from "../parts/units.js";

const PLACES = { device: "on the device", host: "in RAM", cold: "on disk" };
const FOUND = { hot: "device", warm: "host", cold: "cold" };

export function ModelField() {
  const id = useId();
  const current = models.value.find((each) => each.name === model.value);
  const missing = models.value.length && chosenModel.value !== model.value ? chosenModel.value : "";
  return html`<div class="field">
    <div class="field-top"><label for=${id}>Model</label></div>
    <select id=${id} value=${model.value} onChange=${(/** @type {any} */ event) => (chosenModel.value = event.currentTarget.value)}>
      ${usableModels.value.map(
        (each) => html`<option key=${each.name} value=${each.name} selected=${each.name === model.value}>
          ${each.name} · ${each.loading ? "loading" : PLACES[each.residency]}</option>`,
      )}
    </select>
    ${missing ? html`<p class="note warning" role="status">This server has no model ${missing}, or cannot use it: ${model.value || "none"} is used instead.</p>` : null}
    ${current ? html`<p class="hint"><span class=${`dot ${current.residency}`}></span> ${cost()}</p>` : null}
  </div>`;
}

/** What the request would cost before its first step. */
function cost() {
  if (plan.value === null || plan.value.model !== model.value) return "…";
  const { residency, memory, estimate, evictions, download } = plan.value;
  const place = PLACES[/** @type {"device"} */ (FOUND[residency])];
  const size = memory.weights_nbytes === null ? "" : `, ${bytes(memory.weights_nbytes)}`;
  if (residency === "hot") return `${place}${size}: no switch needed`;
  const time = estimate.load_s ? ` in about ${seconds(estimate.load_s)}` : "";
  const first = download ? "is downloaded first, then loads" : "loads";
  const out = evictions.length ? `; ${plural(evictions.length, "eviction")}: ${[...new Set(evictions.map((each) => each.model))].join(", ")}` : "";
  return `${place}${size}: ${first}${time}${out}`;
}
