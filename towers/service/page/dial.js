/** The dial between what is new to a listener and what they know. */

import { element } from "./dom.js";

/**
 * @param {number | null} asked share that was asked for, 0 to 1; null where it comes as it comes
 * @param {number | null} found share that a list has
 * @param {(share: number | null) => void} change
 */
export function dial(asked, found, change) {
  const percent = Math.round(100 * (asked ?? found ?? 0));
  const words = (value) => `${value} % familiar`;
  const output = element("output", { for: "dial" }, words(percent));
  const input = element("input", {
    id: "dial",
    name: "familiar",
    type: "range",
    min: 0,
    max: 100,
    step: 10,
    value: Math.round(percent / 10) * 10,
    "aria-label": "How much the listener knows already",
    "aria-valuetext": words(percent),
    oninput: () => (output.textContent = words(input.value)),
    onchange: () => change(input.value / 100),
  });
  return element(
    "div",
    { class: "dial" },
    element("span", {}, "New"),
    input,
    element("span", {}, "Familiar"),
    output,
    asked !== null &&
      element("button", { type: "button", class: "button", onclick: () => change(null) }, "As it comes"),
  );
}
