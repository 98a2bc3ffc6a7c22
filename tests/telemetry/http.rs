//! HTTP as somebody else would speak it: by hand.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::stage::{Stage, bounded};

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

/// Metrics as they were read: each series with its value, and each name with its type.
#[derive(Debug)]
pub struct Scraped {
    pub series: BTreeMap<String, f64>,
    pub types: BTreeMap<String, String>,
}

impl Scraped {
    pub fn read(text: &str) -> Self {
        assert!(text.ends_with("# EOF\n"), "{text}");
        let mut series = BTreeMap::new();
        let mut types = BTreeMap::new();
        for line in text.lines() {
            if let Some(line) = line.strip_prefix("# TYPE ") {
                let (name, kind) = line.split_once(' ').unwrap();
                assert!(
                    types.insert(name.to_owned(), kind.to_owned()).is_none(),
                    "{name} twice"
                );
            } else if !line.starts_with('#') {
                let (name, value) = line.rsplit_once(' ').unwrap();
                let value = value.parse().unwrap();
                assert!(
                    series.insert(name.to_owned(), value).is_none(),
                    "{name} twice"
                );
            }
        }
        Self { series, types }
    }

    #[track_caller]
    pub fn get(&self, series: &str) -> u64 {
        let found = self.series.get(series);
        let found = found.unwrap_or_else(|| panic!("no {series} in {self:#?}"));
        assert_eq!(found.fract(), 0.0);
        *found as u64
    }
}

/// Sends these bytes, and reads until the other side closes.
pub async fn send(to: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(to).await.unwrap();
    // The other side may close before it has read everything.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let _ = bounded(stream.read_to_end(&mut answer)).await;
    String::from_utf8(answer).unwrap()
}

pub async fn request(to: SocketAddr, method: &str, path: &str) -> Answer {
    let request = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    let text = send(to, request.as_bytes()).await;
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap();
    Answer {
        status: status.parse().unwrap(),
        head: head.to_ascii_lowercase(),
        body: body.to_owned(),
    }
}

pub async fn get(to: SocketAddr, path: &str) -> Answer {
    request(to, "GET", path).await
}

#[tokio::test]
async fn nothing_is_there_but_metrics_and_only_to_be_read() {
    let stage = Stage::start(None).await;
    let there = stage.serving.metrics.unwrap();
    let answer = get(there, "/metrics").await;
    assert_eq!(answer.status, 200);
    let media = "content-type: application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert!(answer.head.contains(media), "{}", answer.head);
    let head = request(there, "HEAD", "/metrics").await;
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    for path in [
        "/",
        "/metrics/",
        "/metric",
        "//metrics",
        "/metrics/../x",
        "/%6detrics",
        "/debug",
    ] {
        assert_eq!(get(there, path).await.status, 404, "{path}");
    }
    for method in [
        "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "get", "BREW",
    ] {
        let answer = request(there, method, "/metrics").await;
        assert_eq!(answer.status, 405, "{method}");
        assert!(answer.head.contains("allow: get, head"), "{method}");
    }
}

#[tokio::test]
async fn what_is_not_http_is_refused_and_harms_nobody() {
    let stage = Stage::start(None).await;
    let there = stage.serving.metrics.unwrap();
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(70_000));
    let large = format!("GET /metrics HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(70_000));
    let many = format!("GET /metrics HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(100));
    for (why, sent, expected) in [
        ("nothing", "\r\n\r\n", ""),
        ("noise", "\x16\x03\x01\x02\0\x01", "400"),
        ("no path", "GET\r\n\r\n", "400"),
        ("no version", "GET /metrics\r\n\r\n", "400"),
        (
            "HTTP/2 without asking",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            "",
        ),
        (
            "a header without a name",
            "GET /metrics HTTP/1.1\r\n: x\r\n\r\n",
            "400",
        ),
        (
            "space in a name",
            "GET /metrics HTTP/1.1\r\nA B: x\r\n\r\n",
            "400",
        ),
        (
            "two lengths",
            "POST /metrics HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            "400",
        ),
        (
            "a length of nothing",
            "POST /metrics HTTP/1.1\r\nContent-Length: x\r\n\r\n",
            "400",
        ),
        ("a long path", &long, "4"),
        ("a large header", &large, "431"),
        ("many headers", &many, "431"),
    ] {
        let sent = [
            sent.as_bytes(),
            b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n",
        ]
        .concat();
        let answer = send(there, &sent).await;
        let status = answer.split(' ').nth(1).unwrap_or_default();
        assert!(status.starts_with(expected), "{why}: {answer:?}");
        assert!(!answer.contains("quietus_"), "{why}: {answer:?}");
    }
    assert_eq!(get(there, "/metrics").await.status, 200);
}

#[tokio::test]
async fn the_body_of_a_request_is_not_waited_for() {
    let stage = Stage::start(None).await;
    let there = stage.serving.metrics.unwrap();
    let request = b"POST /metrics HTTP/1.1\r\nContent-Length: 1000000000\r\n\r\n";
    let answer = send(there, request).await;
    assert!(answer.starts_with("HTTP/1.1 405"), "{answer}");
}

#[tokio::test]
async fn those_who_say_nothing_take_up_no_more_than_their_places() {
    let stage = Stage::start(None).await;
    let there = stage.serving.metrics.unwrap();
    let mut silent = Vec::new();
    for _ in 0..64 {
        silent.push(TcpStream::connect(there).await.unwrap());
    }
    // One more is closed as it comes, without a word.
    assert_eq!(send(there, b"GET /metrics HTTP/1.1\r\n\r\n").await, "");
    drop(silent);
    stage.scrape_when_there_is_room().await;
    // Whatever happens there, agents are served.
    crate::common::open(&mut stage.agent().await).await;
}

impl Stage {
    async fn scrape_when_there_is_room(&self) {
        let there = self.serving.metrics.unwrap();
        let scraped = crate::stage::until(async || {
            let answer = send(there, b"GET /metrics HTTP/1.0\r\n\r\n").await;
            answer.starts_with("HTTP/1.0 200").then_some(())
        });
        scraped.await.unwrap();
    }
}
