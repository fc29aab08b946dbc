// Builds elements. A child that is not a node is text: what models wrote is never markup.

const SVG = 'http://www.w3.org/2000/svg';

function filled(node, properties, children) {
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (name.startsWith('on')) node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, '');
    else if (value !== false && value != null) node.setAttribute(name, value);
  }
  node.append(...nodes(children));
  return node;
}

function nodes(children) {
  const there = children.flat(Infinity).filter((child) => child != null && child !== false);
  return there.map((child) => (child instanceof Node ? child : document.createTextNode(String(child))));
}

export const el = (name, properties, ...children) =>
  filled(document.createElement(name), properties, children);

export const svg = (name, properties, ...children) =>
  filled(document.createElementNS(SVG, name), properties, children);

// Replaces what is in a node.
export const fill = (node, ...children) => node.replaceChildren(...nodes(children));

// Sets a node's text, if it is another: a screen reader need not hear the same again.
export function setText(node, text) {
  if (node.textContent !== String(text)) node.textContent = String(text);
}

// Makes `parent` hold one node for each item, in order. Nodes of known items stay, and with them the
// focus and what is unfolded. `make(item)` gives `{ node, update(item) }`.
export function keyed(parent, known, items, key, make) {
  const wanted = new Set(items.map(key));
  for (const [name, { node }] of known) {
    if (!wanted.has(name)) {
      node.remove();
      known.delete(name);
    }
  }
  let before = parent.firstChild;
  for (const item of items) {
    const name = key(item);
    if (!known.has(name)) known.set(name, make(item));
    const { node, update } = known.get(name);
    update?.(item);
    if (node === before) before = before.nextSibling;
    else parent.insertBefore(node, before);
  }
}

// A table that scrolls by itself where the screen is narrow. Rows are lists of cells; the first cell of
// a row is its header. `numeric` are the columns to align at their right.
export function table(caption, columns, numeric = []) {
  const body = el('tbody');
  const align = (index) => (numeric.includes(index) ? 'number' : null);
  const head = columns.map((column, i) => el('th', { scope: 'col', class: align(i) }, column));
  const node = el('div', { class: 'scroll', role: 'group', tabindex: '0', 'aria-label': caption },
    el('table', {}, el('caption', {}, caption), el('thead', {}, el('tr', {}, head)), body));
  const row = (cells) => el('tr', {}, cells.map((cell, i) => (i === 0
    ? el('th', { scope: 'row', class: align(i) }, cell)
    : el('td', { class: align(i) }, cell))));
  return { node, body, row, show: (rows) => fill(body, rows.map(row)) };
}

// Figures with their names, as reports show them. `detail` may be left out.
export function facts(list) {
  return el('dl', { class: 'facts' }, list.filter(Boolean).map(([label, value, detail]) => el('div', {},
    el('dt', {}, label),
    el('dd', { class: 'value' }, value),
    detail ? el('dd', { class: 'detail' }, detail) : null)));
}
