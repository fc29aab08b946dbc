// Curves of every stage that trains, the reward model's calibration, and win rates.

import { get, jobPath } from './api.js';
import { chart } from './chart.js';
import { el, facts, fill, table } from './dom.js';
import { count, fileName, interval, number, percent } from './format.js';
import { inTurn } from './turns.js';

const TOGETHER = 1000;
// Records kept of a stage; of a longer one's earlier half every second goes, as often as it takes.
const MOST = 4000;
// What is drawn together. What a stage measures beside these gets a chart of its own, folded away.
const CHARTS = [
  ['policy', 'Reward', ['reward']],
  ['policy', 'KL from the reference, nats per response', ['objective/kl']],
  ['policy', 'Policy loss', ['loss']],
  ['policy', 'Value network', ['value_loss', 'explained_variance']],
  ['policy', 'Response length, tokens', ['completions/mean_length']],
  ['reward', 'Reward model: loss and accuracy', ['loss', 'accuracy']],
  ['sft', 'Fine-tuning: loss per token', ['loss']],
];

export function trainingView(place, id) {
  const judged = el('div');
  const reward = el('div');
  const plots = el('div', { class: 'plots' });
  const morePlots = el('div', { class: 'plots' });
  const more = el('details', { hidden: true }, el('summary', {}, 'More curves'), morePlots);
  const empty = el('p', {}, 'Nothing has been trained yet.');
  fill(place, el('h2', {}, 'Training'), empty, plots, more, reward, judged);
  const calibration = chart('Calibration on held-out labels', 'reward model’s probability',
    { dots: true, diagonal: true });

  const records = { policy: [], reward: [], sft: [] };
  const charts = new Map();
  let end = 0;

  const measure = inTurn(async () => {
    for (;;) {
      const stretch = await get(jobPath(id, `/metrics?after=${end}&max=${TOGETHER}`));
      if (stretch.records.length === 0) break;
      end = stretch.end;
      for (const record of stretch.records) keep(record);
    }
    draw();
  });

  function keep(record) {
    const kept = records[record.stage] ??= [];
    kept.push(record);
    if (kept.length > MOST) records[record.stage] = kept.filter((_, i) => i % 2 === 0 || i > MOST / 2);
  }

  function draw() {
    const known = new Set();
    for (const [stage, title, fields] of CHARTS) {
      fields.forEach((field) => known.add(`${stage} ${field}`));
      if (records[stage].length) plot(plots, title, stage, fields);
    }
    for (const [stage, of] of Object.entries(records)) {
      const last = of.at(-1) ?? {};
      const fields = Object.keys(last).filter((field) => field !== 'step' && typeof last[field] === 'number');
      for (const field of fields.filter((name) => !known.has(`${stage} ${name}`))) {
        more.hidden = false;
        plot(morePlots, `${stage}: ${field.replaceAll('_', ' ')}`, stage, [field]);
      }
    }
    empty.hidden = charts.size > 0;
  }

  function plot(parent, title, stage, fields) {
    if (!charts.has(title)) {
      charts.set(title, chart(title, 'step'));
      parent.append(charts.get(title).node);
    }
    charts.get(title).update(fields.map((field) => ({
      name: field.replaceAll('_', ' '),
      points: records[stage].map((record) => [record.step, record[field]]),
    })));
  }

  let judge = 'the labeler';
  async function results() {
    const quality = await get(jobPath(id, '/quality'));
    if (quality.reward) showReward(quality.reward);
    if (quality.evaluate) showWinRates(quality.evaluate);
  }

  function showReward({ quality, trained_on: trainedOn, against_people: people }) {
    if (!reward.firstChild) {
      reward.append(el('h2', {}, 'Reward model'), el('div'), el('div', { class: 'plots' }, calibration.node));
    }
    fill(reward.children[1], facts([
      quality.accuracy_interval
        ? ['Accuracy', percent(quality.accuracy),
          `95 % interval ${interval(quality.accuracy_interval)}, ${count(quality.pairs)} held-out labels`]
        : ['Accuracy', '–', `of ${count(quality.pairs)} held-out labels none prefers a response`],
      people?.accuracy_interval && ['Accuracy against people', percent(people.accuracy),
        `95 % interval ${interval(people.accuracy_interval)}, ${count(people.pairs)} held-out labels`],
      quality.longer_wins && ['The longer response wins', percent(quality.longer_wins.share),
        `95 % interval ${interval(quality.longer_wins.interval)}, by the same labels`],
      ['Calibration error', number(quality.ece), 'expected, ten bins'],
      ['Brier score', number(quality.brier), 'against soft labels'],
      quality.temperature && ['Temperature', number(quality.temperature.temperature),
        'differences of rewards divided by it would fit best'],
      ['Trained on', count(trainedOn), 'labels'],
    ]));
    calibration.update([{ name: 'labeler’s', points: quality.bins.map((bin) => [bin.predicted, bin.observed]) }]);
  }

  function showWinRates(rates) {
    const made = table(`The trained policy against its start, judged by ${judge}`,
      ['Template', 'Win rate', '95 % interval', 'Length-corrected', 'Contests', 'Ties', 'Unscorable', 'Score',
        'Before'],
      [1, 4, 5, 6, 7, 8]);
    made.show(rates.map((rate) => [rate.template, percent(rate.win_rate), interval(rate.interval),
      rate.length_corrected ? percent(rate.length_corrected.win_rate) : '–', count(rate.contests), count(rate.ties),
      count(rate.unscorable), number(rate.trained_mean), number(rate.start_mean)]));
    fill(judged, el('h2', {}, 'Win rate'), made.node);
  }

  const finished = (job) => job.stages.filter((stage) => stage.done === stage.total).length;
  let before = -1;
  return {
    async refresh(job) {
      if (job.judge != null) judge = fileName(job.judge);
      await Promise.all([measure(), results()]);
    },
    changed(job, event) {
      const now = finished(job);
      const asked = [event.measured && measure(), now !== before && results()];
      before = now;
      Promise.all(asked).catch(() => {}); // The stream's line says when nobody answers.
    },
  };
}
