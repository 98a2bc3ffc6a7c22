//! `ReadEntries`: portions, filters, and what is still to come.

use quietus::api::v1;
use quietus::store::Commit;
use quietus_ledger::{Draft, Entry, Sealed, VERSION};
use tonic::Code;

use crate::common::*;
use crate::hall::*;
use crate::help::*;

fn numbers(entries: &[Vec<u8>]) -> Vec<u64> {
    entries
        .iter()
        .map(|bytes| Sealed::parse(bytes).unwrap().seq)
        .collect()
}

fn request(from: u64, to: u64) -> v1::ReadEntriesRequest {
    v1::ReadEntriesRequest {
        from,
        to,
        ..Default::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn any_part_of_the_ledger_is_read_as_it_is() {
    let stage = hall().await;
    grow_to(&stage, 1000).await;
    let client = audit(&stage, "auditor").await;
    let all = read(&client, request(0, 0)).await.unwrap();
    let last = all.len() as u64;
    assert!(last >= 1000);
    assert_eq!(numbers(&all), (1..=last).collect::<Vec<_>>());
    for (from, to) in [(1, 1), (256, 257), (2, 999), (255, 513), (999, 1000)] {
        let part = read(&client, request(from, to)).await.unwrap();
        assert_eq!(part, all[from as usize - 1..to as usize], "{from} {to}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_no_entry_and_no_error() {
    let stage = hall().await;
    let client = audit(&stage, "auditor").await;
    let size = stage.seq();
    for (from, to) in [
        (size + 1, 0),
        (size + 100, size + 200),
        (2, 1),
        (u64::MAX, 0),
        (u64::MAX, u64::MAX),
        (size, 1),
    ] {
        let found = read(&client, request(from, to)).await.unwrap();
        assert!(found.is_empty(), "{from} {to}");
    }
    let whole = read(&client, request(1, u64::MAX)).await.unwrap();
    assert!(whole.len() as u64 >= size);
    let nobodys = v1::ReadEntriesRequest {
        task_id: NOBODYS.to_owned(),
        ..Default::default()
    };
    assert!(read(&client, nobodys).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn large_entries_come_in_several_portions() {
    let stage = hall().await;
    let engine = &stage.serving.engine;
    let entry = Entry {
        broker: BROKER.to_owned(),
        event: "test.large".to_owned(),
        time: engine.now().0,
        v: VERSION,
        detail: [("filler".to_owned(), "x".repeat(60_000))].into(),
        ..Entry::default()
    };
    let commit = Commit {
        now: engine.now(),
        entries: vec![Draft::new(&entry).unwrap(); 60],
        ..Commit::default()
    };
    engine.store().commit(commit).await.unwrap();
    // A plain client takes no more than 4 MiB at once.
    let channel = stage.world.connect(&stage.serving, "auditor").await;
    let mut client = v1::audit_client::AuditClient::new(channel);
    let mut stream = client
        .read_entries(request(0, 0))
        .await
        .unwrap()
        .into_inner();
    let (mut portions, mut entries) = (0, 0);
    while let Some(portion) = stream.message().await.unwrap() {
        portions += 1;
        entries += portion.entries.len() as u64;
    }
    assert!(portions > 3, "{portions}");
    assert!(entries >= 60);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_has_its_own_entries_and_no_others() {
    let mut stage = hall().await;
    let (task, other) = (open(&mut stage.agent).await, open(&mut stage.agent).await);
    crate::common::request(&mut stage.agent, &task).await;
    crate::common::request(&mut stage.agent, &other).await;
    stage.agent.close_task(closes(&task)).await.unwrap();
    let client = audit(&stage, "auditor").await;
    let asked = v1::ReadEntriesRequest {
        task_id: task.id.clone(),
        ..Default::default()
    };
    let found = read(&client, asked.clone()).await.unwrap();
    let events: Vec<_> = found
        .iter()
        .map(|bytes| Sealed::parse(bytes).unwrap().entry.event)
        .collect();
    assert_eq!(events, ["task.opened", "lease.issued", "task.ended"]);
    let late = v1::ReadEntriesRequest {
        from: numbers(&found)[1],
        ..asked.clone()
    };
    assert_eq!(read(&client, late).await.unwrap(), found[1..]);
    let early = v1::ReadEntriesRequest {
        to: numbers(&found)[1],
        ..asked
    };
    assert_eq!(read(&client, early).await.unwrap(), found[..2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_follows_gets_what_is_still_to_come_without_gaps() {
    let stage = hall().await;
    let mut client = audit(&stage, "auditor").await;
    let asked = v1::ReadEntriesRequest {
        follow: true,
        ..request(1, 400)
    };
    let mut stream = client.read_entries(asked).await.unwrap().into_inner();
    let mut got = Vec::new();
    for _ in 0..8 {
        grow(&stage, 50).await;
        let portion = stream.message().await.unwrap().unwrap();
        got.extend(portion.entries);
    }
    while let Some(portion) = stream.message().await.unwrap() {
        got.extend(portion.entries);
    }
    assert_eq!(numbers(&got), (1..=400).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn following_ends_with_the_broker() {
    let stage = hall().await;
    let mut client = audit(&stage, "auditor").await;
    let asked = v1::ReadEntriesRequest {
        follow: true,
        ..request(1, 0)
    };
    let mut stream = client.read_entries(asked).await.unwrap().into_inner();
    assert!(stream.message().await.unwrap().is_some());
    drop(client);
    let stopping = tokio::spawn(stage.stop());
    let end = loop {
        match stream.message().await {
            Ok(Some(_)) => {}
            end => break end,
        }
    };
    if let Err(status) = end {
        assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    }
    drop(stream);
    stopping.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn following_ends_when_the_auditor_is_no_longer_trusted() {
    let world = World::new();
    config(&world);
    let domain = DOMAIN.parse().unwrap();
    let lifetime = std::time::Duration::from_secs(86_400);
    let second = quietus::dev::DevCa::generate(domain, world.start, lifetime).unwrap();
    let svid = second.svid("/auditor/eve", world.start, lifetime).unwrap();
    std::fs::write(world.path("second.pem"), &svid.chain_pem).unwrap();
    std::fs::write(world.path("second.key"), svid.key_pem.as_bytes()).unwrap();
    let first_only = world.domain.ca.bundle_pem().to_owned();
    let both = format!("{first_only}{}", second.bundle_pem());
    world.replace("bundle.pem", &both);
    let stage = Stage::on(world, |_| {}).await;
    let mut client = audit(&stage, "second").await;
    let asked = v1::ReadEntriesRequest {
        follow: true,
        ..request(1, 0)
    };
    let mut stream = client.read_entries(asked).await.unwrap().into_inner();
    assert!(stream.message().await.unwrap().is_some());

    stage.world.replace("bundle.pem", &first_only);
    let engine = &stage.serving.engine;
    stage.serving.trust.reload(engine.now().seconds());
    let seq = stage.seq();
    engine.trust_changed().await.unwrap();
    let mut seen = 0;
    let status = loop {
        match stream.message().await {
            Ok(Some(portion)) => seen = numbers(&portion.entries).into_iter().max().unwrap_or(seen),
            Ok(None) => panic!("it ended as if nothing were wrong"),
            Err(status) => break status,
        }
    };
    assert_eq!(status.code(), Code::Unauthenticated, "{status:?}");
    assert!(seen <= seq, "told of entry {seen} after {seq}");
}
