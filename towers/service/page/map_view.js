/** The space in two dimensions. */

import { ask } from "./api.js";
import { element, icon } from "./dom.js";
import { MapCanvas } from "./map_canvas.js";
import { listen, zoom } from "./map_gestures.js";
import { legend, markedKey } from "./map_legend.js";
import { markedOf, markedPlaces } from "./map_marks.js";
import { contentLink } from "./routes.js";
import { capital, count } from "./words.js";

const METHODS = {
  principal_components: "two principal components of the vectors",
  content_map: "t-SNE of the vectors",
};

/** The view of `#/map?content=ID`, `?listener=ID`, `?way=ID&way=ID` or `?genre=NAME`. */
export async function mapView(route, signal) {
  const [points, marked] = await Promise.all([ask("/map", {}, signal), markedOf(route.query, signal)]);
  const canvas = element("canvas", {
    tabindex: 0,
    role: "application",
    "aria-label":
      "Map of the contents. Arrow keys move, plus and minus zoom, 0 shows all, Enter opens the content in the middle.",
  });
  const tip = element("a", { class: "tip", hidden: true });
  const map = new MapCanvas(canvas, points);
  const node = element(
    "div",
    { class: "space" },
    element("h1", { class: "unseen", tabindex: -1 }, "Map of the space"),
    canvas,
    tip,
    element(
      "div",
      { class: "panels" },
      marked && markedPanel(marked, points),
      legend(map, points, route.query.get("genre")),
    ),
    element(
      "div",
      { class: "zoom" },
      element("button", { type: "button", "aria-label": "Closer", onclick: () => zoom(map, true) }, "+"),
      element("button", { type: "button", "aria-label": "Farther", onclick: () => zoom(map, false) }, "−"),
      element(
        "button",
        {
          type: "button",
          "aria-label": "Show all",
          onclick: () => {
            map.camera.reset();
            map.redraw();
          },
        },
        icon("whole"),
      ),
    ),
    element(
      "p",
      { class: "method" },
      `${count(points.content_id.length, "content")}, ${METHODS[points.method] ?? points.method}`,
    ),
  );
  return { title: "Map", node, begin: () => begin(map, tip, marked) };
}

function begin(map, tip, marked) {
  const { points } = map;
  const scheme = window.matchMedia("(prefers-color-scheme: dark)");
  const recolour = () => map.readColours();
  const sizes = new ResizeObserver(() => map.resize());
  const open = (place) => {
    location.hash = contentLink(points.content_id[place]);
  };
  const point = (place) => {
    if (map.hovered === place) return;
    map.hovered = place;
    map.canvas.classList.toggle("pointing", place >= 0);
    showTip(map, tip, place);
    map.redraw();
  };
  if (marked) map.marked = markedPlaces(marked, points.content_id);
  map.resize();
  map.frameMarked();
  // A finger has no hover: the first tap says what it is, its label opens it.
  listen(map, point, (place, isTouch) => (place < 0 || isTouch ? point(place) : open(place)));
  sizes.observe(map.canvas);
  scheme.addEventListener("change", recolour);
  return () => {
    sizes.disconnect();
    scheme.removeEventListener("change", recolour);
  };
}

function showTip(map, tip, place) {
  tip.hidden = place < 0;
  if (place < 0) return;
  const { points } = map;
  const about = [capital(points.kind[place]), points.genre[place], points.is_cold[place] ? "new" : null];
  tip.replaceChildren(element("b", {}, points.title[place]), element("span", {}, about.filter(Boolean).join(" · ")));
  tip.href = contentLink(points.content_id[place]);
  const [x, y] = map.at(place);
  const { width } = tip.getBoundingClientRect();
  tip.style.left = `${Math.min(Math.max(x - width / 2, 8), map.camera.width - width - 8)}px`;
  tip.style.top = `${y > 90 ? y - 16 : y + 64}px`;
}

function markedPanel(marked, points) {
  const isLost = marked.selected !== null && !points.content_id.includes(marked.selected);
  return element(
    "div",
    { class: "panel marked" },
    element(
      "a",
      { class: "title", href: marked.link },
      icon(marked.kind === "listener" ? "listener" : "track"),
      marked.name,
    ),
    markedKey(marked.kind),
    isLost &&
      element("p", { class: "key" }, `Not among the ${points.content_id.length.toLocaleString("en")} that are drawn.`),
  );
}
