/** The right side: the newest job, or the one that was chosen; and a strip of those before it. */
import { useState } from "preact/hooks";
import { html } from "../html.js";
import { plural } from "../parts/units.js";
import { chosen, jobs, shown } from "../state/jobs.js";
import { Actions, Finished } from "./actions.js";
import { Facts } from "./facts.js";
import { Progress } from "./progress.js";

export function Stage() {
  const job = shown.value;
  return html`<section class="stage" aria-label="Result" id="stage">
    <p class="unseen" role="status">${job === null ? "" : ending(job)}</p>
    ${job === null ? html`<${Empty} />` : html`<${Shown} key=${job.id} job=${job} />`}
    ${jobs.value.length > 1 ? html`<${Strip} />` : null}
  </section>`;
}

/** What screen readers say once a job is done. @param {import("../state/live_job.js").LiveJob} job */
function ending(job) {
  const count = job.result.value?.images.length ?? 0;
  return count ? `Done: ${plural(count, "image")} of ${job.prompt || "no prompt"}` : "";
}

function Empty() {
  return html`<div class="empty-stage">
    <svg viewBox="0 0 120 90" width="120" height="90" aria-hidden="true"><rect x="4" y="4" width="112" height="82" rx="10" fill="none" stroke="currentColor" stroke-width="2" stroke-dasharray="5 6"/><circle cx="60" cy="45" r="18" fill="none" stroke="currentColor" stroke-width="2" stroke-dasharray="5 6"/></svg>
    <p>Your images appear here.</p>
    <p class="hint">Write a prompt and press <kbd>Ctrl ↵</kbd>. Drop a PNG of this server anywhere to make it again.</p>
  </div>`;
}

/** @param {{job: import("../state/live_job.js").LiveJob}} props */
function Shown({ job }) {
  if (job.result.value) return html`<${Result} generated=${job.result.value} />`;
  if (!job.over.value) return html`<${Progress} job=${job} />`;
  if (job.state.value === "cancelled") return html`<div class="empty-stage" role="status"><p>Cancelled.</p></div>`;
  const { title, detail } = job.problem.value ?? { title: "The images are being fetched", detail: "" };
  return html`<div class=${job.problem.value ? "note error" : "empty-stage"} role=${job.problem.value ? "alert" : "status"}><strong>${title}</strong><p>${detail}</p></div>`;
}

/** @param {{generated: import("../types").Generated, onTaken?: () => void}} props */
export function Result({ generated, onTaken }) {
  const [index, setIndex] = useState(0);
  const images = generated.images.map((_, each) => new Finished(generated, each));
  const image = images[Math.min(index, images.length - 1)];
  if (!image) return null;
  return html`<article class="result">
    <img class="large" src=${image.address} width=${image.width} height=${image.height} alt=${`Image of: ${generated.parameters.prompt}, seed ${image.seed}`} />
    ${images.length > 1
      ? html`<div class="variants" role="group" aria-label="Images of this request">
          ${images.map((each, at) => html`<button key=${each.seed} type="button" aria-pressed=${at === index} onClick=${() => setIndex(at)} aria-label=${`Image with seed ${each.seed}`}><img src=${each.address} alt="" /></button>`)}
        </div>`
      : null}
    <${Actions} image=${image} onTaken=${onTaken} />
    <${Facts} generated=${generated} seed=${image.seed} />
  </article>`;
}

function Strip() {
  return html`<div class="strip" role="group" aria-label="Recent requests">
    ${jobs.value.map((job) => html`<${StripItem} key=${job.id} job=${job} />`)}
  </div>`;
}

/** @param {{job: import("../state/live_job.js").LiveJob}} props */
function StripItem({ job }) {
  const result = job.result.value;
  const source = result ? new Finished(result, 0).address : job.preview.value;
  return html`<button type="button" class=${`strip-item ${job.state.value}`} aria-pressed=${shown.value === job} title=${job.prompt}
      aria-label=${`${job.prompt || "no prompt"}: ${job.state.value}`} onClick=${() => (chosen.value = job)}>
    ${source ? html`<img src=${source} alt="" />` : html`<span class="strip-state">${job.state.value}</span>`}
  </button>`;
}
