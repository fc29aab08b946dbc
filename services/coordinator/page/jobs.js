// All jobs, newest first.

import { get } from './api.js';
import { el, fill, keyed, setText } from './dom.js';
import { count, duration, moment, number } from './format.js';

const PAGE = 50;

export const jobLink = (id, part = '') => `#/jobs/${encodeURIComponent(id)}${part && `/${part}`}`;

export function stateBadge() {
  const node = el('span', { class: 'badge' });
  return { node, update: (state) => { node.dataset.state = state; setText(node, state); } };
}

// The stage that is at work: the first that is begun and not done, else the first that is not done.
export function currentStage(stages) {
  const open = stages.filter((stage) => stage.done < stage.total);
  return open.find((stage) => stage.done > 0) ?? open[0];
}

const of = (spent, bound) => (bound == null ? spent : `${spent} of ${bound}`);

// What the labeler has taken, of what it may take where the job has a budget.
export const tokens = (job) => of(
  count(job.prompt_tokens + job.completion_tokens),
  job.max_tokens == null ? null : count(job.max_tokens),
);
export const money = (job) => of(
  number(job.amount, 4),
  job.max_cost == null ? null : number(job.max_cost, 4),
);
export const cost = (job) => (job.amount == null
  ? `${tokens(job)} labeler tokens`
  : `${tokens(job)} labeler tokens, cost ${money(job)}`);

// A bar with its numbers beside it.
export function progress(label) {
  const bar = el('progress', { 'aria-label': label, max: 1, value: 0 });
  const text = el('span', { class: 'detail' });
  const node = el('span', { class: 'progress' }, bar, text);
  return {
    node,
    update: (stage) => {
      bar.max = Math.max(stage.total, 1);
      bar.value = stage.done;
      setText(text, `${count(stage.done)} of ${count(stage.total)}`);
    },
  };
}

function card(job) {
  const badge = stateBadge();
  const bar = progress(`Progress of ${job.name}`);
  const [stage, details, error] = [el('p'), el('p', { class: 'detail' }), el('p', { class: 'error' })];
  const node = el('li', {}, el('article', {},
    el('h2', {}, el('a', { href: jobLink(job.id) }, job.name), ' ', badge.node),
    el('p', { class: 'detail' }, job.id),
    stage, bar.node, details, error));
  const update = (now) => {
    badge.update(now.state);
    const at = currentStage(now.stages);
    const last = now.stages.at(-1);
    bar.node.hidden = !last;
    if (last) bar.update(at ?? last);
    const eta = at?.eta_seconds != null && now.state === 'running' ? `, ${duration(at.eta_seconds)} left` : '';
    setText(stage, at ? `Stage ${at.stage}${at.note && `: ${at.note}`}${eta}` : 'All stages are done.');
    const masked = now.unscorable ? `, ${count(now.unscorable)} unscorable` : '';
    const dead = now.dead_letters ? `, dead letters: ${count(now.dead_letters)}` : '';
    setText(details, `Since ${moment(now.created_unix_ms)}, ${cost(now)}${masked}${dead}`);
    error.hidden = !now.error;
    setText(error, now.error);
  };
  return { node, update };
}

export function jobsView(place) {
  const list = el('ul', { class: 'cards' });
  const empty = el('p', { hidden: true }, 'There are no jobs yet. Submit one: ',
    el('code', {}, 'rlaif submit job.toml'));
  const further = el('button', { type: 'button', hidden: true, onclick: more }, 'Older jobs');
  fill(place, el('h1', {}, 'Jobs'), empty, list, further);
  const known = new Map();
  let jobs = [];
  let next = '';
  let meanwhile = null; // What happens while the list is asked for: the answer may be older.

  function happens(change) {
    change();
    meanwhile?.push(change);
    draw();
  }

  function put(job) {
    const at = jobs.findIndex((known) => known.id === job.id);
    const after = jobs.findIndex((known) => known.created_unix_ms < job.created_unix_ms);
    if (at >= 0) jobs[at] = job;
    else if (after >= 0) jobs.splice(after, 0, job);
    else if (!next) jobs.push(job);
    // Else it is among the older ones, which were not asked for.
  }

  function draw() {
    empty.hidden = jobs.length > 0;
    further.hidden = !next;
    keyed(list, known, jobs, (job) => job.id, card);
  }

  async function more() {
    const page = await get(`/api/jobs?size=${PAGE}&token=${encodeURIComponent(next)}`);
    jobs = [...jobs, ...page.jobs];
    next = page.next;
    draw();
  }

  return {
    async refresh() {
      const happened = [];
      meanwhile = happened;
      try {
        ({ jobs, next } = await get(`/api/jobs?size=${Math.max(PAGE, jobs.length)}`));
      } finally {
        if (meanwhile === happened) meanwhile = null;
      }
      happened.forEach((change) => change());
      draw();
    },
    changed: (job) => happens(() => put(job)),
    deleted: (id) => happens(() => { jobs = jobs.filter((job) => job.id !== id); }),
  };
}
