/** Copies a text to the clipboard, and says so. */
import { useState } from "preact/hooks";
import { html } from "../html.js";

const SHOWN_MS = 1500;

/** @param {{text: string, label?: string}} props */
export function CopyButton({ text, label = "Copy" }) {
  const [copied, setCopied] = useState(false);
  const onClick = async () => {
    await copy(text);
    setCopied(true);
    setTimeout(() => setCopied(false), SHOWN_MS);
  };
  return html`<button type="button" onClick=${onClick}>${copied ? "Copied" : label}</button>`;
}

/** The clipboard's API exists on https and localhost alone. @param {string} text */
async function copy(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const area = document.createElement("textarea");
  area.value = text;
  document.body.append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
}
