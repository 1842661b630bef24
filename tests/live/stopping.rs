//! The polite end: what is under way is finished, nobody else holds it up, and the next start finds everything.

use std::{
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{server::Server, wire::Connection};

/// No request was under way that takes longer.
const SOON: Duration = Duration::from_secs(5);

fn slow_request(server: &Server) -> Vec<u8> {
    server.request("CreateKey", &json!({"KeySpec": "RSA_4096", "KeyUsage": "ENCRYPT_DECRYPT"})).bytes()
}

#[test]
fn requests_under_way_are_answered_and_new_ones_are_not_taken() {
    let mut server = Server::started();
    let address = server.address();
    let mut busy: Vec<_> = (0..3).map(|_| Connection::open(address)).collect();
    for connection in &mut busy {
        connection.send(&slow_request(&server));
    }
    thread::sleep(Duration::from_millis(100));
    server.terminate();
    let mut made = Vec::new();
    for connection in &mut busy {
        let answer = connection.answer();
        assert_eq!(answer.status, 200);
        made.push(answer.json()["KeyMetadata"]["KeyId"].clone());
    }
    assert!(busy.into_iter().all(Connection::ends));
    assert!(TcpStream::connect(address).is_err());
    assert_eq!(server.wait().code(), Some(0));
    server.start();
    for id in made {
        server.done("GetPublicKey", &json!({"KeyId": id}));
    }
}

#[test]
fn idle_connections_do_not_hold_up_the_end() {
    let mut server = Server::started();
    let silent: Vec<_> = (0..5).map(|_| Connection::open(server.address())).collect();
    let mut used = Connection::open(server.address());
    assert_eq!(used.send(&server.request("ListKeys", &json!({})).bytes()).answer().status, 200);
    let began = Instant::now();
    assert_eq!(server.stop().code(), Some(0));
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    assert!(used.ends() && silent.into_iter().all(Connection::ends));
}

#[test]
fn half_a_request_does_not_hold_up_the_end_for_long() {
    let mut server = Server::new()
        .with("STRONGROOM__LIMITS__HEADER_TIMEOUT_MS", 300)
        .with("STRONGROOM__LIMITS__BODY_TIMEOUT_MS", 300);
    server.start();
    let bytes = server.request("ListKeys", &json!({"Limit": 1})).bytes();
    let half: Vec<_> = [40, bytes.len() - 3]
        .map(|length| {
            let mut connection = Connection::open(server.address());
            connection.send(&bytes[..length]);
            connection
        })
        .into();
    let began = Instant::now();
    assert_eq!(server.stop().code(), Some(0));
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    drop(half);
}

#[test]
fn what_a_client_asked_for_and_did_not_wait_for_is_finished_and_written_down() {
    let mut server = Server::started();
    let mut connection = Connection::open(server.address());
    connection.send(&slow_request(&server));
    thread::sleep(Duration::from_millis(100));
    drop(connection);
    thread::sleep(Duration::from_millis(20));
    assert_eq!(server.stop().code(), Some(0));
    let created: Vec<Value> = server.audit().into_iter().filter(|record| record["eventName"] == "CreateKey").collect();
    assert_eq!(created.len(), 1, "the call left no record");
    server.start();
    let listed = server.done("ListKeys", &json!({}));
    assert_eq!(listed["Keys"][0]["KeyArn"], created[0]["resources"][0]["ARN"]);
}

#[test]
fn a_stop_right_after_the_ready_line_is_a_stop() {
    let mut server = Server::new();
    for _ in 0..8 {
        server.start();
        assert_eq!(server.stop().code(), Some(0));
    }
}

#[test]
fn a_stop_under_load_is_clean_every_time() {
    let mut server = Server::new();
    for _ in 0..5 {
        server.start();
        let load = [0; 3].map(|_| {
            let (address, request) = (server.address(), server.request("CreateKey", &json!({})).bytes());
            thread::spawn(move || {
                let mut made = 0;
                while let Ok(stream) = TcpStream::connect(address) {
                    stream.set_read_timeout(Some(SOON)).unwrap();
                    let mut connection = Connection(std::io::BufReader::new(stream));
                    if !connection.try_send(&request) {
                        break;
                    }
                    let Some(answer) = connection.try_answer() else { break };
                    assert_eq!(answer.status, 200);
                    made += 1;
                }
                made
            })
        });
        thread::sleep(Duration::from_millis(200));
        assert_eq!(server.stop().code(), Some(0));
        assert!(load.into_iter().map(|thread| thread.join().unwrap()).sum::<u32>() > 0);
    }
}
