//! Every interleaving of two workers over two items, with crashes, zombies, lost answers and a
//! producer that offers everything again: the state machine is the real one.
//!
//! Leases last no time, so any lease may be over at any moment and every holder may be a zombie.

use crate::in_memory::Machine;
use crate::store::{Claim, Standing, Started, Token};
use crate::{Headers, Item, ItemId, Options, Outcome, Position};
use stateright::{Checker, Model, Property};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

const WORKERS: [&str; 2] = ["a", "b"];
const ITEMS: [&str; 2] = ["x", "y"];
const NOW: u64 = 0;

/// How the protocol is run.
struct Protocol {
    /// The mutant without: COMMIT takes whoever asks for the holder.
    fenced: bool,
    /// Processes that may crash, and answers that may be lost, in one history.
    faults: u8,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct State {
    machine: Machine,
    hands: [Vec<InHand>; 2],
    /// The newest token handed out for each item.
    newest: BTreeMap<ItemId, Token>,
    /// What the consumer of results made durable: the token that each result was made under.
    durable: BTreeMap<ItemId, Option<Token>>,
    starts: u64,
    faults_left: u8,
    /// A result was accepted from a start that was not the newest.
    stale_accepted: bool,
    refused: bool,
    settled_twice: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct InHand {
    entry: Position,
    item: ItemId,
    token: Option<Token>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Step {
    OfferAgain,
    Read(usize),
    Take(usize),
    Start(usize, usize),
    Commit {
        worker: usize,
        held: usize,
        answer_lost: bool,
    },
    Crash(usize),
    /// The consumer of results makes the first one durable, and acknowledges it or dies before.
    Consume {
        acknowledge: bool,
    },
}

impl Protocol {
    fn offer(state: &mut State) {
        let missing = ITEMS.iter().filter(|id| !state.durable.contains_key(&ItemId::from(**id)));
        let items: Vec<Item> = missing.map(|id| Item::new(*id, [])).collect();
        state.machine.enqueue(&items, 0);
    }

    fn commit(&self, state: &mut State, worker: usize, held: usize) {
        let InHand { entry, item, token } = state.hands[worker][held].clone();
        let Some(token) = token else { return };
        let mut claim = Claim { consumer: WORKERS[worker], entry, token };
        let in_force = state.machine.in_force(entry);
        if !self.fenced
            && let Some((consumer, token)) = &in_force
        {
            claim = Claim { consumer, entry, token: *token };
        }
        let before = state.machine.outstanding();
        let standing = state.machine.commit(claim, &item, &Headers::new(), &[]);
        state.refused |= standing != Standing::Holds;
        let settled_now = state.machine.outstanding() < before;
        state.stale_accepted |= settled_now && state.newest.get(&item) != Some(&token);
    }

    fn consume(state: &mut State, acknowledge: bool) {
        let Some(first) = state.machine.results(Position::START, 1).pop() else { return };
        let token = state.machine.settled_by(first.position);
        // Deduplicated by item id; a result that came again must be the same one.
        let known = state.durable.entry(first.item).or_insert(token);
        state.settled_twice |= *known != token;
        if acknowledge {
            state.machine.acknowledge(first.position);
        }
    }
}

impl Model for Protocol {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        let options = Options {
            lease: Duration::ZERO,
            retry_delay: Duration::ZERO,
            max_starts: 2,
            ..Options::default()
        };
        let mut state = State {
            machine: Machine::new(Arc::new(options)),
            hands: [Vec::new(), Vec::new()],
            newest: BTreeMap::new(),
            durable: BTreeMap::new(),
            starts: 0,
            faults_left: self.faults,
            stale_accepted: false,
            refused: false,
            settled_twice: false,
        };
        Self::offer(&mut state);
        vec![state]
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        steps.push(Step::OfferAgain);
        steps.push(Step::Consume { acknowledge: true });
        let may_fail = state.faults_left > 0;
        if may_fail {
            steps.push(Step::Consume { acknowledge: false });
        }
        for (worker, hands) in state.hands.iter().enumerate() {
            if hands.len() < 2 {
                steps.extend([Step::Read(worker), Step::Take(worker)]);
            }
            for (held, in_hand) in hands.iter().enumerate() {
                if in_hand.token.is_none() {
                    steps.push(Step::Start(worker, held));
                } else {
                    steps.push(Step::Commit { worker, held, answer_lost: false });
                    if may_fail {
                        steps.push(Step::Commit { worker, held, answer_lost: true });
                    }
                }
            }
            if may_fail && !hands.is_empty() {
                steps.push(Step::Crash(worker));
            }
        }
    }

    fn next_state(&self, last: &State, step: Step) -> Option<State> {
        let mut state = last.clone();
        match step {
            Step::OfferAgain => Self::offer(&mut state),
            Step::Read(worker) => {
                let read = state.machine.read(WORKERS[worker], 1, NOW);
                let held = read.into_iter().map(|e| InHand {
                    entry: e.position,
                    item: e.item.id,
                    token: None,
                });
                state.hands[worker].extend(held);
            }
            Step::Take(worker) => {
                let entry = state.machine.take(WORKERS[worker], NOW)?.entry;
                let held = InHand { entry: entry.position, item: entry.item.id, token: None };
                state.hands[worker].push(held);
            }
            Step::Start(worker, held) => {
                state.starts += 1;
                let in_hand = &mut state.hands[worker][held];
                let entry = in_hand.entry;
                match state.machine.start(WORKERS[worker], entry, state.starts, "", NOW) {
                    Started::Token { token, .. } => {
                        in_hand.token = Some(token);
                        state.newest.insert(in_hand.item.clone(), token);
                    }
                    Started::Dead | Started::Fenced | Started::Gone => {
                        state.starts -= 1;
                        state.hands[worker].remove(held);
                    }
                }
            }
            Step::Commit { worker, held, answer_lost } => {
                self.commit(&mut state, worker, held);
                if answer_lost {
                    state.faults_left -= 1;
                } else {
                    state.hands[worker].remove(held);
                }
            }
            Step::Crash(worker) => {
                state.faults_left -= 1;
                state.hands[worker].clear();
            }
            Step::Consume { acknowledge } => {
                if !acknowledge {
                    state.faults_left -= 1;
                }
                Self::consume(&mut state, acknowledge);
            }
        }
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("an item has one result", |_, state: &State| {
                let results = state.machine.results(Position::START, usize::MAX);
                let of = |id: &str| results.iter().filter(|r| r.item.as_str() == id).count();
                !state.settled_twice && ITEMS.iter().all(|id| of(id) <= 1)
            }),
            Property::always("no accepted item is missing", |_, state: &State| {
                let results = state.machine.results(Position::START, usize::MAX);
                let settled = |id: &ItemId| results.iter().any(|result| result.item == *id);
                let at_work = state.machine.outstanding() as usize;
                let lost = ITEMS
                    .iter()
                    .map(|id| ItemId::from(*id))
                    .filter(|id| !state.durable.contains_key(id) && !settled(id));
                lost.count() <= at_work
            }),
            Property::always("only the newest start is accepted", |_, state: &State| {
                !state.stale_accepted
            }),
            Property::always("starts are bounded", |_, state: &State| {
                state.newest.values().all(|token| token.start <= 2)
            }),
            Property::sometimes("a stale result is refused", |_, state: &State| state.refused),
            Property::sometimes("an item dies", |_, state: &State| {
                let results = state.machine.results(Position::START, usize::MAX);
                results.iter().any(|result| matches!(result.outcome, Outcome::Dead(_)))
            }),
            Property::sometimes("all is done and acknowledged", |_, state: &State| {
                let left = state.machine.results(Position::START, usize::MAX);
                left.is_empty() && state.machine.outstanding() == 0 && state.durable.len() == 2
            }),
        ]
    }
}

#[test]
fn no_interleaving_breaks_the_promise() {
    let checker = Protocol { fenced: true, faults: 1 }.checker().threads(2).spawn_bfs().join();
    checker.assert_properties();
    println!("{} states", checker.unique_state_count());
    // The model is not empty: it explored more than a walk through one history.
    assert!(checker.unique_state_count() > 10_000, "{}", checker.unique_state_count());
}

#[test]
fn without_the_fence_a_zombies_result_is_accepted() {
    let checker = Protocol { fenced: false, faults: 0 }.checker().spawn_bfs().join();
    checker.assert_any_discovery("only the newest start is accepted");
}
