/** The picked contents, as chips that can be taken away, with a box that finds more. */

import { ask } from "./api.js";
import { combobox } from "./combobox.js";
import { marks } from "./content_row.js";
import { element, icon } from "./dom.js";
import { artistsOf, count } from "./words.js";

const FOUND = 8;
const DRAWN_FROM = 500;

/**
 * @param {object} of
 * @param {string} of.name of the box, once on the page
 * @param {string} of.label what is picked, such as "Listeners"
 * @param {Array<{id: string, text: string, icon: string}>} of.chosen
 * @param {number} of.most so many at most
 * @param {(ids: Array<string>) => void} of.change
 */
export function listenerPicks({ name, label, chosen, most, change }) {
  const add = (id) => change([...chosen.map((one) => one.id), id]);
  const some = element(
    "button",
    { type: "button", class: "button", onclick: () => someListener(chosen, add) },
    "Some listener",
  );
  const box = finder(name, "A listener’s id", `Add to ${label.toLowerCase()}`, {
    noun: "listener",
    find: async (q, signal) =>
      others((await ask("/users", { q, k: FOUND }, signal)).items, (user) => user.user_id, chosen),
    show: (user) => [
      icon("listener"),
      element("b", {}, user.user_id),
      element("span", {}, count(user.num_events, "event")),
    ],
    choose: (user) => add(user.user_id),
  });
  return picks(label, chosen, change, chosen.length < most && [box, some]);
}

/** The same of contents; `kinds` are those that may be picked. */
export function contentPicks({ name, label, chosen, most, kinds, change }) {
  const box = contentFinder(name, `Add to ${label.toLowerCase()}`, kinds, chosen, (content) =>
    change([...chosen.map((one) => one.id), content.content_id]),
  );
  return picks(label, chosen, change, chosen.length < most && [box]);
}

/** A box that finds a content by title, artist or id, but none of those that are chosen. */
export function contentFinder(name, label, kinds, chosen, choose) {
  return finder(name, "A title, an artist or an id", label, {
    noun: "result",
    find: async (q, signal) =>
      others((await ask("/search", { q, k: FOUND, kind: kinds }, signal)).items, (one) => one.content_id, chosen),
    show: (content) => [
      icon(content.kind),
      element("b", {}, content.title, marks(content)),
      element("span", {}, artistsOf(content) === content.title ? content.kind : artistsOf(content)),
    ],
    choose,
  });
}

function others(found, idOf, chosen) {
  const ids = new Set(chosen.map((one) => one.id));
  return found.filter((one) => !ids.has(idOf(one)));
}

function picks(label, chosen, change, more) {
  const chips = chosen.map(({ id, text, icon: drawing, hue }) =>
    element(
      "li",
      { class: "pick" },
      hue ? element("span", { class: `swatch ${hue}`, "aria-hidden": "true" }) : icon(drawing),
      element("span", {}, text),
      element(
        "button",
        {
          type: "button",
          "aria-label": `Take ${text} away`,
          onclick: () => change(chosen.map((one) => one.id).filter((other) => other !== id)),
        },
        icon("remove"),
      ),
    ),
  );
  return element(
    "fieldset",
    { class: "picks" },
    element("legend", {}, label),
    chips.length > 0 && element("ul", {}, chips),
    more && element("div", { class: "picker" }, more),
  );
}

function finder(name, placeholder, label, options) {
  const input = element("input", {
    id: `pick-${name}`,
    name,
    value: "",
    type: "text",
    placeholder,
    autocomplete: "off",
    autocapitalize: "off",
    spellcheck: "false",
  });
  const box = element(
    "search",
    { class: "finder" },
    element("label", { class: "unseen", for: input.id }, label),
    input,
  );
  const choose = (found) => {
    options.choose(found);
    input.focus(); // so that the next one can be typed at once
  };
  combobox(input, { ...options, choose });
  return box;
}

async function someListener(chosen, add) {
  const { items } = await ask("/users", { k: DRAWN_FROM });
  const left = others(items, (user) => user.user_id, chosen);
  if (left.length) add(left[Math.floor(Math.random() * left.length)].user_id);
}
