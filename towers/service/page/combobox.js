/** A text box with results below it as one types: the combobox of the ARIA Authoring Practices. */

import { element, say } from "./dom.js";
import { count } from "./words.js";

const PAUSE_MS = 120;

/**
 * @param {HTMLInputElement} input
 * @param {object} of
 * @param {string} of.noun what is found, such as "result"
 * @param {(text: string, signal: AbortSignal) => Promise<Array>} of.find
 * @param {(found: any) => Array<Node>} of.show what stands in a result
 * @param {(found: any) => void} of.choose
 */
export function combobox(input, { noun, find, show, choose }) {
  const list = element("ul", { id: `${input.id}-list`, role: "listbox", "aria-label": `${noun}s`, hidden: true });
  const state = { found: [], active: -1, asked: null, pause: 0 };
  for (const [name, value] of Object.entries({
    role: "combobox",
    "aria-autocomplete": "list",
    "aria-expanded": "false",
    "aria-controls": list.id,
  }))
    input.setAttribute(name, value);
  input.after(list);

  function open(isOpen) {
    list.hidden = !isOpen;
    input.setAttribute("aria-expanded", String(isOpen));
    if (!isOpen) activate(-1);
  }

  function activate(place) {
    state.active = place;
    [...list.querySelectorAll("[role=option]")].forEach((option, at) => {
      option.setAttribute("aria-selected", String(at === place));
      if (at === place) option.scrollIntoView({ block: "nearest" });
    });
    if (place < 0) input.removeAttribute("aria-activedescendant");
    else input.setAttribute("aria-activedescendant", `${list.id}-${place}`);
  }

  function take(place) {
    const found = state.found[place];
    if (found === undefined) return;
    stop();
    open(false);
    input.value = "";
    input.blur();
    choose(found);
  }

  function fill(found, message) {
    state.found = found;
    list.replaceChildren(
      ...found.map((one, place) =>
        element(
          "li",
          {
            id: `${list.id}-${place}`,
            role: "option",
            "aria-selected": "false",
            onpointerdown: (event) => event.preventDefault(),
            onclick: () => take(place),
          },
          ...show(one),
        ),
      ),
    );
    if (!found.length) list.append(element("li", { class: "none", role: "presentation" }, message));
    activate(-1);
    open(true);
    say(found.length ? count(found.length, noun) : message);
  }

  function stop() {
    clearTimeout(state.pause);
    state.asked?.abort();
  }

  async function look() {
    const text = input.value.trim();
    stop();
    if (!text) return open(false);
    const asked = (state.asked = new AbortController());
    try {
      const found = await find(text, asked.signal);
      if (!asked.signal.aborted) fill(found, `Nothing is called “${text}”`);
    } catch (error) {
      if (!asked.signal.aborted) fill([], error.message);
    }
  }

  async function enter() {
    if (state.active < 0) await look();
    take(Math.max(state.active, 0));
  }

  input.addEventListener("input", () => {
    stop();
    state.pause = setTimeout(look, PAUSE_MS);
  });
  input.addEventListener("focus", () => input.value.trim() && look());
  input.addEventListener("blur", () => {
    stop();
    open(false);
  });
  input.addEventListener("keydown", (event) => {
    const last = state.found.length - 1;
    const steps = {
      ArrowDown: state.active >= last ? 0 : state.active + 1,
      ArrowUp: state.active <= 0 ? last : state.active - 1,
    };
    if (event.key in steps && !list.hidden) activate(steps[event.key]);
    else if (event.key === "Enter") enter();
    else if (event.key === "Escape" && list.hidden) input.value = "";
    else if (event.key === "Escape") open(false);
    else return;
    event.preventDefault();
  });
}
