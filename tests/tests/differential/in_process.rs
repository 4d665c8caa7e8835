//! hyper in this process: tens of thousands of streams in seconds, and no clock to say that it waits.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use http_body_util::{BodyExt as _, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt as _;

use crate::judge::{Run, Seen, judge, path};
use crate::{MARKER, streams};

const MUTANTS: usize = 100_000;

/// Notes that a future wants to be polled again.
#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Runs a future as far as it gets by itself; `None` if it waits for somebody else.
fn run<T>(future: impl Future<Output = T>) -> Option<T> {
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return Some(output),
            Poll::Pending if woken.0.swap(false, Ordering::Relaxed) => {}
            Poll::Pending => return None,
        }
    }
}

/// Serves one connection; every request is noted before its content is read.
fn serve(bytes: &[u8]) -> Run {
    let (mut client, server) = tokio::io::duplex(1 << 20);
    run(client.write_all(bytes)).expect("the pipe has room").expect("the pipe is open");
    let seen = Rc::new(RefCell::new(Vec::<Seen>::new()));
    let service = service_fn(|request: Request<Incoming>| {
        let seen = Rc::clone(&seen);
        async move {
            let line = format!("{} {}", request.method(), path(&request.uri().to_string()));
            seen.borrow_mut().push(Seen { line: Some(line), ..Seen::default() });
            let at = seen.borrow().len() - 1;
            if let Ok(content) = request.into_body().collect().await {
                seen.borrow_mut()[at].content = Some(content.to_bytes().len() as u64);
            }
            Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
        }
    });
    // Its end is a request to close, or one that hyper refuses.
    let closed = run(http1::Builder::new().serve_connection(TokioIo::new(server), service)).is_some();
    Run { seen: seen.take(), closed }
}

#[test]
fn hyper_sees_the_requests_that_the_core_sees() {
    let mut tally = BTreeMap::new();
    for (name, bytes) in streams(MUTANTS, 7, MARKER) {
        let run = serve(&bytes);
        match judge(&bytes, &run) {
            Ok(agreement) => *tally.entry(format!("{agreement:?}")).or_insert(0) += 1,
            Err(why) => panic!("{name}: {why}\n{}\n{run:?}", bytes.escape_ascii()),
        }
        // The same bytes to a reader of our own with httparse.
        balancer_fuzz::framing::check(&[&[0, 1, 2, 3, 4], &bytes[..]].concat());
    }
    println!("{tally:?}");
    for (agreement, least) in [("Same", 5000), ("Refused", 300), ("Unframed", 5000), ("Waits", 50)] {
        assert!(tally.get(agreement).is_some_and(|count| *count >= least), "{agreement} is rare: {tally:?}");
    }
}
