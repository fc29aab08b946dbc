// The page before a coordinator by script: what a real job does not bring about in minutes, such as a long one,
// a tab in the background, an answer that is refused.

import assert from 'node:assert/strict';
import puppeteer from 'puppeteer-core';
import { INJECTION } from './cluster.mjs';
import { SESSION, Script, job, refused, stretch } from './script.mjs';

const [folder] = process.argv.slice(2);
const PATIENCE_MS = 60000;

const label = (i, further = {}) => ({
  label_id: `${i}`.padStart(12, '0'), pair: { prompt: 'p', response_a: 'a', response_b: 'b' }, template: 't',
  labeler: 'l', comparison: null, unscorable: { reason: 'no_verdict', detail: '' }, ...further,
});
const labelled = (done) => ({
  stages: [{ ...job('x').stages[0], stage: 'label', done, total: 100000 }],
});
const quality = (further = {}) => ({
  labels: {
    position: { pairs: 1, consistent: 1, same_position: 0, prefers_first: 0, p_value: 1 },
    unscorable: {}, prompt_tokens: 1, completion_tokens: 1,
  },
  reward: null, evaluate: null, ...further,
});
const rollout = (step) => ({ step, prompt: 'p', response: `of step ${step}`, reward: 0.5 });

// A file of records that grows, asked for as the page does.
function growing(records) {
  return (query) => {
    const max = Number(query.get('max') ?? 50);
    if (query.has('after')) {
      const after = Number(query.get('after'));
      return stretch(records.slice(after, after + max), after);
    }
    const end = query.has('before') ? Number(query.get('before')) : records.length;
    const begin = Math.max(0, end - max);
    return stretch(records.slice(begin, end), begin);
  };
}

const CHECKS = {
  async 'an address that names nothing shows the jobs'({ page, script, open, untilText }) {
    script.answers['/api/jobs'] = { jobs: [job('a')], next: '' };
    for (const address of ['#/jobs/a/valueOf', '#/jobs/%E0', '#/nowhere']) {
      await open(address);
      await untilText('main h2', 'job a');
      await page.goto('about:blank');
    }
  },

  async 'jobs stay in their order, and one that is not shown stays so'({ page, script, open, untilText }) {
    const aged = (id, created) => job(id, { created_unix_ms: created });
    script.answers['/api/jobs'] = (query) => (query.get('token')
      ? { jobs: [aged('old', 1)], next: '' } : { jobs: [aged('b', 30), aged('a', 20)], next: '20/a' });
    await open('#/jobs');
    await untilText('main', 'job a');
    script.changed(aged('old', 1));
    script.changed(aged('c', 40));
    await untilText('main', 'job c');
    await page.click('main > button');
    await untilText('main', 'job old');
    const names = await page.$$eval('main h2 a', (links) => links.map((link) => link.textContent));
    assert.deepEqual(names, ['job c', 'job b', 'job a', 'job old']);
    script.changed({ ...aged('old', 1), state: 'paused' });
    await untilText('main', 'paused');
  },

  async 'the time that is left of a stage is told while the job runs'({ script, open, page, untilText }) {
    const stages = [{ ...job('a').stages[0], done: 3, eta_seconds: 90 }];
    const [running, paused] = ['running', 'paused'].map((state) => job('a', { state, stages }));
    const headline = () => page.$$eval('.facts > div', (facts) => facts
      .find((fact) => fact.querySelector('dt').textContent === 'Left of this stage').querySelector('dd').textContent);
    script.answers['/api/jobs'] = { jobs: [running], next: '' };
    script.answers['/api/jobs/a'] = running;
    await open('#/jobs');
    await untilText('main article', 'Stage policy, 1 min 30 s left');
    script.changed(paused);
    await untilText('.badge', 'paused');
    assert.doesNotMatch(await page.$eval('main article', (card) => card.textContent), /left/);

    await open('#/jobs/a');
    await untilText('.badge', 'running');
    assert.equal(await headline(), '1 min 30 s');
    await untilText('tbody tr', '1 min 30 s');
    script.changed(paused);
    await untilText('.badge', 'paused');
    assert.equal(await headline(), '–');
  },

  async 'who may only look is shown no button that does more'({ script, open, page, untilText }) {
    const states = ['running', 'paused', 'failed', 'succeeded', 'cancelled'];
    for (const state of states) script.answers[`/api/jobs/${state}`] = job(state, { state });
    const of = (name) => `/api/jobs/failed${name}`;
    Object.assign(script.answers, {
      '/api/jobs': { jobs: states.map((state) => job(state, { state })), next: '' },
      '/api/workers': [],
      [of('/labels')]: growing([label(1)]),
      [of('/quality')]: quality(),
      [of('/metrics')]: growing([{ stage: 'policy', step: 1, reward: 1 }]),
      [of('/samples')]: { last_step: 1, records: [rollout(1)] },
      [of('/evaluation')]: stretch([]),
      [of('/dead-letters')]: {
        dead_letters: [{ id: '3-label/1', stage: 'label', error: 'e', attempts: 3, failed_unix_ms: 1, item: 'i' }],
        next: '',
      },
    });
    const parts = ['/labels', '/training', '/samples', '/dead-letters'].map((part) => `jobs/failed${part}`);
    const views = ['jobs', 'workers', ...states.map((state) => `jobs/${state}`), ...parts];
    async function buttons() {
      const found = new Set();
      for (const view of views) {
        await open(`#/${view}`);
        await untilText('#connection', 'Live');
        await page.waitForNetworkIdle({ concurrency: 1, idleTime: 200 });
        const seen = await page.$$eval('main button', (nodes) => nodes.filter((node) => node.checkVisibility())
          .map((node) => node.textContent));
        seen.forEach((name) => found.add(name));
        await page.goto('about:blank');
      }
      return [...found].sort();
    }
    const steering = ['Cancel', 'Delete', 'Pause', 'Resume', 'Try again', 'Try all again'];
    assert.deepEqual(await buttons(), [...steering, 'Download the report'].sort());
    script.answers['/api/session'] = {
      ...SESSION, asks_for_tokens: true, may_steer: false, may_requeue: false, may_delete: false,
    };
    assert.deepEqual(await buttons(), ['Download the report']);
  },

  async 'what a button was refused is said'({ page, script, open, untilText }) {
    script.answers['/api/jobs'] = (query) => (query.get('token')
      ? refused(429, 'come again later') : { jobs: [job('a')], next: 'further' });
    await open('#/jobs');
    await untilText('main', 'job a');
    await page.click('main > button');
    await untilText('[role=alert]', 'come again later');
  },

  async 'a stream that breaks off at once is asked for less and less often'({ page, script, open, until }) {
    script.answers['/api/jobs'] = { jobs: [], next: '' };
    script.steady = false;
    // Waits are written down, and not kept to.
    await page.evaluateOnNewDocument(() => {
      window.waits = [];
      const wait = window.setTimeout;
      window.setTimeout = (what, ms) => {
        window.waits.push(ms);
        return wait(what, ms < 20000 ? ms / 100 : ms);
      };
    });
    await open('#/jobs');
    await until('the waits are long', () => window.waits.filter((ms) => ms > 3000 && ms < 7000).length >= 3);
  },

  async 'a tab in the background holds no connection, and goes on where it was'(
    { page, script, open, untilText, eventually },
  ) {
    script.answers['/api/jobs'] = { jobs: [job('a')], next: '' };
    await open('#/jobs');
    await untilText('#connection', 'Live');
    script.changed(job('a', { state: 'paused' }));
    await untilText('.badge', 'paused');
    const look = (hidden) => page.evaluate((is) => {
      Object.defineProperty(document, 'hidden', { value: is, configurable: true });
      document.dispatchEvent(new Event('visibilitychange'));
    }, hidden);
    await look(true);
    await eventually('nothing is held', () => script.streams.size === 0);
    await look(false);
    await eventually('it is back', () => script.streams.size === 1);
    assert.deepEqual(script.opened, [null, '1']);
  },

  async 'an event that a view cannot make sense of breaks no stream'({ page, script, open, untilText, errors }) {
    script.answers['/api/jobs'] = { jobs: [job('a')], next: '' };
    await open('#/jobs');
    await untilText('#connection', 'Live');
    script.changed({ id: 'a', created_unix_ms: 1 });
    script.changed(job('a', { state: 'paused' }));
    await untilText('.badge', 'paused');
    assert.equal(script.opened.length, 1);
    assert.equal(errors.splice(0).length, 1, 'the browser is told');
  },

  async 'what changes while the jobs are asked for is not undone by an older answer'(
    { page, script, open, untilText, eventually },
  ) {
    script.answers['/api/jobs'] = { jobs: [job('a'), job('b')], next: '' };
    await open('#/jobs');
    await untilText('#connection', 'Live');
    await page.waitForNetworkIdle({ concurrency: 1, idleTime: 200 });
    let asked = 0;
    let answer = null;
    const older = new Promise((resolve) => { answer = () => resolve({ jobs: [job('a'), job('b')], next: '' }); });
    script.answers['/api/jobs'] = () => { asked += 1; return older; };
    script.tell('hello', { changed: true });
    await eventually('they are asked for', () => asked === 1);
    script.changed(job('a', { state: 'paused' }));
    script.tell('deleted', { job: 'b' });
    await untilText('.badge', 'paused');
    answer();
    await page.waitForNetworkIdle({ concurrency: 1, idleTime: 200 });
    assert.deepEqual(await page.$$eval('.badge', (badges) => badges.map((badge) => badge.textContent)), ['paused']);
  },

  async 'a page that is signed out asks for a token'({ page, script, open, untilText }) {
    script.answers['/api/jobs'] = { jobs: [], next: '' };
    await open('#/jobs');
    await untilText('#connection', 'Live');
    script.answers['/api/session'] = { asks_for_tokens: true, caller: null, may_look: false };
    script.signedOut = true;
    script.streams.forEach((stream) => stream.destroy());
    await page.waitForSelector('#sign-in[open]');
    await untilText('#connection', 'Signed out');
  },

  async 'an answer that comes late names no other view'({ page, script, open, untilText, eventually }) {
    let answer;
    script.answers['/api/jobs/a'] = () => new Promise((resolve) => { answer = () => resolve(job('a')); });
    script.answers['/api/workers'] = [];
    await open('#/jobs/a');
    await eventually('the job is asked for', () => answer);
    await page.evaluate(() => { location.hash = '#/workers'; });
    await untilText('h1', 'Workers');
    const answered = page.waitForResponse((response) => response.url().endsWith('/api/jobs/a'));
    answer();
    await answered;
    await page.evaluate(() => new Promise((drawn) => setTimeout(drawn)));
    assert.equal(await page.title(), 'Workers - rlaif');
  },

  async 'the focus outlives the button that was pressed'({ page, script, open, until, untilText }) {
    const letter = { id: '3-label/1', stage: 'label', error: 'e', attempts: 3, failed_unix_ms: 1, item: 'i' };
    let letters = [letter];
    script.answers['/api/jobs/a'] = job('a');
    script.answers['/api/jobs/a/pause'] = job('a', { state: 'paused' });
    script.answers['/api/jobs/a/dead-letters'] = () => ({ dead_letters: letters, next: '' });
    script.answers['/api/jobs/a/dead-letters/requeue'] = () => {
      letters = [];
      return { requeued: 1 };
    };
    await open('#/jobs/a');
    await page.waitForSelector('.buttons button');
    await page.focus('.buttons button');
    await page.keyboard.press('Enter');
    await untilText('.badge', 'paused');
    assert.equal(await page.evaluate(() => document.activeElement.textContent), 'job a');
    await page.keyboard.press('Tab');
    assert.equal(await page.evaluate(() => document.activeElement.textContent), 'Resume');

    await page.evaluate(() => { location.hash = '#/jobs/a/dead-letters'; });
    await page.waitForSelector('article button');
    await page.focus('article button');
    await page.keyboard.press('Enter');
    await until('the outcome has the focus', () => document.activeElement.textContent === '1 tried again.');
    await untilText('.part', 'There are none');
  },

  async 'an item that was given up once more is shown with its last error'({ page, script, open, untilText }) {
    const letter = (error, at) => ({
      id: '3-label/1', stage: 'label', error, attempts: 3, failed_unix_ms: at, item: 'i',
    });
    script.answers['/api/jobs/a'] = job('a');
    script.answers['/api/jobs/a/dead-letters'] = { dead_letters: [letter('the first', 1)], next: '' };
    await open('#/jobs/a/dead-letters');
    await untilText('.error', 'the first');
    script.answers['/api/jobs/a/dead-letters'] = { dead_letters: [letter('the second', 2)], next: '' };
    script.changed(job('a', { dead_letters: 1 }));
    await untilText('.error', 'the second');
    assert.equal((await page.$$('article')).length, 1);
  },

  async 'labels are caught up with in one answer, and older ones stay while they are read'(
    { page, script, open, until, untilText },
  ) {
    const labels = Array.from({ length: 300 }, (_, i) => label(i));
    const asked = [];
    script.answers['/api/jobs/a'] = job('a', labelled(300));
    script.answers['/api/jobs/a/quality'] = quality();
    script.answers['/api/jobs/a/labels'] = (query) => {
      asked.push(query.toString());
      return growing(labels)(query);
    };
    await open('#/jobs/a/labels');
    await untilText('article', 'Label 000000000299');
    for (let i = 0; i < 5000; i += 1) labels.push(label(300 + i));
    asked.length = 0;
    script.changed(job('a', labelled(5300)));
    await untilText('article', 'Label 000000005299');
    assert.ok(asked.length <= 3, `${asked.length} answers for 5000 labels`);
    const shown = () => page.$$eval('article[aria-label^=Label]', (found) => found.length);
    assert.equal(await shown(), 200);

    await page.$$eval('.part > button', (buttons) => buttons.at(-1).click());
    await until('older ones come', () => document.querySelectorAll('article[aria-label^=Label]').length === 220);
    labels.push(label(5300));
    script.changed(job('a', labelled(5301)));
    await untilText('.part', 'New labels wait');
    assert.equal(await shown(), 220);
  },

  async 'a long job’s curves are thinned out, and its numbers are read undisturbed'(
    { page, script, open, until, untilText },
  ) {
    const record = (step) => ({ stage: 'policy', step, reward: step });
    const records = Array.from({ length: 12000 }, (_, i) => record(i + 1));
    script.answers['/api/jobs/a'] = job('a', { judge: 'models/strict' });
    script.answers['/api/jobs/a/metrics'] = growing(records);
    script.answers['/api/jobs/a/quality'] = quality({
      evaluate: [{ template: 't', win_rate: 0.5, interval: { low: 0, high: 1 }, contests: 1, ties: 1, unscorable: 0 }],
    });
    await open('#/jobs/a/training');
    await until('the curve is drawn', () => document.querySelector('svg.chart[aria-label^=Reward]'));
    const [, last, points] = /to ([\d,]+) in (\d+) points/.exec(
      await page.$eval('svg.chart', (chart) => chart.getAttribute('aria-label')));
    assert.equal(last, '12,000');
    assert.ok(Number(points) <= 4000, `${points} points are kept`);
    await untilText('caption', 'judged by models/strict');

    await page.click('.plots details summary');
    await page.waitForSelector('.plots details .scroll');
    await page.focus('.plots details .scroll');
    records.push(record(12001));
    script.changed(job('a'), true);
    await until('it is drawn', () => document.querySelector('svg.chart').ariaLabel.includes('12,001'));
    assert.ok(await page.$eval('.plots details .scroll', (table) => table === document.activeElement));
  },

  async 'what was measured of a reward model is shown, and of one of before what there was'(
    { script, open, until, untilText },
  ) {
    const of = { pairs: 3, ece: 0.1, brier: 0.2, bins: [] };
    const left = (id, reward) => Object.assign(script.answers, {
      [`/api/jobs/${id}`]: job(id), [`/api/jobs/${id}/metrics`]: growing([]),
      [`/api/jobs/${id}/quality`]: quality({ reward }),
    });
    const fit = {
      temperature: 1.75, interval: { low: 1.5, high: 2.5 }, log_loss: 0.7, calibrated_log_loss: 0.6,
    };
    const people = { ...of, accuracy: 0.625, accuracy_interval: { low: 0.25, high: 0.875 } };
    const longer = { trials: 3, share: 0.5, interval: { low: 0.125, high: 0.875 } };
    const measured = { ...of, temperature: fit, longer_wins: longer };
    left('a', { trained_on: 5, quality: measured, against_people: people });
    left('b', { trained_on: 5, quality: of });
    await open('#/jobs/a/training');
    await untilText('.part .facts', 'Temperature1.75');
    await untilText('.part .facts', 'The longer response wins50.0 %95 % interval 12.5 % to 87.5 %');
    await untilText('.part .facts', 'Accuracy against people62.5 %95 % interval 25.0 % to 87.5 %');
    await open('#/jobs/b/training');
    await until('what there was is shown alone', () => {
      const said = document.querySelector('.part .facts')?.textContent ?? '';
      return said.includes('Brier score') && !/Temperature|longer|people/.test(said);
    });
  },

  async 'a response is not replaced under who reads it, and the newest step is followed after that'(
    { page, script, open, until, untilText },
  ) {
    const at = (done) => job('a', { stages: [{ ...job('a').stages[0], done }] });
    let last = 1;
    script.answers['/api/jobs/a'] = at(1);
    script.answers['/api/jobs/a/evaluation'] = stretch([]);
    script.answers['/api/jobs/a/samples'] = (query) => {
      const step = Number(query.get('step') ?? last);
      return { last_step: last, records: [rollout(step)] };
    };
    const moved = () => {
      last += 1;
      script.changed(at(last));
    };
    const limit = (step) => until(`step ${step} is known`,
      (known) => document.getElementById('step-right').max === known, `${step}`);
    await open('#/jobs/a/samples');
    await untilText('.part', 'of step 1');
    for (const reader of ['.pair .text', '#step-right']) {
      await page.focus(reader);
      moved();
      await limit(last);
      assert.ok(await page.evaluate((where) => document.activeElement.matches(where), reader), reader);
      await page.evaluate(() => document.activeElement.blur());
      moved();
      await untilText('.part', `, 1 of step ${last}.`);
    }
  },

  async 'whatever people and models write is text'({ page, script, open, untilText }) {
    const text = INJECTION;
    const stages = [{ ...job('a').stages[0], note: text, stage: text }];
    const of = (name) => `/api/jobs/a${name}`;
    const shown = job('a', {
      name: text, error: text, state: 'failed', stages, policy: text, labeler: text, template: text, judge: text,
    });
    const order = {
      verdict_logprobs: [-1, -1], prefers_first: 0.5, prompt_tokens: 1, completion_tokens: 1, rationales: [{ text }],
    };
    const pair = { prompt: text, response_a: text, response_b: text };
    Object.assign(script.answers, {
      '/api/jobs': { jobs: [shown], next: '' },
      [of('')]: shown,
      [of('/labels')]: growing([
        label(1, { pair, labeler: text, template: text, comparison: { label: 0.5, ab: order, ba: order } }),
        label(2, { pair, unscorable: { reason: text, detail: text } }),
      ]),
      [of('/quality')]: quality({
        evaluate: [{
          template: text, win_rate: 0.5, interval: { low: 0, high: 1 }, contests: 1, ties: 0, unscorable: 0,
        }],
      }),
      [of('/metrics')]: growing([{ stage: 'policy', step: 1, [text]: 1 }]),
      [of('/samples')]: {
        last_step: 1, records: [{ step: 1, prompt: [{ role: text, content: text }], response: text }],
      },
      [of('/evaluation')]: growing([
        { prompt: text, trained: text, start: text, verdicts: { [text]: { detail: text } } },
      ]),
      [of('/dead-letters')]: {
        dead_letters: [{ id: text, stage: text, error: text, attempts: 3, failed_unix_ms: 1, item: text }], next: '',
      },
      '/api/workers': [{
        kind: text, lease_ms: 1, trouble: text, outstanding: 1, workers: [{
          name: text, silent_ms: 1, items: 1, parts: 1, busy_seconds: 1, last_minute: 1, since_last_ms: 1,
          held: [{ job: text, task: text, starts: 1, is_started: true, silent_ms: 1 }],
        }],
      }],
    });
    const parts = ['', '/labels', '/training', '/samples', '/dead-letters'];
    for (const view of ['jobs', 'workers', ...parts.map((part) => `jobs/a${part}`)]) {
      await open(`#/${view}`);
      await untilText(view.includes('/') ? '.part' : 'main', text);
      // All but the stream of changes.
      await page.waitForNetworkIdle({ concurrency: 1, idleTime: 200 });
      const markup = await page.evaluate(() => [window.hacked, document.querySelector('main img, main script')]);
      assert.ok(!markup.some(Boolean), view);
      await page.goto('about:blank');
    }
  },
};

const browser = await puppeteer.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-dev-shm-usage', '--lang=en-GB'],
});
let failed = 0;
for (const [name, check] of Object.entries(CHECKS)) {
  const script = await Script.start(folder);
  const page = await browser.newPage();
  page.setDefaultTimeout(PATIENCE_MS);
  const errors = [];
  page.on('pageerror', (error) => errors.push(String(error)));
  const until = (what, condition, ...args) => page.waitForFunction(condition, { polling: 50 }, ...args)
    .catch((error) => { throw new Error(`${what}: ${error.message}`); });
  const untilText = (selector, wanted) => until(`${selector} says ${wanted}`,
    (where, say) => document.querySelector(where)?.textContent.includes(say), selector, wanted);
  async function eventually(what, condition) {
    for (const begun = Date.now(); !condition();) {
      if (Date.now() - begun > PATIENCE_MS) throw new Error(what);
      await new Promise((resume) => setTimeout(resume, 20));
    }
  }
  try {
    await check({
      page, script, errors, until, untilText, eventually, open: (address) => page.goto(script.page + address),
    });
    assert.deepEqual(errors, [], 'the browser has nothing to complain of');
    console.log(`== ${name}`);
  } catch (error) {
    failed += 1;
    console.error(`failed: ${name}:`, error);
    console.error('the page shows:', await page.evaluate(() => document.body.innerText).catch(() => ''));
  }
  await page.close();
  script.stop();
}
await browser.close();
process.exit(failed ? 1 : 0);
