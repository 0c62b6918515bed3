/** A choice of listeners, and the head of pages about one. */

import { ask } from "./api.js";
import { combobox } from "./combobox.js";
import { element, icon } from "./dom.js";
import { listenerLink } from "./routes.js";
import { count } from "./words.js";

const SHOWN = 12;
const DRAWN_FROM = 500;

/** The view of `#/listeners`. */
export async function listenersView(_, signal) {
  const { items } = await ask("/users", { k: SHOWN }, signal);
  const node = element(
    "div",
    { class: "narrow" },
    element("h1", { tabindex: -1 }, "Listeners"),
    element("p", { class: "lead" }, "What a listener heard, and what the model would play them next."),
    listenerPicker(),
    items.length
      ? element(
          "ul",
          { class: "listeners" },
          items.map((user) =>
            element(
              "li",
              {},
              element(
                "a",
                { href: listenerLink(user.user_id) },
                icon("listener"),
                element("b", {}, user.user_id),
                element("span", {}, count(user.num_events, "event")),
              ),
            ),
          ),
        )
      : element("p", { class: "empty" }, "This version has no listeners."),
  );
  return { title: "Listeners", node };
}

/** The head of a page about a listener: what the page is, facts, buttons that lead on, and a choice of another one. */
export function personHead(kind, userId, about, actions, linkOf) {
  return element(
    "div",
    { class: "person" },
    element(
      "div",
      {},
      element("p", { class: "kind" }, icon("listener"), kind),
      element("h1", { tabindex: -1 }, userId),
      about,
      element("p", { class: "actions" }, actions),
    ),
    listenerPicker(linkOf),
  );
}

/** A box that finds a listener by id, and a button for one by chance; `linkOf` says where an id leads. */
export function listenerPicker(linkOf = (id) => listenerLink(id)) {
  const input = element("input", {
    id: "listener-search",
    type: "text",
    placeholder: "A listener’s id",
    autocomplete: "off",
    autocapitalize: "off",
    spellcheck: "false",
  });
  const picker = element(
    "div",
    { class: "picker" },
    element(
      "search",
      { class: "finder" },
      element("label", { class: "unseen", for: input.id }, "Search a listener’s id"),
      input,
    ),
    element("button", { type: "button", class: "button", onclick: () => someListener(linkOf) }, "Some listener"),
  );
  combobox(input, {
    noun: "listener",
    find: async (q, signal) => (await ask("/users", { q, k: 8 }, signal)).items,
    show: (user) => [
      icon("listener"),
      element("b", {}, user.user_id),
      element("span", {}, count(user.num_events, "event")),
    ],
    choose: (user) => {
      location.hash = linkOf(user.user_id);
    },
  });
  return picker;
}

async function someListener(linkOf) {
  const { items } = await ask("/users", { k: DRAWN_FROM });
  if (items.length) location.hash = linkOf(items[Math.floor(Math.random() * items.length)].user_id);
}
