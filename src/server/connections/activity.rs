//! The activity of a connection: the state of its current request, and the last call that has authenticated its client.

use std::{
    net::IpAddr,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::{Duration, Instant},
};

use tokio::sync::Notify;

/// How long a connection may be idle before it is closed to make room for another.
#[derive(Debug, Clone, Copy)]
pub(super) struct IdleLimits {
    /// Of an unauthenticated connection, since it was accepted: time for a handshake and a request.
    pub(super) unauthenticated: Duration,
    /// Of an authenticated connection, since its last authenticated call was answered.
    pub(super) authenticated: Duration,
}

/// The activity of one connection. The tasks of the connection note it; it decides when the connection may be closed.
pub(super) struct Activity {
    /// The client's network.
    pub(super) network: IpAddr,
    accepted: Instant,
    /// When the last authenticated call was answered, in milliseconds after the connection was accepted; 0 if none was.
    authenticated_ms: AtomicU64,
    /// A request has begun to arrive.
    is_receiving: AtomicBool,
    /// A request has arrived whole and waits for its answer.
    is_answering: AtomicBool,
    is_closing: AtomicBool,
    /// It is closed to make room for another connection.
    is_evicted: AtomicBool,
    close_requested: Notify,
}

impl Activity {
    pub(super) fn new(network: IpAddr, accepted: Instant) -> Self {
        Self {
            network,
            accepted,
            authenticated_ms: AtomicU64::new(0),
            is_receiving: AtomicBool::new(false),
            is_answering: AtomicBool::new(false),
            is_closing: AtomicBool::new(false),
            is_evicted: AtomicBool::new(false),
            close_requested: Notify::new(),
        }
    }

    /// Notes that a request has begun to arrive.
    pub(super) fn request_begun(&self) {
        self.is_receiving.store(true, Ordering::Relaxed);
    }

    /// Notes that the request has arrived whole and waits for its answer.
    pub(super) fn request_received(&self) {
        self.is_answering.store(true, Ordering::Relaxed);
    }

    /// Notes that the request was answered, and whether its signature has proved who the client is.
    pub(super) fn request_answered(&self, is_authenticated: bool, now: Instant) {
        if is_authenticated {
            let ms = now.saturating_duration_since(self.accepted).as_millis();
            self.authenticated_ms.store(u64::try_from(ms).unwrap_or(u64::MAX).max(1), Ordering::Relaxed);
        }
        self.is_receiving.store(false, Ordering::Relaxed);
        self.is_answering.store(false, Ordering::Relaxed);
    }

    /// True if a request must be answered before the connection is closed: one that has arrived whole and, unless the
    /// connection is evicted, also one that still arrives.
    pub(super) fn has_pending_request(&self) -> bool {
        self.is_answering() || self.is_receiving() && !self.is_evicted()
    }

    /// True if a request has arrived whole and waits for its answer.
    pub(super) fn is_answering(&self) -> bool {
        self.is_answering.load(Ordering::Relaxed)
    }

    fn is_receiving(&self) -> bool {
        self.is_receiving.load(Ordering::Relaxed)
    }

    /// True once a call on this connection has proved who the client is.
    pub(super) fn is_authenticated(&self) -> bool {
        self.authenticated_ms.load(Ordering::Relaxed) > 0
    }

    /// True if the connection is closed to make room for another.
    pub(super) fn is_evicted(&self) -> bool {
        self.is_evicted.load(Ordering::Relaxed)
    }

    /// True if the connection is being closed.
    pub(super) fn is_closing(&self) -> bool {
        self.is_closing.load(Ordering::Acquire)
    }

    /// Waits until the connection is to be closed.
    pub(super) async fn close_requested(&self) {
        let requested = self.close_requested.notified();
        if !self.is_closing() {
            requested.await;
        }
    }

    /// Has the connection closed to make room for another.
    pub(super) fn evict(&self) {
        self.is_evicted.store(true, Ordering::Relaxed);
        self.close();
    }

    /// Has the connection closed once what is pending is answered.
    pub(super) fn close(&self) {
        self.is_closing.store(true, Ordering::Release);
        self.close_requested.notify_waiters();
    }

    /// How long the connection has been idle, if that is longer than `limits` allow; `None` if it may not be closed. An
    /// unauthenticated connection counts as idle whatever it sends; an authenticated one does not while it sends a request.
    pub(super) fn idle_beyond(&self, limits: IdleLimits, now: Instant) -> Option<Duration> {
        if self.is_closing() || self.is_authenticated() && self.is_receiving() {
            return None;
        }
        let since = self.accepted + Duration::from_millis(self.authenticated_ms.load(Ordering::Relaxed));
        let idle = now.saturating_duration_since(since);
        (idle >= if self.is_authenticated() { limits.authenticated } else { limits.unauthenticated }).then_some(idle)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: IdleLimits =
        IdleLimits { unauthenticated: Duration::from_secs(1), authenticated: Duration::from_secs(5) };

    fn activity() -> Activity {
        Activity::new(IpAddr::from([10, 0, 0, 1]), Instant::now())
    }

    #[test]
    fn an_unauthenticated_connection_has_less_time_and_its_requests_buy_none() {
        let activity = activity();
        let at = |ms| activity.accepted + Duration::from_millis(ms);
        let idle_at = |ms| activity.idle_beyond(LIMITS, at(ms));
        assert_eq!((idle_at(900), idle_at(1_500)), (None, Some(Duration::from_millis(1_500))));
        let answer: fn(&Activity) = |activity| activity.request_answered(false, Instant::now());
        for step in [Activity::request_begun, Activity::request_received, answer] {
            step(&activity);
            assert!(idle_at(1_500).is_some());
        }
        activity.request_answered(true, at(10_000));
        assert_eq!((idle_at(14_900), idle_at(15_500)), (None, Some(Duration::from_millis(5_500))));
        activity.request_answered(false, at(15_000));
        assert!(idle_at(15_500).is_some(), "a call that proved nothing does not count");
        activity.request_begun();
        assert_eq!(idle_at(60_000), None, "a request of an authenticated connection is not cut off");
    }

    #[test]
    fn a_request_that_still_arrives_is_waited_for_at_a_stop_and_not_at_an_eviction() {
        for (close, waits) in [(Activity::close as fn(&Activity), true), (Activity::evict, false)] {
            let activity = activity();
            activity.request_begun();
            close(&activity);
            assert_eq!(activity.has_pending_request(), waits);
            activity.request_received();
            assert!(activity.has_pending_request());
            activity.request_answered(true, Instant::now());
            assert!(!activity.has_pending_request());
        }
    }
}
