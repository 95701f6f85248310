/** The request as curl, Python and JavaScript, to be copied. */
import { useState } from "preact/hooks";
import { address, needsKey } from "../api/http.js";
import { html } from "../html.js";
import { CopyButton } from "../parts/copy_button.js";
import { body, model, picture } from "../state/form.js";
import { mask } from "../state/mask.js";
import { curl, javascript, python } from "./snippets.js";

const LANGUAGES = { curl, Python: python, JavaScript: javascript };

export function CodePanel() {
  const [language, setLanguage] = useState(/** @type {keyof typeof LANGUAGES} */ ("curl"));
  const pictures = [picture.value && "image", picture.value && mask.value && "mask"].filter((each) => typeof each === "string");
  const url = address(`generate/${encodeURIComponent(model.value)}`);
  const code = LANGUAGES[language]({ url, body: body.value, pictures, needsKey });
  return html`<details class="more">
    <summary>As code</summary>
    <div class="code-top">
      <div class="switch" role="group" aria-label="Language">
        ${Object.keys(LANGUAGES).map((each) => html`<button key=${each} type="button" aria-pressed=${each === language} onClick=${() => setLanguage(/** @type {any} */ (each))}>${each}</button>`)}
      </div>
      <${CopyButton} text=${code} />
    </div>
    <pre class="code" tabindex="0" aria-label=${`The request in ${language}`}>${code}</pre>
  </details>`;
}
