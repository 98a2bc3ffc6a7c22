//! Wall clocks that step, and brokers that were away.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use quietus::clock::TimeSource;
use quietus::engine::{Engine, Error};
use quietus_core::{Cause, Lease, Timestamp};

use crate::inside::rng::Rng;
use crate::inside::*;

/// A credential's lifetime when none is asked for.
const TTL: u64 = 300;

fn step(inside: &Inside, seconds: i64) {
    let wall = inside.world.time.wall().seconds();
    let wall = wall.saturating_add_signed(seconds);
    inside.world.time.set_wall(Timestamp::from_seconds(wall));
}

async fn one_minted(inside: &Inside, engine: &Arc<Engine>) -> Minted {
    let agent = &inside.agents[0];
    let task = open(engine, agent).await.unwrap().id;
    mint(engine, agent, task, ORDERS).await.unwrap()
}

fn lease(engine: &Engine, minted: &Minted) -> Lease {
    let snapshot = engine.store().read();
    snapshot.lease(minted.lease.id).unwrap().unwrap()
}

#[tokio::test]
async fn a_wall_clock_that_steps_back_gives_no_time() {
    for back in [1, 60, 3_600, 86_400, 1 << 40] {
        let inside = Inside::new();
        let engine = inside.start().await.unwrap();
        let minted = one_minted(&inside, &engine).await;
        inside.advance(TTL - 1);
        step(&inside, -back);
        assert!(inside.honours(&engine, &minted.token), "{back}");
        inside.advance(1);
        assert!(!inside.honours(&engine, &minted.token), "{back}");
        engine.run_due().await.unwrap();
        assert_eq!(
            lease(&engine, &minted).cause(),
            Some(&Cause::Expired),
            "{back}"
        );
        abandon(engine);
    }
}

#[tokio::test]
async fn a_wall_clock_that_steps_forward_is_believed_for_good() {
    let inside = Inside::new();
    let engine = inside.start().await.unwrap();
    let minted = one_minted(&inside, &engine).await;
    step(&inside, 299);
    assert!(inside.honours(&engine, &minted.token));
    step(&inside, 1);
    assert!(!inside.honours(&engine, &minted.token));
    step(&inside, -300);
    assert!(!inside.honours(&engine, &minted.token));
    stop(engine).await;
    let engine = inside.start().await.unwrap();
    assert!(!inside.honours(&engine, &minted.token));
    abandon(engine);
}

#[tokio::test]
async fn the_time_that_was_reached_outlasts_the_broker() {
    for (by_signal, back) in [(true, 60), (true, 86_400), (false, 60), (false, 86_400)] {
        let inside = Inside::new();
        let engine = inside.start().await.unwrap();
        let minted = one_minted(&inside, &engine).await;
        inside.advance(TTL - 10);
        // Whatever is committed carries the time with it.
        one_minted(&inside, &engine).await;
        let reached = engine.now();
        match by_signal {
            true => stop(engine).await,
            false => abandon(engine),
        }
        step(&inside, -back);
        let engine = inside.start().await.unwrap();
        assert!(engine.now() >= reached);
        assert!(inside.honours(&engine, &minted.token));
        inside.advance(10);
        assert!(!inside.honours(&engine, &minted.token), "back {back}");
        abandon(engine);
    }
}

#[tokio::test]
async fn what_fell_due_while_the_broker_was_away_is_ended_before_anybody_is_served() {
    // The lease alone, and with its task.
    for (away, state, cause, ending) in [
        (TTL, "Open", "expired", "lease.ended"),
        (3_600, "Closed", "task_ended", "task.ended"),
    ] {
        let inside = Inside::new();
        let engine = inside.start().await.unwrap();
        let minted = one_minted(&inside, &engine).await;
        stop(engine).await;
        inside.advance(away);
        let engine = inside.start().await.unwrap();
        assert!(!inside.honours(&engine, &minted.token));
        let task = engine.store().read().task(minted.lease.id.task).unwrap();
        assert_eq!(task.unwrap().state_name(), state);
        assert_eq!(lease(&engine, &minted).cause().unwrap().reason(), cause);
        let entries = ledger(engine.store());
        let started = entries
            .iter()
            .rposition(|e| e.entry.event == "broker.started")
            .unwrap();
        let since: Vec<_> = entries[started + 1..]
            .iter()
            .map(|e| e.entry.event.as_str())
            .collect();
        assert_eq!(since, ["policy.loaded", ending]);
        replay::Told::by(&entries).is_what_is_in(engine.store(), |_| 0);
        abandon(engine);
    }
}

/// Whatever clocks and restarts do: once dead, dead for ever, and never alive for longer than its lifetime.
#[tokio::test]
async fn no_order_of_steps_and_restarts_revives_a_credential() {
    for seed in 0..20 {
        let mut rng = Rng::new(seed);
        let inside = Inside::new();
        let mut engine = inside.start().await.unwrap();
        let mut lives: BTreeMap<String, Life> = BTreeMap::new();
        for _ in 0..40 {
            match rng.below(6) {
                0 => {
                    if let Some(minted) = try_mint(&inside, &engine).await {
                        lives.insert(minted.token, Life::default());
                    }
                }
                1 => step(&inside, -(rng.below(7_200) as i64)),
                2 => step(&inside, rng.below(400) as i64),
                3 => {
                    engine.run_due().await.unwrap();
                    stop(engine).await;
                    engine = inside.start().await.unwrap();
                }
                _ => {
                    let seconds = rng.below(120) as u64;
                    inside.advance(seconds);
                    lives.values_mut().for_each(|life| life.lived += seconds);
                }
            }
            for (token, life) in &mut lives {
                life.look(inside.honours(&engine, token), seed);
            }
        }
        replay::Told::by(&ledger(engine.store())).is_what_is_in(engine.store(), |_| 0);
        abandon(engine);
    }
}

#[derive(Default)]
struct Life {
    lived: u64,
    dead: bool,
}

impl Life {
    fn look(&mut self, honoured: bool, seed: u64) {
        assert!(!(honoured && self.dead), "a second life, seed {seed}");
        assert!(
            !(honoured && self.lived >= TTL),
            "a longer life, seed {seed}"
        );
        self.dead = !honoured;
    }
}

/// Effective time may be far ahead, beyond the agent's certificate.
async fn try_mint(inside: &Inside, engine: &Arc<Engine>) -> Option<Minted> {
    let agent = &inside.agents[0];
    let minted = async {
        let task = open(engine, agent).await?.id;
        mint(engine, agent, task, ORDERS).await
    };
    match minted.await {
        Ok(minted) => Some(minted),
        Err(Error::Refused(_)) => None,
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn a_clock_that_stepped_back_is_recorded_once_and_time_goes_on_being_kept() {
    let world = crate::common::World::new();
    let serving = world.serve().await;
    let mut agent = world.broker(&serving, "agent").await;
    crate::common::open(&mut agent).await;
    world.time.advance(Duration::from_secs(60));
    let back = world.time.wall().seconds() - 3_600;
    world.time.set_wall(Timestamp::from_seconds(back));
    // Upkeep comes by itself.
    let recorded = || {
        let entries = crate::common::ledger(&serving.engine);
        let stepped = entries
            .iter()
            .filter(|e| e.entry.event == "clock.stepped_back");
        stepped.count()
    };
    while recorded() == 0 {
        tokio::task::yield_now().await;
    }
    let reached = serving.engine.now();
    world.time.advance(Duration::from_secs(60));
    while serving.engine.store().header().high_water() <= reached {
        tokio::task::yield_now().await;
    }
    assert_eq!(recorded(), 1);
    drop(agent);
    serving.stop().await.unwrap();
}
