//! Who waits is woken, who does not is forgotten, and nobody is woken while the session is locked.

use std::future::pending;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt as _};
use tidegate_ws::codec::Role;
use tidegate_ws::frame::OpCode;
use tidegate_ws::session::Control;
use tidegate_ws::{
    Driver, HandshakeInfo, Message, Opening, ReceiveHalf, SendHalf, SessionConfig, SessionError,
    WebSocketSession,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

use crate::kit::frame;

/// A task: it counts how often it is woken.
#[derive(Default)]
struct Task(AtomicUsize);

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Task {
    fn new() -> Arc<Self> {
        Arc::default()
    }

    fn poll<F: Future>(self: &Arc<Self>, future: Pin<&mut F>) -> Poll<F::Output> {
        let waker = Waker::from(Arc::clone(self));
        future.poll(&mut Context::from_waker(&waker))
    }

    /// How often it was woken since this was asked last.
    fn woken(&self) -> usize {
        self.0.swap(0, Ordering::Relaxed)
    }
}

const OUTBOX: usize = 100;

fn config() -> Arc<SessionConfig> {
    let mut config = SessionConfig::default();
    config.keep_alive = None;
    config.outbox = OUTBOX;
    Arc::new(config)
}

/// A session that has sent so much, more than its connection takes.
fn filled(length: usize) -> (ReceiveHalf, SendHalf, DuplexStream) {
    let (near, far) = duplex(64);
    let session = WebSocketSession::new(far, Opening::new(Role::Server), config());
    let (receiver, sender) = session.split();
    let sent = Task::new().poll(pin!(sender.send(vec![1; length])));
    assert!(sent.is_ready());
    (receiver, sender, near)
}

/// Takes so much of what the session wrote.
async fn take(near: &mut DuplexStream, count: usize) {
    near.read_exact(&mut vec![0; count]).await.unwrap();
}

#[tokio::test]
async fn what_was_given_up_leaves_no_waker_behind() {
    let (mut receiver, sender, mut near) = filled(2 * OUTBOX);
    let reader = Task::new();
    {
        let mut receive = pin!(receiver.receive());
        assert!(reader.poll(receive.as_mut()).is_pending());
        for _ in 0..3 {
            let gave_up = Task::new();
            assert!(gave_up.poll(pin!(sender.send("x"))).is_pending());
            assert!(gave_up.poll(pin!(sender.flush())).is_pending());
            assert_eq!(Arc::strong_count(&gave_up), 1, "it is forgotten at once");
            gave_up.woken();
            take(&mut near, 8).await;
            assert_eq!(gave_up.woken(), 0, "nor is it woken");
        }
        // A receiver, too.
        assert!(reader.woken() > 0);
        assert!(reader.poll(receive.as_mut()).is_pending());
    }
    assert_eq!(Arc::strong_count(&reader), 1);
    // And a sink, once it is dropped.
    let gave_up = Task::new();
    let mut sink = sender.clone();
    assert!(gave_up.poll(pin!(sink.feed("x".into()))).is_pending());
    drop(sink);
    assert_eq!(Arc::strong_count(&gave_up), 1);
}

#[tokio::test]
async fn one_of_two_that_wait_in_a_task_does_not_take_the_others_waker_away() {
    // Something waits to be written, and there is room for more.
    let (mut receiver, sender, mut near) = filled(OUTBOX);
    let (reader, writer) = (Task::new(), Task::new());
    let mut receive = pin!(receiver.receive());
    assert!(reader.poll(receive.as_mut()).is_pending());
    let mut flush = pin!(sender.flush());
    assert!(writer.poll(flush.as_mut()).is_pending());
    assert!(writer.poll(pin!(sender.send("x"))).is_ready());
    assert_eq!(writer.woken(), 0);
    take(&mut near, 64).await;
    assert!(writer.woken() > 0, "who flushes waits on");
    assert!(writer.poll(flush.as_mut()).is_ready());
}

/// A task that looks at its session when it is woken, as one does that runs at once.
#[derive(Default)]
struct Nosy {
    session: OnceLock<(Control, SendHalf)>,
    looks: AtomicUsize,
}

impl Wake for Nosy {
    fn wake(self: Arc<Self>) {
        if let Some((control, sender)) = self.session.get() {
            let _ = control.ending();
            drop(sender.try_send(vec![0; OUTBOX * 10]));
            self.looks.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Runs `test` in a thread of its own: what waits for itself never ends.
fn ends(test: impl FnOnce() + Send + 'static) {
    let (done, is_done) = mpsc::channel();
    let test = thread::spawn(move || {
        test();
        done.send(()).unwrap();
    });
    let waited = is_done.recv_timeout(Duration::from_secs(60));
    let waits = waited == Err(mpsc::RecvTimeoutError::Timeout);
    assert!(!waits, "it waits for itself");
    test.join().unwrap();
}

#[test]
fn nobody_is_woken_while_the_session_is_locked() {
    let acts: [fn(&Control, &SendHalf); 5] = [
        |_, sender| assert!(sender.try_send("x").unwrap().is_none()),
        |_, sender| sender.begin_close(1000, ""),
        |control, _| assert!(control.end(1001, "")),
        |control, _| control.wake(),
        |_, sender| assert!(Task::new().poll(pin!(sender.send("x"))).is_ready()),
    ];
    for (act, is_many) in acts.into_iter().flat_map(|act| [(act, false), (act, true)]) {
        ends(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .build()
                .unwrap();
            let _guard = runtime.enter();
            // What is written waits, so that a time is kept for it.
            let (_near, far) = duplex(1);
            let (session, driver) = Driver::start(far, HandshakeInfo::default(), config());
            let (control, sender) = (driver.control(), session.sender());
            let nosy = Arc::new(Nosy::default());
            let mut driver = pin!(driver.run(pending));
            let waker = Waker::from(Arc::clone(&nosy));
            let mut cx = Context::from_waker(&waker);
            assert!(driver.as_mut().poll(&mut cx).is_pending());
            if is_many {
                assert!(Task::new().poll(pin!(sender.flush())).is_ready());
            }
            let _ = nosy.session.set((control.clone(), sender.clone()));
            act(&control, &sender);
            assert!(nosy.looks.load(Ordering::Relaxed) > 0, "it was woken");
            assert!(driver.as_mut().poll(&mut cx).is_pending());
        });
    }
}

/// A task that lives as long as somebody may wake it, and a future with it.
struct Owned<T>(Mutex<Option<T>>);

impl<T: Send> Wake for Owned<T> {
    fn wake(self: Arc<Self>) {}
}

#[test]
fn no_waker_is_let_go_of_while_the_session_is_locked() {
    ends(|| {
        let (_near, far) = duplex(64);
        let session = WebSocketSession::new(far, Opening::new(Role::Server), config());
        let (mut receiver, sender) = session.split();
        // Several tasks wait from here on.
        let mut receive = Box::pin(async move {
            receiver.next().await;
            receiver
        });
        assert!(Task::new().poll(receive.as_mut()).is_pending());
        let mut sink = sender.clone();
        let mut noop = Context::from_waker(Waker::noop());
        assert!(sink.poll_ready_unpin(&mut noop).is_ready());
        let task = Arc::new(Owned(Mutex::new(None)));
        *task.0.lock().unwrap() = Some(sink);
        {
            let waker = Waker::from(Arc::clone(&task));
            drop(task);
            let mut cx = Context::from_waker(&waker);
            assert!(receive.as_mut().poll(&mut cx).is_pending());
        }
        // The session alone has that waker, with a half that gives its turn back.
        assert!(Task::new().poll(receive.as_mut()).is_pending());
        drop(receive);
        drop(sender);
    });
}

/// Whoever was told that there is room may use it; so many are not told at once that the bound
/// means nothing.
#[tokio::test]
async fn the_outbox_is_bounded_for_any_number_of_sinks() {
    const LENGTH: usize = 1000;
    let (mut near, far) = duplex(64);
    let session = WebSocketSession::new(far, Opening::new(Role::Server), config());
    let sender = session.sender();
    let tasks: Vec<Arc<Task>> = (0..100).map(|_| Task::new()).collect();
    let mut sinks = vec![sender; tasks.len()];
    let mut ready = Vec::new();
    for (place, (task, sink)) in tasks.iter().zip(&mut sinks).enumerate() {
        let waker = Waker::from(Arc::clone(task));
        let mut cx = Context::from_waker(&waker);
        if sink.poll_ready_unpin(&mut cx).is_ready() {
            ready.push(place);
        }
    }
    assert_eq!(ready.len(), 16);
    // One that is dropped, or sends, makes room for another.
    let waits = &tasks[20];
    waits.woken();
    sinks[15] = sinks[0].clone();
    assert!(waits.woken() > 0);
    let mut cx = Context::from_waker(Waker::noop());
    assert!(sinks[20].poll_ready_unpin(&mut cx).is_ready());
    assert!(sinks[21].poll_ready_unpin(&mut cx).is_pending());
    ready[15] = 20;
    for place in &ready {
        // Ready is ready, however often it is asked.
        assert!(sinks[*place].poll_ready_unpin(&mut cx).is_ready());
        let message = Message::binary(vec![1; LENGTH]);
        sinks[*place].start_send_unpin(message).unwrap();
    }
    for sink in &mut sinks {
        assert!(sink.poll_ready_unpin(&mut cx).is_pending(), "it is full");
        let refused = sink.start_send_unpin(Message::binary(vec![1; LENGTH]));
        assert!(matches!(refused, Err(SessionError::NotReady)));
        assert!(sink.try_send("x").unwrap().is_some());
    }
    // All of it arrives, and there is room again.
    let reads = take(&mut near, 16 * (LENGTH + 4));
    let mut flushing = sinks[0].clone();
    let (_, flushed) = tokio::join!(reads, SinkExt::<Message>::flush(&mut flushing));
    flushed.unwrap();
    assert!(sinks[99].poll_ready_unpin(&mut cx).is_ready());
    drop(session);
}

#[tokio::test]
async fn a_driver_is_woken_whoever_else_comes_and_goes() {
    let (mut near, far) = duplex(64);
    let (session, driver) = Driver::start(far, HandshakeInfo::default(), config());
    let sender = session.sender();
    let task = Task::new();
    let mut driver = pin!(driver.run(pending));
    assert!(task.poll(driver.as_mut()).is_pending());
    // Another task writes, and is the last that polled the connection.
    assert!(Task::new().poll(pin!(sender.send(vec![1; 100]))).is_ready());
    let gave_up = Task::new();
    assert!(gave_up.poll(pin!(sender.flush())).is_pending());
    assert!(task.woken() > 0);
    assert!(task.poll(driver.as_mut()).is_pending());
    assert!(gave_up.poll(pin!(sender.flush())).is_pending());
    task.woken();
    near.write_all(&frame(OpCode::Ping, b"?")).await.unwrap();
    assert!(task.woken() > 0);
    drop(session);
}
