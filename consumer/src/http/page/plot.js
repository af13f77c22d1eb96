// A plot of the last minutes, as SVG: axes, one or two lines, what is missing left out, a cursor for pointer and keys.

import { NOTHING, clock } from './words.js';

const LEFT = 58;
const RIGHT = 8;
const TOP = 8;
const BOTTOM = 22;

function svg(name, attributes = {}) {
  const node = document.createElementNS('http://www.w3.org/2000/svg', name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  return node;
}

/** The next number that a person would put on an axis. */
function nice(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= value * 0.9999);
}

/** From 0 to beyond the largest value. */
function linear(values, least) {
  const step = nice(Math.max(least, ...values) / 4);
  const ticks = [0, 1, 2, 3, 4].map((number) => number * step);
  return { ticks, at: (value) => value / ticks[4] };
}

/** Whole powers of ten around the values, two of them at least. */
function logarithmic(values) {
  const positive = values.filter((value) => value > 0);
  let low = Math.floor(Math.log10(Math.min(...positive, 0.01)));
  let high = Math.ceil(Math.log10(Math.max(...positive, 0.1)));
  if (high - low < 2) high = low + 2;
  const step = Math.ceil((high - low) / 5);
  const ticks = [];
  for (let power = low; power <= high; power += step) ticks.push(10 ** power);
  return { ticks, at: (value) => (Math.log10(Math.max(value, 10 ** low)) - low) / (high - low) };
}

/**
 * `lines`: [{ name, of(point), tell(value) }], one or two; `scale`: 'linear' or 'log'; `least`: what the axis reaches at
 * least; `axis(value)`: a tick's label.
 */
export class Plot {
  constructor({ title, unit, lines, scale, least = 1, axis }) {
    Object.assign(this, { title, unit, lines, scale, least, axis });
    this.points = [];
    this.span = 15;
    this.cursor = null;
    this.figure = document.createElement('figure');
    this.figure.className = 'plot';
    const caption = document.createElement('figcaption');
    const heading = document.createElement('h3');
    heading.textContent = title;
    caption.append(heading);
    lines.forEach((line, place) => {
      const key = document.createElement('span');
      key.className = place ? 'key second' : 'key';
      key.append(document.createElement('i'), line.name);
      caption.append(key);
    });
    this.readout = document.createElement('span');
    this.readout.className = 'readout';
    caption.append(this.readout);
    this.root = svg('svg', { role: 'img', tabindex: '0' });
    this.figure.append(caption, this.root);
    this.root.addEventListener('pointermove', (event) => this.point(event.offsetX));
    this.root.addEventListener('pointerleave', () => this.move(null));
    this.root.addEventListener('blur', () => this.move(null));
    this.root.addEventListener('keydown', (event) => this.key(event));
    new ResizeObserver(() => this.draw()).observe(this.root);
  }

  /** The points of the last minutes; the newest one stands at the right. */
  show(points, span) {
    this.span = span;
    // The cursor stays on its moment.
    const moment = this.points[this.cursor]?.at_ms;
    this.points = points;
    if (moment !== undefined) {
      const place = points.findIndex((point) => point.at_ms === moment);
      this.cursor = place < 0 ? null : place;
    }
    this.draw();
  }

  draw() {
    const { width, height } = this.root.getBoundingClientRect();
    if (!width || !height) return;
    const values = this.points.flatMap((point) => this.lines.map((line) => line.of(point)).filter((it) => it !== null));
    const scale = this.scale === 'log' ? logarithmic(values) : linear(values, this.least);
    const end = this.points.at(-1)?.at_ms ?? Date.now();
    this.x = (at) => LEFT + (width - LEFT - RIGHT) * (1 - (end - at) / (this.span * 60000));
    this.y = (value) => TOP + (height - TOP - BOTTOM) * (1 - scale.at(value));
    const base = height - BOTTOM;
    const drawn = [];

    for (const value of scale.ticks) {
      const y = Math.round(this.y(value)) + 0.5;
      drawn.push(svg('line', { class: y > base - 1 ? 'grid base' : 'grid', x1: LEFT, x2: width - RIGHT, y1: y, y2: y }));
      const label = svg('text', { x: LEFT - 8, y: y + 4, 'text-anchor': 'end' });
      label.textContent = this.axis(value);
      drawn.push(label);
    }
    const step = this.span === 15 ? 5 : 1;
    for (let minutes = 0; minutes <= this.span; minutes += step) {
      const anchor = minutes === 0 ? 'end' : minutes === this.span ? 'start' : 'middle';
      const label = svg('text', { x: this.x(end - minutes * 60000), y: height - 5, 'text-anchor': anchor });
      label.textContent = minutes ? `\u2212${minutes} min` : 'now';
      drawn.push(label);
    }
    drawn.push(...this.away(base));
    this.lines.forEach((line, place) => {
      for (const run of this.runs(line)) {
        const path = run.map(([x, y], step) => `${step ? 'L' : 'M'}${x.toFixed(1)} ${y.toFixed(1)}`).join('');
        if (!place && this.scale !== 'log') {
          const [[first], [last]] = [run[0], run.at(-1)];
          drawn.push(svg('path', { class: 'area', d: `${path}L${last.toFixed(1)} ${base}L${first.toFixed(1)} ${base}Z` }));
        }
        // A point alone is seen as a dot.
        drawn.push(svg('path', { class: place ? 'second' : 'first', d: run.length > 1 ? path : `${path}h0.1` }));
      }
    });
    drawn.push(...this.mark(base));
    this.root.replaceChildren(...drawn);
    this.root.setAttribute('aria-label', this.words());
  }

  /** The parts of a line without holes: where nothing was measured there is no line. */
  runs(line) {
    const runs = [];
    let before = null;
    for (const point of this.points) {
      const value = line.of(point);
      if (value === null) {
        before = null;
        continue;
      }
      if (before === null || point.at_ms - before > 20000) runs.push([]);
      runs.at(-1).push([this.x(point.at_ms), this.y(value)]);
      before = point.at_ms;
    }
    return runs;
  }

  /** Where the process was not ready. */
  away(base) {
    const drawn = [];
    this.points.forEach((point, place) => {
      if (point.ready) return;
      const from = this.x(this.points[place - 1]?.at_ms ?? point.at_ms - 5000);
      drawn.push(svg('rect', { class: 'away', x: Math.max(from, LEFT), y: TOP, width: Math.max(this.x(point.at_ms) - from, 1), height: base - TOP }));
    });
    return drawn;
  }

  mark(base) {
    const point = this.points[this.cursor];
    const values = point && this.lines.map((line) => line.of(point));
    this.readout.textContent = point ? `${clock(point.at_ms)}: ${this.told(point)}${point.ready ? '' : ', not ready'}` : this.unit;
    this.figure.toggleAttribute('data-cursor', Boolean(point));
    if (!point) return [];
    const x = this.x(point.at_ms);
    const drawn = [svg('line', { class: 'cursor', x1: x, x2: x, y1: TOP, y2: base })];
    values.forEach((value, place) => {
      if (value !== null) drawn.push(svg('circle', { class: place ? 'point of-second' : 'point', cx: x, cy: this.y(value), r: 3.5 }));
    });
    return drawn;
  }

  told(point) {
    return this.lines.map((line) => {
      const value = line.of(point);
      const text = value === null ? NOTHING : line.tell(value);
      return this.lines.length > 1 ? `${line.name} ${text}` : text;
    }).join(', ');
  }

  words() {
    const newest = this.points.at(-1);
    if (!newest) return `${this.title}: nothing yet.`;
    const range = this.lines.map((line) => {
      const values = this.points.map((point) => line.of(point)).filter((value) => value !== null);
      return values.length ? `${line.name} from ${line.tell(Math.min(...values))} to ${line.tell(Math.max(...values))}` : `${line.name}: nothing`;
    });
    return `${this.title} over the last ${this.span} minutes, ${this.unit}. Now ${this.told(newest)}. ${range.join('; ')}. Arrow keys move a cursor; the table below has the same.`;
  }

  point(x) {
    if (!this.points.length || !this.x) return;
    let best = 0;
    this.points.forEach((point, place) => {
      if (Math.abs(this.x(point.at_ms) - x) < Math.abs(this.x(this.points[best].at_ms) - x)) best = place;
    });
    this.move(best);
  }

  key(event) {
    const last = this.points.length - 1;
    const place = this.cursor ?? last + 1;
    const target = { ArrowLeft: place - 1, ArrowRight: place + 1, Home: 0, End: last, Escape: null }[event.key];
    if (target === undefined || last < 0) return;
    event.preventDefault();
    this.move(target === null ? null : Math.min(Math.max(target, 0), last));
  }

  move(place) {
    if (this.cursor === place) return;
    this.cursor = place;
    this.draw();
  }
}
