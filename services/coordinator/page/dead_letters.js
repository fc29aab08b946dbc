// Items that failed too often, and another try for them.

import { get, jobPath, post } from './api.js';
import { el, fill, keyed, setText } from './dom.js';
import { count, moment } from './format.js';
import { may } from './session.js';

export function deadLettersView(place, id) {
  const status = el('p', { role: 'status' });
  const all = el('button', { type: 'button', onclick: () => requeue({ all: true }) }, 'Try all again');
  const list = el('ul', { class: 'cards' });
  const further = el('button', { type: 'button', hidden: true, onclick: () => load(next) }, 'More');
  fill(place, el('h2', {}, 'Dead letters'),
    el('p', { class: 'detail' }, 'Items that failed too often. Mend what made them fail, then have them tried again: '
      + 'the job goes on when none is left.'),
    status, el('p', { class: 'buttons' }, all), list, further);
  const known = new Map();
  let letters = [];
  let next = '';

  async function load(token = '') {
    const page = await get(jobPath(id, `/dead-letters?token=${encodeURIComponent(token)}`));
    letters = token ? [...letters, ...page.dead_letters] : page.dead_letters;
    next = page.next;
    further.hidden = !next;
    all.hidden = letters.length === 0 || !may().may_requeue;
    keyed(list, known, letters, (letter) => letter.id, card);
    if (letters.length === 0) setText(status, 'There are none.');
    else if (!may().may_requeue) setText(status, 'Trying again takes an administrator’s token.');
    else setText(status, '');
  }

  async function requeue(which) {
    try {
      const { requeued } = await post(jobPath(id, '/dead-letters/requeue'), which);
      await load();
      setText(status, `${count(requeued)} tried again.`);
    } catch (refused) {
      setText(status, refused.message);
    }
  }

  function card(letter) {
    const node = el('li', {}, el('article', {},
      el('h3', {}, letter.id),
      el('p', { class: 'error' }, letter.error),
      el('p', { class: 'detail' }, `Stage ${letter.stage}, tried ${count(letter.attempts)} times, `
        + `last ${moment(letter.failed_unix_ms)}`),
      el('details', {}, el('summary', {}, `The item ${letter.id}`),
        el('div', { class: 'text', tabindex: '0', role: 'group', 'aria-label': 'The item' }, letter.item)),
      may().may_requeue && el('p', { class: 'buttons' }, el('button', {
        type: 'button', 'aria-label': `Try again: ${letter.id}`, onclick: () => requeue({ ids: [letter.id] }),
      }, 'Try again'))));
    return { node };
  }

  let dead = -1;
  return {
    refresh: () => load(),
    changed(job) {
      if (job.dead_letters === dead) return;
      dead = job.dead_letters;
      load().catch(() => {}); // The stream's line says when nobody answers.
    },
  };
}
