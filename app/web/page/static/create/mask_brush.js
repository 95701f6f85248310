/** Paints the mask over the picture: what is painted is made again. */
import { useEffect, useId, useRef, useState } from "preact/hooks";
import { html } from "../html.js";
import { mask } from "../state/form.js";

const LONGEST_PX = 2048;
const COLOUR = "rgb(255 60 90)";
const PAINTED = [255, 60, 90, 255];

/** @typedef {{x: number, y: number}} Point  in pixels of the canvas */

/** @param {{source: string, name: string}} props */
export function MaskBrush({ source, name }) {
  const canvas = useRef(/** @type {HTMLCanvasElement | null} */ (null));
  const last = useRef(/** @type {Point | null} */ (null));
  const undo = useRef(/** @type {ImageData[]} */ ([]));
  const [size, setSize] = useState(/** @type {{width: number, height: number} | null} */ (null));
  const [percent, setPercent] = useState(12);
  const [erasing, setErasing] = useState(false);
  const id = useId();

  const onLoad = (/** @type {any} */ event) => {
    const { naturalWidth: width, naturalHeight: height } = event.currentTarget;
    const scale = Math.min(1, LONGEST_PX / Math.max(width, height));
    setSize({ width: Math.round(width * scale), height: Math.round(height * scale) });
  };
  const stroke = (/** @type {Point} */ from, /** @type {Point} */ to) => {
    const context = canvas.current?.getContext("2d");
    if (!context || size === null) return;
    context.globalCompositeOperation = erasing ? "destination-out" : "source-over";
    context.strokeStyle = COLOUR;
    context.lineCap = context.lineJoin = "round";
    context.lineWidth = (Math.max(size.width, size.height) * percent) / 100;
    context.beginPath();
    context.moveTo(from.x, from.y);
    context.lineTo(to.x, to.y);
    context.stroke();
  };
  const onDown = (/** @type {PointerEvent} */ event) => {
    if (canvas.current === null || event.button !== 0) return;
    event.preventDefault();
    canvas.current.setPointerCapture(event.pointerId);
    remember(canvas.current, undo.current);
    last.current = pointOf(event, canvas.current);
    stroke(last.current, last.current);
  };
  const onMove = (/** @type {PointerEvent} */ event) => {
    if (last.current === null || canvas.current === null) return;
    const point = pointOf(event, canvas.current);
    stroke(last.current, point);
    last.current = point;
  };
  const onUp = () => {
    if (last.current === null) return;
    last.current = null;
    void publish(canvas.current);
  };
  const onUndo = () => {
    const before = undo.current.pop();
    if (before) canvas.current?.getContext("2d")?.putImageData(before, 0, 0);
    void publish(canvas.current);
  };
  const onClear = () => {
    if (canvas.current === null || size === null) return;
    remember(canvas.current, undo.current);
    canvas.current.getContext("2d")?.clearRect(0, 0, size.width, size.height);
    void publish(canvas.current);
  };
  const onFile = async (/** @type {File | undefined} */ file) => {
    if (!file || canvas.current === null) return;
    remember(canvas.current, undo.current);
    await drawFile(file, canvas.current);
    await publish(canvas.current);
  };
  const onDrop = (/** @type {DragEvent} */ event) => {
    event.preventDefault();
    event.stopPropagation(); // or the page would take it for another picture
    void onFile(event.dataTransfer?.files[0]);
  };
  useEffect(() => {
    if (mask.value === null) undo.current = [];
  }, [source]);

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
      <label class="as-button">File<input class="file" type="file" accept="image/*" aria-label="Mask from a file" onChange=${(/** @type {any} */ event) => void onFile(event.currentTarget.files?.[0])} /></label>
    </div>
    <p class="hint">${mask.value ? "The painted part is made again; all other pixels stay." : "Paint over a part to change that part alone, or drop a mask here: white is changed."}</p>
  </div>`;
}

/**
 * Paint what is white in a mask file.
 * @param {File} file
 * @param {HTMLCanvasElement} canvas
 */
async function drawFile(file, canvas) {
  const bitmap = await createImageBitmap(file);
  const { width, height } = canvas;
  const scratch = new OffscreenCanvas(width, height);
  const drawn = scratch.getContext("2d");
  if (!drawn) return;
  drawn.drawImage(bitmap, 0, 0, width, height);
  const pixels = drawn.getImageData(0, 0, width, height);
  for (let at = 0; at < pixels.data.length; at += 4) {
    const white = /** @type {number} */ (pixels.data[at]) > 127 && /** @type {number} */ (pixels.data[at + 3]) > 127;
    pixels.data.set(white ? PAINTED : [0, 0, 0, 0], at);
  }
  canvas.getContext("2d")?.putImageData(pixels, 0, 0);
}

const MOST_UNDOS = 12;

/**
 * @param {HTMLCanvasElement} canvas
 * @param {ImageData[]} undo
 */
function remember(canvas, undo) {
  const context = canvas.getContext("2d", { willReadFrequently: true });
  if (context) undo.push(context.getImageData(0, 0, canvas.width, canvas.height));
  if (undo.length > MOST_UNDOS) undo.shift();
}

/**
 * @param {PointerEvent} event
 * @param {HTMLCanvasElement} canvas
 * @returns {Point}
 */
function pointOf(event, canvas) {
  const box = canvas.getBoundingClientRect();
  return { x: ((event.clientX - box.left) / box.width) * canvas.width, y: ((event.clientY - box.top) / box.height) * canvas.height };
}

/** Make the mask from what is painted: white on black; none if nothing is. @param {HTMLCanvasElement | null} painted */
async function publish(painted) {
  const from = painted?.getContext("2d")?.getImageData(0, 0, painted.width, painted.height);
  if (!from || !painted) return;
  let any = false;
  for (let at = 0; at < from.data.length; at += 4) {
    const white = /** @type {number} */ (from.data[at + 3]) > 127 ? 255 : 0;
    any ||= white > 0;
    from.data[at] = from.data[at + 1] = from.data[at + 2] = white;
    from.data[at + 3] = 255;
  }
  if (!any) {
    mask.value = null;
    return;
  }
  const canvas = new OffscreenCanvas(painted.width, painted.height);
  canvas.getContext("2d")?.putImageData(from, 0, 0);
  mask.value = await canvas.convertToBlob({ type: "image/png" });
}
