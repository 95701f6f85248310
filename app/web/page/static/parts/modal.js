/** A dialog over the page: the browser's own, which keeps the focus inside and closes by Escape. */
import { useEffect, useRef } from "preact/hooks";
import { html } from "../html.js";

/** @param {{label: string, onClose: () => void, class?: string, children?: any}} props */
export function Modal({ label, onClose, class: className = "", children }) {
  const dialog = useRef(/** @type {HTMLDialogElement | null} */ (null));
  useEffect(() => {
    dialog.current?.showModal();
  }, []);
  const onClick = (/** @type {any} */ event) => {
    if (event.target === dialog.current) onClose();
  };
  return html`<dialog ref=${dialog} class=${className} aria-label=${label} onClose=${onClose} onClick=${onClick}>
    <div class="dialog-body">
      <button type="button" class="quiet close" onClick=${onClose} aria-label="Close">×</button>
      ${children}
    </div>
  </dialog>`;
}
