/** Two images over each other, with a slider between them. */
import { useState } from "preact/hooks";
import { html } from "../html.js";
import { Modal } from "../parts/modal.js";
import { RemoteImage } from "../parts/remote_image.js";

/** @param {{urls: string[], onClose: () => void}} props */
export function Compare({ urls, onClose }) {
  const [share, setShare] = useState(50);
  const [left = "", right = ""] = urls;
  return html`<${Modal} label="Compare two images" onClose=${onClose} class="compare">
    <div class="compare-area">
      <${RemoteImage} path=${right} alt="Second image" />
      <div class="compare-left" style=${{ clipPath: `inset(0 ${100 - share}% 0 0)` }}><${RemoteImage} path=${left} alt="First image" /></div>
      <span class="compare-line" style=${{ left: `${share}%` }} aria-hidden="true"></span>
    </div>
    <label class="unseen" for="compare-share">Share of the first image</label>
    <input id="compare-share" type="range" min="0" max="100" value=${share} onInput=${(/** @type {any} */ event) => setShare(event.currentTarget.valueAsNumber)} />
  <//>`;
}
