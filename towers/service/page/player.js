/** One sound at a time, whoever asks for it; it goes on while one walks from content to content. */

import { addressOf } from "./api.js";
import { element, icon } from "./dom.js";
import { contentLink } from "./routes.js";
import { artistsOf, clock } from "./words.js";

const audio = element("audio", { preload: "none" });
const bar = document.getElementById("player");
let current = null;

const toggle = element(
  "button",
  { class: "play", type: "button", onclick: () => play(current) },
  icon("play"),
  icon("pause"),
);
const title = element("a", { class: "title" });
const artists = element("span", { class: "artists" });
const place = element("input", { type: "range", min: 0, max: 1000, value: 0, "aria-label": "Place in the sound" });
const times = element("output", { class: "times" });
bar.append(audio, toggle, element("div", { class: "names" }, title, artists), place, times);

/** Plays a content, or pauses it where it is playing. */
export async function play(content) {
  if (current?.content_id !== content.content_id) {
    current = content;
    audio.src = addressOf(content.audio);
    title.textContent = content.title;
    title.href = contentLink(content.content_id);
    artists.textContent = artistsOf(content);
    toggle.dataset.plays = content.content_id;
    toggle.setAttribute("aria-label", `Play ${content.title}`);
    bar.hidden = false;
    document.body.classList.add("playing");
  } else if (!audio.paused) {
    audio.pause();
    return;
  }
  try {
    await audio.play();
  } catch (error) {
    // Another sound may have been asked for before this one began.
    if (error.name !== "AbortError") times.textContent = "cannot be played";
  }
}

/** A button for a content with sound. */
export function playButton(content) {
  const button = element(
    "button",
    {
      class: "play",
      type: "button",
      "data-plays": content.content_id,
      "aria-label": `Play ${content.title}`,
      onclick: () => play(content),
    },
    icon("play"),
    icon("pause"),
  );
  button.setAttribute("aria-pressed", String(isPlaying(content.content_id)));
  return button;
}

function isPlaying(id) {
  return !audio.paused && current?.content_id === id;
}

function showState() {
  for (const button of document.querySelectorAll("button[data-plays]")) {
    button.setAttribute("aria-pressed", String(isPlaying(button.dataset.plays)));
  }
}

function showTime() {
  const isKnown = Number.isFinite(audio.duration) && audio.duration > 0;
  place.disabled = !isKnown;
  place.value = isKnown ? (1000 * audio.currentTime) / audio.duration : 0;
  place.setAttribute("aria-valuetext", `${clock(audio.currentTime)} of ${clock(audio.duration)}`);
  place.style.setProperty("--done", `${place.value / 10}%`);
  times.textContent = `${clock(audio.currentTime)} / ${clock(audio.duration)}`;
}

for (const change of ["play", "playing", "pause", "ended", "emptied"]) audio.addEventListener(change, showState);
for (const change of ["timeupdate", "durationchange", "seeked"]) audio.addEventListener(change, showTime);
audio.addEventListener("error", () => {
  times.textContent = "cannot be played";
});
place.addEventListener("input", () => {
  audio.currentTime = (place.value / 1000) * audio.duration;
});
