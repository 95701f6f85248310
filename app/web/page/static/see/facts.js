/** Facts and warnings of a finished request. */
import { html } from "../html.js";
import { TimingBar } from "./timing_bar.js";

const FOUND = { hot: "on the device", warm: "in RAM", cold: "on disk" };

/** @param {{generated: import("../types").Generated, seed: number}} props */
export function Facts({ generated, seed }) {
  const { parameters: made } = generated;
  const adapters = /** @type {{name: string, weight: number}[]} */ (/** @type {any} */ (made).adapters ?? []);
  const facts = /** @type {[string, string][]} */ ([
    ["Model", `${generated.model}, found ${FOUND[generated.residency]}`],
    ["Size", `${generated.images[0]?.width} × ${generated.images[0]?.height}`],
    ["Steps", `${made.num_inference_steps}, guidance ${made.guidance_scale}`],
    ["Sampler", made.schedule === "model" ? made.sampler : `${made.sampler}, ${made.schedule}`],
    ["Seed", String(seed)],
    ...adapters.map((each) => ["Adapter", `${each.name} at ${each.weight}`]),
    ...(generated.memory_savings.length ? [["To save memory", generated.memory_savings.join(", ")]] : []),
  ]);
  return html`<div class="facts">
    <p class="facts-prompt">${made.prompt || html`<em>no prompt</em>`}</p>
    ${generated.warnings.length ? html`<ul class="note warning">${generated.warnings.map((each) => html`<li key=${each}>${each}</li>`)}</ul>` : null}
    <dl>${facts.map(([name, value]) => html`<div key=${name + value}><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>
    <${TimingBar} timings=${generated.timings} />
  </div>`;
}
