//! Collectors that are away, do not answer, or take nothing: nothing of the broker waits for them.

use quietus::telemetry::span::QUEUE;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tonic::Status;

use crate::collector::Collector;
use crate::common::{is_active, open, request, wants};
use crate::stage::{KEYS, Stage, bounded, bytes, closing, until};

/// A task is opened, gets a credential of each kind, and is closed: all of it is confirmed dead.
async fn live_and_die(stage: &Stage) {
    let mut agent = stage.agent().await;
    let issuer = stage.issuer();
    let task = open(&mut agent).await;
    let (_, token) = request(&mut agent, &task).await;
    agent
        .request_credential(wants(&task, &[KEYS]))
        .await
        .unwrap();
    let mut resource_server = stage.world.verification(&stage.serving).await;
    assert!(is_active(&mut resource_server, &token).await);
    agent.close_task(closing(&task)).await.unwrap();
    assert!(!is_active(&mut resource_server, &token).await);
    let gone = stage
        .scrape_until(|it| it.get("quietus_revocation_lag_seconds_count{kind=\"external\"}") == 1);
    gone.await;
    drop(issuer);
}

#[tokio::test]
async fn a_collector_that_is_away_delays_nothing() {
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = nobody.local_addr().unwrap();
    drop(nobody);
    let stage = Stage::start(Some(format!("http://{address}"))).await;
    bounded(live_and_die(&stage)).await;
    let lost = |it: &crate::http::Scraped| it.get("quietus_telemetry_dropped_total") > 0;
    stage.scrape_until(lost).await;
    bounded(stage.serving.stop()).await.unwrap();
}

#[tokio::test]
async fn a_collector_that_never_answers_delays_nothing() {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let (heard, mut hears) = tokio::sync::mpsc::channel(16);
    let swallowing = tokio::spawn(async move {
        loop {
            let (mut stream, _) = socket.accept().await.unwrap();
            let heard = heard.clone();
            tokio::spawn(async move {
                let mut bytes = [0; 4096];
                while matches!(stream.read(&mut bytes).await, Ok(1..)) {
                    let _ = heard.try_send(());
                }
            });
        }
    });
    let stage = Stage::start(Some(format!("http://{address}"))).await;
    bounded(hears.recv()).await.unwrap();
    bounded(live_and_die(&stage)).await;
    bounded(stage.serving.stop()).await.unwrap();
    swallowing.abort();
}

#[tokio::test]
async fn what_has_no_room_in_the_queue_is_dropped_and_counted() {
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap();
    // It is connected to and never answers: nothing leaves the queue for some time.
    let stage = Stage::start(Some(format!("http://{}", nobody.local_addr().unwrap()))).await;
    let spans = stage.serving.engine.telemetry().spans().unwrap();
    let span = quietus::telemetry::Span::new([1; 16], [1; 8], "task", (1, 2));
    let before = spans.dropped().get();
    for _ in 0..2 * QUEUE {
        spans.put(span.clone());
    }
    assert!(spans.dropped().get() > before);
    let dropped = spans.dropped().get();
    let scraped = stage.scrape().await;
    assert!(scraped.get("quietus_telemetry_dropped_total") >= dropped);
    bounded(live_and_die(&stage)).await;
}

#[tokio::test]
async fn what_a_collector_refuses_for_good_is_not_sent_again() {
    let collector = Collector::start().await;
    collector.refuse(Status::permission_denied("not for you"));
    let stage = Stage::start(Some(collector.url())).await;
    bounded(live_and_die(&stage)).await;
    let lost = |it: &crate::http::Scraped| it.get("quietus_telemetry_dropped_total") > 0;
    let calls = collector.calls();
    stage.scrape_until(lost).await;
    assert!(collector.spans().is_empty());
    assert!(collector.calls() >= calls);
}

#[tokio::test]
async fn a_collector_that_comes_back_gets_what_waited() {
    let collector = Collector::start().await;
    collector.refuse(Status::unavailable("later"));
    let stage = Stage::start(Some(collector.url())).await;
    let mut agent = stage.agent().await;
    let task = open(&mut agent).await;
    until(async || (collector.calls() > 0).then_some(()))
        .await
        .unwrap();
    collector.accept();
    let arrived = until(async || {
        let spans = collector.spans();
        spans
            .iter()
            .any(|span| span.trace_id == bytes(&task))
            .then_some(())
    });
    arrived.await.unwrap();
    assert_eq!(
        stage.scrape().await.get("quietus_telemetry_dropped_total"),
        0
    );
}

#[tokio::test]
async fn without_a_collector_there_are_no_spans() {
    let stage = Stage::start(None).await;
    assert!(stage.serving.engine.telemetry().spans().is_none());
    bounded(live_and_die(&stage)).await;
    let scraped = stage.scrape().await;
    assert_eq!(scraped.get("quietus_telemetry_dropped_total"), 0);
}
