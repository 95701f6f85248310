/** An error of the server, with everything that it says. */
import { ApiError } from "../api/http.js";
import { html } from "../html.js";

/** @param {{error: Error | null, calm?: boolean}} props */
export function ProblemNote({ error, calm = false }) {
  if (error === null) return null;
  const fields = error instanceof ApiError ? error.fields ?? [] : [];
  return html`<div class=${`note ${calm ? "warning" : "error"}`} role=${calm ? "status" : "alert"}>
    ${error instanceof ApiError ? html`<strong>${error.title}</strong>` : null}
    ${fields.length
      ? html`<ul>${fields.map((each) => html`<li><code>${each.field}</code> ${each.message}</li>`)}</ul>`
      : html`<p>${error.message}</p>`}
  </div>`;
}
