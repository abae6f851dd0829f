// Where segments lie along a picture: by their durations, or by their numbers where a file tells no durations.

import { clock } from "./text.js";

const STEPS_S = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600];
const STEPS_SEGMENTS = [1, 10, 100, 1000].flatMap((power) => [power, 2 * power, 5 * power]);

export class Timeline {
  constructor(segments, durations) {
    this.inSeconds = durations !== null && durations.some((duration) => duration > 0);
    this.starts = new Float64Array(segments + 1);
    for (let i = 0; i < segments; i++) this.starts[i + 1] = this.starts[i] + (this.inSeconds ? durations[i] : 1);
    this.segments = segments;
    this.end = this.starts[segments];
    this.caption = this.inSeconds ? "minutes:seconds" : "segments";
  }

  // The segment that sounds at a share (0..1) of the whole.
  segmentAt(share) {
    const time = share * this.end;
    let low = 0;
    let high = this.segments - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.starts[middle] <= time) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  // The middle of a segment, as a share of the whole.
  shareOf(segment) {
    return (this.starts[segment] + this.starts[segment + 1]) / 2 / this.end;
  }

  // A segment in words.
  nameOf(segment) {
    const number = `segment ${segment + 1} of ${this.segments}`;
    return this.inSeconds ? `${clock(this.starts[segment])}, ${number}` : number;
  }

  // At most so many marks, each with its share and its text.
  marks(count) {
    const steps = this.inSeconds ? STEPS_S : STEPS_SEGMENTS;
    const step = steps.find((each) => this.end / each <= count) ?? steps.at(-1);
    const marks = [];
    for (let value = 0; value <= this.end; value += step)
      marks.push({ share: value / this.end, text: this.inSeconds ? clock(value) : String(value) });
    return marks;
  }
}
