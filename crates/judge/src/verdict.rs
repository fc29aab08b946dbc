//! Probabilities of verdicts, from the tokens that spell them.
//!
//! A verdict may be spelled by several token sequences (with or without a leading space), and one
//! spelling may begin another: "1" begins "10" (paper section 4). The spellings form a trie. The mass
//! of a verdict is the probability of reaching the end of its spelling and *not* going on into a
//! longer one, summed over its spellings.

use rlaif_models::{Answer, Ask, ScoreRequest, Tokenizer};

/// The spellings of a set of verdicts.
#[derive(Debug, Clone)]
pub struct VerdictTrie {
    nodes: Vec<Node>,
    num_verdicts: usize,
}

#[derive(Debug, Clone, Default)]
struct Node {
    /// Tokens from the root.
    path: Vec<u32>,
    children: Vec<(u32, usize)>,
    verdict: Option<usize>,
}

impl VerdictTrie {
    /// The trie of `verdicts` after a prompt; `after_space` tells that the prompt ends in white
    /// space, where a spelling that begins with a space would be a second one.
    ///
    /// # Errors
    /// When the tokenizer cannot spell a verdict, or spells two alike.
    pub fn new(
        verdicts: &[impl AsRef<str>],
        tokenizer: &Tokenizer,
        after_space: bool,
    ) -> Result<Self, String> {
        let mut trie = Self { nodes: vec![Node::default()], num_verdicts: verdicts.len() };
        for (index, verdict) in verdicts.iter().enumerate() {
            let verdict = verdict.as_ref();
            trie.insert(&tokenizer.encode_continuation(verdict), index, verdict)?;
            if !after_space {
                let spaced = tokenizer.encode_continuation(&format!(" {verdict}"));
                trie.insert(&spaced, index, verdict)?;
            }
        }
        Ok(trie)
    }

    fn insert(&mut self, spelling: &[u32], index: usize, verdict: &str) -> Result<(), String> {
        if spelling.is_empty() {
            return Err(format!("the model's tokenizer cannot spell the verdict {verdict:?}"));
        }
        let mut at = 0;
        for &token in spelling {
            at = match self.nodes[at].children.iter().find(|(t, _)| *t == token) {
                Some((_, child)) => *child,
                None => {
                    let mut path = self.nodes[at].path.clone();
                    path.push(token);
                    self.nodes.push(Node { path, ..Node::default() });
                    let child = self.nodes.len() - 1;
                    self.nodes[at].children.push((token, child));
                    child
                }
            };
        }
        match self.nodes[at].verdict.replace(index) {
            Some(other) if other != index => {
                Err(format!("the model's tokenizer spells {verdict:?} like another verdict"))
            }
            _ => Ok(()),
        }
    }

    /// Tokens that the longest spelling adds to a prompt.
    pub fn depth(&self) -> usize {
        self.nodes.iter().map(|node| node.path.len()).max().unwrap_or(0)
    }

    /// The places where spellings go on: the tokens before, and those that may come next.
    pub fn branches(&self) -> impl Iterator<Item = (&[u32], Vec<u32>)> {
        self.branching().map(|node| {
            let candidates = node.children.iter().map(|(token, _)| *token).collect();
            (node.path.as_slice(), candidates)
        })
    }

    /// What to ask about `prompt`: one request for each branch.
    pub fn requests(&self, prompt: &[u32]) -> Vec<ScoreRequest> {
        let request = |(path, candidates): (&[u32], _)| {
            let tokens = [prompt, path].concat();
            ScoreRequest { tokens, ask: Ask::Next { candidates } }
        };
        self.branches().map(request).collect()
    }

    /// Log-probability of each verdict, from the answers to [`VerdictTrie::requests`].
    pub fn logprobs_of(&self, answers: &[Answer]) -> Vec<f64> {
        let branches: Vec<Vec<f32>> = answers
            .iter()
            .map(|answer| match answer {
                Answer::Next(logprobs) => logprobs.clone(),
                Answer::Continuation(_) | Answer::Reward(_) => Vec::new(),
            })
            .collect();
        self.logprobs(&branches)
    }

    /// Log-probability of each verdict, from those of the candidates of each branch.
    pub fn logprobs(&self, branches: &[Vec<f32>]) -> Vec<f64> {
        // Probability of reaching each node; parents come before children.
        let mut reached = vec![0.0; self.nodes.len()];
        reached[0] = 1.0;
        let mut mass = vec![0.0; self.num_verdicts];
        let mut branches = branches.iter();
        for (index, node) in self.nodes.iter().enumerate() {
            let mut going_on = 0.0;
            if !node.children.is_empty()
                && let Some(logprobs) = branches.next()
            {
                for ((_, child), logprob) in node.children.iter().zip(logprobs) {
                    let probability = f64::from(*logprob).exp();
                    reached[*child] = reached[index] * probability;
                    going_on += probability;
                }
            }
            if let Some(verdict) = node.verdict {
                mass[verdict] += reached[index] * (1.0 - going_on).max(0.0);
            }
        }
        mass.into_iter().map(f64::ln).collect()
    }

    fn branching(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(|node| !node.children.is_empty())
    }
}

/// Softmax over the verdicts alone.
///
/// # Errors
/// When a log-probability is NaN, or all are minus infinity.
pub fn normalise(logprobs: &[f64]) -> Result<Vec<f64>, String> {
    let largest = logprobs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if logprobs.iter().any(|l| l.is_nan()) || largest == f64::NEG_INFINITY {
        return Err(format!("no verdict has a usable probability: {logprobs:?}"));
    }
    let weights: Vec<f64> = logprobs.iter().map(|l| (l - largest).exp()).collect();
    let total: f64 = weights.iter().sum();
    Ok(weights.into_iter().map(|w| w / total).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trie(spellings: &[(&[u32], usize)], num_verdicts: usize) -> VerdictTrie {
        let mut trie = VerdictTrie { nodes: vec![Node::default()], num_verdicts };
        for (spelling, verdict) in spellings {
            trie.insert(spelling, *verdict, "verdict").unwrap();
        }
        trie
    }

    fn next(probabilities: &[f32]) -> Vec<f32> {
        probabilities.iter().map(|p| p.ln()).collect()
    }

    #[test]
    fn ten_is_one_followed_by_zero_and_one_excludes_it() {
        // Tokens: 1 = "1", 2 = "2", 0 = "0"; verdicts: "1", "2", "10".
        let trie = trie(&[(&[1], 0), (&[2], 1), (&[1, 0], 2)], 3);
        let requests = trie.requests(&[9, 9]);
        assert_eq!(requests.len(), 2);
        assert_eq!(requests[1].tokens, [9, 9, 1]);
        let mass = trie.logprobs(&[next(&[0.6, 0.2]), next(&[0.25])]);
        let expected = [0.6 * 0.75, 0.2, 0.6 * 0.25];
        for (found, expected) in mass.iter().zip(expected) {
            // f32 log-probabilities carry seven digits.
            assert!((found.exp() - expected).abs() < 1e-6, "{mass:?}");
        }
    }

    #[test]
    fn spellings_with_and_without_a_space_add_up() {
        let trie = trie(&[(&[1], 0), (&[11], 0), (&[2], 1), (&[12], 1)], 2);
        let mass = trie.logprobs(&[next(&[0.1, 0.3, 0.2, 0.4])]);
        assert!((mass[0].exp() - 0.4).abs() < 1e-6 && (mass[1].exp() - 0.6).abs() < 1e-6);
    }

    #[test]
    fn no_usable_probability_is_an_error_and_not_a_tie() {
        assert!(normalise(&[f64::NEG_INFINITY, f64::NEG_INFINITY]).is_err());
        assert!(normalise(&[f64::NAN, -1.0]).is_err());
        assert_eq!(normalise(&[-1e6, -1e6]).unwrap(), [0.5, 0.5]);
    }
}
