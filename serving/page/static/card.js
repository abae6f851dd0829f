// What is known of one track: its genres, and its timbre and pitches over time.

import { element } from "./dom.js";
import { HeatMap } from "./heatmap.js";
import { Timeline } from "./timeline.js";
import { clock, decimal, grouped, percent } from "./text.js";

const TIMBRE = ["1 loudness", "2 brightness", "3 flatness", "4 attack", "5", "6", "7", "8", "9", "10", "11", "12"];
const PITCHES = ["C", "C♯", "D", "D♯", "E", "F", "F♯", "G", "G♯", "A", "A♯", "B"];

let cards = 0;

// track: as the server tells it. file: its name. model: what answered.
// Returns the card's element, its title, genre and probability, and a function that draws it once it is in the page.
export function trackCard(track, file, model) {
  const title = [track.artist, track.title].filter(Boolean).join(" - ") || track.id;
  const genres = Object.entries(track.probabilities).sort(([, one], [, other]) => other - one);
  const [genre, probability] = genres[0];
  const timeline = new Timeline(track.timbre.length, track.durations);
  const shared = { title, timeline };
  const maps = [
    new HeatMap({ ...shared, name: "Timbre", rows: TIMBRE, vectors: track.timbre, digits: 1, perRow: true }),
    new HeatMap({ ...shared, name: "Pitches", rows: PITCHES, vectors: track.pitches, digits: 2, perRow: false }),
  ];
  for (const map of maps) map.onMove = (segment) => maps.forEach((each) => each.show(segment));
  const heading = element("h2", { id: `track-${++cards}` }, title);
  const card = element(
    "article",
    { "aria-labelledby": heading.id },
    heading,
    element("p", { class: "about" }, about(track, file, model)),
    element("p", { class: "genre" }, element("strong", {}, genre), ` ${percent(probability)}${trust(track)}`),
    bars(genres),
    ...maps.map((map) => map.element),
    numbers(maps),
  );
  return { element: card, title, genre, probability, draw: () => maps.forEach((map) => map.watch()) };
}

// Models that say neither are older than both.
function trust(track) {
  const unsure = track.sure === false ? " · unsure" : "";
  return "familiarity" in track ? `${unsure} · familiarity ${percent(track.familiarity)}` : unsure;
}

function about(track, file, model) {
  const shown = track.timbre.length;
  const cut = shown < track.segments ? ` (the pictures show the first ${grouped(shown)})` : "";
  const id = file.startsWith(track.id) ? [] : [track.id];
  const segments = `${grouped(track.segments)} segments${cut}`;
  const duration = track.duration === null ? [] : [clock(track.duration)];
  return [file, ...id, ...duration, segments, `answered by ${model}`].join(" · ");
}

function bars(genres) {
  const rows = genres.map(([genre, probability]) => {
    const bar = element("span", { class: "bar", "aria-hidden": "true" }, element("span"));
    bar.firstChild.style.width = `${100 * probability}%`;
    const value = element("data", { value: probability }, percent(probability));
    return element("li", {}, element("span", {}, genre), bar, value);
  });
  return element("ol", { class: "bars", "aria-label": "Probability of each genre" }, ...rows);
}

// The pictures in words and numbers.
function numbers(maps) {
  const head = ["", "mean", "lowest", "highest"].map((text) => element("th", { scope: "col" }, text));
  const rows = maps.flatMap((map) =>
    map.statistics().map(({ row, mean, lowest, highest }) => {
      const cells = [mean, lowest, highest].map((value) => element("td", {}, decimal(value, map.digits)));
      return element("tr", {}, element("th", { scope: "row" }, `${map.name} ${row}`), ...cells);
    }),
  );
  const table = element("table", {}, element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...rows));
  return element("details", {}, element("summary", {}, "The pictures in numbers"), table);
}
