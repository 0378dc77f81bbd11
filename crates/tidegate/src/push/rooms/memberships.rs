//! The rooms of which one session is a member.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::room::{Room, Subscribed, Subscribing};
use super::{Back, Lost, Rooms};
use crate::push::mailbox::Mailbox;

/// A session may be a member of so many rooms, and is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Most(pub(crate) usize);

/// The rooms of one session.
#[derive(Debug, Default)]
pub(crate) struct Memberships(Mutex<Vec<Arc<Room>>>);

impl Memberships {
    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Room>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Becomes a member of a room, if it is not one already.
    ///
    /// # Errors
    /// When it may not be one of any more.
    pub(crate) fn enter(
        &self,
        rooms: &Rooms,
        name: &str,
        mailbox: &Arc<Mailbox>,
        wish: &Subscribing<'_>,
    ) -> Result<Subscribed, Most> {
        let mut mine = self.lock();
        let is_new = !mine.iter().any(|room| *room.name == *name);
        let most = rooms.plan.max_per_session;
        let entered = match is_new && mine.len() >= most {
            true => None,
            false => rooms.enter(name, mailbox, wish),
        };
        let (room, subscribed) = entered.ok_or(Most(most))?;
        if is_new {
            mine.push(room);
        }
        Ok(subscribed)
    }

    /// Whether it was a member.
    pub(crate) fn leave(&self, rooms: &Rooms, name: &str, mailbox: &Arc<Mailbox>) -> bool {
        let mut mine = self.lock();
        let place = mine.iter().position(|room| *room.name == *name);
        let Some(place) = place else { return false };
        let room = mine.swap_remove(place);
        if mine.is_empty() {
            *mine = Vec::new();
        }
        rooms.leave(&room, mailbox);
        true
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// Is seen in none of them while its client is lost.
    pub(super) fn fade(&self, rooms: &Rooms, lost: &Lost) {
        // Held from the question on, as by who comes back.
        let mine = self.lock();
        if !lost.mailbox.waits_for(lost.id) {
            return;
        }
        for room in &*mine {
            let mut inner = room.lock();
            inner.fade(&lost.mailbox);
            rooms.note_change(room, &mut inner);
        }
    }

    /// Is seen again, and told who is in each room.
    pub(crate) fn came_back(&self, rooms: &Rooms, mailbox: &Arc<Mailbox>) {
        let mut back = Vec::new();
        for room in &*self.lock() {
            let mut inner = room.lock();
            if inner.came_back(mailbox) {
                let (room, mailbox) = (Arc::clone(room), Arc::clone(mailbox));
                back.push(Back { room, mailbox });
            }
            rooms.note_change(room, &mut inner);
        }
        if !back.is_empty() {
            rooms.back().append(&mut back);
            rooms.stirred.notify_one();
        }
    }

    /// Leaves the rooms of which `judge` says nothing, and tells which; of the others it says whether who
    /// comes and goes is to be told.
    pub(crate) fn judge(
        &self,
        rooms: &Rooms,
        mailbox: &Arc<Mailbox>,
        judge: &dyn Fn(&str) -> Option<bool>,
    ) -> Vec<Arc<str>> {
        let mut left = Vec::new();
        self.lock().retain(|room| {
            let sees = judge(&room.name);
            match sees {
                Some(sees) => room.lock().show(mailbox, sees),
                None => {
                    rooms.leave(room, mailbox);
                    left.push(Arc::clone(&room.name));
                }
            }
            sees.is_some()
        });
        left
    }

    pub(crate) fn leave_all(&self, rooms: &Rooms, mailbox: &Arc<Mailbox>) {
        let mine = std::mem::take(&mut *self.lock());
        for room in &mine {
            rooms.leave(room, mailbox);
        }
    }
}
