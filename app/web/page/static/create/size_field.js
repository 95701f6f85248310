/** Width and height, with shapes that keep the number of pixels of the model. */
import { html } from "../html.js";
import { NumberField } from "../parts/controls.js";
import { defaults, modelDefaults, picture, state, valueOf } from "../state/form.js";
import { service } from "../state/server.js";

const MULTIPLE = 8;
const SHAPES = /** @type {const} */ ([["1:1", 1], ["4:3", 4 / 3], ["3:2", 3 / 2], ["16:9", 16 / 9], ["3:4", 3 / 4], ["2:3", 2 / 3], ["9:16", 9 / 16]]);

export function SizeField() {
  const limits = service.value?.limits;
  const unstated = picture.value === null ? "" : "as the picture";
  const [width, height] = [valueOf("width") ?? 1, valueOf("height") ?? 1];
  return html`<fieldset class="size">
    <legend>Size</legend>
    <div class="shapes" role="group" aria-label="Shape">
      ${SHAPES.map(([name, ratio]) => {
        const shape = shaped(ratio);
        const pressed = shape.width === width && shape.height === height;
        return html`<button key=${name} type="button" aria-pressed=${pressed} onClick=${() => take(shape)} title=${`${shape.width} × ${shape.height}`}>
          <span class="shape" style=${{ aspectRatio: String(ratio) }}></span>${name}</button>`;
      })}
    </div>
    <div class="pair">
      <${NumberField} name="width" label="Width" min=${limits?.min_side_px} max=${limits?.max_side_px} step=${MULTIPLE} otherwise=${unstated} />
      <${NumberField} name="height" label="Height" min=${limits?.min_side_px} max=${limits?.max_side_px} step=${MULTIPLE} otherwise=${unstated} />
    </div>
  </fieldset>`;
}

/** Size of a shape with about as many pixels as the model's own. @param {number} ratio */
function shaped(ratio) {
  const area = (modelDefaults.value.width ?? 1024) * (modelDefaults.value.height ?? 1024);
  const rounded = (/** @type {number} */ side) => Math.max(MULTIPLE, Math.round(side / MULTIPLE) * MULTIPLE);
  return { width: rounded(Math.sqrt(area * ratio)), height: rounded(Math.sqrt(area / ratio)) };
}

/** @param {{width: number, height: number}} size */
function take(size) {
  state("width", size.width === defaults.value.width ? undefined : size.width);
  state("height", size.height === defaults.value.height ? undefined : size.height);
}
