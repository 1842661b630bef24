//! File descriptors, of which some are reserved for the HSM and the database, so that clients can never take them: a database that
//! cannot open its journal refuses every write, and SoftHSM2 loses token objects for good when it cannot open their files.

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors that clients never get: three for each connection to the database, the audit trail, four for each HSM's worker
/// process and as many while it is replaced, the listener and one connection that waits for a slot, the log, the runtime's own.
const RESERVE: usize = 64;

/// Descriptors for the HSM of each cluster that is configured, in addition.
const RESERVE_FOR_CLUSTER: usize = 8;

/// Raises the limit of this process to the hard limit: the usual soft limit is for programs that use select(2).
///
/// # Errors
/// If the system refuses.
pub fn raise_limit() -> io::Result<()> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    Ok(setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?)
}

/// The limit of connections: `wanted`, or fewer if the limit of descriptors leaves no more.
pub(super) fn connection_limit(wanted: usize, clusters: usize) -> usize {
    let descriptors = getrlimit(Resource::Nofile).current;
    let connections = within(wanted, descriptors, reserve(clusters));
    if connections < wanted {
        tracing::warn!(
            connections,
            wanted,
            descriptors,
            "fewer connections than limits.connections says: the limit of open files leaves no room for more"
        );
    }
    connections
}

/// The number of descriptors that clients never get.
fn reserve(clusters: usize) -> usize {
    RESERVE + clusters * RESERVE_FOR_CLUSTER
}

/// As many connections as are wanted and the descriptors allow, and at least one. `None` stands for no limit of descriptors.
fn within(wanted: usize, descriptors: Option<u64>, reserve: usize) -> usize {
    let descriptors = descriptors.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    wanted.min(descriptors.saturating_sub(reserve)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cluster_keeps_some_from_clients() {
        assert_eq!((reserve(0), reserve(3)), (64, 88));
    }

    #[test]
    fn clients_get_what_is_left_and_never_less_than_one() {
        assert_eq!(within(8192, None, 64), 8192);
        assert_eq!(within(8192, Some(16384), 64), 8192);
        assert_eq!(within(8192, Some(1024), 64), 960);
        assert_eq!(within(100, Some(1024), 64), 100);
        assert_eq!(within(8192, Some(64), 256), 1);
    }
}
