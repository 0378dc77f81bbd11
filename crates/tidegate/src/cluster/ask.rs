//! Questions to the other nodes, and their answers.

use std::collections::HashMap;
use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use super::NodeId;

/// Rounds of answers to one question.
const ROUNDS: usize = 2;

/// Who waits for what.
#[derive(Debug, Default)]
pub(super) struct Asks {
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    last: u64,
    asks: HashMap<u64, mpsc::Sender<Answer>>,
    /// Who has not answered, and was not heard since: nobody waits for them again.
    silent: HashSet<NodeId>,
}

#[derive(Debug)]
struct Answer {
    from: NodeId,
    round: usize,
    count: u64,
}

/// A question that was asked. Dropped, nobody waits for answers any more.
#[derive(Debug)]
pub(crate) struct Asked<'a> {
    asks: &'a Asks,
    id: u64,
    nodes: HashMap<NodeId, [Option<u64>; ROUNDS]>,
    /// How many were asked, also those who are silent.
    asked: usize,
    answers: mpsc::Receiver<Answer>,
}

/// What the others have answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Answers {
    /// The sum of it.
    pub(crate) count: u64,
    /// How many nodes were asked, and how many have answered.
    pub(crate) asked: usize,
    pub(crate) answered: usize,
}

impl Asks {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A question to these nodes that is about to be asked.
    pub(super) fn ask(&self, nodes: Vec<NodeId>) -> Asked<'_> {
        let asked = nodes.len();
        let (sender, answers) = mpsc::channel(asked * ROUNDS + 1);
        let mut waiting = self.lock();
        waiting.last += 1;
        let id = waiting.last;
        waiting.asks.insert(id, sender);
        let nodes = nodes
            .into_iter()
            .filter(|node| !waiting.silent.contains(node));
        Asked {
            id,
            nodes: nodes.map(|node| (node, [None; ROUNDS])).collect(),
            asked,
            answers,
            asks: self,
        }
    }

    /// A node has answered.
    pub(super) fn answer(&self, id: u64, from: NodeId, round: u8, count: u64) {
        let waiting = self.lock();
        if let Some(asker) = waiting.asks.get(&id) {
            let round = usize::from(round);
            // Who answers too often is not heard.
            let _full = asker.try_send(Answer { from, round, count });
        }
    }

    /// A node has said something.
    pub(super) fn heard(&self, node: &NodeId) {
        let mut waiting = self.lock();
        if !waiting.silent.is_empty() {
            waiting.silent.remove(node);
        }
    }

    /// Only these are members: the others are forgotten.
    pub(super) fn keep(&self, members: &[NodeId]) {
        let mut waiting = self.lock();
        waiting.silent.retain(|node| members.contains(node));
    }
}

impl Asked<'_> {
    /// What the question is called.
    pub(crate) const fn id(&self) -> u64 {
        self.id
    }

    /// Whether there are no other nodes.
    pub(crate) const fn is_for_nobody(&self) -> bool {
        self.asked == 0
    }

    /// Waits for the answers of a round of all who are asked, but not beyond `until`.
    pub(crate) async fn gather(&mut self, round: usize, until: Instant) -> Answers {
        let is_open = |nodes: &HashMap<NodeId, [Option<u64>; ROUNDS]>| {
            nodes.values().any(|one| one.get(round) == Some(&None))
        };
        while is_open(&self.nodes) {
            let Ok(Some(answer)) = timeout_at(until, self.answers.recv()).await else {
                break;
            };
            let rounds = self.nodes.entry(answer.from).or_default();
            if let Some(place) = rounds.get_mut(answer.round) {
                *place = Some(answer.count);
            }
        }
        let mut answers = Answers {
            asked: self.asked,
            ..Answers::default()
        };
        for (node, rounds) in &self.nodes {
            match rounds.get(round) {
                Some(Some(count)) => {
                    answers.count = answers.count.saturating_add(*count);
                    answers.answered += 1;
                }
                _ if round == 0 => {
                    self.asks.lock().silent.insert(node.clone());
                }
                _ => {}
            }
        }
        answers
    }
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        self.asks.lock().asks.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn answers(count: u64, asked: usize, answered: usize) -> Answers {
        Answers {
            count,
            asked,
            answered,
        }
    }

    #[tokio::test]
    async fn who_is_silent_is_waited_for_once() {
        let asks = Asks::default();
        let [one, two] = ["a", "b"].map(|name| NodeId::new(name.into()));
        let nodes = || vec![one.clone(), two.clone()];
        let until = || Instant::now() + Duration::from_secs(60);
        let soon = Instant::now() + Duration::from_millis(50);
        let mut asked = asks.ask(nodes());
        asks.answer(asked.id(), one.clone(), 0, 3);
        asks.answer(asked.id(), one.clone(), 1, 2);
        assert_eq!(asked.gather(0, soon).await, answers(3, 2, 1));
        assert_eq!(asked.gather(1, soon).await, answers(2, 2, 1));
        drop(asked);
        let mut asked = asks.ask(nodes());
        asks.answer(asked.id(), one.clone(), 0, 4);
        assert_eq!(asked.gather(0, until()).await, answers(4, 2, 1));
        assert!(
            Instant::now() < soon + Duration::from_secs(59),
            "nobody was waited for"
        );
        // Whoever was heard again is waited for again.
        asks.heard(&two);
        let mut asked = asks.ask(nodes());
        asks.answer(asked.id(), two.clone(), 0, 1);
        asks.answer(asked.id(), one.clone(), 0, 1);
        assert_eq!(asked.gather(0, until()).await, answers(2, 2, 2));
    }
}
