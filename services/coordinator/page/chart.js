// One chart: lines or dots over two axes, and the same numbers as a table.

import { el, fill, setText, svg, table } from './dom.js';
import { number } from './format.js';

const [WIDTH, HEIGHT] = [480, 240];
const EDGE = { left: 56, right: 12, top: 10, bottom: 34 };
// More points than a screen has dots to show are thinned out; so many rows are enough to read.
const MOST_POINTS = 600;
const MOST_ROWS = 200;

// `series` given to `update` are `{ name, points: [[x, y], ...] }`. With `dots` there are no lines, and
// with `diagonal` a line of equal values over [0, 1].
export function chart(title, xLabel, { dots = false, diagonal = false } = {}) {
  const drawing = svg('svg', { class: 'chart', viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: 'img' });
  const legend = el('ul', { class: 'legend' });
  const rows = el('div');
  const unfolded = el('details', {}, el('summary', {}, `${title}: numbers`), rows);
  const node = el('figure', {}, el('figcaption', {}, title), legend, drawing, unfolded);
  let latest = [];

  // Only what is looked at is filled, and who is in it with the keyboard is not thrown out of it.
  const showRows = () => unfolded.open && !rows.contains(document.activeElement)
    && fill(rows, asTable(title, xLabel, latest).node);
  unfolded.addEventListener('toggle', showRows);

  function update(series) {
    const finite = (points) => points.filter((point) => point.every(Number.isFinite));
    latest = series.map(({ name, points }) => ({ name, points: finite(points) }));
    const drawn = latest.map(({ name, points }) => ({ name, points: thinned(points) }));
    const all = drawn.flatMap(({ points }) => points);
    drawing.setAttribute('aria-label', inWords(title, latest));
    fill(legend, series.length > 1 && drawn.map(({ name }, i) => el('li', { class: `c${i % 6}` },
      svg('svg', { viewBox: '0 0 16 8', 'aria-hidden': 'true' },
        svg('path', { class: 'line', d: 'M1 4H15' })), name)));
    if (all.length === 0) {
      const middle = { x: WIDTH / 2, y: HEIGHT / 2, 'text-anchor': 'middle' };
      fill(drawing, svg('text', { class: 'empty', ...middle }, 'Nothing yet'));
      return;
    }
    const xs = diagonal ? [0, 1] : range(all.map(([x]) => x));
    const ys = diagonal ? [0, 1] : range(all.map(([, y]) => y));
    const [x, y] = [
      (value) => EDGE.left + share(value, xs) * (WIDTH - EDGE.left - EDGE.right),
      (value) => HEIGHT - EDGE.bottom - share(value, ys) * (HEIGHT - EDGE.top - EDGE.bottom)];
    fill(drawing, axes(x, y, xs, ys, xLabel),
      diagonal && svg('line', { class: 'reference', x1: x(0), y1: y(0), x2: x(1), y2: y(1) }),
      drawn.map(({ name, points }, i) => svg('g', { class: `c${i % 6}` },
        !dots && svg('path', { class: 'line', d: path(points, x, y) }),
        (dots || points.length < 40) && points.map(([px, py]) => svg('circle',
          { class: 'dot', cx: x(px), cy: y(py), r: 3 },
          svg('title', {}, `${name}: ${number(py, 4)} at ${number(px, 4)}`))))));
    showRows();
  }

  update([]);
  return { node, update };
}

const share = (value, [low, high]) => (value - low) / (high - low);

// A range that has a middle, and some room.
function range(values) {
  let low = Math.min(...values);
  let high = Math.max(...values);
  if (low === high) [low, high] = [low - 0.5, high + 0.5];
  const room = (high - low) * 0.04;
  return [low - room, high + room];
}

function thinned(points) {
  const step = Math.ceil(points.length / MOST_POINTS);
  return step < 2 ? points : points.filter((_, i) => i % step === 0 || i === points.length - 1);
}

const path = (points, x, y) =>
  points.map(([px, py], i) => `${i ? 'L' : 'M'}${x(px).toFixed(1)} ${y(py).toFixed(1)}`).join('');

function axes(x, y, xs, ys, xLabel) {
  const parts = [];
  for (const value of ticks(ys, 4)) {
    parts.push(svg('line', { class: 'grid', x1: EDGE.left, x2: WIDTH - EDGE.right, y1: y(value), y2: y(value) }),
      svg('text', { x: EDGE.left - 6, y: y(value) + 4, 'text-anchor': 'end' }, number(value)));
  }
  for (const value of ticks(xs, 5)) {
    parts.push(svg('text', { x: x(value), y: HEIGHT - EDGE.bottom + 15, 'text-anchor': 'middle' }, number(value)));
  }
  const middle = (EDGE.left + WIDTH - EDGE.right) / 2;
  parts.push(svg('text', { x: middle, y: HEIGHT - 3, 'text-anchor': 'middle' }, xLabel));
  return parts;
}

// Round numbers within a range.
function ticks([low, high], wanted) {
  const raw = (high - low) / wanted;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= raw);
  const found = [];
  for (let value = Math.ceil(low / step) * step; value <= high; value += step) {
    found.push(Number(value.toPrecision(12)));
  }
  return found;
}

function inWords(title, series) {
  const ends = series.filter(({ points }) => points.length).map(({ name, points }) => {
    const [first, last] = [points[0], points.at(-1)];
    return `${name} from ${number(first[1])} to ${number(last[1])} in ${points.length} points`;
  });
  return `${title}: ${ends.join('; ') || 'nothing yet'}`;
}

function asTable(title, xLabel, series) {
  const values = new Map();
  series.forEach(({ points }, i) => points.forEach(([x, y]) => {
    if (!values.has(x)) values.set(x, series.map(() => '–'));
    values.get(x)[i] = number(y, 5);
  }));
  const rows = [...values].sort(([a], [b]) => a - b).map(([x, cells]) => [number(x, 4), ...cells]);
  const caption = rows.length > MOST_ROWS ? `${title}, the last ${MOST_ROWS} of ${rows.length}` : title;
  const columns = [xLabel, ...series.map(({ name }) => name)];
  const made = table(caption, columns, columns.map((_, i) => i));
  made.show(rows.slice(-MOST_ROWS));
  return made;
}
