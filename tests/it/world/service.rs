//! The service of a world as its callers see it: a router, its clock, and the trail of what they did.

use std::{fs, path::PathBuf, sync::Arc};

use axum::Router;
use parking_lot::Mutex;
use serde_json::Value;
use strongroom::clock::ManualClock;

use super::masks::Masks;

pub(super) struct Service {
    pub(super) router: Router,
    pub(super) clock: Arc<ManualClock>,
    pub(super) masks: Masks,
    audit: PathBuf,
    /// Bytes of the audit file that were looked at.
    read: Mutex<usize>,
}

impl Service {
    pub(super) fn new(router: Router, clock: Arc<ManualClock>, audit: PathBuf) -> Self {
        let read = Mutex::new(fs::read(&audit).unwrap().len());
        Self { router, clock, masks: Masks::default(), audit, read }
    }

    /// Every audit record of the trail.
    pub(super) fn records(&self) -> Vec<Value> {
        records(&fs::read(&self.audit).unwrap())
    }

    /// The records since the last call of this function, without those of the operator.
    pub(super) fn new_records(&self) -> Vec<Value> {
        let mut read = self.read.lock();
        let file = fs::read(&self.audit).unwrap();
        // What is just being written ends later.
        let whole = file.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1).max(*read);
        let new = records(&file[*read..whole]);
        *read = whole;
        // What the operator does beside the calls comes when the service brings it.
        new.into_iter().filter(|record| record["eventType"] != "OperatorCommand").collect()
    }
}

fn records(file: &[u8]) -> Vec<Value> {
    file.split_inclusive(|byte| *byte == b'\n').map(|line| serde_json::from_slice(line).expect("a record")).collect()
}
