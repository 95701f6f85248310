/** Files that are dropped on the page, or pasted: a PNG of this server is replayed, any picture is edited. */
import { signal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { receiptOf } from "../api/receipt.js";
import { html } from "../html.js";
import { Modal } from "../parts/modal.js";
import { replay, takePicture } from "../state/form.js";
import { personal } from "../state/personal.js";

const hovering = signal(false);
/** A dropped file that can be replayed, until the person has said what to do with it. */
const offered = personal(/** @type {{file: File, receipt: import("../api/receipt.js").Receipt} | null} */ (null));

/** Take the first picture. @param {DataTransfer | null} transfer */
async function take(transfer) {
  const file = [...(transfer?.files ?? [])].find((each) => each.type.startsWith("image/"));
  if (!file) return;
  location.hash = "#create";
  const receipt = await receiptOf(file);
  if (receipt === null) takePicture(file);
  else offered.value = { file, receipt };
}

export function Drops() {
  useEffect(() => {
    const ending = new AbortController();
    const on = (/** @type {string} */ kind, /** @type {(event: any) => void} */ handle) => addEventListener(kind, handle, { signal: ending.signal });
    on("dragover", (event) => {
      hovering.value = hasFiles(event);
      if (hovering.value) event.preventDefault();
    });
    on("dragleave", (event) => {
      if (event.relatedTarget === null) hovering.value = false;
    });
    // First of all, because a place of its own may keep the event from going on.
    addEventListener("drop", () => (hovering.value = false), { signal: ending.signal, capture: true });
    on("drop", (event) => {
      if (!hasFiles(event)) return; // a text: the browser puts it where it was dropped
      event.preventDefault();
      void take(event.dataTransfer);
    });
    on("paste", (event) => void take(event.clipboardData));
    return () => ending.abort();
  }, []);
  return html`${hovering.value ? html`<div class="drop-here" aria-hidden="true">Drop it: a PNG of this server is made again, any picture is edited</div>` : null}
    ${offered.value ? html`<${Offer} ...${offered.value} />` : null}`;
}

/** @param {DragEvent} event */
const hasFiles = (event) => event.dataTransfer?.types.includes("Files") ?? false;

/** @param {{file: File, receipt: import("../api/receipt.js").Receipt}} props */
function Offer({ file, receipt }) {
  const close = () => (offered.value = null);
  const again = () => {
    replay(receipt.model, receipt.request);
    close();
  };
  const edit = () => {
    takePicture(file);
    close();
  };
  return html`<${Modal} label="A picture of this server" onClose=${close} class="offer">
    <p><strong>${file.name}</strong> says how it was made: ${receipt.model}, seed ${String(receipt.request.seed)}.</p>
    <p class="offer-prompt">${String(receipt.request.prompt ?? "")}</p>
    <div class="actions">
      <button type="button" class="primary" onClick=${again}>Use its settings</button>
      <button type="button" onClick=${edit}>Edit the picture</button>
    </div>
  <//>`;
}
