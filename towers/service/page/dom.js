/** Elements. Text is only ever set as text, so a title with markup is shown as it is written. */

const SVG = "http://www.w3.org/2000/svg";

/** Paths of 24 by 24, drawn with strokes unless they are in `FILLED`. */
const ICONS = {
  play: "M8 5.5v13l10.5-6.5z",
  pause: "M7 5.5h3.5v13H7zM13.5 5.5H17v13h-3.5z",
  track: "M9 18V6l10-2v12M9 18a2.5 2.5 0 1 1-5 0 2.5 2.5 0 0 1 5 0zM19 16a2.5 2.5 0 1 1-5 0 2.5 2.5 0 0 1 5 0z",
  episode: "M12 3a3 3 0 0 0-3 3v5a3 3 0 0 0 6 0V6a3 3 0 0 0-3-3zM6 11a6 6 0 0 0 12 0M12 17v4",
  audiobook: "M12 6c-2-1.5-5-2-8-2v14c3 0 6 .5 8 2 2-1.5 5-2 8-2V4c-3 0-6 .5-8 2zM12 6v14",
  artist: "M12 12a4 4 0 1 0 0-8 4 4 0 0 0 0 8zM4.5 20.5c.5-4 3.5-6 7.5-6s7 2 7.5 6",
  playlist: "M4 6h16M4 11h16M4 16h8M16 14.5v6l5-3z",
  listener: "M4 15v-3a8 8 0 0 1 16 0v3M4 15h3.5v5.5H5a1 1 0 0 1-1-1zM20 15h-3.5v5.5H19a1 1 0 0 0 1-1z",
  whole: "M4 9V4h5M15 4h5v5M20 15v5h-5M9 20H4v-5",
  next: "M6 5.5v13l9-6.5zM16 5.5h2.5v13H16z",
  back: "M18 5.5v13l-9-6.5zM5.5 5.5H8v13H5.5z",
  up: "M6 15l6-6 6 6",
  down: "M6 9l6 6 6-6",
  remove: "M6 6l12 12M18 6L6 18",
  pin: "M9 4h6l-1 6 3 3H7l3-3zM12 13v7",
  radio:
    "M12 13.5a1.5 1.5 0 1 0 0-3 1.5 1.5 0 0 0 0 3zM8.5 15.5a5 5 0 0 1 0-7M15.5 8.5a5 5 0 0 1 0 7M5.5 18.5a9 9 0 0 1 0-13M18.5 5.5a9 9 0 0 1 0 13",
  path: "M6 20a2 2 0 1 0 0-4 2 2 0 0 0 0 4zM18 8a2 2 0 1 0 0-4 2 2 0 0 0 0 4zM8 18h7a3 3 0 0 0 0-6H9a3 3 0 0 1 0-6h7",
  map: "M12 21s7-6.2 7-11.5A7 7 0 0 0 5 9.5C5 14.800 12 21 12 21zM12 12a2.5 2.5 0 1 0 0-5 2.5 2.5 0 0 0 0 5z",
};
const FILLED = new Set(["play", "pause", "next", "back"]);

/**
 * An element.
 * @param {string} tag
 * @param {object} properties attributes; `onclick` and the like are listeners, false and null are left out
 * @param {...(Node|string|null)} children
 */
export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value !== false && value != null) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.flat().filter((child) => child != null && child !== false));
  return made;
}

/** A drawing that says nothing to a screen reader. */
export function icon(name) {
  const drawing = document.createElementNS(SVG, "svg");
  drawing.setAttribute("viewBox", "0 0 24 24");
  drawing.setAttribute("aria-hidden", "true");
  drawing.setAttribute("class", FILLED.has(name) ? `icon filled is-${name}` : "icon");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", ICONS[name] ?? ICONS.track);
  drawing.append(path);
  return drawing;
}

/** Says something to screen readers. */
export function say(text) {
  document.getElementById("said").textContent = text;
}
