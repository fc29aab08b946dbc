// Who works on what, as the queues know it, and how much they have done, as their answers say.

import { get } from './api.js';
import { el, fill, setText, table } from './dom.js';
import { ago, count, number } from './format.js';
import { jobLink } from './jobs.js';

const EVERY_MS = 3000;
const KINDS = { rollout: 'Rollout', labeler: 'Labelers', reward: 'Reward', learner: 'Learners' };
const COLUMNS = ['Worker', 'In hand', 'Items', 'Last minute', 'Parts a busy second', 'Heard of', 'Last result'];

export function workersView(place) {
  const sections = el('div');
  fill(place, el('h1', {}, 'Workers'),
    el('p', { class: 'detail' }, 'Items, parts (prompts, pairs, responses, steps) and results count since the '
      + 'coordinator started. A worker that was killed while it waited stays listed, silent.'), sections);
  const known = new Map();

  function section(kind) {
    const made = table(`${KINDS[kind] ?? kind} at work`, COLUMNS, [2, 3, 4]);
    const state = el('p', { class: 'detail' });
    const node = el('section', {}, el('h2', {}, KINDS[kind] ?? kind), state, made.node);
    sections.append(node);
    return { made, state };
  }

  function draw(kinds) {
    for (const of of kinds) {
      if (!known.has(of.kind)) known.set(of.kind, section(of.kind));
      const { made, state } = known.get(of.kind);
      const open = of.outstanding == null ? '' : `${count(of.outstanding)} items open`;
      const trouble = of.trouble === 'full' ? 'the queue is full' : of.trouble;
      const nobody = of.workers.length === 0 && !of.trouble && 'no worker is known';
      setText(state, [open, trouble, nobody].filter(Boolean).join('; '));
      made.node.hidden = of.workers.length === 0;
      // Who is in a row with the keyboard is not thrown out of it.
      if (!made.body.contains(document.activeElement)) made.show(of.workers.map((worker) => row(worker, of.lease_ms)));
    }
  }

  let stopped = false;
  async function poll() {
    if (stopped) return;
    if (!document.hidden) await refresh().catch(() => {}); // The stream's line says when nobody answers.
    timer = setTimeout(poll, EVERY_MS);
  }
  const refresh = async () => draw(await get('/api/workers'));
  let timer = setTimeout(poll, EVERY_MS);

  return {
    refresh,
    stop() {
      stopped = true;
      clearTimeout(timer);
    },
  };
}

function row(worker, leaseMs) {
  const rate = worker.busy_seconds > 0 ? number(worker.parts / worker.busy_seconds) : '–';
  return [worker.name, worker.held.length ? worker.held.map((held) => hand(held, leaseMs)) : 'nothing',
    count(worker.items), count(worker.last_minute), rate,
    worker.silent_ms == null ? '–' : ago(worker.silent_ms),
    worker.since_last_ms == null ? '–' : ago(worker.since_last_ms)];
}

function hand(held, leaseMs) {
  const lease = `lease renewed ${ago(held.silent_ms)}, over after ${number(leaseMs / 1000)} s`;
  const state = held.is_started ? `start ${count(held.starts)}, ${lease}` : `waits in hand, ${lease}`;
  return el('div', {}, el('a', { href: jobLink(held.job) }, held.job), ` ${held.task}`,
    el('div', { class: 'detail' }, state));
}
