/** Paints the mask over the picture: what is painted is made again. */
import { useEffect, useId, useRef, useState } from "preact/hooks";
import { html } from "../html.js";
import { dropMask, mask, takeMask } from "../state/mask.js";
import { drawFile, encodedMask, paint, pointOf, remember, wipe } from "./mask_pixels.js";

const LONGEST_PX = 2048;

/** @param {{source: string, name: string}} props */
export function MaskBrush({ source, name }) {
  const canvas = useRef(/** @type {HTMLCanvasElement | null} */ (null));
  const last = useRef(/** @type {import("./mask_pixels.js").Point | null} */ (null));
  const undo = useRef(/** @type {ImageData[]} */ ([]));
  const [size, setSize] = useState(/** @type {{width: number, height: number} | null} */ (null));
  const [percent, setPercent] = useState(12);
  const [erasing, setErasing] = useState(false);
  const [failure, setFailure] = useState("");
  const id = useId();

  const onLoad = (/** @type {any} */ event) => {
    const { naturalWidth: width, naturalHeight: height } = event.currentTarget;
    const scale = Math.min(1, LONGEST_PX / Math.max(width, height));
    setSize({ width: Math.max(1, Math.round(width * scale)), height: Math.max(1, Math.round(height * scale)) });
  };
  useEffect(() => {
    // The mask that was painted before another view was shown.
    if (canvas.current !== null && mask.value !== null) void drawFile(mask.value, canvas.current);
  }, [size]);
  const masked = mask.value !== null;
  useEffect(() => {
    if (!masked && canvas.current !== null && last.current === null) wipe(canvas.current);
  }, [masked]);
  const stroke = (/** @type {HTMLCanvasElement} */ on, /** @type {PointerEvent} */ event) => {
    const point = pointOf(event, on);
    paint(on, last.current ?? point, point, { width: (Math.max(on.width, on.height) * percent) / 100, erasing });
    last.current = point;
  };
  const onDown = (/** @type {PointerEvent} */ event) => {
    if (canvas.current === null || event.button !== 0) return;
    event.preventDefault();
    canvas.current.setPointerCapture(event.pointerId);
    remember(canvas.current, undo.current);
    stroke(canvas.current, event);
  };
  const onMove = (/** @type {PointerEvent} */ event) => {
    if (last.current !== null && canvas.current !== null) stroke(canvas.current, event);
  };
  const onUp = () => {
    if (last.current === null || canvas.current === null) return;
    last.current = null;
    takeMask(encodedMask(canvas.current));
  };
  const onUndo = () => {
    const before = undo.current.pop();
    if (!before || canvas.current === null) return;
    canvas.current.getContext("2d")?.putImageData(before, 0, 0);
    takeMask(encodedMask(canvas.current));
  };
  const onClear = () => {
    if (canvas.current === null) return;
    remember(canvas.current, undo.current);
    wipe(canvas.current);
    dropMask();
  };
  const onFile = async (/** @type {File | undefined} */ file) => {
    if (!file || canvas.current === null) return;
    remember(canvas.current, undo.current);
    try {
      await drawFile(file, canvas.current);
      setFailure("");
    } catch {
      setFailure(`The browser cannot read ${file.name} as a picture.`);
      undo.current.pop();
      return;
    }
    takeMask(encodedMask(canvas.current));
  };
  const onChange = (/** @type {any} */ event) => {
    void onFile(event.currentTarget.files?.[0]);
    event.currentTarget.value = ""; // or the same file could not be chosen again
  };
  const onDrop = (/** @type {DragEvent} */ event) => {
    event.preventDefault();
    event.stopPropagation(); // or the page would take it for another picture
    void onFile(event.dataTransfer?.files[0]);
  };

  return html`<div class="brush">
    <div class="brush-area" onDrop=${onDrop}>
      <img src=${source} alt=${`The picture ${name}`} onLoad=${onLoad} draggable=${false} />
      ${size
        ? html`<canvas ref=${canvas} width=${size.width} height=${size.height} role="img" aria-label="Mask: paint over what is to be made again"
            onPointerDown=${onDown} onPointerMove=${onMove} onPointerUp=${onUp} onPointerCancel=${onUp}></canvas>`
        : null}
    </div>
    <div class="brush-tools">
      <label for=${id}>Brush</label>
      <input id=${id} type="range" min="1" max="40" value=${percent} onInput=${(/** @type {any} */ event) => setPercent(event.currentTarget.valueAsNumber)} />
      <button type="button" aria-pressed=${erasing} onClick=${() => setErasing(!erasing)}>Eraser</button>
      <button type="button" onClick=${onUndo}>Undo</button>
      <button type="button" onClick=${onClear}>Clear</button>
      <label class="as-button">File<input class="file" type="file" accept="image/*" aria-label="Mask from a file" onChange=${onChange} /></label>
    </div>
    ${failure ? html`<p class="note error" role="alert">${failure}</p>` : null}
    <p class="hint">${masked ? "The painted part is made again; all other pixels stay." : "Paint over a part to change that part alone, or drop a mask here: white is changed."}</p>
  </div>`;
}
