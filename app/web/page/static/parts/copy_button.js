/** Copies a text to the clipboard, and says so. */
import { useState } from "preact/hooks";
import { html } from "../html.js";

const SHOWN_MS = 1500;

/** @param {{text: string, label?: string}} props */
export function CopyButton({ text, label = "Copy" }) {
  const [copied, setCopied] = useState("");
  const onClick = async (/** @type {any} */ event) => {
    const done = await copy(text, event.currentTarget);
    setCopied(done ? "Copied" : "The browser forbids it");
    setTimeout(() => setCopied(""), SHOWN_MS);
  };
  return html`<button type="button" onClick=${onClick}>${copied || label}</button>`;
}

/**
 * Copy a text; tell whether it was. The clipboard's API exists on https and localhost alone.
 * @param {string} text
 * @param {HTMLElement} button
 */
async function copy(text, button) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text).then(() => true, () => false);
  const area = document.createElement("textarea");
  area.value = text;
  (button.closest("dialog") ?? document.body).append(area); // all outside of an open dialog is inert
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  button.focus();
  return done;
}
