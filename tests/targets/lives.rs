//! Random lives: agents, operators, time, targets that fail in every way, and brokers that die.

use std::sync::Arc;

use quietus::engine::{Issued, Mode, Target};
use quietus_core::{LeaseId, Selector, TaskId};
use tokio::task::JoinHandle;

use crate::inside::once;
use crate::inside::rng::Rng;
use crate::scripted::{Act, Ask};
use crate::stage::{Life, Stage, until};

const OPERATIONS: usize = 300;
const TARGETS: [&str; 3] = ["one", "two", "three"];

type Asked = JoinHandle<Result<Issued, quietus::engine::Error>>;

struct World {
    stage: Stage,
    life: Option<Life>,
    rng: Rng,
    tasks: Vec<TaskId>,
    asked: Vec<Asked>,
}

#[tokio::test]
async fn whatever_happens_the_targets_hold_no_more_than_the_leases_that_live() {
    for seed in 0..4 {
        let stage = Stage::of(&[
            ("one", 2, "150ms"),
            ("two", 1, "100ms"),
            ("three", 8, "200ms"),
        ]);
        let life = Some(stage.start().await);
        let mut world = World {
            stage,
            life,
            rng: Rng::new(0x0071_e705 ^ seed),
            tasks: Vec::new(),
            asked: Vec::new(),
        };
        for _ in 0..OPERATIONS {
            world.go_on().await;
        }
        world.settles(seed).await;
    }
}

impl World {
    fn life(&self) -> &Life {
        self.life.as_ref().unwrap()
    }

    async fn go_on(&mut self) {
        match self.rng.below(40) {
            0..4 => self.tasks.push(self.life().open().await),
            4..20 => self.ask(),
            20..23 => self.close().await,
            23..26 => self.give_back().await,
            26..28 => self.renew(),
            28 => self.revoke().await,
            29..33 => self.misbehave(),
            33 => self.go_away(),
            34..36 => self.time_passes().await,
            36 => self.sweep().await,
            37 => self.die().await,
            _ => tokio::task::yield_now().await,
        }
    }

    fn any_task(&mut self) -> Option<TaskId> {
        (!self.tasks.is_empty()).then(|| *self.rng.pick(&self.tasks))
    }

    fn any_lease(&mut self) -> Option<LeaseId> {
        let leases = self.life().leases();
        (!leases.is_empty()).then(|| self.rng.pick(&leases).id)
    }

    fn ask(&mut self) {
        let target = *self.rng.pick(&TARGETS);
        if let Some(task) = self.any_task() {
            let asked = self.life().ask(task, target);
            self.asked.push(asked);
        }
    }

    fn renew(&mut self) {
        let Some(id) = self.any_lease() else { return };
        let (engine, agent) = (Arc::clone(&self.life().engine), self.life().agent.clone());
        let renewing = async move { engine.renew_lease(&agent, id, None, once()).await };
        let asked = self.life().spawn(renewing);
        self.asked.push(asked);
    }

    async fn close(&mut self) {
        if let Some(task) = self.any_task() {
            self.life().close(task).await;
        }
    }

    async fn give_back(&mut self) {
        if let Some(id) = self.any_lease() {
            let life = self.life();
            let returned = life.engine.return_lease(&life.agent, id, once());
            returned.await.unwrap();
        }
    }

    async fn revoke(&mut self) {
        let selector = match self.rng.below(4) {
            0 => Selector::All,
            _ => Selector::Target(self.rng.pick(&TARGETS).parse().unwrap()),
        };
        let life = self.life();
        let revoked = life
            .engine
            .revoke(&life.operator, Target::Wide(selector), "drill");
        revoked.await.unwrap();
    }

    fn misbehave(&mut self) {
        let acts = [
            Act::No("no"),
            Act::Away("away"),
            Act::Lost("lost"),
            Act::Hold,
            Act::HoldReply,
            Act::HoldNo("late no"),
            Act::Panic,
        ];
        let target = *self.rng.pick(&TARGETS);
        let script = self.stage.script(target);
        let ask = *self
            .rng
            .pick(&[Ask::Issue, Ask::Renew, Ask::Revoke, Ask::Revoke]);
        let times = 1 + self.rng.below(3);
        let act = self.rng.pick(&acts).clone();
        script.next(ask, std::iter::repeat_n(act, times));
        if self.rng.one_in(2) {
            script.let_go(ask);
        }
    }

    fn go_away(&mut self) {
        if !self.asked.is_empty() {
            let which = self.rng.below(self.asked.len());
            self.asked.swap_remove(which).abort();
        }
    }

    async fn time_passes(&mut self) {
        let seconds = if self.rng.one_in(10) { 3600 } else { 20 };
        self.stage.inside.advance(seconds);
        self.life().engine.run_due().await.unwrap();
    }

    async fn sweep(&mut self) {
        let target = *self.rng.pick(&TARGETS);
        // It may be away.
        let _ = self.life().sweep(target, false).await;
    }

    async fn die(&mut self) {
        self.life.take().unwrap().crash().await;
        let life = self.stage.start_idle(Mode::default()).await.unwrap();
        life.counts_are_right();
        life.keep();
        self.life = Some(life);
    }

    async fn settles(mut self, seed: u64) {
        for target in TARGETS {
            let script = self.stage.script(target);
            script.forget_script();
            script.let_all_go();
        }
        for asked in std::mem::take(&mut self.asked) {
            let _ = asked.await;
        }
        let life = self.life.take().unwrap();
        let waiting = || {
            life.leases()
                .iter()
                .any(|it| !it.is_ended() && it.state_name() != "Active")
        };
        until(&format!("seed {seed}: all is settled"), || !waiting()).await;
        life.counts_are_right();
        for target in TARGETS {
            let alive = life.leases().into_iter();
            let alive = alive.filter(|it| !it.is_ended() && it.target.as_str() == target);
            let alive = alive.map(|it| it.id).collect();
            assert_eq!(
                self.stage.script(target).names(),
                alive,
                "seed {seed}, {target}"
            );
        }
        self.ends(&life).await;
    }

    async fn ends(&self, life: &Life) {
        for task in &self.tasks {
            life.close(*task).await;
            life.engine
                .wait_closed(*task, std::time::Duration::from_secs(60))
                .await
                .unwrap();
            assert!(crate::receipts::verified(&self.stage, life, *task).complete);
        }
        for target in TARGETS {
            assert!(self.stage.script(target).names().is_empty());
        }
        life.counts_are_right();
    }
}
