// Labels as they come: both orders, their mean, and what was said before the verdicts.

import { get, jobPath } from './api.js';
import { el, facts, fill, keyed, setText, table } from './dom.js';
import { count, number, percent, promptText } from './format.js';
import { inTurn } from './turns.js';

const SHOWN = 20;
const MOST = 200; // That new ones come on top of.

export function labelsView(place, id) {
  const summary = el('div');
  const follow = el('input', { type: 'checkbox', id: 'follow', checked: true });
  const news = el('p', { role: 'status', class: 'detail' });
  const list = el('ol', { class: 'cards', reversed: true });
  const older = el('button', { type: 'button', hidden: true, onclick: back }, 'Older labels');
  fill(place, el('h2', {}, 'Labels'), summary,
    el('p', { class: 'switch' }, follow, el('label', { for: 'follow' }, 'Show new labels as they come')),
    news, list, older);
  follow.addEventListener('change', () => forward());

  const known = new Map();
  let labels = []; // Newest first, each with its place.
  let [begin, end] = [null, null];
  let waiting = false;

  const placed = ({ records, places }) => records.map((record, i) => ({ ...record, place: places[i] }));

  function draw() {
    older.hidden = !begin;
    keyed(list, known, labels, (label) => label.place, (label) => ({ node: card(label) }));
    if (labels.length === 0) setText(news, 'No pair is labelled yet.');
  }

  async function latest(max) {
    const last = await get(jobPath(id, `/labels?max=${max}`));
    labels = placed(last).reverse();
    [begin, end] = [last.begin, last.end];
    if (labels.length === 0) end = null;
    draw();
  }

  // What came after the last we have.
  const forward = inTurn(async () => {
    if (end === null) return latest(SHOWN);
    if (!follow.checked) {
      if (!waiting) setText(news, 'New labels wait.');
      waiting = true;
      return;
    }
    waiting = false;
    for (;;) {
      const stretch = await get(jobPath(id, `/labels?after=${end}&max=${MOST}`));
      if (stretch.records.length === 0) break;
      setText(news, '');
      // So far behind, as after a while in the background, the last are enough.
      if (stretch.records.length === MOST) return latest(MOST);
      end = stretch.end;
      labels = [...placed(stretch).reverse(), ...labels].slice(0, MOST);
      begin = labels.at(-1).place;
      draw();
    }
  });

  // Who reads older labels does not want new ones to push them off the end.
  async function back() {
    follow.checked = false;
    const stretch = await get(jobPath(id, `/labels?before=${begin}&max=${SHOWN}`));
    begin = stretch.begin;
    labels = [...labels, ...placed(stretch).reverse()];
    draw();
  }

  const sum = inTurn(async () => {
    const { labels: { position, unscorable, prompt_tokens: read, completion_tokens: written } } =
      await get(jobPath(id, '/quality'));
    const of = (share) => (position.pairs ? share / position.pairs : NaN);
    const first = position.same_position ? position.prefers_first / position.same_position : NaN;
    fill(summary, facts([
      ['Pairs labelled', count(position.pairs), `${count(read)} tokens read, ${count(written)} written`],
      ['Both orders agree', percent(of(position.consistent)), 'the same response wins in both'],
      ['Position bias', percent(of(position.same_position)), 'the same position wins in both'],
      ['Of these, the first', percent(first), `p = ${number(position.p_value)}, two-sided`],
      ...Object.entries(unscorable).map(([reason, n]) => [
        'Unscorable', count(n), reason.replaceAll('_', ' ')]),
    ]));
  });

  let done = -1;
  return {
    async refresh() {
      await Promise.all([forward(), sum()]);
    },
    changed(job) {
      const labelled = job.stages.find((stage) => stage.stage === 'label')?.done ?? 0;
      if (labelled === done) return;
      done = labelled;
      Promise.all([forward(), sum()]).catch(() => {}); // The stream's line says when nobody answers.
    },
  };
}

function card(label) {
  const { pair, comparison } = label;
  const side = (name, text, share) => el('div', { class: 'side' },
    el('h4', {}, name, share == null ? '' : `, preferred with ${percent(share)}`),
    el('div', { class: 'text', tabindex: '0', role: 'group', 'aria-label': name }, text));
  const body = [
    el('p', { class: 'prompt text' }, promptText(pair.prompt)),
    el('div', { class: 'pair' },
      side('Response A', pair.response_a, comparison?.label),
      side('Response B', pair.response_b, comparison ? 1 - comparison.label : null)),
  ];
  if (comparison) body.push(orders(comparison), ...rationales(comparison));
  else {
    const { reason, detail } = label.unscorable ?? { reason: 'unknown', detail: '' };
    body.push(el('p', { class: 'error' }, `Unscorable: ${reason.replaceAll('_', ' ')}: ${detail}`));
  }
  const by = `${label.labeler}, ${label.template}`;
  return el('li', {}, el('article', { 'aria-label': `Label ${label.label_id.slice(0, 12)}` },
    el('h3', {}, `Label ${label.label_id.slice(0, 12)}, by ${by}`), body));
}

function orders({ ab, ba }) {
  const node = table('Both orders', ['Order', 'P(first shown)', 'P(A)', 'Log-probabilities of the verdicts'], [1, 2]);
  const row = (name, order, ofA) => [name, percent(order.prefers_first), percent(ofA),
    order.verdict_logprobs.map((logprob) => number(logprob, 4)).join(', ')];
  node.show([row('A shown first', ab, ab.prefers_first), row('B shown first', ba, 1 - ba.prefers_first)]);
  return node.node;
}

function rationales({ ab, ba }) {
  const of = (name, order) => (order.rationales ?? []).map((rationale, i) => el('details', {},
    el('summary', {}, `Rationale ${i + 1}, ${name}`),
    el('div', { class: 'text', tabindex: '0', role: 'group', 'aria-label': `Rationale ${i + 1}` }, rationale.text)));
  return [...of('A shown first', ab), ...of('B shown first', ba)];
}
