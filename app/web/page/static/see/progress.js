/** A job on its way: its place, its load, its steps, its unfinished image. */
import { html } from "../html.js";
import { bytes, seconds } from "../parts/units.js";

const PHASES = /** @type {Record<string, string>} */ ({ download: "Downloading the model", read: "Reading the model from disk", place: "Placing the model on the device" });

/** @param {{job: import("../state/live_job.js").LiveJob}} props */
export function Progress({ job }) {
  const { label, share } = described(job);
  return html`<div class="progress">
    ${job.preview.value ? html`<img class="preview" src=${job.preview.value} alt="Preview of the unfinished image" />` : html`<div class="preview empty" aria-hidden="true"></div>`}
    <div class="progress-row">
      <div class=${`meter${share === null ? " unknown" : ""}`} role="progressbar" aria-label="Progress" aria-valuemin="0" aria-valuemax="100" aria-valuenow=${share === null ? undefined : Math.round(share * 100)}>
        <span style=${{ width: `${(share ?? 0) * 100}%` }}></span></div>
      <button type="button" onClick=${() => void job.cancel()}>Cancel</button>
    </div>
    <p class="progress-label" role="status">${job.lost.value ? "The server does not answer. The job goes on when it is back." : label}</p>
    ${job.restarts.value ? html`<p class="note warning">The server has restarted; the job began again.</p>` : null}
  </div>`;
}

/** @param {import("../state/live_job.js").LiveJob} job @returns {{label: string, share: number | null}} */
function described(job) {
  const [state, loading, total] = [job.state.value, job.loading.value, job.total.value];
  if (state === "loading" && loading) {
    const share = loading.total_nbytes ? loading.done_nbytes / loading.total_nbytes : null;
    return { label: `${PHASES[loading.phase] ?? "Loading"}: ${bytes(loading.done_nbytes)} of ${bytes(loading.total_nbytes)}`, share };
  }
  if (state === "running" && total) {
    const left = job.remainingS.value === null ? "" : `, ${seconds(job.remainingS.value)} left`;
    return { label: `Step ${job.done.value} of ${total}${left}`, share: job.done.value / total };
  }
  const place = job.position.value ? `Waiting: ${job.position.value} before it` : "Next in line";
  return { label: place, share: null };
}
