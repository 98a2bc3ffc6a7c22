//! The broker, killed again and again.

use std::sync::Arc;

use quietus::failpoint::PLACES;

use crate::book::Book;
use crate::inside::rng::Rng;
use crate::judge;
use crate::process::Process;
use crate::tally::Tally;
use crate::work::{self, Clients, Gone};
use crate::world::{World, soon};

const CYCLES: u64 = 50;
/// One place after the other, and between them at any moment.
const ROUND: usize = PLACES.len() + 3;

/// How a life of the broker ends.
#[derive(Clone, Copy, Debug)]
enum Kill {
    AfterAnswers(u64),
    AfterMessages(u64),
    At(&'static str, u64),
}

impl Kill {
    fn nth(cycle: u64, rng: &mut Rng) -> Self {
        let turn = usize::try_from(cycle).unwrap() % ROUND;
        match PLACES.get(turn) {
            Some(place) if place.starts_with("commit") => Self::At(place, 1 + rng.next() % 60),
            Some(place) => Self::At(place, 1 + rng.next() % 12),
            None if turn == PLACES.len() => Self::AfterAnswers(1 + rng.next() % 30),
            None => Self::AfterMessages(1 + rng.next() % 200),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::AfterAnswers(_) => "after any answer",
            Self::AfterMessages(_) => "after any message",
            Self::At(place, _) => place,
        }
    }
}

struct Run {
    world: Arc<World>,
    book: Arc<Book>,
    tally: Tally,
    rng: Rng,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(
    not(debug_assertions),
    ignore = "only debug builds have places to be killed at"
)]
async fn no_kill_leaves_an_orphan_or_loses_what_was_acknowledged() {
    let mut run = Run {
        world: Arc::new(World::new("10s").await),
        book: Arc::new(Book::default()),
        tally: Tally::new(),
        rng: Rng::new(23),
    };
    for cycle in 0..cycles() {
        let kill = Kill::nth(cycle, &mut run.rng);
        run.live_until(kill).await;
        run.tally.killed(kill.name());
        judge::after_the_crash(&run.world, &run.book, &mut run.tally).await;
    }
    run.live_at_last().await;
    run.tally.print(&run.book.numbers());
    for place in PLACES {
        assert!(run.tally.kills(place) > 0, "never killed at {place}");
    }
}

fn cycles() -> u64 {
    match std::env::var("QUIETUS_CRASH_CYCLES") {
        Ok(cycles) => cycles.parse().unwrap(),
        Err(_) => CYCLES,
    }
}

impl Run {
    async fn live_until(&mut self, kill: Kill) {
        let Some(process) = self.start(kill) else {
            self.tally.died_at_start += 1;
            return;
        };
        if self.live(&process, kill).await.is_err() {
            self.tally.died_at_start += 1;
        }
        soon("it is dead", async {
            while !process.was_killed() {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    fn start(&self, kill: Kill) -> Option<Process> {
        let inside = &self.world.inside;
        match kill {
            Kill::At(place, n) => Process::start_to_die_at(inside, &format!("{place}:{n}")),
            _ => Some(Process::start(inside)),
        }
    }

    async fn live(&mut self, process: &Process, kill: Kill) -> Result<(), Gone> {
        let clients = Clients::connect(&self.world, &process.address).await?;
        judge::once_settled(&self.world, &clients, &self.book, &mut self.tally).await?;
        let mut answers = self.book.acknowledged();
        let answered = *answers.borrow();
        let mut messages = self.world.proxy.said();
        let said = *messages.borrow();
        let work = work::start(&self.world, &clients, &self.book, self.rng.next());
        let working = work.join_all();
        tokio::pin!(working);
        soon("it is killed", async {
            tokio::select! {
                biased;
                _ = &mut working => return,
                _ = answers.wait_for(|now| matches!(kill, Kill::AfterAnswers(n) if *now >= answered + n)) => {}
                _ = messages.wait_for(|now| matches!(kill, Kill::AfterMessages(n) if *now >= said + n)) => {}
            }
            process.kill();
            working.await;
        })
        .await;
        Ok(())
    }

    /// Once more, to see what the last crash left, and to stop in good order.
    async fn live_at_last(&mut self) {
        let process = Process::start(&self.world.inside);
        let clients = Clients::connect(&self.world, &process.address).await;
        let settled = judge::once_settled(
            &self.world,
            clients.as_ref().unwrap(),
            &self.book,
            &mut self.tally,
        );
        settled.await.unwrap();
        process.terminate();
        assert_eq!(process.exit_code(), Some(0));
        judge::the_dead_stay_dead(&self.world, &self.book);
    }
}
