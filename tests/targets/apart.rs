//! A target that hangs or is away holds up no other, and nobody who does not need it.

use std::time::Duration;

use quietus::engine::{Signed, Target};
use quietus_core::{Selector, TaskState};

use crate::inside::{FILES, mint, once};
use crate::scripted::{Act, Ask};
use crate::stage::{Life, Stage, until};

const NAMES: [&str; 10] = ["t0", "t1", "t2", "t3", "t4", "t5", "t6", "t7", "t8", "t9"];
/// Longer than any test waits.
const LONG: Duration = Duration::from_secs(600);

#[tokio::test]
async fn nine_go_on_while_one_hangs_or_is_away() {
    for act in [Act::Hold, Act::Away("no route to host")] {
        let stage = Stage::of(&NAMES.map(|name| (name, 2, "30s")));
        let sick = stage.script("t0");
        let life = stage.start().await;
        let stuck = life.open().await;
        for _ in 0..4 {
            life.issue(stuck, "t0").await;
        }
        sick.on_all(&act);
        life.close(stuck).await;
        until("it is asked", || sick.calls(Ask::Revoke) > 0).await;
        let hangs = life.open().await;
        let asked: Vec<_> = (0..4).map(|_| life.ask(hangs, "t0")).collect();

        for name in &NAMES[1..] {
            go_on(&life, name).await;
        }
        // Not even whoever ends everything waits for it.
        let all = Target::Wide(Selector::All);
        life.engine
            .revoke(&life.operator, all, "drill")
            .await
            .unwrap();
        assert!(matches!(
            life.task(hangs).state,
            TaskState::Closing(_) | TaskState::Closed { .. }
        ));
        assert!(matches!(life.task(stuck).state, TaskState::Closing(_)));
        for name in &NAMES[1..] {
            assert!(stage.script(name).names().is_empty(), "{name}");
            assert!(!life.state(name).away);
        }

        sick.on_all(&Act::Answer);
        sick.let_all_go();
        for asked in asked {
            assert!(asked.await.unwrap().is_err());
        }
        until("all is revoked", || {
            life.leases().iter().all(|it| it.is_ended())
        })
        .await;
        assert!(sick.names().is_empty());
        life.counts_are_right();
    }
}

/// Grants, returns, and a close that waits for its confirmations.
async fn go_on(life: &Life, name: &str) {
    let task = life.open().await;
    let returned = life.issue(task, name).await;
    life.issue(task, name).await;
    mint(&life.engine, &life.agent, task, FILES).await.unwrap();
    let given = life.engine.return_lease(&life.agent, returned, once());
    given.await.unwrap();
    life.until_ended(returned).await;
    life.close(task).await;
    life.engine.wait_closed(task, LONG).await.unwrap();
    let Signed { complete, .. } = life.engine.receipt(&life.agent, task).unwrap();
    assert!(complete, "{name}");
}

#[tokio::test]
async fn one_task_at_a_sick_target_and_a_healthy_one_loses_the_healthy_one_at_once() {
    let stage = Stage::of(&[("sick", 2, "30s"), ("well", 2, "30s")]);
    let (sick, well) = (stage.script("sick"), stage.script("well"));
    let life = stage.start().await;
    let task = life.open().await;
    let stuck = life.issue(task, "sick").await;
    let gone = life.issue(task, "well").await;
    sick.on(Ask::Revoke, Act::Hold);
    life.close(task).await;
    life.until_ended(gone).await;
    assert!(well.names().is_empty());
    assert!(!life.lease(stuck).is_ended());
    let receipt = crate::receipts::verified(&stage, &life, task);
    let confirmed: Vec<_> = receipt
        .credentials
        .iter()
        .map(|it| it.end.is_confirmed())
        .collect();
    assert_eq!((confirmed, receipt.complete), (vec![false, true], false));
    sick.let_all_go();
    life.until_ended(stuck).await;
}
