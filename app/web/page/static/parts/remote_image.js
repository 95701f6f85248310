/** An <img> whose address needs the key, fetched when it comes into view. */
import { useEffect, useRef, useState } from "preact/hooks";
import { imageAddress } from "../api/http.js";
import { html } from "../html.js";

/** @param {{path: string, alt: string, width?: number, class?: string}} props */
export function RemoteImage({ path, alt, class: className = "" }) {
  const [source, setSource] = useState("");
  const [failed, setFailed] = useState(false);
  const place = useRef(/** @type {HTMLDivElement | null} */ (null));
  useEffect(() => {
    const ending = new AbortController();
    let found = "";
    const observer = new IntersectionObserver(async ([entry]) => {
      if (!entry?.isIntersecting) return;
      observer.disconnect();
      try {
        found = await imageAddress(path, ending.signal);
        setSource(found);
      } catch {
        if (!ending.signal.aborted) setFailed(true);
      }
    }, { rootMargin: "400px" });
    if (place.current !== null) observer.observe(place.current);
    return () => {
      ending.abort();
      observer.disconnect();
      if (found) URL.revokeObjectURL(found);
    };
  }, [path]);
  return html`<div ref=${place} class=${`remote ${className}`}>
    ${source ? html`<img src=${source} alt=${alt} />` : failed ? html`<span class="gone">no longer kept</span>` : null}
  </div>`;
}
