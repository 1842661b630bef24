//! The client of a call, as the door saw it.

use core::net::IpAddr;

/// Properties of the client and its network, which the audit record shows and conditions ask about (IAM: "AWS global condition
/// context keys", properties of the network).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Client {
    /// The address that the connection comes from (`aws:SourceIp`); none if the door knows none.
    pub source_ip: Option<IpAddr>,
    /// True if the connection is encrypted (`aws:SecureTransport`).
    pub secure_transport: bool,
    /// The name that the client gives itself (`aws:UserAgent`); it proves nothing.
    pub user_agent: String,
}
