/** What the map's colours and shapes mean; a group that is pressed stands alone. */

import { element } from "./dom.js";
import { grouped } from "./map_groups.js";
import { capital } from "./words.js";

const BY = { genre: "Genre", kind: "Kind" };

/**
 * @param {import("./map_canvas.js").MapCanvas} map
 * @param {{genre: Array, kind: Array, is_cold: boolean[]}} points
 * @param {string|null} genre that stands alone at first
 */
export function legend(map, points, genre) {
  const box = element("div", { class: "groups" });
  const hasGenres = points.genre.some((one) => one != null);
  const choice = element(
    "div",
    { class: "tabs", role: "group", "aria-label": "Colour" },
    Object.keys(BY).map((by) =>
      element(
        "button",
        { type: "button", "data-by": by, disabled: by === "genre" && !hasGenres, onclick: () => colour(by) },
        BY[by],
      ),
    ),
  );

  function colour(by, only = null) {
    const groups = grouped(points[by], only);
    map.groups = groups.of;
    for (const button of choice.children) button.setAttribute("aria-pressed", String(button.dataset.by === by));
    box.replaceChildren(...groups.names.map((name, place) => groupButton(name, place, groups.sizes.get(name))));
    if (groups.sizes.size > groups.names.length) box.append(others(by, groups));
    isolate(only === null || !groups.sizes.has(only) ? null : groups.names.indexOf(only));
  }

  function isolate(place) {
    map.only = place;
    for (const button of box.querySelectorAll("button")) {
      button.setAttribute("aria-pressed", String(Number(button.dataset.place) === place));
    }
    map.redraw();
  }

  function groupButton(name, place, size) {
    return element(
      "button",
      {
        type: "button",
        "data-place": place,
        onclick: () => isolate(map.only === place ? null : place),
      },
      element("i", { class: `swatch hue-${place}` }),
      element("span", {}, name),
      element("small", {}, size.toLocaleString("en")),
    );
  }

  function others(by, groups) {
    const names = [...groups.sizes.keys()].filter((name) => !groups.names.includes(name)).sort();
    return element(
      "label",
      { class: "others" },
      element("i", { class: "swatch" }),
      element("span", { class: "unseen" }, `Another ${by}`),
      element(
        "select",
        { onchange: (event) => colour(by, event.target.value || null) },
        element("option", { value: "" }, `${names.length} others`),
        names.map((name) => element("option", {}, name)),
      ),
    );
  }

  colour(hasGenres ? "genre" : "kind", genre);
  return element(
    "details",
    { class: "legend panel", open: window.innerWidth > 700 },
    element("summary", {}, "Colours"),
    choice,
    box,
    points.is_cold.some(Boolean) &&
      element("p", { class: "key" }, element("i", { class: "swatch ring" }), "new, never played"),
  );
}

/** What is marked on top, in words. */
export function markedKey(kind) {
  const shown = {
    content: [
      ["selected", "this content"],
      ["near", "its neighbours"],
    ],
    listener: [
      ["history", "heard; the latest are linked"],
      ["near", "recommended"],
    ],
    way: [["history", "its pieces, linked in their order"]],
  };
  return (shown[kind] ?? []).map(([shape, text]) =>
    element("p", { class: "key" }, element("i", { class: `swatch ${shape}` }), capital(text)),
  );
}
