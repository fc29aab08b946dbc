//! What people said of the same responses: rankings without ties by several raters (paper section 6).

use crate::{Contest, Matrix, Options, Verdict};
use rlaif_stats::{Estimate, Share, bootstrap_mean, kendall_w};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// One rater's order of the responses to one prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ranking {
    /// Number of the prompt.
    pub prompt: usize,
    /// Arms, best first.
    pub best_first: Vec<String>,
    /// Who ranked them.
    pub rater: String,
}

/// How far raters agree.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Concordance {
    /// Rankings read.
    pub rankings: usize,
    /// Different raters.
    pub raters: usize,
    /// Mean over prompts of Kendall's W of the raters who ranked the same arms there; none where no
    /// prompt has two of them.
    pub kendall_w: Option<Estimate>,
}

/// People's judgement beside the judge's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct People {
    /// Who was ranked above whom, one contest a rater.
    pub matrix: Matrix,
    /// How far the raters agree with each other.
    pub concordance: Concordance,
    /// How often the judge decides as most raters do, over prompts and pairs of arms on which there
    /// is a majority; a tie of the judge is half.
    pub judge_agrees: Share,
}

impl Ranking {
    /// Checks that it is an order of some of `arms`.
    ///
    /// # Errors
    /// With what is wrong, for a person.
    pub fn check(&self, arms: &[String]) -> Result<(), String> {
        if self.best_first.len() < 2 {
            return Err("\"ranking\" needs at least two arms, best first".to_owned());
        }
        let mut seen = BTreeSet::new();
        for arm in &self.best_first {
            if !arms.contains(arm) {
                let known = arms.join(", ");
                return Err(format!("\"ranking\" names the arm {arm:?}; there are {known}"));
            }
            if !seen.insert(arm) {
                return Err(format!("\"ranking\" names the arm {arm:?} twice"));
            }
        }
        Ok(())
    }

    /// What it says of each pair of its arms; `length` has the characters of an arm's response.
    fn contests(&self, length: &impl Fn(usize, &str) -> usize) -> Vec<Contest> {
        let mut contests = Vec::new();
        for (place, better) in self.best_first.iter().enumerate() {
            for worse in &self.best_first[place + 1..] {
                contests.push(Contest {
                    prompt: self.prompt,
                    first: better.clone(),
                    second: worse.clone(),
                    lengths: [better, worse].map(|arm| length(self.prompt, arm)),
                    verdict: Some(Verdict { preference: 1.0, orders: None }),
                });
            }
        }
        contests
    }
}

impl People {
    /// What the rankings say, beside the `judged` contests of the same responses; `length` has the
    /// characters of an arm's response to a prompt.
    pub fn of(
        arms: &[String],
        rankings: &[Ranking],
        judged: &[Contest],
        length: impl Fn(usize, &str) -> usize,
        options: Options,
    ) -> Self {
        let contests: Vec<Contest> =
            rankings.iter().flat_map(|ranking| ranking.contests(&length)).collect();
        Self {
            matrix: Matrix::of(arms, &contests, options),
            concordance: Concordance::of(rankings, options.seed),
            judge_agrees: agreement(judged, &contests, options.tie_band),
        }
    }
}

impl Concordance {
    fn of(rankings: &[Ranking], seed: u64) -> Self {
        let raters: BTreeSet<&str> = rankings.iter().map(|r| r.rater.as_str()).collect();
        // Those who ranked the same arms of the same prompt.
        let mut comparable: BTreeMap<(usize, Vec<&str>), Vec<Vec<usize>>> = BTreeMap::new();
        for ranking in rankings {
            let mut arms: Vec<&str> = ranking.best_first.iter().map(String::as_str).collect();
            arms.sort_unstable();
            let rank = |arm: &&str| 1 + ranking.best_first.iter().take_while(|a| a != arm).count();
            let ranks = arms.iter().map(rank).collect();
            comparable.entry((ranking.prompt, arms)).or_default().push(ranks);
        }
        let each = comparable
            .iter()
            .filter_map(|((prompt, _), rankings)| Some((*prompt, kendall_w(rankings)?)));
        Self {
            rankings: rankings.len(),
            raters: raters.len(),
            kendall_w: bootstrap_mean(each, seed),
        }
    }
}

fn agreement(judged: &[Contest], people: &[Contest], tie_band: f64) -> Share {
    // Raters for the first arm minus raters for the second.
    let mut majority: BTreeMap<(usize, String, String), f64> = BTreeMap::new();
    for contest in people.iter().cloned().map(Contest::canonical) {
        let margin = contest.verdict.map_or(0.0, |verdict| verdict.preference - 0.5);
        *majority.entry((contest.prompt, contest.first, contest.second)).or_default() += margin;
    }
    let agreements = judged.iter().cloned().map(Contest::canonical).filter_map(|contest| {
        let outcome = contest.verdict?.outcome(tie_band);
        let margin = majority.get(&(contest.prompt, contest.first, contest.second))?;
        let wanted = if *margin > 0.0 { 1.0 } else { 0.0 };
        (*margin != 0.0).then_some((contest.prompt, 1.0 - (outcome - wanted).abs()))
    });
    Share::of_outcomes(agreements)
}
