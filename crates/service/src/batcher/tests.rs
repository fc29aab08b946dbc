//! The batcher before an engine that the test holds.

use super::{Batcher, EngineThread, Error, Options, Waiting, start};
use std::sync::mpsc;
use std::time::{Duration, Instant};

fn options() -> Options {
    Options { max_batch_tokens: 10, max_batch_items: 4, max_queued_items: 3, max_queued_tokens: 20 }
}

/// An engine that answers a batch when the test says so, and shows the batches it got.
struct Gated {
    batcher: Batcher<u32, u32>,
    thread: EngineThread,
    open: mpsc::Sender<()>,
    seen: mpsc::Receiver<Vec<u32>>,
}

fn gated(options: Options) -> Gated {
    let (open, gate) = mpsc::channel::<()>();
    let (show, seen) = mpsc::channel();
    let (batcher, thread) = start("engine", options, (), move |batch: Vec<u32>, _| {
        show.send(batch.clone()).unwrap();
        // A closed gate stays open.
        let _ = gate.recv();
        assert!(!batch.contains(&13), "unlucky");
        batch.iter().map(|n| n * 2).collect()
    })
    .unwrap();
    Gated { batcher, thread, open, seen }
}

type Answer = tokio::task::JoinHandle<Result<u32, Error>>;

impl Gated {
    fn submit(&self, n: u32, tokens: usize, deadline: Option<Instant>) -> Answer {
        let batcher = self.batcher.clone();
        tokio::spawn(async move { batcher.submit(n, tokens, deadline).await })
    }

    /// Submits `n` and waits until it is queued.
    async fn queue(&self, n: u32, tokens: usize) -> Answer {
        let before = self.batcher.queued_items();
        let answer = self.submit(n, tokens, None);
        until(|| self.batcher.queued_items() > before).await;
        answer
    }

    /// Occupies the engine with request 0.
    async fn occupy(&self) -> Answer {
        let answer = self.submit(0, 1, None);
        until(|| self.seen.try_recv().is_ok()).await;
        answer
    }
}

async fn until(mut holds: impl FnMut() -> bool) {
    while !holds() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn what_waits_while_the_engine_is_busy_is_one_batch_in_order() {
    let engine = gated(options());
    let first = engine.occupy().await;
    let mut waiting = Vec::new();
    for n in [1, 2, 3] {
        waiting.push(engine.queue(n, 2).await);
    }
    drop(engine.open);
    assert_eq!(first.await.unwrap(), Ok(0));
    for (answer, expected) in waiting.into_iter().zip([2, 4, 6]) {
        assert_eq!(answer.await.unwrap(), Ok(expected));
    }
    assert_eq!(engine.seen.recv().unwrap(), [1, 2, 3]);
}

#[tokio::test]
async fn a_batch_ends_at_its_token_budget_and_nobody_is_overtaken() {
    let engine = gated(options());
    let _first = engine.occupy().await;
    let waiting = [engine.queue(1, 6).await, engine.queue(2, 6).await, engine.queue(3, 1).await];
    drop(engine.open);
    for answer in waiting {
        answer.await.unwrap().unwrap();
    }
    // 3 would have fitted beside 1, but 2 came first.
    let batches: Vec<_> = engine.seen.try_iter().collect();
    assert_eq!(batches, [vec![1], vec![2, 3]]);
}

#[tokio::test]
async fn sheds_when_full_and_says_when_to_come_back() {
    let engine = gated(options());
    let _first = engine.occupy().await;
    let waiting = [engine.queue(1, 1).await, engine.queue(2, 1).await, engine.queue(3, 1).await];
    let refused = engine.submit(4, 1, None).await.unwrap();
    let Err(Error::Overloaded { retry_after }) = refused else { panic!("{refused:?}") };
    assert!(retry_after >= Duration::from_millis(100));
    drop(engine.open);
    for answer in waiting {
        answer.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn the_queue_is_bounded_in_tokens_too() {
    let engine = gated(options());
    let _first = engine.occupy().await;
    let _waiting = [engine.queue(1, 10).await, engine.queue(2, 10).await];
    let refused = engine.submit(3, 1, None).await.unwrap();
    assert!(matches!(refused, Err(Error::Overloaded { .. })), "{refused:?}");
    drop(engine.open);
}

#[tokio::test]
async fn skips_callers_that_left_and_frees_their_places() {
    let engine = gated(options());
    let _first = engine.occupy().await;
    let leaves = engine.queue(1, 1).await;
    let stays = [engine.queue(2, 1).await, engine.queue(3, 1).await];
    leaves.abort();
    assert!(leaves.await.unwrap_err().is_cancelled());
    // The queue holds three; the one who left makes room.
    let comes = engine.submit(4, 1, None);
    until(|| engine.batcher.door.shared.lock().queue.last() == Some(&4)).await;
    drop(engine.open);
    for answer in stays.into_iter().chain([comes]) {
        answer.await.unwrap().unwrap();
    }
    assert_eq!(engine.seen.recv().unwrap(), [2, 3, 4]);
}

#[tokio::test]
async fn a_request_whose_deadline_passed_is_not_run() {
    let engine = gated(options());
    let first = engine.occupy().await;
    let late = engine.submit(1, 1, Some(Instant::now() + Duration::from_millis(5)));
    assert_eq!(late.await.unwrap(), Err(Error::DeadlineExceeded));
    let passed = engine.submit(2, 1, Some(Instant::now()));
    assert_eq!(passed.await.unwrap(), Err(Error::DeadlineExceeded));
    let last = engine.queue(3, 1).await;
    drop(engine.open);
    first.await.unwrap().unwrap();
    last.await.unwrap().unwrap();
    assert_eq!(engine.seen.recv().unwrap(), [3]);
}

#[tokio::test]
async fn a_panic_is_an_error_of_its_batch_only() {
    let engine = gated(options());
    drop(engine.open);
    let Err(Error::Engine { message }) = engine.batcher.submit(13, 1, None).await else {
        panic!("the engine did not fail")
    };
    assert!(message.contains("unlucky"), "{message}");
    assert_eq!(engine.batcher.submit(1, 1, None).await, Ok(2));
}

#[tokio::test]
async fn a_miscounting_engine_fails_its_batch_instead_of_mixing_up_callers() {
    let (batcher, _thread) = start("engine", options(), (), |_: Vec<u32>, _| vec![1, 2]).unwrap();
    let answer = batcher.submit(1, 1, None).await;
    assert!(matches!(answer, Err(Error::Engine { .. })), "{answer:?}");
}

#[tokio::test]
async fn a_request_larger_than_a_batch_is_refused() {
    let engine = gated(options());
    let refused = engine.batcher.submit(1, 11, None).await;
    assert_eq!(refused, Err(Error::TooLarge { tokens: 11, limit: 10 }));
}

#[tokio::test]
async fn draining_finishes_what_waits_and_refuses_what_comes() {
    let engine = gated(options());
    let first = engine.occupy().await;
    let waiting = engine.queue(1, 1).await;
    let batcher = engine.batcher.clone();
    let drained = tokio::spawn(engine.thread.drain(Duration::from_secs(60)));
    until(|| batcher.door.shared.lock().closed).await;
    assert_eq!(batcher.submit(2, 1, None).await, Err(Error::Stopped));
    drop(engine.open);
    drained.await.unwrap();
    assert_eq!(first.await.unwrap(), Ok(0));
    assert_eq!(waiting.await.unwrap(), Ok(2));
}

#[tokio::test]
async fn a_batch_that_outlasts_the_grace_period_is_not_waited_for() {
    let engine = gated(options());
    let first = engine.occupy().await;
    let waiting = engine.queue(1, 1).await;
    engine.thread.drain(Duration::ZERO).await;
    assert_eq!(waiting.await.unwrap(), Err(Error::Stopped));
    // Who is still there has its answer all the same.
    engine.open.send(()).unwrap();
    assert_eq!(first.await.unwrap(), Ok(0));
}

#[tokio::test]
async fn an_engine_that_works_in_steps_sees_that_nobody_waits_any_more() {
    let (begin, begun) = mpsc::channel();
    let endless = move |batch: Vec<u32>, waiting: &Waiting<'_>| {
        let _ = begin.send(());
        while batch == [0] && waiting.is_anybody() {
            std::thread::sleep(Duration::from_millis(1));
        }
        batch
    };
    let (batcher, _thread) = start("engine", options(), (), endless).unwrap();
    let leaves = tokio::spawn({
        let batcher = batcher.clone();
        async move { batcher.submit(0, 1, None).await }
    });
    until(|| begun.try_recv().is_ok()).await;
    leaves.abort();
    assert!(leaves.await.unwrap_err().is_cancelled());
    assert_eq!(batcher.submit(1, 1, None).await, Ok(1));
}
