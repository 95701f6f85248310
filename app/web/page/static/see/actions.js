/** What can be done with a finished image. */
import { html } from "../html.js";
import { CopyButton } from "../parts/copy_button.js";
import { replay, state, takePicture } from "../state/form.js";

/** An image of a finished request, as a file. */
export class Finished {
  /**
   * @param {import("../types").Generated} generated
   * @param {number} index
   */
  constructor(generated, index) {
    const image = /** @type {import("../types").Generated["images"][number]} */ (generated.images[index]);
    this.generated = generated;
    this.seed = image.seed;
    this.mediaType = image.media_type;
    this.width = image.width;
    this.height = image.height;
    this.base64 = image.image;
  }

  get address() {
    return `data:${this.mediaType};base64,${this.base64}`;
  }

  get fileName() {
    return `${this.generated.model}-${this.seed}.${this.mediaType.replace("image/", "").replace("jpeg", "jpg")}`;
  }

  get file() {
    const bytes = Uint8Array.from(atob(this.base64), (character) => character.charCodeAt(0));
    return new File([bytes], this.fileName, { type: this.mediaType });
  }
}

/** @param {{image: Finished, onTaken?: () => void}} props */
export function Actions({ image, onTaken = () => {} }) {
  const taking = (/** @type {() => void} */ take) => () => {
    take();
    location.hash = "#create";
    onTaken();
  };
  const again = () => replay(image.generated.model, { .../** @type {any} */ (image.generated.parameters), seed: image.seed, n: 1 });
  return html`<div class="actions">
    <button type="button" onClick=${() => download(image.file)}>Download</button>
    <${CopyButton} text=${String(image.seed)} label="Copy seed" />
    <button type="button" onClick=${taking(() => state("seed", image.seed))}>Keep seed</button>
    <button type="button" onClick=${taking(() => takePicture(image.file))}>Edit this picture</button>
    <button type="button" onClick=${taking(again)}>Use its settings</button>
  </div>`;
}

/** @param {File} file */
function download(file) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(file);
  link.download = file.name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}
