// The live page in a browser, from an empty coordinator to a finished job. Each step says what it found;
// the first that finds something else ends the check.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { basename, join } from 'node:path';
import puppeteer from 'puppeteer-core';
import { Cluster, INJECTION } from './cluster.mjs';

const [binary, model, scratch, images] = process.argv.slice(2);
// Longer than a real model takes on a busy machine; only a failing check waits so long.
const PATIENCE_MS = 20 * 60000;
// There are to be labels left until all that needs a running job was looked at; a tiny model makes some hundred a
// second.
const PAIRS = model.includes('tiny-') ? 6000 : 48;
const DESKTOP = { width: 1100, height: 800 };
const PHONE = { width: 360, height: 740, isMobile: true, hasTouch: true };
const SUBJECTS = ['a garden', 'the sea', 'old friends', 'a small dog', 'fresh bread', 'the first snow', 'a long walk',
  'a song', 'the harbour', 'a letter', 'summer rain', 'a bicycle'];
const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

const say = (text) => console.log(`== ${text}`);
const cluster = await Cluster.start(binary, model, join(scratch, 'cluster'));
const browser = await puppeteer.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  protocolTimeout: PATIENCE_MS,
  args: ['--no-sandbox', '--disable-dev-shm-usage', '--lang=en-GB'],
});

// What the browser complains of. That the coordinator does not answer while it is away is no fault of the page's.
const complaints = [];
const page = await browser.newPage();
page.setDefaultTimeout(PATIENCE_MS);
page.on('pageerror', (error) => complaints.push(String(error)));
page.on('console', (message) => {
  const away = /ERR_CONNECTION_REFUSED|ERR_INCOMPLETE_CHUNKED|ERR_CONNECTION_RESET|401|503/.test(message.text());
  if (message.type() === 'error' && !away) complaints.push(message.text());
});
await page.setViewport(DESKTOP);

const go = async (hash) => page.evaluate((to) => { location.hash = to; }, hash);
const text = (selector) => page.$eval(selector, (node) => node.textContent);
const until = (what, condition, ...args) => page.waitForFunction(condition, { polling: 100 }, ...args)
  .catch((error) => { throw new Error(`${what}: ${error.message}`); });
const untilText = (selector, wanted) => until(`${selector} says ${wanted}`,
  (where, say) => document.querySelector(where)?.textContent.includes(say), selector, wanted);
// Goes on by keyboard to what a screen reader calls so, at its beginning.
async function tabTo(name) {
  for (let pressed = 0; pressed < 30; pressed += 1) {
    await page.keyboard.press('Tab');
    const label = await page.evaluate(() => document.activeElement.ariaLabel ?? '');
    if (label.startsWith(name)) return;
  }
  throw new Error(`the keyboard does not reach ${name}`);
}
const newest = () => page.$eval('article[aria-label^="Label"]', (label) => label.ariaLabel);
const untilNewer = (what, than) => until(what,
  (known) => document.querySelector('article[aria-label^="Label"]').ariaLabel !== known, than);

// Of what begins at a node.
async function picture(name, from, schemes = ['light']) {
  if (!images) return;
  await page.$eval(from, (node) => node.scrollIntoView());
  for (const scheme of schemes) {
    await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: scheme }]);
    await page.screenshot({ path: join(images, `${name}-${scheme}.png`) });
  }
  await page.emulateMediaFeatures([]);
}

// Every view: is it accessible in both colours, and does it fit a phone?
async function judge(view) {
  for (const [size, scheme] of [[DESKTOP, 'light'], [DESKTOP, 'dark'], [PHONE, 'light']]) {
    await page.setViewport(size);
    await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: scheme }]);
    await page.evaluate(() => new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn))));
    await page.evaluate(AXE);
    const { violations, passes } = await page.evaluate(() => axe.run());
    assert.deepEqual(violations.map(({ id, nodes }) => [id, nodes.map((node) => node.html)]), [],
      `${view} in ${scheme}, ${size.width} wide`);
    assert.ok(passes.length > 10, `${view}: axe looked at something`);
  }
  const [content, screen] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
  assert.ok(content <= screen, `${view} scrolls sideways on a phone: ${content} > ${screen}`);
  await page.setViewport(DESKTOP);
  await page.emulateMediaFeatures([]);
  say(`${view}: no violations in light and dark, fits ${PHONE.width} pixels`);
}

async function run() {
  // An empty coordinator.
  for (let tries = 0; ; tries += 1) {
    try {
      await page.goto(cluster.page);
      break;
    } catch (error) {
      if (tries === 100) throw error;
      await new Promise((resume) => setTimeout(resume, 200));
    }
  }
  await untilText('#connection', 'Live');
  await untilText('main', 'There are no jobs yet');
  await judge('no jobs');

  // A job appears without anybody asking for it, and its first item is given up: the labeler cannot be read.
  cluster.spoilLabeler();
  const id = await cluster.submit({ name: 'happy sentences', subjects: SUBJECTS, pairs: PAIRS, steps: 16 });
  await untilText('main h2', 'happy sentences');
  await untilText('main', 'dead letters: 1');
  await untilText('.badge', 'failed');
  await go(`#/jobs/${id}/dead-letters`);
  await untilText('article .error', 'config.json');
  await untilText('article', 'Stage check, tried 3 times');
  say('a job is shown that was submitted, and what was given up of it');
  await judge('dead letters');
  await picture('page-dead-letters', '.bar');

  // Tried again in vain, by a click: it is given up once more.
  const died = await text('article .detail');
  await page.click('article button');
  await untilText('.part [role=status]', '1 tried again');
  await until('it is given up once more', (before) => {
    const letter = document.querySelector('article .detail');
    return letter && letter.textContent !== before;
  }, died);
  await untilText('.badge', 'failed');

  // Once it is mended, by keyboard: the job goes on.
  cluster.mendLabeler();
  await page.evaluate(() => document.getElementById('main').focus());
  await tabTo('Try again: ');
  await page.keyboard.press('Enter');
  await until('the focus is on what came of it', () => document.activeElement.textContent === '1 tried again.');
  await untilText('.part', 'There are none');
  await untilText('.badge', 'running');
  say('a dead letter is tried again by a click, and by keyboard; then the job goes on');

  // It moves.
  await go('#/jobs');
  await page.waitForSelector('progress');
  const bar = () => page.$eval('progress', (node) => node.value);
  const before = await bar();
  await until('the bar moves', (from) => document.querySelector('progress').value !== from, before);
  say('its bar moves');

  // Labels stream in.
  await go(`#/jobs/${id}/labels`);
  await until('labels come', () => document.querySelectorAll('article[aria-label^="Label"]').length >= 4);
  await untilNewer('more labels come', await newest());
  assert.match(await text('article table'), /A shown first[\s\S]*B shown first/);
  assert.match(await text('main'), /Rationale 1, A shown first/);
  assert.match(await text('main'), /Both orders agree[\s\S]*Position bias/);
  say('labels stream in, with both orders and rationales');

  // The coordinator is killed and started again under the open page. (Becoming a phone and back loads it again.)
  await page.evaluate(() => { window.sameDocument = true; });
  await cluster.end('coordinator', 'SIGKILL');
  await untilText('#connection', 'away');
  const held = await newest(); // What was shown stays.
  cluster.startCoordinator();
  await untilText('#connection', 'Live');
  await untilNewer('labels come after the restart', held);
  assert.equal(await page.evaluate(() => window.sameDocument), true, 'the page was not loaded again');
  say('the page outlives a restart of the coordinator, and labels go on');
  await judge('labels');
  await picture('page-labels', '.tabs', ['light', 'dark']);

  // What a prompt holds is text.
  await until('the injected prompt is labelled',
    (wanted) => [...document.querySelectorAll('.prompt')].some((node) => node.textContent.includes(wanted)), INJECTION);
  const markup = await page.evaluate(() => [window.hacked, document.querySelector('main img, main script')]);
  assert.ok(!markup.some(Boolean), 'markup was made of it');
  say('markup in a prompt is shown as text');

  // Steering with nothing but the keyboard.
  await go(`#/jobs/${id}`);
  await untilText('.buttons', 'Pause');
  await page.reload();
  await untilText('.buttons', 'Pause');
  await page.keyboard.press('Tab');
  assert.equal(await page.evaluate(() => document.activeElement.id), 'skip');
  await page.keyboard.press('Enter');
  assert.equal(await page.evaluate(() => document.activeElement.id), 'main');
  await page.keyboard.press('Tab');
  assert.equal(await page.evaluate(() => document.activeElement.textContent), 'Pause');
  const outline = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
  assert.equal(outline, 'solid', 'the focus is seen');
  await page.keyboard.press('Enter');
  await untilText('.badge', 'paused');
  await page.evaluate(() => document.getElementById('main').focus());
  await page.keyboard.press('Tab');
  await page.keyboard.press('Enter');
  await untilText('.badge', 'running');
  say('a job is paused and resumed by keyboard alone');
  const budget = `of ${Math.ceil(PAIRS / 3).toLocaleString('en')}`;
  await until('cost is shown against the budget', (bound) => [...document.querySelectorAll('.facts .detail')]
    .some((node) => /^cost [\d.,]+ of/.test(node.textContent) && node.textContent.endsWith(bound)), budget);
  await untilText('.subtitle', `, judge ${basename(model)},`);
  say('cost is shown against the budget, and the judge beside the labeler');
  await judge('stages');
  await picture('page-stages', '.bar');

  // Workers, while there is work.
  await go('#/workers');
  await until('workers hold items', () => /lease renewed/.test(document.querySelector('main').textContent));
  for (const name of ['rollout-0', 'labeler-3', 'labeler-4']) await untilText('main', name);
  await until('somebody has answered in the last minute', () => [...document.querySelectorAll('main table')].some(
    ({ tHead, tBodies }) => {
      const column = [...tHead.rows[0].cells].findIndex((cell) => cell.textContent === 'Last minute');
      return [...tBodies[0].rows].some((row) => Number(row.cells[column].textContent.replaceAll(',', '')) > 0);
    }));
  say('workers are shown with their leases, and with what they have done in the last minute');
  await judge('workers');

  // Curves grow.
  await go(`#/jobs/${id}/training`);
  await until('steps are drawn', () => /reward from .* in [3-9] points/.test(
    [...document.querySelectorAll('svg.chart')].map((chart) => chart.getAttribute('aria-label')).join()));
  await until('further steps are drawn', () => /reward from .* in 1\d points/.test(
    [...document.querySelectorAll('svg.chart')].map((chart) => chart.getAttribute('aria-label')).join()));
  for (const [title, curve] of [
    ['KL from the reference', 'objective/kl'], ['Policy loss', 'loss'], ['Reward model: loss and accuracy', 'loss'],
  ]) {
    await until(`${title} is drawn`, (begin, name) => [...document.querySelectorAll('svg.chart')]
      .map((chart) => chart.getAttribute('aria-label')).some((label) => label.startsWith(begin)
        && label.includes(`: ${name} from `) && !label.endsWith('in 1 points')), title, curve);
  }
  await untilText('main', 'Calibration error');
  say('curves grow, and calibration is shown');

  // To the end.
  await untilText('.badge', 'succeeded');
  await untilText('main', 'Win rate');
  await untilText('main', `judged by ${basename(model)}`);
  await picture('page-training', '.tabs');
  await page.$eval('details summary', (summary) => summary.click());
  await page.waitForSelector('details table');
  await judge('training');
  await page.setViewport({ ...PHONE, deviceScaleFactor: 1 });
  await picture('page-phone', '.bar');
  await page.setViewport(DESKTOP);

  await go(`#/jobs/${id}/samples`);
  await untilText('main', '6 of step 16');
  await untilText('main', 'Trained');
  await page.focus('#step-right');
  await page.keyboard.press('ArrowDown');
  await page.keyboard.press('Tab');
  await untilText('main', '6 of step 15');
  await judge('samples');

  await go(`#/jobs/${id}/dead-letters`);
  await untilText('main', 'There are none');
  await judge('no dead letters');
  await go('#/jobs');
  await untilText('main h2', 'happy sentences');
  assert.ok((await text('main article')).includes(budget), 'its cost is shown against its budget');
  await judge('jobs');

  // Now it asks for tokens.
  const [token, administrators] = ['client', 'admin'].map((role) => `${role}-0123456789abcdef01234567`);
  Object.assign(cluster.settings, {
    RLAIF__SERVER__AUTH__ENABLED: 'true',
    RLAIF__SERVER__AUTH__TOKENS: `{ ann = { role = "client", token = "${token}" }, `
      + `bob = { role = "admin", token = "${administrators}" } }`,
  });
  await cluster.end('coordinator', 'SIGTERM');
  cluster.startCoordinator();
  await untilText('#connection', 'Signed out');
  await page.waitForSelector('#sign-in[open]');
  await page.reload();
  await page.waitForSelector('#sign-in[open]');
  assert.equal(await page.$$eval('.cards > li', (found) => found.length), 0, 'nothing is seen without a token');
  await judge('sign in');
  await page.type('#token', token);
  await page.keyboard.press('Enter');
  await untilText('#connection', 'Live');
  await untilText('#identity', 'Sign out ann');
  await untilText('main h2', 'happy sentences');
  say('with tokens configured nothing is seen without one');

  // An administrator deletes the job, by keyboard.
  await go(`#/jobs/${id}`);
  await untilText('.buttons', 'Download the report');
  assert.doesNotMatch(await text('main .buttons'), /Delete/, 'a client may not');
  await page.click('#identity');
  await page.waitForSelector('#sign-in[open]');
  await page.type('#token', administrators);
  await page.keyboard.press('Enter');
  await untilText('#identity', 'Sign out bob');
  await untilText('.buttons', 'Delete');
  await page.evaluate(() => document.getElementById('main').focus());
  await page.keyboard.press('Tab');
  await page.keyboard.press('Tab');
  assert.equal(await page.evaluate(() => document.activeElement.textContent), 'Delete');
  const asked = new Promise((answered) => {
    page.once('dialog', async (dialog) => {
      await dialog.accept();
      answered(dialog.message());
    });
  });
  await page.keyboard.press('Enter');
  assert.match(await asked, /Delete happy sentences for good/);
  await untilText('main', 'There are no jobs yet');
  say('an administrator deletes a job by keyboard, and is asked before');
  assert.deepEqual(complaints, [], 'the browser has nothing to complain of');
}

let failed = true;
try {
  await run();
  failed = false;
  say('done');
} catch (error) {
  console.error(error);
  console.error('the page shows:', await page.evaluate(() => document.body.innerText).catch(() => ''));
  console.error('complaints:', complaints);
} finally {
  await browser.close();
  await cluster.stop();
}
process.exit(failed ? 1 : 0);
