//! What a client of pushes saw, in its order, and what is wrong with that: a loss that it was not told
//! of, a push that came twice, out of order, or from nowhere.

/// What a client saw.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Event {
    /// A session that goes on with no other one. What was published up to `before` is not meant for it,
    /// and all behind `after` is.
    Opened { before: u64, after: u64 },
    /// It goes on in another socket.
    Resumed { recovered: bool },
    /// A push: the session's number of it, and what it said.
    Push { seq: u64, number: u64, word: u64 },
}

/// What publishers said, in their order: the push numbered 1 comes first.
pub(crate) type Published = [u64];

/// What is wrong with a history, at whose end its client waited for nothing any more.
pub(crate) fn faults(history: &[Event], published: &Published) -> Vec<String> {
    let mut checker = Checker::default();
    for event in history {
        checker.see(event, published);
    }
    checker.end(published.len() as u64);
    checker.faults
}

#[derive(Default)]
struct Checker {
    /// The numbers that the next push may have.
    next: (u64, u64),
    /// The number of the last, and by how much that is more than its `seq`.
    last: Option<(u64, u64)>,
    /// Something is missing, and its client knows that.
    may_skip: bool,
    faults: Vec<String>,
}

impl Checker {
    fn see(&mut self, event: &Event, published: &Published) {
        match *event {
            Event::Opened { before, after } => {
                self.next = (before + 1, after + 1);
                self.last = None;
            }
            Event::Resumed { recovered } => self.may_skip |= !recovered,
            Event::Push { seq, number, word } => self.push(seq, number, word, published),
        }
    }

    fn push(&mut self, seq: u64, number: u64, word: u64, published: &Published) {
        let said = published.get(number.wrapping_sub(1) as usize);
        if said != Some(&word) {
            self.faults.push(format!("{number} was never published so"));
        }
        let offset = self
            .last
            .map_or(number.wrapping_sub(seq), |(_, offset)| offset);
        if number.wrapping_sub(seq) != offset || seq == 0 {
            self.faults.push(format!("{number} is numbered {seq}"));
        }
        if self.last.is_none() && seq != 1 && !self.may_skip {
            self.faults
                .push(format!("the first of a session is numbered {seq}"));
        }
        let (first, last) = self.next;
        if number < first {
            self.faults
                .push(format!("{number} came where {first} was due"));
        } else if number > last && !self.may_skip {
            self.faults
                .push(format!("{number} came, and {last} did not"));
        }
        self.may_skip = false;
        self.last = Some((number, offset));
        self.next = (number + 1, number + 1);
    }

    fn end(&mut self, published: u64) {
        let (_, next) = self.next;
        if next <= published && !self.may_skip {
            self.faults.push(format!("{next} never came"));
        }
    }
}

/// The checker finds what is planted into histories without faults.
pub(crate) fn plant(histories: &[Vec<Event>], published: &Published) {
    let is_push = |event: &Event| matches!(event, Event::Push { .. });
    // Two that follow each other without anything between.
    let pair = |history: &[Event]| history.windows(2).position(|two| two.iter().all(is_push));
    let (history, at) = histories
        .iter()
        .find_map(|history| Some((history, pair(&history[3..])? + 3)))
        .expect("two pushes behind others");
    let changed = |change: &dyn Fn(&mut Vec<Event>)| {
        let mut history = history.clone();
        change(&mut history);
        faults(&history, published)
    };
    let dropped = changed(&|history| {
        history.remove(at);
    });
    let doubled = changed(&|history| history.insert(at, history[at].clone()));
    let reordered = changed(&|history| history.swap(at, at + 1));
    let phantom = changed(&|history| {
        if let Event::Push { word, .. } = &mut history[at] {
            *word ^= 1;
        }
    });
    let cut = changed(&|history| history.truncate(at));
    let silent = histories.iter().map(|history| {
        let mut history = history.clone();
        for event in &mut history {
            if let Event::Resumed { recovered } = event {
                *recovered = true;
            }
        }
        faults(&history, published).len()
    });
    let silent = silent.sum::<usize>();
    for (name, found) in [
        ("drop", dropped.len()),
        ("double", doubled.len()),
        ("reordering", reordered.len()),
        ("phantom", phantom.len()),
        ("missing end", cut.len()),
        ("silent loss", silent),
    ] {
        assert!(found > 0, "the checker does not see a planted {name}");
    }
}
