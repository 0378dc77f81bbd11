//! Questions to the other nodes, and their answers.

use std::collections::HashMap;
use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use super::NodeId;

/// Rounds of answers to one question.
const ROUNDS: usize = 2;
/// Who may answer without having been known when it was asked.
const STRANGERS: usize = 16;

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
    /// Those of them who are not waited for.
    silent: HashSet<NodeId>,
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

    /// A question to these nodes that is about to be asked. Who was silent is not waited for.
    pub(super) fn ask(&self, nodes: Vec<NodeId>) -> Asked<'_> {
        let mut asked = self.ask_all(nodes);
        let waiting = self.lock();
        let silent = waiting.silent.iter();
        let silent = silent.filter(|node| asked.nodes.contains_key(node));
        asked.silent = silent.cloned().collect();
        drop(waiting);
        asked
    }

    /// The same, and all are waited for.
    pub(super) fn ask_all(&self, nodes: Vec<NodeId>) -> Asked<'_> {
        let (sender, answers) = mpsc::channel((nodes.len() + STRANGERS) * ROUNDS);
        let mut waiting = self.lock();
        waiting.last += 1;
        let id = waiting.last;
        waiting.asks.insert(id, sender);
        drop(waiting);
        Asked {
            id,
            nodes: nodes
                .into_iter()
                .map(|node| (node, [None; ROUNDS]))
                .collect(),
            silent: HashSet::new(),
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
    pub(crate) fn is_for_nobody(&self) -> bool {
        self.nodes.is_empty()
    }

    /// What is known where it was not asked after all.
    pub(super) fn unasked(&self) -> Answers {
        Answers {
            asked: self.nodes.len(),
            ..Answers::default()
        }
    }

    /// Waits for the answers of a round of all who are asked, but not beyond `until`.
    pub(crate) async fn gather(&mut self, round: usize, until: Instant) -> Answers {
        while self.is_open(round) {
            let Ok(Some(answer)) = timeout_at(until, self.answers.recv()).await else {
                break;
            };
            self.note(answer);
        }
        // Whoever is not waited for may have answered all the same.
        while let Ok(answer) = self.answers.try_recv() {
            self.note(answer);
        }
        let mut answers = self.unasked();
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

    fn is_open(&self, round: usize) -> bool {
        let mut nodes = self.nodes.iter();
        nodes.any(|(node, one)| one.get(round) == Some(&None) && !self.silent.contains(node))
    }

    fn note(&mut self, answer: Answer) {
        self.silent.remove(&answer.from);
        let rounds = self.nodes.entry(answer.from).or_default();
        if let Some(place) = rounds.get_mut(answer.round) {
            *place = Some(answer.count);
        }
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
        // Unless all are waited for.
        let mut asked = asks.ask_all(nodes());
        asks.answer(asked.id(), one.clone(), 0, 4);
        asks.answer(asked.id(), two.clone(), 0, 1);
        assert_eq!(asked.gather(0, until()).await, answers(5, 2, 2));
        // Who was not known and answers counts.
        let mut asked = asks.ask(vec![one.clone()]);
        asks.answer(asked.id(), NodeId::new("c".into()), 0, 2);
        asks.answer(asked.id(), one.clone(), 0, 4);
        assert_eq!(asked.gather(0, until()).await, answers(6, 2, 2));
        // Whoever was heard again is waited for again.
        asks.heard(&two);
        let mut asked = asks.ask(nodes());
        asks.answer(asked.id(), two.clone(), 0, 1);
        asks.answer(asked.id(), one.clone(), 0, 1);
        assert_eq!(asked.gather(0, until()).await, answers(2, 2, 2));
    }
}
