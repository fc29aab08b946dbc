// Rollouts of two steps side by side, and what start and trained policy answered to held-out prompts.

import { get, jobPath } from './api.js';
import { el, fill, setText } from './dom.js';
import { number, promptText } from './format.js';
import { inTurn } from './turns.js';

const CONTESTS = 12;

export function samplesView(place, id) {
  const steps = [picker('Left step', 'left'), picker('Right step', 'right')];
  const status = el('p', { role: 'status', class: 'detail' });
  const [rollouts, contests] = [el('ol', { class: 'cards' }), el('ol', { class: 'cards' })];
  const further = el('button', { type: 'button', hidden: true, onclick: () => moreContests() },
    'More held-out prompts');
  fill(place, el('h2', {}, 'Rollouts by step'),
    el('p', { class: 'pickers' }, steps.map(({ node }) => node)), status, rollouts,
    el('h2', {}, 'Trained policy against its start'),
    el('p', { class: 'detail' }, 'One response each to the same held-out prompt, once the policy is trained.'),
    contests, further);

  function picker(text, name) {
    const input = el('input', { type: 'number', id: `step-${name}`, min: 1, step: 1, inputmode: 'numeric' });
    input.addEventListener('change', () => compare().catch(() => {}));
    const node = el('span', {}, el('label', { for: input.id }, text), ' ', input);
    return { node, input, chosen: () => Number(input.value) };
  }

  const cache = new Map();
  async function samples(step) {
    if (!cache.has(step)) {
      const found = (await get(jobPath(id, `/samples?step=${step}`))).records;
      if (found.length === 0) return found;
      cache.set(step, found);
      if (cache.size > 20) cache.delete(cache.keys().next().value);
    }
    return cache.get(step);
  }

  async function compare() {
    const [left, right] = steps.map((step) => step.chosen());
    if (!left || !right) return;
    const [a, b] = [await samples(left), await samples(right)];
    if (left !== steps[0].chosen() || right !== steps[1].chosen()) return; // Others were chosen meanwhile.
    setText(status, `${a.length} rollouts of step ${left}, ${b.length} of step ${right}.`);
    fill(rollouts, matched(a, b).map(([one, other]) => {
      const same = one && other && promptText(one.prompt) === promptText(other.prompt);
      return el('li', {}, el('article', {},
        same && el('p', { class: 'prompt text' }, promptText(one.prompt)),
        el('div', { class: 'pair' },
          rollout(`Step ${left}`, one, same), rollout(`Step ${right}`, other, same))));
    }));
  }

  // Follows the newest step for as long as nobody has chosen another. It waits while the keyboard is in the field,
  // or in a response, which would be replaced under its reader.
  let followed = 0;
  async function follow(last) {
    if (last === followed || last == null) return;
    const [left, right] = steps;
    steps.forEach(({ input }) => { input.max = last; });
    if (!left.chosen()) left.input.value = 1;
    const at = document.activeElement;
    if (right.chosen() !== followed || at === right.input || rollouts.contains(at)) return;
    followed = last;
    right.input.value = last;
    await compare();
  }

  let end = 0;
  const moreContests = inTurn(async () => {
    const stretch = await get(jobPath(id, `/evaluation?after=${end}&max=${CONTESTS}`));
    end = stretch.end;
    contests.append(...stretch.records.map(contest));
    further.hidden = stretch.records.length < CONTESTS;
  });

  async function refresh() {
    const { last_step: last } = await get(jobPath(id, '/samples'));
    if (last == null) setText(status, 'The policy has not made a step yet.');
    await follow(last);
    if (end === 0) await moreContests();
  }

  return {
    refresh,
    changed(job) {
      const done = (name) => job.stages.find((stage) => stage.stage === name)?.done ?? 0;
      const asked = [done('policy') && follow(done('policy')), end === 0 && done('evaluate') && moreContests()];
      Promise.all(asked).catch(() => {}); // The stream's line says when nobody answers.
    },
  };
}

// Rollouts of the same prompt first, then the others in their order.
function matched(a, b) {
  const left = [...b];
  const pairs = a.map((one) => {
    const at = left.findIndex((other) => promptText(other.prompt) === promptText(one.prompt));
    return [one, at < 0 ? null : left.splice(at, 1)[0]];
  });
  const alone = pairs.filter(([, other]) => !other);
  alone.forEach((pair) => { pair[1] = left.shift() ?? null; });
  return [...pairs.filter((pair) => !alone.includes(pair)), ...alone, ...left.map((other) => [null, other])];
}

function rollout(name, record, promptAbove) {
  if (!record) return el('div', { class: 'side' });
  const reward = record.reward == null ? 'unscorable' : `reward ${number(record.reward)}`;
  return side(`${name}, ${reward}`, record.response, promptAbove ? null : promptText(record.prompt));
}

function side(name, text, prompt) {
  return el('div', { class: 'side' }, el('h3', {}, name),
    prompt != null && el('p', { class: 'prompt text' }, prompt),
    el('div', { class: 'text', tabindex: '0', role: 'group', 'aria-label': name }, text));
}

function contest({ prompt, trained, start, verdicts }) {
  const notes = Object.entries(verdicts).map(([template, verdict]) => ('outcome' in verdict
    ? `${template}: ${number(verdict.start)} before, ${number(verdict.trained)} after`
    : `${template}: unscorable, ${verdict.detail}`));
  return el('li', {}, el('article', {},
    el('p', { class: 'prompt text' }, promptText(prompt)),
    el('div', { class: 'pair' }, side('Start', start), side('Trained', trained)),
    el('p', { class: 'note' }, notes.join('\n'))));
}
