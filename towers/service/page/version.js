/** Which version is served, and a notice when it has changed under the page or the server has gone. */

import { fetched, forget } from "./api.js";
import { element } from "./dom.js";
import { count } from "./words.js";

const EVERY_MS = 30_000;
let shown = null;

/** Shows the version and looks for a new one from time to time; `reload` renders the view anew. */
export function watchVersion(reload) {
  look(reload);
  setInterval(() => look(reload), EVERY_MS);
}

async function look(reload) {
  let facts;
  try {
    facts = await fetched("/version");
  } catch (error) {
    notice(error.message, "Try again", () => look(reload));
    return;
  }
  shown ??= facts.version;
  if (facts.version === shown) {
    show(facts);
    notice(null);
    return;
  }
  notice(`The service has moved on to version ${facts.version}.`, "Show it", () => {
    forget();
    shown = facts.version;
    show(facts);
    notice(null);
    reload();
  });
}

function show({ version, space_id: space, dim, counts }) {
  const parts = [
    ["version", version],
    ["space", space],
  ].map(([name, value]) => [`${name} `, element("code", {}, value)]);
  const sizes = ["contents", "users"]
    .filter((name) => counts?.[name] != null)
    .map((name) => count(counts[name], { contents: "content", users: "listener" }[name]));
  document
    .getElementById("version")
    .replaceChildren(
      ...[...parts, ...sizes.map((text) => [text]), [`${dim} dimensions`]].flatMap((part, place) =>
        place ? [" · ", ...part] : part,
      ),
    );
}

function notice(text, action, act) {
  const box = document.getElementById("notice");
  box.hidden = text === null;
  box.replaceChildren();
  if (text !== null)
    box.append(element("p", {}, text), element("button", { type: "button", class: "button", onclick: act }, action));
}
