//! The checker sees what is planted into histories without faults, and nothing else.

use super::{
    Begin, Class, Excuse, Got, History, Kind, Life, Publish, Socket, Start, around, faults,
};

/// Pushes 1 to 9 to user 0, each answered before the next begins.
const PUSHES: u64 = 9;

fn word(number: u64) -> u64 {
    number * 1_000
}

fn publish(number: u64) -> Publish {
    Publish {
        number,
        word: word(number),
        users: vec![0],
        class: Class::Resumable,
        request: (number, 0),
        begun: number * 10,
        acked: Some(number * 10 + 2),
        is_ordered: true,
        is_astray: false,
    }
}

fn got(number: u64, at: u64) -> Got {
    let word = word(number);
    Got {
        at,
        number,
        word,
        has_cursor: true,
    }
}

fn socket(begin: Begin, since: u64, until: Option<u64>, numbers: &[u64]) -> Socket {
    // What came while nobody was there comes at once.
    let moment = |number: u64| since.max(number * 10) + 1;
    Socket {
        node: 0,
        session: format!("s{since}"),
        begin,
        since,
        time: i64::try_from(since).unwrap(),
        had_cursor: true,
        got: numbers
            .iter()
            .map(|number| got(*number, moment(*number)))
            .collect(),
        until,
    }
}

/// Two clients of user 0: one that stays, and one that is cut, comes back to what it missed, is cut again
/// and told that something may be lost.
fn sound() -> History {
    let stays = socket(Begin::Fresh, 5, None, &[1, 2, 3, 4, 5, 6, 7, 8, 9]);
    let comes = [
        socket(Begin::Fresh, 5, Some(35), &[1, 2, 3]),
        socket(Begin::Recovered, 55, Some(65), &[3, 4, 5, 6]),
        socket(Begin::Lost, 85, None, &[9]),
    ];
    let lives = [vec![stays], comes.to_vec()];
    History {
        published: (1..=PUSHES)
            .map(|number| (number, publish(number)))
            .collect(),
        lives: lives.map(|sockets| Life { user: 0, sockets }).to_vec(),
        grown: None,
        // It came back to a node that could not ask its brokers.
        excuses: vec![Excuse {
            node: Some(0),
            from: 80,
            to: 90,
        }],
        starts: Vec::new(),
    }
}

fn kinds(history: &History) -> Vec<Kind> {
    let mut kinds: Vec<Kind> = faults(history).iter().map(|fault| fault.kind).collect();
    kinds.sort();
    kinds.dedup();
    kinds
}

fn changed(change: impl FnOnce(&mut History)) -> Vec<Kind> {
    let mut history = sound();
    change(&mut history);
    kinds(&history)
}

#[test]
fn nothing_is_wrong_with_what_is_right() {
    assert_eq!(faults(&sound()).len(), 0, "{:?}", faults(&sound()));
}

#[test]
fn a_drop_is_seen_wherever_it_is() {
    for place in 0..9 {
        let found = changed(|history| {
            history.lives[0].sockets[0].got.remove(place);
        });
        assert!(
            found.contains(&Kind::Loss) || found.contains(&Kind::EarlyAck),
            "{place}"
        );
    }
    // In the middle of what came back, and while nobody was there.
    for place in [0, 1, 2] {
        let found = changed(|history| {
            history.lives[1].sockets[1].got.remove(place);
        });
        assert_eq!(found.contains(&Kind::Loss), place > 0, "{place}");
    }
    let all = changed(|history| history.lives[0].sockets[0].got.clear());
    assert!(all.contains(&Kind::Loss));
}

#[test]
fn a_loss_that_was_said_is_none() {
    let silent = changed(|history| history.lives[1].sockets[2].begin = Begin::Recovered);
    assert_eq!(silent, [Kind::Loss]);
}

#[test]
fn a_loss_is_said_for_a_reason() {
    let without = |history: &mut History| history.excuses.clear();
    assert_eq!(changed(without), [Kind::Denied]);
    let later = changed(|history| history.excuses[0].from = 86);
    assert_eq!(later, [Kind::Denied]);
    let elsewhere = changed(|history| history.excuses[0].node = Some(1));
    assert_eq!(elsewhere, [Kind::Denied]);
    let everywhere = changed(|history| history.excuses[0].node = None);
    assert_eq!(everywhere, []);
    // It had no place to come back to.
    let placeless = changed(|history| {
        without(history);
        history.lives[1].sockets[2].had_cursor = false;
    });
    assert_eq!(placeless, []);
    // One of its user's pushes was somewhere else, before it came back.
    let astray = |number: u64, user: usize| {
        changed(|history| {
            without(history);
            let mut push = publish(number);
            (push.number, push.is_astray, push.is_ordered) = (99, true, false);
            (push.users, push.acked) = (vec![user], None);
            history.published.insert(99, push);
        })
    };
    assert_eq!(astray(8, 0), []);
    assert_eq!(astray(9, 0), [Kind::Denied]);
    assert_eq!(astray(8, 1), [Kind::Denied]);
    let grown = |at| {
        changed(|history| {
            without(history);
            history.grown = Some(at);
        })
    };
    assert_eq!(grown(84), []);
    assert_eq!(grown(86), [Kind::Denied]);
}

#[test]
fn what_can_come_again_has_a_place() {
    let without = |history: &mut History| {
        history.lives[0].sockets[0].got[3].has_cursor = false;
    };
    assert_eq!(changed(without), [Kind::Denied]);
    let live = changed(|history| {
        without(history);
        history.published.get_mut(&4).unwrap().class = Class::Live;
    });
    assert_eq!(live, []);
    let grown = |at: u64| {
        changed(|history| {
            without(history);
            history.grown = Some(at);
        })
    };
    // It came at 41.
    assert_eq!(grown(40), []);
    assert_eq!(grown(41), [Kind::Denied]);
    // A push to several users, on a node that has just begun.
    let several = |node: usize, from: u64, to: u64| {
        changed(|history| {
            without(history);
            history.published.get_mut(&4).unwrap().users.push(1);
            let to = Some(to);
            history.starts.push(Start { node, from, to });
        })
    };
    assert_eq!(several(0, 30, 41), []);
    assert_eq!(several(0, 30, 40), [Kind::Denied]);
    assert_eq!(several(0, 42, 50), [Kind::Denied]);
    assert_eq!(several(1, 30, 41), [Kind::Denied]);
    let one = changed(|history| {
        without(history);
        let (node, from, to) = (0, 30, Some(41));
        history.starts.push(Start { node, from, to });
    });
    assert_eq!(one, [Kind::Denied]);
    let astray = changed(|history| {
        without(history);
        history.published.get_mut(&4).unwrap().is_astray = true;
    });
    assert_eq!(astray, []);
}

#[test]
fn a_double_is_seen_within_a_socket() {
    let found = changed(|history| {
        let got = &mut history.lives[0].sockets[0].got;
        got.insert(4, got[3]);
    });
    assert_eq!(found, [Kind::Double]);
    // Nothing says that what is live comes.
    let live = |history: &mut History, number| {
        history.published.get_mut(&number).unwrap().class = Class::Live;
    };
    let found = changed(|history| {
        live(history, 4);
        let got = &mut history.lives[0].sockets[0].got;
        got.insert(4, got[3]);
    });
    assert_eq!(found, [Kind::Double]);
    let found = changed(|history| {
        live(history, 5);
        history.lives[0].sockets[0].got.remove(4);
    });
    assert_eq!(found, []);
}

#[test]
fn what_came_without_a_place_may_come_again_in_its_place() {
    // A push to several users, by the record for all, before the second `welcome` of who came back.
    let early = |change: fn(&mut History)| {
        changed(|history| {
            history.published.get_mut(&4).unwrap().users.push(1);
            let (node, from, to) = (0, 30, Some(54));
            history.starts.push(Start { node, from, to });
            let mut first = got(4, 54);
            first.has_cursor = false;
            history.lives[1].sockets[1].got.insert(0, first);
            change(history);
        })
    };
    assert_eq!(early(|_| {}), []);
    let first = |history: &mut History| history.lives[1].sockets[1].got[0].at = 55;
    assert_eq!(early(first), [Kind::Double]);
    let in_place = |history: &mut History| history.lives[1].sockets[1].got[0].has_cursor = true;
    assert!(early(in_place).contains(&Kind::Double));
    let running = |history: &mut History| history.starts.clear();
    assert!(early(running).contains(&Kind::Double));
    let alone = |history: &mut History| history.published.get_mut(&4).unwrap().users = vec![0];
    assert!(early(alone).contains(&Kind::Double));
}

#[test]
fn a_reordering_is_seen() {
    let found = changed(|history| history.lives[0].sockets[0].got.swap(3, 4));
    assert_eq!(found, [Kind::Order]);
    let found = changed(|history| history.lives[1].sockets[1].got.swap(1, 2));
    assert!(found.contains(&Kind::Order));
    // Two that were under way at once may come in either order, but in the same one everywhere.
    let together = |history: &mut History| {
        history.published.get_mut(&4).unwrap().acked = Some(52);
    };
    assert_eq!(changed(together), []);
    let found = changed(|history| {
        together(history);
        history.lives[0].sockets[0].got.swap(3, 4);
    });
    assert_eq!(found, [Kind::Order]);
    // To several users it has the same place in each one's order.
    let several = |has_cursor: bool| {
        changed(|history| {
            history.published.get_mut(&4).unwrap().users.push(1);
            let got = &mut history.lives[0].sockets[0].got;
            got[3].has_cursor = has_cursor;
            got.swap(3, 4);
            let (node, from, to) = (0, 1, None);
            history.starts.push(Start { node, from, to });
        })
    };
    assert_eq!(several(true), [Kind::Order]);
    assert_eq!(several(false), [], "told by the record for all");
    // What was sent twice has no place.
    let found = changed(|history| {
        history.published.get_mut(&4).unwrap().is_ordered = false;
        history.lives[0].sockets[0].got.swap(3, 4);
    });
    assert_eq!(found, []);
    let found = changed(|history| {
        history.grown = Some(35);
        history.lives[0].sockets[0].got.swap(3, 4);
    });
    assert_eq!(found, []);
}

#[test]
fn a_phantom_is_seen() {
    let change = |change: fn(&mut Got)| {
        changed(|history| {
            let got = &mut history.lives[0].sockets[0].got;
            let mut more = got[8];
            change(&mut more);
            got.push(more);
        })
    };
    assert_eq!(change(|got| got.number = 77), [Kind::Phantom]);
    let other = changed(|history| history.lives[0].sockets[0].got[2].word += 1);
    assert_eq!(other, [Kind::Phantom]);
    let early = changed(|history| history.lives[0].sockets[0].got[8].at = 4);
    assert_eq!(early, [Kind::Phantom]);
    let foreign = changed(|history| history.published.get_mut(&9).unwrap().users = vec![1]);
    assert_eq!(foreign, [Kind::Phantom]);
}

#[test]
fn an_early_answer_is_seen() {
    let never = |acked: Option<u64>| {
        changed(|history| {
            let mut push = publish(4);
            (push.number, push.acked) = (99, acked);
            history.published.insert(99, push);
        })
    };
    assert_eq!(never(Some(42)), [Kind::EarlyAck]);
    assert_eq!(never(None), [], "nobody was told that it is published");
}

#[test]
fn what_was_before_a_client_is_not_due_to_it() {
    let later = changed(|history| {
        let socket = &mut history.lives[0].sockets[0];
        socket.since = 25;
        socket.got.drain(..2);
    });
    assert_eq!(later, []);
}

#[test]
fn what_is_shown_is_near_or_was_done_to_nodes() {
    let mut history = sound();
    history.lives[0].sockets[0].got.remove(3);
    let fault = &faults(&history)[0];
    let text = around(
        &history,
        fault,
        &[(41, "a node is killed".to_owned()), (900, "far".to_owned())],
    );
    assert!(
        text.contains("4 never came") && text.contains("a node is killed"),
        "{text}"
    );
    assert!(
        text.contains("#1: on node-0, Recovered") && text.contains("far"),
        "{text}"
    );
}
