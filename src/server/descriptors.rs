//! File descriptors. Clients must never take those that the HSM and the database need: a database that cannot open its
//! journal refuses every write, and SoftHSM2 loses token objects for good when it cannot open their files.

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::hsm::Isolation;

/// What is kept from clients: three for each connection to the database, the audit trail, two for each HSM's worker
/// process and more while it is replaced, the listener and one connection that waits for room, the log, the runtime's own.
const RESERVE: usize = 64;

/// The same where the PKCS#11 module is in this process: a socket or file for each session and each object, if it likes.
const RESERVE_WITH_MODULE: usize = 256;

/// What is kept for the HSM of each cluster that is configured, on top of that.
const RESERVE_FOR_CLUSTER: usize = 8;
const RESERVE_FOR_CLUSTER_WITH_MODULE: usize = RESERVE_WITH_MODULE - RESERVE;

/// Lets this process have as many descriptors as it may: the usual limit is for programs that use select(2).
///
/// # Errors
/// If the system refuses.
pub fn raise_limit() -> io::Result<()> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    Ok(setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?)
}

/// How many connections there may be, of those that were `wanted`, beside so many clusters.
pub(super) fn connections(wanted: usize, isolation: Isolation, clusters: usize) -> usize {
    let descriptors = getrlimit(Resource::Nofile).current;
    let connections = within(wanted, descriptors, reserve(isolation, clusters));
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

/// How many descriptors clients never get.
fn reserve(isolation: Isolation, clusters: usize) -> usize {
    match isolation {
        Isolation::Process => RESERVE + clusters * RESERVE_FOR_CLUSTER,
        Isolation::None => RESERVE_WITH_MODULE + clusters * RESERVE_FOR_CLUSTER_WITH_MODULE,
    }
}

/// As many as are wanted and the descriptors allow, if there is a limit of them; one at least.
fn within(wanted: usize, descriptors: Option<u64>, reserve: usize) -> usize {
    let descriptors = descriptors.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    wanted.min(descriptors.saturating_sub(reserve)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cluster_keeps_some_from_clients() {
        assert_eq!((reserve(Isolation::Process, 0), reserve(Isolation::Process, 3)), (64, 88));
        assert_eq!((reserve(Isolation::None, 0), reserve(Isolation::None, 1)), (256, 448));
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
