//! The report of a run, from what its folder holds.

mod samples;
mod selection;
mod staleness;

use crate::Error;
use crate::config::{Job, RewardSource};
use crate::evaluation::{EvaluationRecord, Judged, WinRate};
use crate::label_record::LabelRecord;
use crate::label_summary::LabelSummary;
use crate::left_out::{LeftOut, Unlearnable};
use crate::manifest::Manifest;
use crate::mixture::{PART_METRICS, RewardPart};
use crate::reward_quality::{RewardQuality, RewardSummary, SourceQuality};
use crate::run_folder::RunFolder;
use crate::sample_record::SampleRecord;
use crate::work::Tokens;
use rlaif_data::write_atomic;
use rlaif_report::{
    Block, Document, Fact, Plot, Point, Reference, Sample, Section, Series, Style, Table,
};
use rlaif_stats::Interval;
use rlaif_types::{AlgorithmKind, LabelSource};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::PathBuf;

/// Price of a human label by the paper's count: 304 words at $0.11 for every 50 (section 1).
const HUMAN_LABEL_DOLLARS: f64 = 304.0 / 50.0 * 0.11;
/// Samples shown.
const SAMPLES: usize = 12;

/// Writes `report.md` and `report.html`; returns the latter's path.
pub fn write(job: &Job, folder: &RunFolder, manifest: &Manifest) -> Result<PathBuf, Error> {
    let document = build(job, folder, manifest)?;
    write_atomic(&folder.path("report.md"), document.to_markdown().as_bytes())?;
    let html = folder.path("report.html");
    write_atomic(&html, document.to_html().as_bytes())?;
    Ok(html)
}

fn build(job: &Job, folder: &RunFolder, manifest: &Manifest) -> Result<Document, Error> {
    let win_rates: Vec<WinRate> = folder.finished("evaluate")?.unwrap_or_default();
    let metrics: Vec<Value> = folder.read("metrics.jsonl")?;
    let mut sections = Vec::from_iter(cautions_section(manifest));
    sections.push(win_rate_section(job, &win_rates));
    sections.extend(samples_section(job, folder)?);
    sections.extend(manifest.selection.as_ref().map(selection::section));
    let drawn: Vec<SampleRecord> = folder.read("samples.jsonl")?;
    sections.extend(policy_section(job, &drawn, &metrics));
    sections.extend(samples::section(&drawn));
    if let Some(summary) = folder.finished::<RewardSummary>("reward")? {
        let hard = job.reward_model.as_ref().is_some_and(|rm| rm.harden);
        sections.push(reward_section(&summary, hard, &metrics));
        sections.extend(staleness::section(&metrics));
    }
    sections.extend(labels_section(job, folder)?);
    if job.sft.is_some() {
        let plot = plot("Loss per token", &metrics, "sft", &["loss"]);
        sections.push(Section { title: "Fine-tuning".into(), blocks: vec![Block::Plot(plot)] });
    }
    sections.extend(left_out_section(manifest));
    sections.push(time_section(folder)?);
    sections.push(provenance_section(job, manifest));
    let source = match job.rl.reward {
        RewardSource::Model => match labels_of(job) {
            LabelSource::Ai => "RLAIF: labels, then a reward model".to_owned(),
            LabelSource::Human => "RLHF: people's labels, then a reward model".into(),
            LabelSource::Mixed => "RLHF and RLAIF: all labels, then a reward model".into(),
        },
        RewardSource::Labeler => "d-RLAIF: the labeler's rating is the reward".into(),
        RewardSource::Pairwise => {
            "RLAIF: the labeler matches a prompt's responses against each other".into()
        }
        RewardSource::Preferences => match job.rl.given_labels() {
            LabelSource::Ai => "Preferences that a model gave".into(),
            LabelSource::Human => "Preferences that people gave".into(),
            LabelSource::Mixed => "Given preferences".into(),
        },
        RewardSource::Mixture => {
            let part = |part: &RewardPart| format!("{} x {}", part.weight, part.name());
            let parts: Vec<String> = job.rl.mixture.iter().map(part).collect();
            format!("The reward is a sum: {}", parts.join(" + "))
        }
    };
    let method = format!("{source}; {}", algorithm_name(job.rl.algorithm));
    Ok(Document {
        title: format!("rlaif run: {}", job.name),
        subtitle: format!("{method}. {}.", models_of(job)),
        headline: headline(&win_rates, &metrics, manifest),
        sections,
    })
}

fn models_of(job: &Job) -> String {
    let models = format!("Policy {}, labeler {}", job.policy.model, job.labeler.model);
    match &job.evaluate.judge {
        Some(judge) => format!("{models}, judge {}", judge.model),
        None => models,
    }
}

fn labels_of(job: &Job) -> LabelSource {
    job.reward_model.as_ref().map_or(LabelSource::default(), |rm| rm.labels)
}

fn algorithm_name(kind: AlgorithmKind) -> &'static str {
    match kind {
        AlgorithmKind::Reinforce => "REINFORCE with a value baseline",
        AlgorithmKind::Rloo => "RLOO",
        AlgorithmKind::Grpo => "GRPO",
        AlgorithmKind::Ppo => "PPO",
        AlgorithmKind::OnlineDpo => "online preference optimisation",
        AlgorithmKind::Dpo => "direct preference optimisation",
    }
}

fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

fn interval(interval: &Interval) -> String {
    format!("{:.1} to {:.1} %", 100.0 * interval.low, 100.0 * interval.high)
}

fn headline(win_rates: &[WinRate], metrics: &[Value], manifest: &Manifest) -> Vec<Fact> {
    let mut facts = Vec::new();
    if let Some(first) = win_rates.first() {
        facts.push(Fact {
            label: "Win rate over the start".into(),
            value: percent(first.win_rate),
            detail: format!(
                "95 % interval {}, {} held-out contests, judged by an AI",
                interval(&first.interval),
                first.contests
            ),
        });
        facts.push(Fact {
            label: "Mean score".into(),
            value: format!("{:.3}", first.trained_mean),
            detail: format!("{:.3} before", first.start_mean),
        });
    }
    let last = metrics.iter().rev().find(|m| m["stage"] == "policy");
    if let Some(kl) = last.and_then(|m| m["objective/kl"].as_f64()) {
        facts.push(Fact {
            label: "KL from the start".into(),
            value: format!("{kl:.2} nats"),
            detail: "per response, in the last step".into(),
        });
    }
    if manifest.strict_self_improvement {
        facts.push(Fact {
            label: "Strict self-improvement".into(),
            value: "yes".into(),
            detail: "the labeler is the policy's starting checkpoint, by hash".into(),
        });
    }
    facts
}

fn cautions_section(manifest: &Manifest) -> Option<Section> {
    let blocks = vec![Block::Text(manifest.cautions.join("\n\n"))];
    (!manifest.cautions.is_empty()).then(|| Section { title: "Cautions".into(), blocks })
}

fn win_rate_section(job: &Job, win_rates: &[WinRate]) -> Section {
    let columns = [
        "Template",
        "Win rate",
        "95 % interval",
        "Length-corrected",
        "95 % interval",
        "Contests",
        "Ties",
        "Unscorable",
        "Score",
        "Before",
    ];
    let rows = win_rates.iter().map(|rate| {
        let corrected = rate.length_corrected.as_ref();
        vec![
            rate.template.clone(),
            percent(rate.win_rate),
            interval(&rate.interval),
            corrected.map_or("-".into(), |c| percent(c.win_rate)),
            corrected.map_or("-".into(), |c| interval(&c.interval)),
            rate.contests.to_string(),
            rate.ties.to_string(),
            rate.unscorable.to_string(),
            format!("{:.3}", rate.trained_mean),
            format!("{:.3}", rate.start_mean),
        ]
    });
    let bars = |pick: &dyn Fn(&WinRate) -> Option<(f64, Interval)>| -> Vec<Point> {
        let points = win_rates.iter().enumerate().filter_map(|(i, rate)| {
            let (share, interval) = pick(rate)?;
            let (low, high) = (Some(100.0 * interval.low), Some(100.0 * interval.high));
            Some(Point { x: (i + 1) as f64, y: 100.0 * share, low, high })
        });
        points.collect()
    };
    let corrected = |rate: &WinRate| rate.length_corrected.map(|c| (c.win_rate, c.interval));
    let plot = Plot {
        title: "Win rate with 95 % intervals".into(),
        x_label: "template, in the table's order".into(),
        y_label: "% won".into(),
        series: vec![
            Series {
                name: "raw".into(),
                points: bars(&|rate| Some((rate.win_rate, rate.interval))),
                style: Style::ErrorBars,
            },
            Series {
                name: "length-corrected".into(),
                points: bars(&corrected),
                style: Style::ErrorBars,
            },
        ],
        reference: Some(Reference::Horizontal(50.0)),
    };
    let each = match job.evaluate.samples_per_prompt {
        1 => "one response each".to_owned(),
        several => format!("{several} responses each"),
    };
    let note = format!(
        "The trained policy against its start on held-out prompts, {each}, same seeds. Judged by a language model: \
         not a human win rate. A tie is half a win; an empty response loses against any other. Intervals are a \
         bootstrap over prompts, or Wilson's of so many prompts where every contest went one way. Length-corrected: \
         logistic regression on the logarithm of the length ratio, read where both are equally long (paper section \
         6, which has the ratio)."
    );
    Section {
        title: "Evaluation".into(),
        blocks: vec![
            Block::Text(note),
            Block::Table(Table {
                columns: columns.map(String::from).to_vec(),
                rows: rows.collect(),
            }),
            Block::Plot(plot),
        ],
    }
}

fn samples_section(job: &Job, folder: &RunFolder) -> Result<Option<Section>, Error> {
    let records: Vec<EvaluationRecord> = folder.read("evaluation.jsonl")?;
    let headline = job.evaluate.templates.first().map_or("", String::as_str);
    let samples: Vec<Sample> = records
        .iter()
        .take(SAMPLES)
        .map(|record| {
            let verdict = record.verdicts.get(headline).or_else(|| record.verdicts.values().next());
            Sample {
                prompt: record.contest.prompt.as_context(),
                sides: vec![
                    ("start".into(), record.contest.start.clone()),
                    ("trained".into(), record.contest.trained.clone()),
                ],
                note: match verdict {
                    Some(Judged::Verdict(v)) => {
                        format!("score {:.3} before, {:.3} after", v.start, v.trained)
                    }
                    Some(Judged::Unscorable(reason)) => format!("unscorable: {reason}"),
                    None => String::new(),
                },
            }
        })
        .collect();
    Ok((!samples.is_empty())
        .then(|| Section { title: "Side by side".into(), blocks: vec![Block::Samples(samples)] }))
}

/// Curves of one stage's metrics.
fn plot(title: &str, metrics: &[Value], stage: &str, fields: &[&str]) -> Plot {
    let series = fields.iter().map(|field| Series {
        name: field.replace('_', " "),
        points: metrics
            .iter()
            .filter(|m| m["stage"] == stage)
            .filter_map(|m| {
                let (x, y) = (m["step"].as_f64()?, m[*field].as_f64()?);
                Some(Point { x, y, low: None, high: None })
            })
            .collect(),
        style: Style::Line,
    });
    Plot {
        title: title.into(),
        x_label: "step".into(),
        y_label: String::new(),
        series: series.filter(|series| !series.points.is_empty()).collect(),
        reference: None,
    }
}

fn policy_section(job: &Job, samples: &[SampleRecord], metrics: &[Value]) -> Option<Section> {
    if !metrics.iter().any(|m| m["stage"] == "policy") {
        return None;
    }
    let plots: [(&str, &[&str]); 8] = [
        ("Reward", &["reward", "shaped_reward"]),
        ("KL from the reference, nats per response", &["objective/kl"]),
        ("Value network", &["value_loss", "explained_variance"]),
        ("Ratios to the policy that drew", &["clip_ratio/region_mean", "approx_kl"]),
        ("Pairs", &["rewards/accuracies", "rewards/margins"]),
        ("Weight of the divergence", &["beta"]),
        ("Entropy, nats per token", &["entropy"]),
        ("Response length, tokens", &["completions/mean_length"]),
    ];
    // An algorithm's curves are those of what it measures.
    let plots = plots.map(|(title, fields)| plot(title, metrics, "policy", fields));
    let measured = |plot: &Plot| !plot.series.is_empty();
    let parts: BTreeSet<&str> = metrics.iter().flat_map(part_means).collect();
    let parts = plot("Mean of each part of the reward", metrics, "policy", &Vec::from_iter(parts));
    let plots = plots.into_iter().chain([parts]);
    let mut blocks: Vec<Block> = plots.filter(measured).map(Block::Plot).collect();
    let last = samples.last().map_or(0, |s| s.step);
    let of_step = |step: usize| samples.iter().filter(move |s| s.step == step);
    let distinct = |step: usize| {
        let mut texts: Vec<&str> = of_step(step).map(|s| s.response.as_str()).collect();
        let all = texts.len().max(1);
        texts.sort_unstable();
        texts.dedup();
        percent(texts.len() as f64 / all as f64)
    };
    if last > 0 {
        blocks.push(Block::Text(format!(
            "Distinct responses within a batch: {} in the first step, {} in the last.",
            distinct(1),
            distinct(last)
        )));
    }
    if let Some(decay) = job.rl.ema_decay {
        blocks.push(Block::Text(format!(
            "What was evaluated and saved is not the last step's policy but an exponential moving average of \
             the policy's weights, with decay {decay}. The curves are of the policy itself."
        )));
    }
    Some(Section { title: "Reinforcement learning".into(), blocks })
}

/// Names of a mixture's means in a record.
fn part_means(record: &Value) -> impl Iterator<Item = &str> {
    let names = record.as_object().into_iter().flat_map(|record| record.keys());
    names.map(String::as_str).filter(|name| name.starts_with(PART_METRICS))
}

/// Of a reward model that learned labels as `hard` ones, or as they were.
fn reward_section(summary: &RewardSummary, hard: bool, metrics: &[Value]) -> Section {
    let quality = &summary.quality;
    let mut text = quality_text("", summary.trained_on, quality);
    for (source, of_source) in &summary.by_source {
        let SourceQuality { trained_on, quality } = of_source;
        text = format!("{text} {}", quality_text(&format!("{source} "), *trained_on, quality));
    }
    if let Some(people) = &summary.against_people {
        text = format!(
            "{text} Against people's labels of {} held-out pairs that a model labelled too: {}",
            people.pairs,
            figures(people)
        );
    }
    if hard {
        text.push_str(" It learned soft labels as hard ones; held-out labels are as they were.");
    }
    let calibration = Plot {
        title: "Calibration on held-out labels".into(),
        x_label: "reward model's probability".into(),
        y_label: "labeler's".into(),
        series: vec![Series {
            name: "ten bins".into(),
            points: quality
                .bins
                .iter()
                .map(|b| Point {
                    x: b.predicted,
                    y: b.observed,
                    low: b.interval.map(|interval| interval.low),
                    high: b.interval.map(|interval| interval.high),
                })
                .collect(),
            style: Style::ErrorBars,
        }],
        reference: Some(Reference::Diagonal),
    };
    Section {
        title: "Reward model".into(),
        blocks: vec![
            Block::Text(text),
            Block::Plot(plot("Loss and accuracy", metrics, "reward", &["loss", "accuracy"])),
            Block::Plot(calibration),
        ],
    }
}

fn quality_text(source: &str, trained_on: usize, quality: &RewardQuality) -> String {
    if quality.pairs == 0 {
        return format!(
            "Trained on {trained_on} {source}labels; none were held out to measure it on."
        );
    }
    format!(
        "Trained on {trained_on} {source}labels. On {} held-out {source}labels: {}",
        quality.pairs,
        figures(quality)
    )
}

/// What was measured on held-out labels.
fn figures(quality: &RewardQuality) -> String {
    let accuracy = match (quality.accuracy, &quality.accuracy_interval) {
        (Some(share), Some(within)) => {
            format!("accuracy {} (95 % interval {})", percent(share), interval(within))
        }
        _ => "no accuracy, since none of them prefers a response".to_owned(),
    };
    let longer = quality.longer_wins.and_then(|longer| longer.share.zip(longer.interval));
    let longer = longer.map_or_else(String::new, |(share, within)| {
        format!(", where the longer response wins {} ({})", percent(share), interval(&within))
    });
    let temperature = quality.temperature.map_or_else(String::new, |fit| {
        let Interval { low, high } = fit.interval;
        format!(
            " Divided by a temperature of {:.2} (95 % interval {low:.2} to {high:.2}), differences of rewards would \
             fit these labels best.",
            fit.temperature
        )
    });
    format!(
        "{accuracy}{longer}, expected calibration error {:.3}, Brier score {:.3}.{temperature}",
        quality.ece, quality.brier
    )
}

fn labels_section(job: &Job, folder: &RunFolder) -> Result<Option<Section>, Error> {
    let labels: Vec<LabelRecord> = folder.read("labels.jsonl")?;
    if labels.is_empty() {
        return Ok(None);
    }
    let LabelSummary {
        position: bias,
        unscorable,
        prompt_tokens: read,
        completion_tokens: written,
    } = LabelSummary::of(&labels);
    let cost = match job.labeler.price {
        Some(price) => format!("${}", price.cost(&Tokens::new(read, written).usage())),
        None => "-: the job names no labeler.price".into(),
    };
    let first = bias.prefers_first as f64 / bias.same_position.max(1) as f64;
    let mut rows = vec![
        vec!["pairs labelled".to_owned(), bias.pairs.to_string()],
        vec!["same position preferred in both orders".into(), percent(bias.same_position_rate())],
        vec!["of these, the first position".into(), percent(first)],
        vec!["p-value, two-sided binomial".into(), format!("{:.2e}", bias.p_value)],
        vec!["labeler tokens read, both orders".into(), read.to_string()],
        vec!["labeler tokens written".into(), written.to_string()],
        vec!["labeler cost at the job's price".into(), cost],
        vec![
            "the same labels by people (paper section 1)".into(),
            format!("${:.2}", bias.pairs as f64 * HUMAN_LABEL_DOLLARS),
        ],
    ];
    let reason =
        |(reason, count): (_, usize)| vec![format!("unscorable: {reason}"), count.to_string()];
    rows.extend(unscorable.into_iter().map(reason));
    let columns = vec!["Labels".to_owned(), String::new()];
    Ok(Some(Section {
        title: "Labels, position bias, cost".into(),
        blocks: vec![Block::Table(Table { columns, rows })],
    }))
}

/// What was there and not learned from; none where everything was.
fn left_out_section(manifest: &Manifest) -> Option<Section> {
    let of_stage = |(stage, left_out): (&String, &LeftOut)| {
        let row = |(why, count): (Unlearnable, usize)| {
            vec![stage.clone(), why.to_string(), count.to_string()]
        };
        left_out.iter().map(row).collect::<Vec<_>>()
    };
    let rows: Vec<Vec<String>> = manifest.left_out.iter().flat_map(of_stage).collect();
    let columns = ["Stage", "Examples", "Count"].map(String::from).to_vec();
    let table = Block::Table(Table { columns, rows });
    (!manifest.left_out.is_empty())
        .then(|| Section { title: "Left out of training".into(), blocks: vec![table] })
}

fn time_section(folder: &RunFolder) -> Result<Section, Error> {
    let journal: Vec<Value> = folder.read("journal.jsonl")?;
    let mut by_stage: Vec<(String, f64, u64)> = Vec::new();
    for entry in &journal {
        let stage = entry["stage"].as_str().unwrap_or_default();
        let (seconds, count) =
            (entry["seconds"].as_f64().unwrap_or(0.0), entry["count"].as_u64().unwrap_or(0));
        match by_stage.iter_mut().find(|(name, ..)| name == stage) {
            Some((_, total, done)) => {
                *total += seconds;
                *done += count;
            }
            None => by_stage.push((stage.to_owned(), seconds, count)),
        }
    }
    let rows = by_stage
        .into_iter()
        .map(|(stage, seconds, count)| vec![stage, count.to_string(), format!("{seconds:.0} s")]);
    let columns = ["Stage", "Items or steps", "Time"].map(String::from).to_vec();
    let table = Table { columns, rows: rows.collect() };
    Ok(Section { title: "Time".into(), blocks: vec![Block::Table(table)] })
}

fn provenance_section(job: &Job, manifest: &Manifest) -> Section {
    let mut rows = vec![
        vec!["manifest".to_owned(), manifest.hash().to_string()],
        vec!["rlaif".into(), manifest.version.clone()],
        vec!["seed".into(), manifest.seed.to_string()],
        vec!["policy".into(), manifest.policy_hash.to_string()],
        vec!["labeler".into(), manifest.labeler_hash.to_string()],
    ];
    let judge = manifest.judge_hash.as_ref();
    rows.extend(judge.map(|hash| vec!["judge".into(), hash.to_string()]));
    let start = manifest.reward_start_hash.as_ref();
    rows.extend(start.map(|hash| vec!["start of the reward model".into(), hash.to_string()]));
    let hashes =
        [("template", &manifest.templates), ("data", &manifest.data), ("", &manifest.files)];
    for (kind, hashes) in hashes {
        rows.extend(
            hashes.iter().map(|(n, h)| vec![format!("{kind} {n}").trim().into(), h.to_string()]),
        );
    }
    let columns = vec!["What".to_owned(), "SHA-256".into()];
    Section {
        title: "Provenance".into(),
        blocks: vec![
            Block::Table(Table { columns, rows }),
            Block::Text(format!("{} Resolved job in job.toml.", divergence(job))),
        ],
    }
}

/// How the policy was held to its start.
fn divergence(job: &Job) -> String {
    let Some(kl) = job.rl.algorithm().kl() else { return String::new() };
    let adaptive = job.rl.adaptive_kl.map_or_else(String::new, |adaptive| {
        format!(" at first, then towards {} nats per response", adaptive.target)
    });
    format!("KL placement: {:?}. beta {}{adaptive}.", kl.placement, kl.beta)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Predicted, reward_quality};
    use rlaif_types::SoftLabel;
    use std::collections::BTreeMap;

    #[test]
    fn a_reward_model_without_held_out_labels_has_no_accuracy_for_that_reason() {
        let said = |pairs: &[Predicted<usize>]| quality_text("ai ", 24, &reward_quality(pairs));
        assert_eq!(said(&[]), "Trained on 24 ai labels; none were held out to measure it on.");
        let tied = said(&[predicted(0, 0.8, SoftLabel::TIE)]);
        assert!(tied.contains("no accuracy, since none of them prefers a response"), "{tied}");
        let sure = said(&[predicted(0, 0.8, SoftLabel::certain(true))]);
        assert!(sure.contains("On 1 held-out ai labels: accuracy 100.0 %"), "{sure}");
        assert!(sure.contains(", where the longer response wins 0.0 % ("), "{sure}");
        assert!(!tied.contains("longer"), "{tied}");
    }

    #[test]
    fn a_report_has_the_temperature_where_rewards_differ() {
        let said = |prefers_a: f64| {
            let pairs = [true, true, true, false].into_iter().enumerate();
            let pairs = pairs.map(|(i, holds)| predicted(i, prefers_a, SoftLabel::certain(holds)));
            quality_text("", 24, &reward_quality(&pairs.collect::<Vec<_>>()))
        };
        let (sure, indifferent) = (said(0.9), said(0.5));
        assert!(sure.contains("Divided by a temperature of 2.00 (95 % interval "), "{sure}");
        assert!(!indifferent.contains("temperature"), "{indifferent}");
    }

    #[test]
    fn a_report_says_that_labels_were_learned_as_hard_ones_where_they_were() {
        let summary = summary();
        let said = |hard: bool| said_of(&summary, hard);
        assert!(said(true).contains("as hard ones") && !said(false).contains("hard"));
    }

    #[test]
    fn a_report_has_what_people_said_beside_the_labels_that_were_learned_where_they_did() {
        let learned = RewardSummary {
            quality: reward_quality(&[predicted(0, 0.2, SoftLabel::certain(false))]),
            ..summary()
        };
        let people = reward_quality(&[predicted(0, 0.2, SoftLabel::certain(true))]);
        let both = RewardSummary { against_people: Some(Box::new(people)), ..learned.clone() };
        let (alone, both) = (said_of(&learned, false), said_of(&both, false));
        let expected = "Against people's labels of 1 held-out pairs that a model labelled too: \
            accuracy 0.0 %";
        assert!(both.starts_with(&alone) && both.contains(expected), "{both}");
        assert!(alone.contains("accuracy 100.0 %") && !alone.contains("people"), "{alone}");
    }

    /// A pair of this prompt, whose B is the longer one.
    fn predicted(prompt: usize, prefers_a: f64, label: SoftLabel) -> Predicted<usize> {
        Predicted { prompt, lengths: [1, 2], label, prefers_a }
    }

    /// Of a reward model that was not measured.
    fn summary() -> RewardSummary {
        RewardSummary {
            quality: reward_quality::<usize>(&[]),
            trained_on: 24,
            mean: 0.0,
            std: 1.0,
            start_hash: None,
            by_source: BTreeMap::new(),
            against_people: None,
        }
    }

    fn said_of(summary: &RewardSummary, hard: bool) -> String {
        match &reward_section(summary, hard, &[]).blocks[0] {
            Block::Text(text) => text.clone(),
            other => panic!("{other:?}"),
        }
    }
}
