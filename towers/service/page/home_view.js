/** A listener's home page as the policy would draw it now: shelves of cards, each with its chance and why it is there. */

import { Refusal, fetched, queryOf } from "./api.js";
import { contentList, contentRow } from "./content_row.js";
import { element, icon } from "./dom.js";
import { listenerPicker, personHead } from "./listeners_view.js";
import { homeLink, listenerLink } from "./routes.js";
import { count } from "./words.js";

const NO_HOME = "This server has no home page: start it with home.policy=FOLDER, the folder of a policy.";

/** The view of `#/home` and `#/home/ID`; a page that is looked at here is drawn anew each time, and not logged. */
export async function homeView(route, signal) {
  if (!route.id) return { title: "Home pages", node: chooser() };
  const home = await drawn(route.id, signal);
  const shelves = element("div", { class: "shelves" }, home.shelves.map(shelf));
  const about = element("p", { class: "about" }, facts(home));
  const node = element(
    "div",
    {},
    personHead(
      "Home page",
      home.user_id,
      about,
      [
        element(
          "button",
          {
            type: "button",
            class: "button",
            onclick: async () => {
              const again = await drawn(route.id, signal);
              shelves.replaceChildren(...again.shelves.map(shelf));
              about.replaceChildren(facts(again));
            },
          },
          "Draw again",
        ),
        element("a", { class: "button", href: listenerLink(home.user_id) }, icon("listener"), "Listener"),
      ],
      homeLink,
    ),
    shelves,
  );
  return { title: `Home page of ${home.user_id}`, node };
}

async function drawn(user, signal) {
  try {
    return await fetched(`/home${queryOf({ user, look: true })}`, signal);
  } catch (error) {
    const isAbsent = error.status === 404 && error.message === "Not Found";
    throw isAbsent ? new Refusal(NO_HOME, 404) : error;
  }
}

function facts(home) {
  const cards = home.shelves.reduce((sum, { items }) => sum + items.length, 0);
  return `${count(cards, "card")} by the policy ${home.policy_id}, version ${home.policy_version}`;
}

function shelf({ name, title, num_candidates: candidates, items }) {
  const heading = `shelf-${name}`;
  return element(
    "section",
    { "aria-labelledby": heading },
    element(
      "div",
      { class: "over" },
      element("h2", { id: heading }, title),
      element("span", { class: "aside" }, `of ${count(candidates, "card")}`),
    ),
    items.length
      ? contentList(items.map(card), title)
      : element("p", { class: "empty" }, "No card is left for this shelf."),
  );
}

function card({ content, propensity, reasons }) {
  return contentRow(content, { reasons, aside: chance(propensity) });
}

/** Of the card in this slot, given the slots before it. */
function chance(propensity) {
  const percent = 100 * propensity;
  return `chance ${percent < 1 ? percent.toPrecision(1) : Math.round(percent)} %`;
}

function chooser() {
  return element(
    "div",
    { class: "narrow" },
    element("h1", { tabindex: -1 }, "Home pages"),
    element("p", { class: "lead" }, "What a listener would find on their home page, and how likely each card was."),
    listenerPicker(homeLink),
  );
}
