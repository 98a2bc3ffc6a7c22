//! Witnesses: what they attest is kept and served, what they get up to is not, and nobody waits for them.

use std::sync::Arc;
use std::time::Duration;

use quietus::api::v1;
use quietus::broker::{BrokerError, Options};
use quietus::config::{Config, LedgerClients, LedgerHttps};
use quietus::engine::Engine;
use quietus_ledger::note::{Cosigner, Note};

use crate::common::{READ, Serving, World, is_active, open, request, wants};
use crate::logs::{self, fill, log_key, verify};
use crate::reader::Reader;
use crate::witness::{Manner, Witness};

const ROUND: Duration = Duration::from_secs(1);

/// The log's key is made by the first broker that starts.
async fn world() -> World {
    let world = World::new();
    world.serve().await.stop().await.unwrap();
    world
}

fn witness(world: &World, name: &str, seed: u8) -> Witness {
    Witness::start(name, seed, &log_key(world), &world.time)
}

fn config(world: &World, witnesses: &[&Witness]) -> Config {
    let mut config = world.config();
    config.ledger.witnesses = witnesses.iter().map(|it| it.configured()).collect();
    config.ledger.cosign_every = ROUND;
    config
}

async fn serve(world: &World, witnesses: &[&Witness]) -> Serving {
    let config = config(world, witnesses);
    world.serve_with(config, Options::default()).await.unwrap()
}

/// Who has cosigned the checkpoint that is served, of these.
fn served(engine: &Engine, witnesses: &[&Witness]) -> (u64, Vec<String>) {
    let Ok(head) = engine.checkpoint(None) else {
        return (0, Vec::new());
    };
    let note = Note::parse(&head.note).unwrap();
    let signed = |key: &Cosigner| key.verify(&note).unwrap().is_some();
    let names = witnesses.iter().map(|it| &it.key).filter(|key| signed(key));
    (head.size, names.map(|key| key.name().to_owned()).collect())
}

/// Mints and revokes as always.
async fn works(world: &World, serving: &Serving) {
    let mut agent = world.broker(serving, "agent").await;
    let mut verification = world.verification(serving).await;
    let task = open(&mut agent).await;
    let (_, token) = request(&mut agent, &task).await;
    agent
        .request_credential(wants(&task, &[READ]))
        .await
        .unwrap();
    assert!(is_active(&mut verification, &token).await);
    let close = v1::CloseTaskRequest {
        task_id: task.id,
        ..Default::default()
    };
    agent.close_task(close).await.unwrap();
    assert!(!is_active(&mut verification, &token).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_witness_cosigns_what_is_served_and_its_line_is_kept() {
    let world = world().await;
    let (one, two) = (
        witness(&world, "w.example/1", 1),
        witness(&world, "w.example/2", 2),
    );
    let both = [&one, &two];
    let mut config = config(&world, &both);
    config.ledger.https = Some(LedgerHttps {
        listen: "127.0.0.1:0".parse().unwrap(),
        certificate: None,
        clients: LedgerClients::Svid,
    });
    let serving = world.serve_with(config, Options::default()).await.unwrap();
    let engine = &serving.engine;
    logs::until(|| served(engine, &both).1.len() == 2).await;
    let first = served(engine, &both).0;
    fill(engine, 700).await;
    logs::until(|| served(engine, &both) == (engine.store().header().checkpoint, names(&both)))
        .await;
    // What was cosigned first is still there, though it is at no end of a bundle.
    assert!(!first.is_multiple_of(256));
    let kept = engine.checkpoint_of(first).unwrap();
    for witness in both {
        let note = Note::parse(&kept.note).unwrap();
        assert!(witness.key.verify(&note).unwrap().is_some());
        assert!(
            witness.refused().iter().all(|status| *status == 409),
            "{:?}",
            witness.refused()
        );
        let steps = witness.cosigned();
        assert!(
            steps.windows(2).all(|pair| pair[0].1 == pair[1].0),
            "{steps:?}"
        );
    }
    world.add_svid("auditor", "/auditor/one", Duration::from_secs(86_400));
    let reader = Reader::known(&world, &serving, "auditor");
    let keys = both.iter().map(|it| it.key.clone()).collect();
    let report = verify(&reader, logs::trust(&world, keys));
    assert!(report.is_good(), "{report:?}");
    assert!(report.cosignatures >= 2);
    assert!(engine.witnesses_behind().is_empty());
    serving.stop().await.unwrap();
}

fn names(witnesses: &[&Witness]) -> Vec<String> {
    witnesses
        .iter()
        .map(|it| it.key.name().to_owned())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_broker_goes_on_from_what_the_witness_knows() {
    let world = world().await;
    let one = witness(&world, "w.example/1", 1);
    let serving = serve(&world, &[&one]).await;
    logs::until(|| !one.cosigned().is_empty()).await;
    serving.stop().await.unwrap();
    let last = one.known().unwrap().0;
    let serving = serve(&world, &[&one]).await;
    fill(&serving.engine, 300).await;
    logs::until(|| one.known().unwrap().0 >= 300).await;
    assert_eq!(
        one.refused().last(),
        Some(&409),
        "it asked what the witness knows"
    );
    assert!(one.cosigned().iter().any(|(old, _)| *old == last));
    serving.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_liars_say_is_not_kept_and_the_honest_one_is_served_meanwhile() {
    let world = world().await;
    let (honest, liar) = (
        witness(&world, "w.example/1", 1),
        witness(&world, "w.example/2", 2),
    );
    let both = [&honest, &liar];
    let manners = [
        Manner::Forged,
        Manner::OtherKey,
        Manner::Borrowed,
        Manner::OtherText,
        Manner::Off(3600),
        Manner::Off(-3600),
        Manner::Crowded(40),
        Manner::Huge(70_000),
        Manner::Huge(10_000_000),
        Manner::Huge(0),
        Manner::Huge(100),
        Manner::Closes,
        Manner::BreaksOff,
        Manner::Rubbish,
        Manner::Says(409, "text/x.tlog.size", "0\n".to_owned()),
        Manner::Says(409, "text/x.tlog.size", "1\n".to_owned()),
        Manner::Says(409, "text/x.tlog.size", format!("{}\n", u64::MAX)),
        Manner::Says(409, "text/x.tlog.size", "99999999999999999999\n".to_owned()),
        Manner::Says(409, "text/x.tlog.size", "-1\n".to_owned()),
        Manner::Says(409, "text/x.tlog.size", "01\n".to_owned()),
        Manner::Says(409, "text/x.tlog.size", "1".to_owned()),
        Manner::Says(409, "text/plain", "1\n".to_owned()),
        Manner::Says(409, "text/x.tlog.size", String::new()),
        Manner::Says(200, "text/plain", "\n".to_owned()),
        Manner::Says(404, "text/plain", String::new()),
        Manner::Says(403, "text/plain", String::new()),
        Manner::Says(422, "text/plain", String::new()),
        Manner::Says(400, "text/plain", String::new()),
        Manner::Says(500, "text/plain", String::new()),
        Manner::Says(302, "text/plain", String::new()),
    ];
    liar.behave(manners[0].clone());
    let serving = serve(&world, &both).await;
    let engine = &serving.engine;
    logs::until(|| served(engine, &both).1 == ["w.example/1"]).await;
    // By hand what the task does by itself, with less waiting in between.
    let head = engine.checkpoint(None).unwrap();
    for manner in manners {
        liar.behave(manner.clone());
        let before = liar.asked();
        lie(engine, &liar, &head).await;
        assert!(liar.asked() > before, "{manner:?}");
        let kept = engine.checkpoint_of(head.size).unwrap();
        assert_eq!(kept.note, head.note, "{manner:?}");
    }
    works(&world, &serving).await;
    // It sees reason, and is believed again.
    liar.behave(Manner::Crowded(3));
    logs::until(|| served(engine, &both).1.len() == 2).await;
    serving.stop().await.unwrap();
}

/// One submission, answered as the witness likes.
async fn lie(engine: &Engine, liar: &Witness, head: &quietus::store::SignedHead) {
    use quietus::web::client::{Endpoint, Limits};
    let now = Arc::new(|| 0);
    let endpoint = Endpoint::new(liar.configured().url, None, now).unwrap();
    let limits = Limits {
        time: Duration::from_secs(60),
        body: 64 * 1024,
    };
    let old = liar.known().map_or(0, |(size, _)| size);
    let submission = engine.submission(head, old).unwrap();
    let body = submission.body().unwrap();
    let Ok(reply) = endpoint.post("add-checkpoint", body, limits).await else {
        return;
    };
    if reply.status == 200 {
        engine.cosigned(1, head, &reply.body).await.unwrap_err();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_never_answers_keeps_nobody_waiting() {
    let world = world().await;
    let (honest, hung) = (
        witness(&world, "w.example/1", 1),
        witness(&world, "w.example/2", 2),
    );
    hung.behave(Manner::Silent);
    let both = [&honest, &hung];
    let serving = serve(&world, &both).await;
    let engine = &serving.engine;
    logs::until(|| hung.asked() > 0).await;
    for size in [300, 600, 900] {
        fill(engine, size).await;
        works(&world, &serving).await;
        logs::until(|| honest.known().unwrap().0 >= size).await;
    }
    logs::until(|| served(engine, &both).0 >= 900).await;
    assert_eq!(served(engine, &both).1, ["w.example/1"]);
    // It does not keep the broker from stopping either.
    serving.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_witness_that_knows_another_history_gets_nothing_and_says_so() {
    let world = world().await;
    let one = witness(&world, "w.example/1", 1);
    // Another tree of a size that the log has passed, one of the same size, and one it has not reached.
    one.know(Some((2, [7; 32])));
    let serving = serve(&world, &[&one]).await;
    logs::until(|| one.refused().contains(&422)).await;
    one.know(Some((1 << 40, [7; 32])));
    let before = one.asked();
    logs::until(|| one.asked() > before).await;
    assert!(one.cosigned().is_empty());
    assert_eq!(served(&serving.engine, &[&one]).1.len(), 0);
    works(&world, &serving).await;
    // A witness that has lost its memory begins anew.
    one.know(None);
    logs::until(|| served(&serving.engine, &[&one]).1.len() == 1).await;
    serving.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_witness_of_another_log_is_told_apart() {
    let world = world().await;
    let other = self::world().await;
    let one = Witness::start("w.example/1", 1, &log_key(&other), &world.time);
    let serving = serve(&world, &[&one]).await;
    logs::until(|| one.refused().contains(&403)).await;
    assert!(one.cosigned().is_empty());
    serving.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_cosigned_checkpoint_gives_way_and_its_witness_is_behind() {
    let world = world().await;
    let one = witness(&world, "w.example/1", 1);
    let serving = serve(&world, &[&one]).await;
    let engine = &serving.engine;
    logs::until(|| served(engine, &[&one]).1.len() == 1).await;
    logs::until(|| one.known().unwrap().0 == engine.store().header().seq).await;
    one.behave(Manner::Closes);
    let asked = one.asked();
    fill(engine, 300).await;
    logs::until(|| one.asked() > asked).await;
    let signed = logs::sign(engine).await;
    assert!(
        served(engine, &[&one]).0 < signed,
        "the cosigned one is still good"
    );
    assert!(engine.witnesses_behind().is_empty());
    world.time.advance(5 * ROUND + Duration::from_millis(1));
    logs::until(|| served(engine, &[&one]).0 >= signed).await;
    assert_eq!(engine.witnesses_behind(), ["w.example/1"]);
    let status = v1::GetStatusRequest::default();
    let status = world
        .operator(&serving)
        .await
        .get_status(status)
        .await
        .unwrap();
    assert!(
        status
            .into_inner()
            .degraded
            .contains(&"witness_behind:w.example/1".to_owned())
    );
    // The newest of all can be had by its size at any time.
    assert!(engine.checkpoint(Some(u64::MAX)).unwrap().size >= signed);
    one.behave(Manner::Honest);
    logs::until(|| engine.witnesses_behind().is_empty()).await;
    logs::until(|| served(engine, &[&one]).1.len() == 1).await;
    serving.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn witnesses_that_answer_at_once_lose_none_of_each_others_lines() {
    let world = world().await;
    let all: Vec<_> = (1..=8)
        .map(|n| witness(&world, &format!("w.example/{n}"), n))
        .collect();
    let all: Vec<_> = all.iter().collect();
    let serving = serve(&world, &all).await;
    let engine = &serving.engine;
    logs::until(|| served(engine, &all).1.len() == 8).await;
    for round in 2..5 {
        fill(engine, 300 * round).await;
        logs::until(|| {
            let (size, names) = served(engine, &all);
            size >= 300 * round && names.len() == 8
        })
        .await;
    }
    serving.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn over_tls_a_witness_must_be_who_its_url_says() {
    let world = world().await;
    let lifetime = Duration::from_secs(86_400);
    let good = world
        .domain
        .ca
        .local_server_svid("/witness", world.start, lifetime)
        .unwrap();
    std::fs::write(world.path("w.pem"), &good.chain_pem).unwrap();
    std::fs::write(world.path("w.key"), good.key_pem.as_bytes()).unwrap();
    world.add_svid("nameless", "/witness", lifetime);
    let start = |name: &str, seed, file: &str| {
        let [chain, key] = ["pem", "key"].map(|end| world.path(&format!("{file}.{end}")));
        Witness::start_with(
            name,
            seed,
            &log_key(&world),
            &world.time,
            Some((&chain, &key)),
        )
    };
    let (good, nameless) = (
        start("w.example/1", 1, "w"),
        start("w.example/2", 2, "nameless"),
    );
    let stranger = start("w.example/3", 3, "w");
    let other = self::world().await;
    let mut config = config(&world, &[&good, &nameless, &stranger]);
    for (witness, address) in config
        .ledger
        .witnesses
        .iter_mut()
        .zip([&good, &nameless, &stranger])
    {
        let port = address.address.port();
        witness.url = format!("https://localhost:{port}/submit").parse().unwrap();
        witness.ca = Some(world.path("bundle.pem"));
    }
    config.ledger.witnesses[2].ca = Some(other.path("bundle.pem"));
    let serving = world.serve_with(config, Options::default()).await.unwrap();
    let all = [&good, &nameless, &stranger];
    logs::until(|| served(&serving.engine, &all).1 == ["w.example/1"]).await;
    fill(&serving.engine, 300).await;
    logs::until(|| good.known().unwrap().0 >= 300).await;
    assert_eq!(
        (nameless.asked(), stranger.asked()),
        (0, 0),
        "nothing was sent"
    );
    serving.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn authorities_that_cannot_be_read_keep_the_broker_from_starting() {
    let world = world().await;
    let one = witness(&world, "w.example/1", 1);
    for ca in ["none.pem", "broker.key", "quietus.toml"] {
        let mut config = config(&world, &[&one]);
        config.ledger.witnesses[0].url = "https://w.example/".parse().unwrap();
        config.ledger.witnesses[0].ca = Some(world.path(ca));
        let refused = world.serve_with(config, Options::default()).await;
        assert!(matches!(refused, Err(BrokerError::Witness(_))), "{ca}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_witnesses_nothing_is_pruned_that_none_has_cosigned() {
    let world = world().await;
    let one = witness(&world, "w.example/1", 1);
    one.behave(Manner::Closes);
    let mut config = config(&world, &[&one]);
    let kept = Duration::from_secs(10 * 86_400);
    config.ledger.retention = Some(kept);
    let serving = world.serve_with(config, Options::default()).await.unwrap();
    let engine = &serving.engine;
    fill(engine, 600).await;
    world.time.advance(kept * 2);
    logs::forgets(engine, 0).await;
    one.behave(Manner::Honest);
    logs::until(|| one.known().is_some_and(|(size, _)| size >= 600)).await;
    logs::until(|| served(engine, &[&one]).1.len() == 1).await;
    logs::forgets(engine, 512).await;
    serving.stop().await.unwrap();
}
