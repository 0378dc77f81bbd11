//! Short lives: connections and sessions that begin and end in every way there is.
//!
//! Each kind knows how it must end, and the upstream's script of the same path knows its side; what
//! ends otherwise is a fault.

mod handshakes;
mod requests;
mod sessions;

use std::rc::Rc;
use std::time::Duration;

use tokio::task::spawn_local;

use super::Load;

/// Short lives under way at one time, whatever is due: the slow kinds take ten seconds and more.
const MOST: u64 = 400;

/// Every kind, named after what it does, and how often it comes.
macro_rules! kinds {
    ($($file:ident :: $name:ident $weight:literal)*) => {
        /// Starts one short life of any kind.
        fn start(load: &Rc<Load>) {
            let place = load.place();
            let load = Rc::clone(load);
            let mut chosen = fastrand::u32(..0 $(+ $weight)*);
            $(
                if chosen < $weight {
                    spawn_local(async move {
                        let churning = load.churning.hold();
                        let ended = load.excuse(place, $file::$name(&load, place).await);
                        load.judge(stringify!($name), place, ended);
                        load.lives.add(1);
                        drop(churning);
                    });
                    return;
                }
                chosen -= $weight;
            )*
            let _ = chosen;
        }
    };
}

kinds! {
    sessions::client_closes 10
    sessions::upstream_closes 8
    sessions::client_ends 5
    sessions::client_resets 6
    sessions::client_resets_in_a_frame 5
    sessions::client_closes_and_stays 2
    sessions::upstream_closes_and_stays 2
    sessions::client_breaks_a_frame 4
    sessions::client_says_too_much 4
    sessions::upstream_breaks_a_frame 4
    sessions::upstream_says_too_much 4
    sessions::upstream_ends 4
    sessions::upstream_resets 5
    sessions::upstream_resets_in_a_frame 4
    sessions::client_leaves_a_flood 1
    handshakes::refused_and_asked_again 8
    handshakes::accepted_late 4
    handshakes::early_words 4
    handshakes::answered_with_garbage 3
    handshakes::upstream_hangs_up 3
    handshakes::upstream_slams 3
    handshakes::given_up_by_end 3
    handshakes::given_up_by_reset 3
    handshakes::no_key 2
    handshakes::half_a_head 4
    handshakes::slow_head 2
    handshakes::endless_head 1
    requests::asked_once 6
    requests::upload_given_up 3
    requests::download_given_up 3
    requests::answer_torn 3
}

/// Starts what is due of `rate` short lives a second.
pub(super) fn keep(load: &Rc<Load>, rate: u64, since: Duration) {
    // After a pause of this process nothing is caught up.
    let due = load.due.get() + (rate as f64 * since.as_secs_f64()).min(rate as f64 / 4.0);
    let mut left = due;
    while left >= 1.0 {
        if load.churning.get() < MOST {
            start(load);
        }
        left -= 1.0;
    }
    load.due.set(left);
}
