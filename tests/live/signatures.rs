//! What bad signatures cost, and whom.

use serde_json::json;

use crate::{
    server::{REGION, Server, credentials, exports},
    wire::{Connection, Request},
};

const REGIONS: usize = 10_000;
/// Requests that are sent before their answers are read.
const AT_ONCE: usize = 100;

/// While the HSM's worker process stands still, whatever asks the HSM is not answered.
#[test]
fn a_bad_signature_for_another_region_asks_no_hsm_and_drives_nobody_out() {
    let server = Server::started();
    server.printed(&["principal", "create", "--name", "other"]);
    let other = credentials(&exports(&server.printed(&["access-key", "create", "--principal", "other"])));
    let call = server.request("ListKeys", &json!({}));
    let others = Request::signed(server.address(), &other, "ListKeys", &json!({}));
    let mut connection = Connection::open(server.address());
    assert_eq!(connection.send(&call.bytes()).answer().status, 200);
    // They may do nothing, but it is known who they are.
    let denied = || Connection::open(server.address()).send(&others.bytes()).answer().exception();
    assert!(crate::server::within(std::time::Duration::from_secs(5), || denied() == "AccessDeniedException"));

    server.signal_workers(rustix::process::Signal::STOP);
    for first in (0..REGIONS).step_by(AT_ONCE) {
        let requests = (first..first + AT_ONCE).map(|n| {
            let mut request = call.clone();
            request.headers.iter_mut().for_each(|(_, value)| *value = value.replace(REGION, &format!("eu-region-{n}")));
            request.bytes()
        });
        connection.send(&requests.collect::<Vec<_>>().concat());
        for n in 0..AT_ONCE {
            assert_eq!(connection.answer().exception(), "InvalidSignatureException", "region {}", first + n);
        }
    }
    assert_eq!(connection.send(&call.bytes()).answer().status, 200);
    assert_eq!(denied(), "AccessDeniedException");
    server.signal_workers(rustix::process::Signal::CONT);
}
