/** The form on the left: everything that a request can say, and the button that sends it. */
import { html } from "../html.js";
import { NumberField, SelectField } from "../parts/controls.js";
import { ProblemNote } from "../parts/problem.js";
import { seconds } from "../parts/units.js";
import { forgetUnshown, prompt, remarks, reset, state, stated, unshown, valueOf } from "../state/form.js";
import { generate, refused, sending } from "../state/jobs.js";
import { estimatedS, plan, refusal } from "../state/plan.js";
import { connection, service } from "../state/server.js";
import { AdapterPicker } from "./adapter_picker.js";
import { CodePanel } from "./code_panel.js";
import { HiresField } from "./hires_field.js";
import { ModelField } from "./model_field.js";
import { PictureField } from "./picture_field.js";
import { Presets } from "./presets.js";
import { PromptField } from "./prompt_field.js";
import { SamplerField } from "./sampler_field.js";
import { SeedField } from "./seed_field.js";
import { SizeField } from "./size_field.js";

const FORMATS = ["png", "jpeg", "webp"].map((each) => ({ value: each, label: each.toUpperCase() }));

export function Composer() {
  const limits = service.value?.limits;
  const guided = (valueOf("guidance_scale") ?? 0) > 1;
  const onSubmit = (/** @type {SubmitEvent} */ event) => {
    event.preventDefault();
    void generate();
  };
  const onKeyDown = (/** @type {KeyboardEvent} */ event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      void generate();
    }
  };
  return html`<section class="composer" aria-label="Request" onKeyDown=${onKeyDown}>
    <form id="request" onSubmit=${onSubmit} noValidate>
      <${PromptField} field="prompt" label="Prompt" rows=${4} value=${prompt.value} placeholder="a red circle on a blue background" onValue=${(/** @type {string} */ text) => (prompt.value = text)} />
      <${PromptField} field="negative_prompt" label=${guided ? "Negative prompt" : "Negative prompt (acts with guidance above 1)"} rows=${2} value=${stated.value.negative_prompt ?? ""}
        onValue=${(/** @type {string} */ text) => state("negative_prompt", text || undefined)} />
      <${ModelField} />
      <${SizeField} />
      <div class="pair">
        <${NumberField} name="num_inference_steps" label="Steps" min=${1} max=${limits?.max_steps} />
        <${NumberField} name="guidance_scale" label="Guidance" min=${0} max=${100} step="any" />
      </div>
      <${SamplerField} />
      <div class="pair">
        <${SeedField} />
        <${NumberField} name="n" label="Images" min=${1} max=${limits?.max_n} />
      </div>
      <${AdapterPicker} />
    </form>
    <${PictureField} />
    <div class="rest">
      <${HiresField} />
      <${SelectField} name="output_format" label="Format" options=${FORMATS} />
      <${Unshown} />
      <${Presets} />
      <${CodePanel} />
    </div>
    <${Send} />
  </section>`;
}

/** Parameters of a receipt that have no control. */
function Unshown() {
  if (!unshown.value.length) return null;
  return html`<p class="unshown">Also stated: ${unshown.value.map((name) => html`<code key=${name}>${name}</code> `)}
    <button type="button" class="quiet" onClick=${forgetUnshown}>forget</button></p>`;
}

function Send() {
  const total = estimatedS();
  const before = plan.value?.requests_before ?? 0;
  const cost = [total === null ? null : `about ${seconds(total)}`, before ? `${before} before it` : null].filter(Boolean).join(", ");
  return html`<div class="send">
    <${ProblemNote} error=${refused.value} />
    ${remarks.value.length ? html`<div class="note warning" role="status">${remarks.value.map((each) => html`<p key=${each}>${each}</p>`)}</div>` : null}
    ${refusal.value && refusal.value !== refused.value ? html`<${ProblemNote} error=${refusal.value} calm />` : null}
    ${plan.value?.warnings.length && !refusal.value ? html`<div class="note warning" role="status"><ul>${plan.value.warnings.map((each) => html`<li key=${each}>${each}</li>`)}</ul></div>` : null}
    <div class="send-row">
      <button type="submit" form="request" class="primary" disabled=${sending.value || connection.value === "lost"}>
        <span>Generate</span><kbd>Ctrl ↵</kbd></button>
      <button type="button" onClick=${reset} title="All parameters back to the model's defaults">Reset</button>
    </div>
    <p class="hint cost">${cost || " "}</p>
  </div>`;
}
