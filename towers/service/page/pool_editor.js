/** An editor's pool, to pin, move, remove and add, and its rules. */

import { element, icon } from "./dom.js";
import { contentFinder } from "./picks.js";
import { playButton } from "./player.js";
import { artistsOf, PLAYABLE_KINDS } from "./words.js";

/**
 * The editor's side of a draft; every change is told.
 * @param {object} draft of `pool_draft.js`
 * @param {() => void} changed
 */
export function poolEditor(draft, changed) {
  const node = element("div", { class: "editor" });
  let dragged = null;

  function change(act) {
    act();
    draft.isChanged = true;
    draw();
    changed();
  }

  function draw() {
    const key = document.activeElement?.dataset?.key;
    const height = node.querySelector(".pool")?.scrollTop ?? 0;
    node.replaceChildren(
      rules(),
      adder(),
      element("ol", { class: "pool", "aria-label": "The editor’s order" }, rows()),
    );
    node.querySelector(".pool").scrollTop = height;
    if (key) node.querySelector(`[data-key="${CSS.escape(key)}"]`)?.focus({ preventScroll: true });
  }

  function adder() {
    const chosen = draft.contents.map((content) => ({ id: content.content_id }));
    return contentFinder("pool", "Add a piece to the pool", PLAYABLE_KINDS, chosen, (content) =>
      change(() => draft.add(content)),
    );
  }

  function rules() {
    return element(
      "div",
      { class: "rules" },
      number("Pieces in a list", "k", draft.k, 1, (value) => (draft.k = value ?? draft.k)),
      element(
        "label",
        { class: "filter" },
        element("input", {
          type: "checkbox",
          "data-key": "order",
          checked: draft.order === "kept",
          onchange: (event) => change(() => (draft.order = event.target.checked ? "kept" : "free")),
        }),
        "Keep this order",
      ),
      draft.quotas.map(quota),
      draft.genres.length > 0 &&
        element(
          "button",
          {
            type: "button",
            class: "button",
            "data-key": "quota",
            onclick: () => change(() => draft.quotas.push({ genre: draft.genres[0][0], minimum: null, maximum: null })),
          },
          "Add a quota",
        ),
    );
  }

  function quota(rule, place) {
    const called = `quota ${place + 1}`;
    const set = (name) => (value) => (rule[name] = value);
    return element(
      "div",
      { class: "quota", role: "group", "aria-label": called },
      element(
        "select",
        {
          "aria-label": "Genre",
          "data-key": `genre ${place}`,
          onchange: (event) => change(() => (rule.genre = event.target.value)),
        },
        draft.genres.map(([genre, times]) =>
          element("option", { value: genre, selected: genre === rule.genre }, `${genre} (${times})`),
        ),
      ),
      number("At least", `least ${place}`, rule.minimum, 0, set("minimum")),
      number("At most", `most ${place}`, rule.maximum, 0, set("maximum")),
      button("remove", `Remove ${called}`, `remove quota ${place}`, () => draft.quotas.splice(place, 1)),
    );
  }

  function number(label, key, value, least, set) {
    return element(
      "label",
      { class: "number" },
      label,
      element("input", {
        type: "number",
        min: least,
        max: 500,
        value,
        "data-key": key,
        onchange: (event) =>
          change(() => set(event.target.value === "" ? null : Math.max(Number(event.target.value), least))),
      }),
    );
  }

  function rows() {
    return draft.contents.map((content, place) => {
      const { content_id: id, title } = content;
      const pin = draft.pins.get(id);
      return element(
        "li",
        {
          class: pin === undefined ? "pool-row" : "pool-row pinned",
          draggable: "true",
          ondragstart: () => (dragged = place),
          ondragover: (event) => event.preventDefault(),
          ondrop: (event) => {
            event.preventDefault();
            if (dragged !== null && dragged !== place) change(() => draft.carry(dragged, place));
          },
          ondragend: () => (dragged = null),
        },
        element("span", { class: "place-number" }, place + 1),
        content.audio ? playButton(content, draft.contents) : element("span", { class: "cover" }, icon(content.kind)),
        element(
          "div",
          { class: "what" },
          element("span", { class: "title" }, title),
          element("p", { class: "about" }, aboutOf(content)),
        ),
        element(
          "div",
          { class: "acts" },
          pin !== undefined &&
            element("input", {
              type: "number",
              min: 1,
              max: draft.k,
              value: pin,
              "aria-label": `Place of ${title} in each list`,
              "data-key": `place ${id}`,
              onchange: (event) => change(() => draft.pins.set(id, Math.max(Number(event.target.value), 1))),
            }),
          button("pin", `Pin ${title}`, `pin ${id}`, () => draft.togglePin(place), {
            "aria-pressed": String(pin !== undefined),
          }),
          button("up", `Move ${title} up`, `up ${id}`, () => draft.move(place, -1), { disabled: place === 0 }),
          button("down", `Move ${title} down`, `down ${id}`, () => draft.move(place, 1), {
            disabled: place === draft.contents.length - 1,
          }),
          button("remove", `Remove ${title}`, `remove ${place}`, () => draft.remove(place)),
        ),
      );
    });
  }

  function button(drawing, label, key, act, more = {}) {
    return element(
      "button",
      {
        type: "button",
        class: "act",
        "aria-label": label,
        title: label,
        "data-key": key,
        onclick: () => change(act),
        ...more,
      },
      icon(drawing),
    );
  }

  draw();
  return node;
}

function aboutOf(content) {
  return [artistsOf(content), content.genres.join(", ")].filter(Boolean).join(" · ");
}
