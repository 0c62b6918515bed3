/** Where one has been, of this tab: the latest contents, so that one finds back. */

import { element } from "./dom.js";
import { contentLink } from "./routes.js";

const KEY = "towers-trail";
const LONGEST = 8;

/** The trail up to a content that is now visited, as a list of links. */
export function trailTo(content) {
  const before = read().filter((step) => step.id !== content.content_id);
  const steps = [...before, { id: content.content_id, title: content.title }].slice(-LONGEST);
  sessionStorage.setItem(KEY, JSON.stringify(steps));
  if (steps.length < 2) return null;
  return element(
    "nav",
    { class: "trail", "aria-label": "Where you have been" },
    element(
      "ol",
      {},
      steps.map((step, place) =>
        element(
          "li",
          {},
          element(
            "a",
            {
              href: contentLink(step.id),
              "aria-current": place === steps.length - 1 && "page",
            },
            step.title,
          ),
        ),
      ),
    ),
  );
}

function read() {
  try {
    return JSON.parse(sessionStorage.getItem(KEY)) ?? [];
  } catch {
    return [];
  }
}
