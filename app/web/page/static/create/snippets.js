/** The request as code. Pure functions. */

/** @typedef {{url: string, body: Record<string, unknown>, pictures: string[], needsKey: boolean}} Request */

const KEY = "YOUR_KEY";

/** @param {Request} request */
export function curl({ url, body, pictures, needsKey }) {
  const key = needsKey ? ` \\\n  -H 'authorization: Bearer ${KEY}'` : "";
  const quoted = (/** @type {unknown} */ value) => `'${JSON.stringify(value).replaceAll("'", `'\\''`)}'`;
  const data = pictures.length
    ? `${pictures.map((each) => ` \\\n  -F ${each}=@${each}.png`).join("")} \\\n  --form-string parameters=${quoted(body)}`
    : ` \\\n  -H 'content-type: application/json' \\\n  -d ${quoted(body)}`;
  return `curl -X POST '${url}' \\\n  -H 'accept: application/json'${key}${data}`;
}

/** @param {Request} request */
export function python({ url, body, pictures, needsKey }) {
  const key = needsKey ? `, headers={"authorization": "Bearer ${KEY}"}` : "";
  const sent = pictures.length
    ? `data={"parameters": json.dumps(body)}, files={${pictures.map((each) => `"${each}": open("${each}.png", "rb")`).join(", ")}}`
    : "json=body";
  return `import base64
${pictures.length ? "import json\n" : ""}
import httpx

body = ${pythonLiteral(body)}
answer = httpx.post("${url}", ${sent}${key}, timeout=None).raise_for_status().json()
for image in answer["images"]:
    kind = image["media_type"].removeprefix("image/")
    with open(f"{image['seed']}.{kind}", "wb") as file:
        file.write(base64.b64decode(image["image"]))
`;
}

/** @param {Request} request */
export function javascript({ url, body, pictures, needsKey }) {
  const key = needsKey ? `"authorization": "Bearer ${KEY}"` : "";
  const json = JSON.stringify(body, null, 2);
  const sent = pictures.length
    ? `const form = new FormData();
form.append("parameters", JSON.stringify(body));
${pictures.map((each) => `form.append("${each}", ${each}); // a File`).join("\n")}
const answer = await fetch("${url}", { method: "POST", body: form${key ? `, headers: { ${key} }` : ""} });`
    : `const answer = await fetch("${url}", {
  method: "POST",
  headers: { "content-type": "application/json"${key ? `, ${key}` : ""} },
  body: JSON.stringify(body),
});`;
  return `const body = ${json};\n${sent}\nif (!answer.ok) throw new Error((await answer.json()).detail);\nconst { images } = await answer.json(); // base64\n`;
}

const WORDS = /** @type {Record<string, string>} */ ({ true: "True", false: "False", null: "None" });

/** JSON with the three words that Python spells otherwise; strings are matched as a whole, so theirs stay. @param {unknown} value */
function pythonLiteral(value) {
  return JSON.stringify(value, null, 4).replace(/"(?:[^"\\]|\\.)*"|true|false|null/g, (token) => WORDS[token] ?? token);
}
