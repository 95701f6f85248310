/** Reads from a PNG how it was made: the text chunk that the server writes into each image. */
import { isRecord, isText } from "../state/parameters.js";

const SIGNATURE = [137, 80, 78, 71, 13, 10, 26, 10];
const KEYWORD = "litestar-diffusion";

/**
 * @typedef {object} Receipt
 * @property {string} model
 * @property {Record<string, unknown>} request as the file has it: not checked
 */

/**
 * Return the receipt of an image; null if it has none.
 * @param {Blob} file
 * @returns {Promise<Receipt | null>}
 */
export async function receiptOf(file) {
  const bytes = new Uint8Array(await file.arrayBuffer());
  if (SIGNATURE.some((byte, index) => bytes[index] !== byte)) return null;
  for (const [kind, data] of chunks(bytes)) {
    const text = kind === "tEXt" ? latin(data) : kind === "iTXt" ? international(data) : null;
    if (text?.keyword === KEYWORD) return parsed(text.text);
  }
  return null;
}

/**
 * Chunks of a PNG (https://www.w3.org/TR/png-3/#5Chunk-layout): length, type, data, checksum.
 * @param {Uint8Array} bytes
 * @returns {Generator<[string, Uint8Array]>}
 */
function* chunks(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  let at = SIGNATURE.length;
  while (at + 12 <= bytes.length) {
    const length = view.getUint32(at);
    yield [String.fromCharCode(...bytes.subarray(at + 4, at + 8)), bytes.subarray(at + 8, at + 8 + length)];
    at += 12 + length;
  }
}

/** @param {Uint8Array} data */
function latin(data) {
  const end = data.indexOf(0);
  const decode = (/** @type {Uint8Array} */ part) => new TextDecoder("latin1").decode(part);
  return { keyword: decode(data.subarray(0, end)), text: decode(data.subarray(end + 1)) };
}

/** Uncompressed, as the server writes it: keyword, 0, two bytes, language, 0, translated keyword, 0, text. @param {Uint8Array} data */
function international(data) {
  const keywordEnd = data.indexOf(0);
  const languageEnd = data.indexOf(0, keywordEnd + 3);
  const translatedEnd = data.indexOf(0, languageEnd + 1);
  const decode = (/** @type {Uint8Array} */ part) => new TextDecoder().decode(part);
  return { keyword: decode(data.subarray(0, keywordEnd)), text: decode(data.subarray(translatedEnd + 1)) };
}

/** @param {string} text @returns {Receipt | null} */
function parsed(text) {
  try {
    const { model, request } = JSON.parse(text);
    return isText(model) && isRecord(request) ? { model, request } : null;
  } catch {
    return null;
  }
}
