/** Where a content stands, small, beside what is said of it; only where there is room. */

import { ask } from "./api.js";
import { element } from "./dom.js";
import { MapCanvas } from "./map_canvas.js";
import { grouped } from "./map_groups.js";
import { markedPlaces } from "./map_marks.js";
import { mapLink } from "./routes.js";

const ROOM = window.matchMedia("(min-width: 861px)");

/** Draws into `box` once the map is there; the page does not wait for it, nor miss it where there is none. */
export async function miniMap(box, content, items) {
  if (!ROOM.matches) return;
  const points = await ask("/map").catch(() => null);
  if (!box.isConnected || !points?.content_id.includes(content.content_id)) return;
  const canvas = element("canvas", { role: "img", "aria-label": "Where it stands on the map, with its neighbours" });
  const near = items.map((item) => item.content.content_id);
  box.replaceChildren(element("a", { class: "mini", href: mapLink({ content: content.content_id }) }, canvas));
  const map = new MapCanvas(canvas, points, { hasLabels: false });
  map.groups = grouped(points.genre.some(Boolean) ? points.genre : points.kind).of;
  map.marked = markedPlaces({ selected: content.content_id, near, history: [] }, points.content_id);
  map.resize();
  map.camera.reset();
  map.redraw();
}
