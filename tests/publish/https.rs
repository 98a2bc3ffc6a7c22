//! Static files, as any tool reads them.

use std::io::{Read, Write};
use std::time::Duration;

use quietus::broker::{BrokerError, Options};
use quietus::config::{LedgerClients, LedgerHttps};
use quietus_ledger::checkpoint;
use quietus_ledger::merkle::{self, leaf};
use quietus_ledger::tiles::{self, Kind, Tile, TileError, TileNodes};

use crate::common::{Serving, World, ledger, open};
use crate::logs::{self, fill, large, log_key, verify, write};
use crate::reader::Reader;

async fn serving(world: &World, clients: LedgerClients) -> Serving {
    let mut config = world.config();
    config.ledger.https = Some(LedgerHttps {
        listen: "127.0.0.1:0".parse().unwrap(),
        certificate: None,
        clients,
    });
    world.serve_with(config, Options::default()).await.unwrap()
}

/// With a certificate for its name, as it is for strangers.
async fn open_to_all(world: &World) -> (Serving, Reader) {
    let web = world
        .domain
        .ca
        .local_server_svid("/web", world.start, Duration::from_secs(86_400));
    let web = web.unwrap();
    std::fs::write(world.path("web.pem"), &web.chain_pem).unwrap();
    std::fs::write(world.path("web.key"), web.key_pem.as_bytes()).unwrap();
    let mut config = world.config();
    config.ledger.https = Some(LedgerHttps {
        listen: "127.0.0.1:0".parse().unwrap(),
        certificate: Some((world.path("web.pem"), world.path("web.key"))),
        clients: LedgerClients::Any,
    });
    let serving = world.serve_with(config, Options::default()).await.unwrap();
    let reader = Reader::anonymous(world, serving.files.unwrap());
    (serving, reader)
}

async fn auditor(world: &World, serving: &Serving) -> Reader {
    world.add_svid("auditor", "/auditor/one", Duration::from_secs(86_400));
    Reader::known(world, serving, "auditor")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_is_read_and_verified_whole_through_its_files() {
    let world = World::new();
    let serving = serving(&world, LedgerClients::Svid).await;
    open(&mut world.broker(&serving, "agent").await).await;
    fill(&serving.engine, 600).await;
    let lists = write(&serving.engine, vec![large(serving.engine.now(), "a")]).await;
    let reader = auditor(&world, &serving).await;

    let note = reader.get("/checkpoint");
    let (media, caching) = (
        &note.headers["content-type"],
        &note.headers["cache-control"],
    );
    assert_eq!(
        (media.as_str(), caching.as_str()),
        ("text/plain; charset=utf-8", "no-store")
    );
    let head = checkpoint::verify(&note.body, "dev.example/broker", &[log_key(&world)]).unwrap();
    assert!(head.size > 600);

    let fetch = |tile: Tile| Ok::<_, TileError>(reader.file(&format!("/{tile}")));
    let nodes = TileNodes::new(head.size, fetch);
    assert_eq!(merkle::root(&nodes, head.size), Ok(head.root));
    let entries = (0..).map_while(|index| Tile::of(Kind::Entries, index, head.size));
    let mut read = Vec::new();
    for bundle in entries {
        let bytes = reader.file(&format!("/{bundle}"));
        let entries = tiles::entries(&bytes, bundle.width()).unwrap();
        read.extend(entries.into_iter().map(<[u8]>::to_vec));
    }
    assert_eq!(read.len() as u64, head.size);
    for index in [0, 255, 256, head.size - 1] {
        let proof = merkle::inclusion(&nodes, index, head.size).unwrap();
        let hash = leaf(&read[usize::try_from(index).unwrap()]);
        merkle::verify_inclusion(&proof, &hash, index, head.size, &head.root).unwrap();
    }
    let list = reader.file(&format!("/attachments/{}", lists[0]));
    assert_eq!(leaf_free_sha256(&list), lists[0].0);

    let report = verify(&reader, logs::trust(&world, Vec::new()));
    assert!(report.is_good(), "{report:?}");
    assert_eq!((report.size, report.entries), (head.size, head.size));
    assert_eq!((report.attachments, report.policies), (1, 1));
    serving.stop().await.unwrap();
}

fn leaf_free_sha256(bytes: &[u8]) -> [u8; 32] {
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    digest.as_ref().try_into().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_never_changes_may_be_kept_for_ever_and_head_is_get_without_the_body() {
    let world = World::new();
    let serving = serving(&world, LedgerClients::Svid).await;
    fill(&serving.engine, 300).await;
    let reader = auditor(&world, &serving).await;
    let policy = serving.engine.status().policy_digest;
    let cases = [
        ("/tile/0/000".to_owned(), "application/octet-stream"),
        ("/tile/0/001.p/44".to_owned(), "application/octet-stream"),
        ("/tile/1/000.p/1".to_owned(), "application/octet-stream"),
        ("/tile/entries/000".to_owned(), "application/octet-stream"),
        (format!("/policies/{policy}"), "application/json"),
    ];
    for (path, media) in cases {
        let got = reader.get(&path);
        assert_eq!(got.status, 200, "{path}");
        assert_eq!(got.headers["content-type"], media);
        assert_eq!(got.headers["cache-control"], "max-age=31536000, immutable");
        let head = format!("HEAD {path} HTTP/1.1\r\nHost: log\r\nConnection: close\r\n\r\n");
        let head = reader.ask(&head).unwrap();
        assert_eq!((head.status, head.body.len()), (200, 0));
        assert_eq!(head.headers["content-length"], got.body.len().to_string());
    }
    assert_eq!(
        reader.get("/checkpoints/256").headers["cache-control"],
        "no-store"
    );
    // A narrower tile is what the wider one begins with.
    let (wide, narrow) = (reader.file("/tile/0/000"), reader.file("/tile/0/000.p/17"));
    assert_eq!(wide[..17 * 32], narrow);
    serving.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn paths_that_name_nothing_are_refused_each_in_its_way() {
    let world = World::new();
    let serving = serving(&world, LedgerClients::Svid).await;
    fill(&serving.engine, 300).await;
    let reader = auditor(&world, &serving).await;
    let none = "0".repeat(64);
    let absent = [
        "/".to_owned(),
        "/index.html".to_owned(),
        "/checkpoint.txt".to_owned(),
        "/checkpoints".to_owned(),
        "/Checkpoint".to_owned(),
        "/state/keys/evidence.key".to_owned(),
        "/tile/0/001".to_owned(),
        "/tile/0/001.p/255".to_owned(),
        "/tile/0/002.p/1".to_owned(),
        "/tile/1/000.p/2".to_owned(),
        "/tile/2/000.p/1".to_owned(),
        "/tile/entries/001".to_owned(),
        "/tile/entries/x001/000".to_owned(),
        "/checkpoints/255".to_owned(),
        "/checkpoints/18446744073709551615".to_owned(),
        format!("/attachments/{none}"),
        format!("/policies/{none}"),
    ];
    for path in absent {
        assert_eq!(reader.status(&path), 404, "{path}");
    }
    let malformed = [
        "/tile/0/1".to_owned(),
        "/tile/0/000.p/0".to_owned(),
        "/tile/0/000.p/256".to_owned(),
        "/tile/00/000".to_owned(),
        "/tile/x/000".to_owned(),
        "/tile/entries/000/".to_owned(),
        "/tile/entries/../0/000".to_owned(),
        "/tile/0/%30%30%30".to_owned(),
        "/checkpoint?size=1".to_owned(),
        "/checkpoints/".to_owned(),
        "/checkpoints/0256".to_owned(),
        "/checkpoints/-1".to_owned(),
        "/checkpoints/../checkpoint".to_owned(),
        "/checkpoints/18446744073709551616".to_owned(),
        "/attachments/".to_owned(),
        format!("/attachments/{}", "A".repeat(64)),
        format!("/policies/{none}0"),
        format!("/policies/{}", "../".repeat(20)),
        format!("/tile/{}", "x".repeat(300)),
    ];
    for path in malformed {
        let reply = reader.get(&path);
        assert_eq!(reply.status, 400, "{path}");
        assert_eq!(reply.headers["cache-control"], "no-store");
    }
    for method in [
        "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "get", "BREW",
    ] {
        let request =
            format!("{method} /checkpoint HTTP/1.1\r\nHost: log\r\nConnection: close\r\n\r\n");
        let reply = reader.ask(&request).unwrap();
        assert_eq!(reply.status, 405, "{method}");
        assert_eq!(reply.headers["allow"], "GET, HEAD");
    }
    serving.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn only_auditors_and_operators_read_and_others_are_recorded_once_a_minute() {
    let world = World::new();
    let serving = serving(&world, LedgerClients::Svid).await;
    logs::sign(&serving.engine).await;
    auditor(&world, &serving).await;
    for name in ["auditor", "operator"] {
        assert_eq!(
            Reader::known(&world, &serving, name).status("/checkpoint"),
            200,
            "{name}"
        );
    }
    let refusals = || {
        let entries = ledger(&serving.engine)
            .into_iter()
            .map(|sealed| sealed.entry);
        let refused = entries.filter(|entry| entry.refusal.as_deref() == Some("NOT_AN_AUDITOR"));
        refused
            .map(|entry| entry.caller.unwrap().id)
            .collect::<Vec<_>>()
    };
    for (name, path) in [
        ("agent", "/checkpoint"),
        ("reader", "/tile/0/000.p/1"),
        ("resource-server", "/nothing"),
    ] {
        let reader = Reader::known(&world, &serving, name);
        let before = refusals().len();
        let twice = format!("GET {path} HTTP/1.1\r\nHost: log\r\n\r\n").repeat(2);
        let reply = reader.ask(&twice).unwrap();
        assert_eq!(reply.status, 403, "{name}");
        assert_eq!(reply.headers["connection"], "close");
        assert_eq!(refusals().len(), before + 1, "{name}");
        // A new connection costs nothing, and an entry is for ever.
        assert_eq!(Reader::known(&world, &serving, name).status(path), 403);
        assert_eq!(refusals().len(), before + 1, "{name}");
    }
    assert!(refusals()[0].contains("/agent/"));
    serving.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_trusted_svid_there_is_no_answer() {
    let world = World::new();
    let serving = serving(&world, LedgerClients::Svid).await;
    let request = "GET /checkpoint HTTP/1.1\r\nHost: log\r\n\r\n";
    let nobody = Reader::anonymous(&world, serving.files.unwrap());
    nobody.ask(request).unwrap_err();
    // An SVID of the right name by another authority.
    let other = World::new();
    other.add_svid("auditor", "/auditor/one", Duration::from_secs(86_400));
    for end in ["pem", "key"] {
        let name = format!("auditor.{end}");
        std::fs::copy(other.path(&name), world.path(&format!("forged.{end}"))).unwrap();
    }
    Reader::known(&world, &serving, "forged")
        .ask(request)
        .unwrap_err();
    // One that has expired.
    world.add_svid("late", "/auditor/late", Duration::from_secs(60));
    let late = Reader::known(&world, &serving, "late");
    late.ask(request).unwrap();
    world.time.advance(Duration::from_secs(120));
    late.ask(request).unwrap_err();
    serving.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_outlives_neither_its_svid_nor_its_bundle() {
    let world = World::new();
    let serving = serving(&world, LedgerClients::Svid).await;
    logs::sign(&serving.engine).await;
    world.add_svid("short", "/auditor/short", Duration::from_secs(60));
    let reader = Reader::known(&world, &serving, "short");
    let (first, second) = tokio::task::block_in_place(|| {
        let mut stream = reader.connect();
        let request = "GET /checkpoints/1 HTTP/1.1\r\nHost: log\r\n\r\n";
        let mut ask = || {
            stream.write_all(request.as_bytes()).unwrap();
            let mut start = [0; 12];
            stream.read_exact(&mut start).unwrap();
            let mut rest = [0; 16 * 1024];
            let _ = stream.read(&mut rest).unwrap();
            String::from_utf8_lossy(&start).into_owned()
        };
        let first = ask();
        world.time.advance(Duration::from_secs(120));
        (first, ask())
    });
    assert!(!first.ends_with("403"), "{first}");
    assert!(second.ends_with("403"), "{second}");
    serving.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn open_to_all_it_asks_nobody_who_they_are_and_serves_nothing_but_files() {
    let world = World::new();
    let (serving, reader) = open_to_all(&world).await;
    fill(&serving.engine, 300).await;
    let report = verify(&reader, logs::trust(&world, Vec::new()));
    assert!(report.is_good(), "{report:?}");
    assert_eq!(reader.status("/metrics"), 404);
    let both = reader.clone().offering(&[b"h2", b"http/1.1"]);
    assert_eq!(both.status("/checkpoint"), 200);
    let only_h2 = reader.clone().offering(&[b"h2"]);
    only_h2.ask("GET /checkpoint HTTP/1.1\r\n\r\n").unwrap_err();
    // Without TLS there is nothing to be had.
    let plain = tokio::task::block_in_place(|| {
        let mut socket = std::net::TcpStream::connect(serving.files.unwrap()).unwrap();
        socket
            .write_all(b"GET /checkpoint HTTP/1.1\r\nHost: log\r\n\r\n")
            .unwrap();
        let mut bytes = Vec::new();
        let _ = socket.read_to_end(&mut bytes);
        bytes
    });
    assert!(!plain.starts_with(b"HTTP"));
    serving.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_that_are_too_large_or_no_http_are_cut_off() {
    let world = World::new();
    let (serving, reader) = open_to_all(&world).await;
    logs::sign(&serving.engine).await;
    let long = format!(
        "GET /checkpoint HTTP/1.1\r\nHost: log\r\nX: {}\r\n\r\n",
        "x".repeat(64 * 1024)
    );
    let many = format!(
        "GET /checkpoint HTTP/1.1\r\nHost: log\r\n{}\r\n",
        "X: x\r\n".repeat(500)
    );
    for request in [
        long.as_str(),
        many.as_str(),
        "rubbish\r\n\r\n",
        "GET\r\n\r\n",
        "\u{0}\u{1}\r\n\r\n",
    ] {
        let reply = reader.ask(request);
        assert!(reply.is_err() || reply.is_ok_and(|reply| reply.status >= 400));
    }
    assert_eq!(reader.status("/checkpoint"), 200);
    serving.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_bounded_and_one_that_goes_makes_room() {
    let world = World::new();
    let (serving, reader) = open_to_all(&world).await;
    logs::sign(&serving.engine).await;
    let sockets: Vec<_> = (0..64)
        .map(|_| std::net::TcpStream::connect(serving.files.unwrap()).unwrap())
        .collect();
    let full = || {
        reader
            .ask("GET /checkpoint HTTP/1.1\r\nHost: log\r\nConnection: close\r\n\r\n")
            .is_err()
    };
    logs::until(full).await;
    drop(sockets);
    logs::until(|| !full()).await;
    serving.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_cannot_be_used_keeps_the_broker_from_starting() {
    let world = World::new();
    let https = |certificate, key| LedgerHttps {
        listen: "127.0.0.1:0".parse().unwrap(),
        certificate: Some((world.path(certificate), world.path(key))),
        clients: LedgerClients::Any,
    };
    for (certificate, key) in [
        ("none.pem", "broker.key"),
        ("broker.pem", "none.key"),
        ("broker.pem", "agent.key"),
        ("broker.key", "broker.key"),
    ] {
        let mut config = world.config();
        config.ledger.https = Some(https(certificate, key));
        let refused = world.serve_with(config, Options::default()).await;
        assert!(
            matches!(refused, Err(BrokerError::Https(_))),
            "{certificate} {key}"
        );
    }
    let mut config = world.config();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    config.ledger.https = Some(LedgerHttps {
        listen: taken.local_addr().unwrap(),
        ..https("broker.pem", "broker.key")
    });
    let refused = world.serve_with(config, Options::default()).await;
    assert!(matches!(refused, Err(BrokerError::Listen { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_certificate_is_shown_without_a_restart() {
    let world = World::new();
    let (serving, reader) = open_to_all(&world).await;
    let shown = || {
        tokio::task::block_in_place(|| {
            let mut stream = reader.connect();
            stream
                .write_all(b"GET / HTTP/1.1\r\nHost: log\r\n\r\n")
                .unwrap();
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            stream.conn.peer_certificates().unwrap()[0].to_vec()
        })
    };
    let before = shown();
    let web = world
        .domain
        .ca
        .local_server_svid("/web", world.start, Duration::from_secs(9_999));
    let web = web.unwrap();
    std::fs::write(world.path("web.key"), web.key_pem.as_bytes()).unwrap();
    world.replace("web.pem", &web.chain_pem);
    logs::until(|| shown() != before).await;
    serving.stop().await.unwrap();
}
