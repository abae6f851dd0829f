// Twelve rows of values over time as colours, with a mark that the pointer and the arrow keys move.

import { element } from "./dom.js";
import { decimal } from "./text.js";

// Viridis at every sixteenth: even in lightness, and told apart by colour-blind people (van der Walt, Smith, 2015).
const VIRIDIS = (
  "440154 48186a 472d7b 424086 3b528b 33638d 2c728e 26828e 21918c " +
  "1fa088 28ae80 3fbc73 5ec962 84d44b addc30 d8e219 fde725"
)
  .split(" ")
  .map((hex) => [0, 2, 4].map((place) => parseInt(hex.slice(place, place + 2), 16)));
const CUT = 0.01;
// The keys of a slider.
const STEPS = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -20, PageUp: 20 };
const PIXELS_A_MARK = 44;

// A colour of 0..1 as red, green and blue.
function colour(value) {
  const place = Math.min(Math.max(value, 0), 1) * (VIRIDIS.length - 1);
  const from = Math.min(Math.floor(place), VIRIDIS.length - 2);
  return VIRIDIS[from].map((start, i) => start + (place - from) * (VIRIDIS[from + 1][i] - start));
}

export class HeatMap {
  // name: what it shows. rows: their names. vectors: a list of as many values a segment. digits: of a value shown.
  // perRow: whether each row has a scale of its own; else it is 0..1. title: the track's.
  constructor({ name, title, rows, vectors, digits, perRow, timeline }) {
    Object.assign(this, { name, rows, vectors, digits, timeline });
    this.segment = 0;
    this.onMove = () => {};
    this.columns = rows.map((_, row) => Float32Array.from(vectors, (vector) => vector[row]));
    this.scales = this.columns.map((column) => (perRow ? scale(column) : [0, 1]));
    this.canvas = element("canvas", { "aria-hidden": "true", height: rows.length });
    this.mark = element("span", { class: "mark", hidden: "" });
    this.plot = element("div", {
      class: "plot",
      role: "slider",
      tabindex: "0",
      "aria-label": `${name} over time, ${title}`,
      "aria-valuemin": "1",
      "aria-valuemax": String(vectors.length),
    });
    this.plot.append(this.canvas, this.mark);
    this.values = element("ol", { class: "values", "aria-hidden": "true" }, ...rows.map(() => element("li")));
    this.axis = element("div", { class: "axis", "aria-hidden": "true" });
    this.where = element("span", {}, "Point at a picture, or use the arrow keys, for a segment’s values");
    this.element = element(
      "figure",
      {},
      element("figcaption", {}, element("strong", {}, name), legend(perRow)),
      element("ol", { class: "rows", "aria-hidden": "true" }, ...rows.map((row) => element("li", {}, row))),
      this.plot,
      this.values,
      this.axis,
      element("div", { class: "below", "aria-hidden": "true" }, this.where, element("span", {}, timeline.caption)),
    );
    this.listen();
    this.show(0, false);
  }

  // Draws it now and whenever its width changes. It has to be in the page.
  watch() {
    new ResizeObserver(() => this.draw()).observe(this.plot);
    this.draw();
  }

  draw() {
    const width = Math.max(1, Math.round(this.plot.clientWidth * devicePixelRatio));
    this.canvas.width = width;
    const context = this.canvas.getContext("2d");
    const image = context.createImageData(width, this.rows.length);
    for (let x = 0; x < width; x++) {
      const segment = this.timeline.segmentAt((x + 0.5) / width);
      this.scales.forEach(([low, high], row) => {
        const [red, green, blue] = colour((this.columns[row][segment] - low) / (high - low || 1));
        image.data.set([red, green, blue, 255], 4 * (row * width + x));
      });
    }
    context.putImageData(image, 0, 0);
    const marks = this.timeline.marks(this.plot.clientWidth / PIXELS_A_MARK);
    this.axis.replaceChildren(
      ...marks.map(({ share, text }) => {
        const mark = element("span", {}, text);
        mark.style.left = `${100 * share}%`;
        return mark;
      }),
    );
  }

  // Marks a segment and tells its values.
  show(segment, marked = true) {
    this.segment = segment;
    const where = this.timeline.nameOf(segment);
    const values = this.rows.map((_, row) => decimal(this.columns[row][segment], this.digits));
    this.plot.setAttribute("aria-valuenow", String(segment + 1));
    const named = this.rows.map((row, i) => `${row} ${values[i]}`);
    this.plot.setAttribute("aria-valuetext", `${where}: ${named.join(", ")}`);
    if (!marked) return;
    this.mark.hidden = false;
    this.mark.style.left = `${100 * this.timeline.shareOf(segment)}%`;
    [...this.values.children].forEach((item, row) => (item.textContent = values[row]));
    this.where.textContent = where;
  }

  // The mean, lowest and highest value of each row.
  statistics() {
    return this.columns.map((column, i) => ({
      row: this.rows[i],
      mean: column.reduce((sum, value) => sum + value, 0) / column.length,
      lowest: column.reduce((low, value) => Math.min(low, value)),
      highest: column.reduce((high, value) => Math.max(high, value)),
    }));
  }

  listen() {
    const point = (event) => {
      const box = this.plot.getBoundingClientRect();
      this.onMove(this.timeline.segmentAt((event.clientX - box.left) / box.width));
    };
    this.plot.addEventListener("pointermove", point);
    this.plot.addEventListener("pointerdown", point);
    this.plot.addEventListener("focus", () => this.onMove(this.segment));
    this.plot.addEventListener("keydown", (event) => {
      const last = this.vectors.length - 1;
      const step = { ...STEPS, Home: -last, End: last }[event.key];
      if (step === undefined || event.ctrlKey || event.altKey || event.metaKey) return;
      event.preventDefault();
      this.onMove(Math.min(Math.max(this.segment + step, 0), last));
    });
  }
}

// A row's lowest and highest value, without the outliers that would leave the rest one colour.
function scale(column) {
  const sorted = column.slice().sort();
  const cut = Math.floor(CUT * (sorted.length - 1));
  return [sorted[cut], sorted[sorted.length - 1 - cut]];
}

function legend(perRow) {
  const ramp = element("canvas", { class: "ramp", "aria-hidden": "true", width: 64, height: 1 });
  const context = ramp.getContext("2d");
  for (let x = 0; x < 64; x++) {
    context.fillStyle = `rgb(${colour(x / 63).map(Math.round).join(" ")})`;
    context.fillRect(x, 0, 1, 1);
  }
  const [low, high] = perRow
    ? ["low", "high: each row on its own scale, outliers cut off"]
    : ["0", "1: share of the segment’s strongest"];
  return element("span", { class: "legend" }, low, ramp, high);
}
