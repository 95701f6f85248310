/** Sampler and schedule; a schedule that the sampler cannot do is not offered. */
import { html } from "../html.js";
import { SelectField } from "../parts/controls.js";
import { valueOf } from "../state/form.js";
import { samplers } from "../state/server.js";

export function SamplerField() {
  const current = samplers.value.find((each) => each.name === valueOf("sampler"));
  const options = samplers.value.map((each) => ({ value: each.name, label: each.label }));
  const schedules = (current?.schedules ?? ["model"]).map((each) => ({ value: each, label: each.replaceAll("_", " ") }));
  return html`<div class="pair">
    <${SelectField} name="sampler" label="Sampler" options=${options} />
    <${SelectField} name="schedule" label="Schedule" options=${schedules} />
  </div>`;
}
