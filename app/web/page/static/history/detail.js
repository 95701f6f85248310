/** One job of the history, with its images, facts and what can be done with them. */
import { useEffect, useState } from "preact/hooks";
import { getJson } from "../api/http.js";
import { html } from "../html.js";
import { Modal } from "../parts/modal.js";
import { Result } from "../see/stage.js";

/** @param {{job: import("../types").Job, onClose: () => void, onRemove: (job: import("../types").Job) => Promise<void>}} props */
export function Detail({ job, onClose, onRemove }) {
  const [result, setResult] = useState(/** @type {import("../types").JobResult | null} */ (null));
  const [failure, setFailure] = useState("");
  useEffect(() => {
    const ending = new AbortController();
    getJson(job.url, ending.signal).then(
      (found) => setResult(/** @type {any} */ (found)),
      (error) => ending.signal.aborted || setFailure(error.message),
    );
    return () => ending.abort();
  }, [job.url]);
  const onRemoveClick = () => onRemove(job).catch((error) => setFailure(error.message));
  return html`<${Modal} label="A finished job" onClose=${onClose} class="detail">
    ${failure ? html`<p class="note error" role="alert">${failure}</p>` : null}
    ${result?.result ? html`<${Result} generated=${result.result} onTaken=${onClose} />` : null}
    <p class="detail-end"><time datetime=${job.created}>${new Date(job.created).toLocaleString()}</time>
      <button type="button" onClick=${onRemoveClick}>Remove from the history</button></p>
  <//>`;
}
