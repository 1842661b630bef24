//! What goes over the socket `control`: one JSON text in a line, orders one way, reports the other.

use serde::{Deserialize, Serialize};

use crate::rule::Rule;
use crate::world::World;

/// The number by which a controller knows a rule.
pub type RuleId = u64;

/// The name of the socket in the module's directory.
pub const SOCKET: &str = "control";

/// To an instance of the module, which answers each with [`Report::Done`] when it has been done.
#[derive(Debug, Serialize, Deserialize)]
pub struct Order {
    pub number: u64,
    pub what: What,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum What {
    /// The first order on a connection: all that holds.
    Begin {
        rules: Vec<(RuleId, Rule)>,
        world: Vec<World>,
        salt: u64,
    },
    Install(RuleId, Rule),
    Remove(RuleId),
    Clear,
    Release,
    World(World),
    /// Tell the calls from this number on.
    Calls {
        from: u64,
    },
    Gauges,
}

/// From an instance.
#[derive(Debug, Serialize, Deserialize)]
pub enum Report {
    Hello {
        pid: u32,
    },
    Done {
        number: u64,
        answer: Answer,
    },
    /// A rule acts now.
    Hit(RuleId),
    /// A call has come to the barrier of this rule.
    Stopped(RuleId),
    Complaint(String),
    Login {
        pin: String,
        code: u64,
    },
    /// The trace, told unasked because the process is about to crash.
    Last(Vec<Entry>),
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Answer {
    Nothing,
    Calls(Vec<Entry>),
    Gauges(Gauges),
}

/// A line of the trace. There is no data in it and never a PIN.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// From 1, in the order in which calls came in.
    pub number: u64,
    /// On the monotonic clock, which all processes share.
    pub micros: u64,
    pub thread: u64,
    pub function: String,
    pub session: u64,
    /// None while the call has not come back.
    pub outcome: Option<Outcome>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    pub code: u64,
    pub micros: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gauges {
    pub sessions: usize,
    pub operations: usize,
    /// Uses of RSA without padding.
    pub raw_rsa: u64,
    /// Calls of each function that has been called.
    pub calls: Vec<(String, u64)>,
}
