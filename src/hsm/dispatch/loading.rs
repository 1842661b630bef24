//! The loading of keys into the HSM: one task has the anchor load what callers want and let go of what nobody holds any more.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use super::Dispatcher;
use super::handles::WantedHandle;
use super::lease::Lease;
use crate::fair_queue::CostClass;
use crate::hsm::engine::leases::LeaseNumber;
use crate::hsm::engine::order::{AnchorWork, Work};
use crate::hsm::error::{HsmError, Kind};
use crate::hsm::memory::Lane;
use crate::identity::Asker;

/// The most leases that are given back before a key is loaded.
const MOST_RELEASED: usize = 32;

/// How long the anchor has to let go of objects, if it has nothing else to do.
const RELEASE: Duration = Duration::from_secs(5);

impl Dispatcher {
    /// Does what there is to do until the worker process has ended.
    pub(super) async fn load_handles(&self) {
        loop {
            self.handles.released().bell.notified().await;
            while self.load_next().await {}
        }
    }

    /// Gives leases back and loads the next key that is wanted; false if there was neither.
    async fn load_next(&self) -> bool {
        let released = self.handles.released().take(MOST_RELEASED);
        match self.handles.next_want() {
            Some(want) => self.load(released, want).await,
            None if released.is_empty() => return false,
            None => {
                let work = Work::Anchor { released, work: AnchorWork::Nothing };
                // What it cannot let go of goes with its session.
                let _ = self.ask_anchor(Asker::SERVICE, work, Instant::now() + RELEASE).await;
            }
        }
        true
    }

    async fn load(&self, released: Vec<LeaseNumber>, want: WantedHandle) {
        let number = self.handles.next_number();
        let load = AnchorWork::Load { lease: number, half: want.id.half, material: Cow::Borrowed(&*want.material) };
        let loaded = self.ask_anchor(want.asker, Work::Anchor { released, work: load }, want.deadline).await;
        let made = loaded.map(|()| Lease::new(number, self.handles.released()));
        match made.as_ref().err().map(|error| error.kind) {
            Some(Kind::Full) if !want.is_second => self.handles.make_room(want),
            _ => self.handles.put(want.id, made),
        }
    }

    /// Has the anchor do something, or says why not.
    pub(super) async fn ask_anchor(&self, asker: Asker, work: Work<'_>, deadline: Instant) -> Result<(), HsmError> {
        let asked = self.ask((Lane::Anchor, asker, CostClass::Other), work, None, deadline).await;
        asked.map(|_| ()).map_err(|failed| failed.error)
    }
}
