/** Asks for the API key, on servers that need one. */
import { signal } from "@preact/signals";
import { key, keyRefused, setKey } from "./api/http.js";
import { html } from "./html.js";
import { refresh, signOut } from "./state/server.js";

const typed = signal("");

export function SignIn() {
  const onSubmit = (/** @type {SubmitEvent} */ event) => {
    event.preventDefault();
    setKey(typed.value.trim());
    typed.value = "";
    void refresh();
  };
  return html`<section class="sign-in">
    <form onSubmit=${onSubmit}>
      <h2>This server needs a key</h2>
      <label for="key">API key</label>
      <input id="key" type="password" autocomplete="current-password" value=${typed.value} onInput=${(/** @type {any} */ event) => (typed.value = event.currentTarget.value)} />
      ${keyRefused.value ? html`<p class="note error" role="alert">The server does not know this key.</p>` : null}
      <button type="submit" class="primary" disabled=${!typed.value.trim()}>Sign in</button>
      <p class="hint">It is kept until this tab is closed. <code>litestar-diffusion keys add NAME</code> makes one.</p>
    </form>
  </section>`;
}

export function SignOut() {
  if (!key.value) return null;
  return html`<button type="button" class="quiet" onClick=${signOut}>Sign out</button>`;
}
