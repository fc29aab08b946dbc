// One job: how it stands, and one of its parts below.

import { download, get, jobPath, post } from './api.js';
import { el, facts, fill, setText, table } from './dom.js';
import { count, duration, fileName, moment } from './format.js';
import { currentStage, jobLink, money, progress, stateBadge, tokens } from './jobs.js';
import { may } from './session.js';

const NAMES = [['', 'Stages'], ['labels', 'Labels'], ['training', 'Training'], ['samples', 'Samples'],
  ['dead-letters', 'Dead letters']];
const ENDED = ['succeeded', 'cancelled'];
const DELETABLE = [...ENDED, 'failed'];

export function jobView(place, id, part, makePart) {
  const badge = stateBadge();
  const title = el('h1', { tabindex: '-1' }, id);
  const [about, headline, steering] = [el('p', { class: 'subtitle' }), el('div'), el('p', { class: 'buttons' })];
  const error = el('p', { class: 'alert', hidden: true });
  const links = NAMES.map(([name, text]) => el('li', {},
    el('a', { href: jobLink(id, name), 'aria-current': name === part ? 'page' : null }, text)));
  const below = el('div', { class: 'part' });
  fill(place, el('div', { class: 'title' }, title, badge.node), about, error, headline, steering,
    el('nav', { class: 'tabs', 'aria-label': 'Parts of this job' }, el('ul', {}, links)), below);
  const inner = makePart ? makePart(below, id) : stagesView(below);

  function draw(job) {
    setText(title, job.name);
    // An answer may come when another view is shown already.
    if (title.isConnected) document.title = `${job.name} - rlaif`;
    badge.update(job.state);
    error.hidden = !job.error;
    setText(error, job.error);
    const at = currentStage(job.stages);
    const left = job.state === 'running' && at?.eta_seconds != null ? duration(at.eta_seconds) : '–';
    fill(headline, facts([
      ['Stage', at?.stage ?? 'done', at?.note],
      ['Left of this stage', left, 'at the present pace'],
      ['Labeler tokens', tokens(job), job.amount == null
        ? 'the job names no price' : `cost ${money(job)}`],
      ['Unscorable', count(job.unscorable), 'masked, never a number'],
      ['Dead letters', count(job.dead_letters), 'items given up'],
    ]));
    steer(job);
    inner.show?.(job);
  }

  // The buttons change with the state alone, so that they keep the focus. From those that go it passes to what
  // stands before them, and never to another button, which would be pressed unmeant.
  let steered = null;
  function buttons(...wanted) {
    const focused = steering.contains(document.activeElement);
    fill(steering, wanted);
    if (focused) title.focus();
  }

  function steer(job) {
    if (steered === job.state) return;
    steered = job.state;
    const button = (text, verb, ask) => el('button', { type: 'button', onclick: () => act(verb, ask) }, text);
    buttons(
      may().may_steer && job.state === 'running' && button('Pause', 'pause'),
      may().may_steer && ['paused', 'failed'].includes(job.state) && button('Resume', 'resume'),
      may().may_steer && !ENDED.includes(job.state)
        && button('Cancel', 'cancel', `Cancel ${job.name} for good? What it made stays.`),
      job.state === 'succeeded' && el('button', {
        type: 'button', onclick: () => download(jobPath(id, '/report'), `${id}.html`),
      }, 'Download the report'),
      may().may_delete && DELETABLE.includes(job.state)
        && el('button', { type: 'button', onclick: () => remove(job.name) }, 'Delete'));
  }

  async function act(verb, ask) {
    if (ask && !confirm(ask)) return;
    try {
      draw({ ...shown, ...await post(jobPath(id, `/${verb}`)) });
    } catch (refused) {
      error.hidden = false;
      setText(error, refused.message);
    }
  }

  async function remove(name) {
    if (!confirm(`Delete ${name} for good? Its labels, samples, models and report go with it.`)) return;
    try {
      await post(jobPath(id, '/delete'));
      location.hash = '#/jobs';
    } catch (refused) {
      error.hidden = false;
      setText(error, refused.message);
    }
  }

  let shown = null;
  return {
    async refresh() {
      shown = await get(jobPath(id));
      const [policy, labeler, template] = [shown.policy, shown.labeler, shown.template].map(fileName);
      const judge = shown.judge == null ? '' : `, judge ${fileName(shown.judge)}`;
      setText(about, `Policy ${policy}, labeler ${labeler} with ${template}${judge}, reward from the `
        + `${shown.reward === 'model' ? 'reward model' : 'labeler'}. Submitted ${moment(shown.created_unix_ms)}.`);
      draw(shown);
      await inner.refresh?.(shown);
    },
    changed(job, event) {
      if (job.id !== id) return;
      shown = { ...shown, ...job };
      draw(shown);
      inner.changed?.(shown, event);
    },
    deleted(job) {
      if (job !== id) return;
      buttons();
      error.hidden = false;
      setText(error, 'This job was deleted.');
    },
    stop: () => inner.stop?.(),
  };
}

function stagesView(place) {
  const stages = table('Stages', ['Stage', 'Progress', 'Left', 'Latest', 'Unscorable', 'Dead letters'], [4, 5]);
  fill(place, el('h2', {}, 'Stages'), stages.node);
  const bars = new Map();
  return {
    show(job) {
      stages.show(job.stages.map((stage) => {
        if (!bars.has(stage.stage)) bars.set(stage.stage, progress(`Progress of stage ${stage.stage}`));
        const bar = bars.get(stage.stage);
        bar.update(stage);
        const left = stage.eta_seconds == null || job.state !== 'running' ? '' : duration(stage.eta_seconds);
        return [stage.stage, bar.node, left, stage.note, count(stage.unscorable), count(stage.dead_letters)];
      }));
    },
  };
}
