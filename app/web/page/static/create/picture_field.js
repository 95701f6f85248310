/** The picture that the image begins from, and its mask: by a file, by a drop, from an earlier image. */
import { useEffect, useId, useState } from "preact/hooks";
import { html } from "../html.js";
import { SliderField } from "../parts/controls.js";
import { picture, state, stated, takePicture } from "../state/form.js";
import { mask } from "../state/mask.js";
import { MaskBrush } from "./mask_brush.js";

export const ACCEPTED = "image/png,image/jpeg,image/webp,image/avif,image/gif,image/bmp,image/tiff";

export function PictureField() {
  const id = useId();
  const [source, setSource] = useState("");
  const file = picture.value;
  useEffect(() => {
    if (file === null) return setSource("");
    const address = URL.createObjectURL(file);
    setSource(address);
    return () => URL.revokeObjectURL(address);
  }, [file]);
  return html`<fieldset class="picture">
    <legend>From a picture</legend>
    ${file === null
      ? html`<label class="drop" for=${id}>Drop a picture anywhere, or <span class="link">choose a file</span></label>`
      : html`<${Chosen} source=${source} file=${file} />`}
    <input id=${id} class="file" type="file" accept=${ACCEPTED} aria-label="Choose a picture" onChange=${(/** @type {any} */ event) => takeFile(event.currentTarget)} />
  </fieldset>`;
}

/** @param {HTMLInputElement} input */
function takeFile(input) {
  if (input.files?.[0]) takePicture(input.files[0]);
  input.value = "";
}

/** @param {{source: string, file: File}} props */
function Chosen({ source, file }) {
  const id = useId();
  return html`<div class="chosen-picture">
    ${source ? html`<${MaskBrush} key=${source} source=${source} name=${file.name} />` : null}
    <${SliderField} name="strength" label="Strength: how much changes" min=${0.05} max=${1} step=${0.05} />
    ${mask.value
      ? html`<${SliderField} name="mask_blur_px" label="Fade of the mask's border, pixels" min=${0} max=${64} step=${1} />
          <label class="check" for=${id}><input id=${id} type="checkbox" checked=${stated.value.mask_invert ?? false}
            onChange=${(/** @type {any} */ event) => state("mask_invert", event.currentTarget.checked || undefined)} /> Keep the painted part, change the rest</label>`
      : null}
    <button type="button" onClick=${() => takePicture(null)}>Remove the picture</button>
  </div>`;
}
