/** Pixels of the canvas that a mask is painted on. */
const COLOUR = "rgb(255 60 90)";
const PAINTED = [255, 60, 90, 255];
const MOST_UNDOS = 12;

/** @typedef {{x: number, y: number}} Point  in pixels of the canvas */

/**
 * Paint a line with round ends, which is a dot if both are the same.
 * @param {HTMLCanvasElement} canvas
 * @param {Point} from
 * @param {Point} to
 * @param {{width: number, erasing: boolean}} brush its width in pixels of the canvas
 */
export function paint(canvas, from, to, { width, erasing }) {
  const context = canvas.getContext("2d");
  if (!context) return;
  context.globalCompositeOperation = erasing ? "destination-out" : "source-over";
  context.strokeStyle = context.fillStyle = COLOUR;
  context.lineWidth = width;
  context.beginPath(); // a line of no length paints nothing, not even its ends
  context.arc(to.x, to.y, width / 2, 0, 2 * Math.PI);
  context.fill();
  context.lineCap = "round";
  context.beginPath();
  context.moveTo(from.x, from.y);
  context.lineTo(to.x, to.y);
  context.stroke();
}

/**
 * Paint what is white in a mask file.
 * @param {Blob} file
 * @param {HTMLCanvasElement} canvas
 */
export async function drawFile(file, canvas) {
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

/** @param {HTMLCanvasElement} canvas */
export const wipe = (canvas) => canvas.getContext("2d")?.clearRect(0, 0, canvas.width, canvas.height);

/**
 * @param {HTMLCanvasElement} canvas
 * @param {ImageData[]} undo
 */
export function remember(canvas, undo) {
  const context = canvas.getContext("2d", { willReadFrequently: true });
  if (context) undo.push(context.getImageData(0, 0, canvas.width, canvas.height));
  if (undo.length > MOST_UNDOS) undo.shift();
}

/**
 * @param {PointerEvent} event
 * @param {HTMLCanvasElement} canvas
 * @returns {Point}
 */
export function pointOf(event, canvas) {
  const box = canvas.getBoundingClientRect();
  return { x: ((event.clientX - box.left) / box.width) * canvas.width, y: ((event.clientY - box.top) / box.height) * canvas.height };
}

/** Make the mask from what is painted: white on black; null if nothing is. @param {HTMLCanvasElement} painted */
export async function encodedMask(painted) {
  const from = painted.getContext("2d")?.getImageData(0, 0, painted.width, painted.height);
  if (!from) return null;
  let any = false;
  for (let at = 0; at < from.data.length; at += 4) {
    const white = /** @type {number} */ (from.data[at + 3]) > 127 ? 255 : 0;
    any ||= white > 0;
    from.data[at] = from.data[at + 1] = from.data[at + 2] = white;
    from.data[at + 3] = 255;
  }
  if (!any) return null;
  const canvas = new OffscreenCanvas(painted.width, painted.height);
  canvas.getContext("2d")?.putImageData(from, 0, 0);
  return canvas.convertToBlob({ type: "image/png" });
}
