//! Sequences that start alike, as a tree: each common prefix is one path, computed once.

use std::ops::Range;

/// Index of a node.
pub(crate) type NodeId = usize;

/// A run of tokens that all sequences through it share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) parent: Option<NodeId>,
    pub(crate) tokens: Vec<u32>,
    /// Position of the first token.
    pub(crate) position: usize,
}

/// Nodes in the order they should be computed: depth first, parents before children.
#[derive(Debug, Default)]
pub(crate) struct PrefixTree {
    pub(crate) nodes: Vec<Node>,
    /// The node where each sequence ends, in the order the sequences were given; none for an empty
    /// sequence.
    pub(crate) leaves: Vec<Option<NodeId>>,
}

impl PrefixTree {
    /// Builds the tree. Runs are split at `max_run` tokens, so that one long sequence can be
    /// computed piece by piece.
    pub(crate) fn build(sequences: &[&[u32]], max_run: usize) -> Self {
        let mut order: Vec<usize> = (0..sequences.len()).collect();
        order.sort_by(|a, b| sequences[*a].cmp(sequences[*b]));
        let mut builder = Builder {
            tree: Self { nodes: Vec::new(), leaves: vec![None; sequences.len()] },
            sequences,
            order,
            // An explicit stack: the tree may be as deep as a sequence is long.
            pending: Vec::new(),
        };
        builder.branch(0..sequences.len(), None, 0);
        while let Some((group, parent, from)) = builder.pending.pop() {
            let node = builder.add_run(&group, parent, from, max_run);
            let end = from + builder.tree.nodes[node].tokens.len();
            builder.branch(group, Some(node), end);
        }
        builder.tree
    }

    /// The same tree of sequences that go on after `tokens` others.
    pub(crate) fn after(mut self, tokens: usize) -> Self {
        self.nodes.iter_mut().for_each(|node| node.position += tokens);
        self
    }

    /// The nodes from the root to `node`.
    pub(crate) fn path(&self, node: Option<NodeId>) -> Vec<NodeId> {
        let mut path: Vec<NodeId> =
            std::iter::successors(node, |node| self.nodes[*node].parent).collect();
        path.reverse();
        path
    }

    /// For each node the last node of its subtree, which depth-first order makes contiguous.
    pub(crate) fn last_descendants(&self) -> Vec<NodeId> {
        let mut last: Vec<NodeId> = (0..self.nodes.len()).collect();
        for node in (0..self.nodes.len()).rev() {
            if let Some(parent) = self.nodes[node].parent {
                last[parent] = last[parent].max(last[node]);
            }
        }
        last
    }
}

struct Builder<'a> {
    tree: PrefixTree,
    sequences: &'a [&'a [u32]],
    /// Sequences in lexicographic order, so that every common prefix is a range of it.
    order: Vec<usize>,
    /// Ranges of `order` that agree on one more token than their parent's run holds.
    pending: Vec<(Range<usize>, Option<NodeId>, usize)>,
}

impl Builder<'_> {
    /// Ends the sequences of `group` that are complete at `parent` and splits the rest by their
    /// next token.
    fn branch(&mut self, group: Range<usize>, parent: Option<NodeId>, from: usize) {
        let mut start = group.start;
        while start < group.end && self.sequences[self.order[start]].len() == from {
            self.tree.leaves[self.order[start]] = parent;
            start += 1;
        }
        let mut children = Vec::new();
        while start < group.end {
            let token = self.sequences[self.order[start]][from];
            let mut end = start + 1;
            while end < group.end && self.sequences[self.order[end]][from] == token {
                end += 1;
            }
            children.push((start..end, parent, from));
            start = end;
        }
        self.pending.extend(children.into_iter().rev());
    }

    /// Adds the longest run, up to `max_run` tokens, on which `group` agrees from `from` on.
    fn add_run(
        &mut self,
        group: &Range<usize>,
        parent: Option<NodeId>,
        from: usize,
        max_run: usize,
    ) -> NodeId {
        // In a sorted group the first and the last member differ first.
        let first = self.sequences[self.order[group.start]];
        let last = self.sequences[self.order[group.end - 1]];
        let common = first[from..].iter().zip(&last[from..]).take_while(|(a, b)| a == b).count();
        let end = from + common.min(max_run);
        let tokens = first[from..end].to_vec();
        self.tree.nodes.push(Node { parent, tokens, position: from });
        self.tree.nodes.len() - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spell(tree: &PrefixTree, leaf: Option<NodeId>) -> Vec<u32> {
        tree.path(leaf).into_iter().flat_map(|n| tree.nodes[n].tokens.clone()).collect()
    }

    #[test]
    fn every_sequence_is_spelled_by_its_path_and_common_prefixes_once() {
        let sequences: Vec<Vec<u32>> =
            vec![vec![1, 2, 3, 9], vec![1, 2, 3, 4, 5], vec![], vec![1, 2], vec![7], vec![7]];
        let slices: Vec<&[u32]> = sequences.iter().map(Vec::as_slice).collect();
        for max_run in [1, 2, 100] {
            let tree = PrefixTree::build(&slices, max_run);
            for (sequence, leaf) in sequences.iter().zip(&tree.leaves) {
                assert_eq!(&spell(&tree, *leaf), sequence);
            }
            let computed: usize = tree.nodes.iter().map(|n| n.tokens.len()).sum();
            assert_eq!(computed, 7, "1 2 3, then 9 or 4 5, and 7");
            assert!(tree.nodes.iter().all(|n| n.tokens.len() <= max_run));
        }
    }

    #[test]
    fn parents_come_before_children_and_subtrees_are_contiguous() {
        let sequences: [&[u32]; 4] = [&[1, 2, 3], &[1, 2, 4], &[1, 5], &[6]];
        let tree = PrefixTree::build(&sequences, 100);
        let last = tree.last_descendants();
        for (id, node) in tree.nodes.iter().enumerate() {
            if let Some(parent) = node.parent {
                assert!(parent < id && id <= last[parent]);
            }
        }
    }
}
