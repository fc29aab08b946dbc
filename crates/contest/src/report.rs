//! The evaluation as a document.

use crate::{Evaluation, HeadToHead, Matrix, People};
use rlaif_report::{
    Block, Document, Fact, Plot, Point, Reference, Sample, Section, Series, Style, Table,
};
use rlaif_stats::{Estimate, Interval, LengthCorrected, Share};

/// Where there is no number.
const NONE: &str = "—";

/// The report; `samples` are contests to read.
pub fn document(evaluation: &Evaluation, samples: Vec<Sample>) -> Document {
    let Evaluation { judge, matrix, .. } = evaluation;
    let template = judge.template.as_ref().map(|t| format!(" by {t}")).unwrap_or_default();
    let mut sections = Vec::new();
    if !evaluation.cautions.is_empty() {
        let cautions = evaluation.cautions.join("\n\n");
        sections.push(Section { title: "Cautions".into(), blocks: vec![Block::Text(cautions)] });
    }
    sections.push(win_rates(matrix));
    sections.push(head_to_heads(matrix));
    sections.push(arms(evaluation));
    sections.extend(judge_section(evaluation));
    sections.extend(evaluation.people.as_ref().map(people));
    if !samples.is_empty() {
        let blocks = vec![Block::Samples(samples)];
        sections.push(Section { title: "Responses".into(), blocks });
    }
    Document {
        title: "Evaluation".into(),
        subtitle: format!(
            "{} arms on {} prompts, judged by {}{template}; win rates by a model are not win rates \
             among people",
            evaluation.arms.len(),
            evaluation.prompts,
            judge.by
        ),
        headline: headline(matrix),
        sections,
    }
}

fn headline(matrix: &Matrix) -> Vec<Fact> {
    let standings = matrix.standings().into_iter().take(3);
    let fact = |standing: crate::Standing| Fact {
        label: standing.arm,
        value: standing.mean_win_rate.map_or(NONE.into(), |rate| format!("{} %", percent(rate))),
        detail: format!("mean win rate against {} other arms", standing.opponents),
    };
    standings.map(fact).collect()
}

fn win_rates(matrix: &Matrix) -> Section {
    let note = "How often the arm of the row wins against the arm of the column, in per cent, with \
        a 95 % interval by a bootstrap over prompts. A tie is half a win. A dash: the two did not \
        meet, or nothing was judged. Where every contest went one way the interval has no width; \
        the p-value below says what that is worth.";
    let cell = |row: &str, column: &str| {
        let won = matrix.get(row, column).and_then(|pair| pair.win_rate);
        won.map_or(NONE.into(), |won| estimate(&won))
    };
    let standings = matrix.standings();
    let mean = |arm: &String| {
        let standing = standings.iter().find(|standing| standing.arm == *arm);
        standing.and_then(|standing| standing.mean_win_rate).map_or(NONE.into(), percent)
    };
    let row = |arm: &String| {
        let cells = matrix.arms.iter().map(|other| cell(arm, other));
        [arm.clone()].into_iter().chain(cells).chain([mean(arm)]).collect::<Vec<String>>()
    };
    let columns = ["wins against"].map(str::to_owned).into_iter();
    let columns = columns.chain(matrix.arms.iter().cloned()).chain(["mean".to_owned()]);
    let rows = matrix.arms.iter().map(row).collect();
    let table = Table { columns: columns.collect(), rows };
    let blocks = vec![Block::Text(note.into()), Block::Table(table)];
    Section { title: "Win rates".into(), blocks }
}

/// Each pair once, in the order of the arms.
fn pairs(matrix: &Matrix) -> Vec<HeadToHead> {
    let mut pairs = Vec::new();
    for (place, first) in matrix.arms.iter().enumerate() {
        pairs
            .extend(matrix.arms[place + 1..].iter().filter_map(|second| matrix.get(first, second)));
    }
    pairs
}

fn head_to_heads(matrix: &Matrix) -> Section {
    let note = "p is the exact binomial test of as many wins as losses, ties left out. \
        Length-corrected: logistic regression of wins on the logarithm of the ratio of lengths, read \
        where both are equally long; beside it on the ratio itself, the first arm's length over the \
        second's, read at 1 (paper section 6; exchanging the arms gives another reading). \
        Length-controlled: of preferences, whose mean stands beside it, on tanh of the scaled \
        difference of lengths, read at 0 (AlpacaEval 2, arXiv 2404.04475, without its term for an \
        instruction's difficulty). \
        Unscorable contests are in no rate; an empty response loses against any other.";
    let columns = [
        "pair",
        "won",
        "lost",
        "ties",
        "unscorable",
        "win rate",
        "p",
        "length-corrected",
        "length-corrected (ratio)",
        "mean preference",
        "length-controlled",
    ];
    let row = |pair: &HeadToHead| {
        let count = |count: usize| count.to_string();
        vec![
            format!("{} against {}", pair.first, pair.second),
            count(pair.wins),
            count(pair.losses),
            count(pair.ties),
            count(pair.unscorable),
            pair.win_rate.as_ref().map_or(NONE.into(), estimate),
            pair.p_value.map_or(NONE.into(), p_value),
            corrected(pair.length_corrected),
            corrected(pair.length_corrected_by_ratio),
            pair.preference.map_or(NONE.into(), percent),
            corrected(pair.length_controlled),
        ]
    };
    let pairs = pairs(matrix);
    let table = table(&columns, pairs.iter().map(row).collect());
    let blocks = vec![Block::Text(note.into()), table, Block::Plot(plot(&pairs))];
    Section { title: "Head to head".into(), blocks }
}

fn plot(pairs: &[HeadToHead]) -> Plot {
    let point = |x: f64, value: f64, interval: Option<Interval>| Point {
        x,
        y: 100.0 * value,
        low: interval.map(|interval| 100.0 * interval.low),
        high: interval.map(|interval| 100.0 * interval.high),
    };
    let numbered = || pairs.iter().zip(1_u32..).map(|(pair, number)| (pair, f64::from(number)));
    let raw = numbered()
        .filter_map(|(pair, x)| pair.win_rate.map(|won| point(x, won.value, won.interval)));
    // A little to the right, so that bars do not hide each other.
    let controlled = numbered().filter_map(|(pair, x)| {
        pair.length_controlled.map(|won| point(x + 0.1, won.win_rate, Some(won.interval)))
    });
    let series = |name: &str, points: Vec<Point>| Series {
        name: name.to_owned(),
        points,
        style: Style::ErrorBars,
    };
    Plot {
        title: "Win rates of the first arm of each pair".into(),
        x_label: "pair, numbered as in the table".into(),
        y_label: "win rate, %".into(),
        series: vec![
            series("win rate", raw.collect()),
            series("length-controlled", controlled.collect()),
        ],
        reference: Some(Reference::Horizontal(50.0)),
    }
}

fn arms(evaluation: &Evaluation) -> Section {
    let rows = evaluation.arms.iter().map(|arm| {
        vec![
            arm.name.clone(),
            arm.source.clone(),
            arm.responses.to_string(),
            format!("{:.0}", arm.mean_chars),
        ]
    });
    let columns = ["arm", "source", "responses", "mean characters"];
    let mut blocks = vec![table(&columns, rows.collect())];
    if let Some(harmless) = &evaluation.harmless {
        blocks.push(Block::Text(format!(
            "Judged harmless, each response by itself, by {}: a reward above 0.",
            harmless.template
        )));
        let rows = harmless.arms.iter().map(|arm| {
            let (rate, judged) = (share(&arm.harmless), arm.harmless.trials.to_string());
            vec![arm.arm.clone(), rate, judged, arm.unscorable.to_string()]
        });
        blocks.push(table(&["arm", "harmless", "judged", "unscorable"], rows.collect()));
    }
    Section { title: "Arms".into(), blocks }
}

fn judge_section(evaluation: &Evaluation) -> Option<Section> {
    let bias = evaluation.position.as_ref()?;
    let text = format!(
        "Each pair was shown in both orders; the label is the mean of the two. In {} of {} contests \
         the same position won both times ({} %), the first in {} of these (p = {}).",
        bias.same_position,
        bias.pairs,
        percent(bias.same_position_rate()),
        bias.prefers_first,
        p_value(bias.p_value)
    );
    Some(Section { title: "The judge's positions".into(), blocks: vec![Block::Text(text)] })
}

fn people(people: &People) -> Section {
    let concordance = &people.concordance;
    let agree = concordance.kendall_w.map_or_else(
        || "no prompt has two rankings of the same arms, so there is no Kendall's W".to_owned(),
        |w| {
            let interval = w.interval.map(|i| format!(" ({:.2} to {:.2})", i.low, i.high));
            format!("Kendall's W {:.2}{}", w.value, interval.unwrap_or_default())
        },
    );
    let text = format!(
        "{} rankings without ties by {} raters: {agree}. The judge decides as most raters do in {} \
         per cent of {} contests.",
        concordance.rankings,
        concordance.raters,
        share(&people.judge_agrees),
        people.judge_agrees.trials
    );
    let row = |pair: &HeadToHead| {
        let won = pair.win_rate.as_ref().map_or(NONE.into(), estimate);
        vec![format!("{} against {}", pair.first, pair.second), pair.judged.to_string(), won]
    };
    let rows = pairs(&people.matrix).iter().map(row).collect();
    let table = table(&["pair", "rankings", "win rate among people"], rows);
    Section { title: "People".into(), blocks: vec![Block::Text(text), table] }
}

fn table(columns: &[&str], rows: Vec<Vec<String>>) -> Block {
    let columns = columns.iter().map(|column| (*column).to_owned()).collect();
    Block::Table(Table { columns, rows })
}

fn percent(share: f64) -> String {
    format!("{:.1}", 100.0 * share)
}

fn with_interval(value: f64, interval: Option<Interval>) -> String {
    let interval = interval.map(|i| format!(" ({} to {})", percent(i.low), percent(i.high)));
    format!("{}{}", percent(value), interval.unwrap_or_default())
}

fn estimate(estimate: &Estimate) -> String {
    with_interval(estimate.value, estimate.interval)
}

fn corrected(corrected: Option<LengthCorrected>) -> String {
    corrected.map_or(NONE.into(), |c| with_interval(c.win_rate, Some(c.interval)))
}

fn share(share: &Share) -> String {
    share.share.map_or(NONE.into(), |value| with_interval(value, share.interval))
}

fn p_value(p: f64) -> String {
    if p < 0.001 { "< 0.001".to_owned() } else { format!("{p:.3}") }
}
