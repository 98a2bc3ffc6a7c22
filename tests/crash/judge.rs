//! What must be true: right after a crash, and once the next life of the broker has settled it.

use std::collections::BTreeSet;
use std::time::Duration;

use quietus::api::v1;
use quietus::store::{Effect, Snapshot, Store};
use quietus_core::{Cause, Lease, LeaseId, LeaseState};

use crate::book::{Book, Entry, Fate};
use crate::tally::Tally;
use crate::work::{Clients, Gone, answer};
use crate::world::{TARGET, World, soon};

const LOOK: Duration = Duration::from_millis(20);
/// How many credentials are tried anew though they were found good before.
const TRIED_AGAIN: usize = 2;

/// The broker is dead: its store and the database as it left them.
pub async fn after_the_crash(world: &World, book: &Book, tally: &mut Tally) {
    let store = world.store();
    let roles = world.roles().await;
    let snapshot = store.read();
    for role in &roles {
        let lease = snapshot.lease(*role).unwrap();
        let lease = lease.unwrap_or_else(|| panic!("{role} has a role and is no lease"));
        let ended = matches!(lease.state, LeaseState::Ended { .. });
        assert!(!ended, "{role} has a role and is {:?}", lease.state);
    }
    for (id, entry) in book.entries() {
        let lease = snapshot.lease(id).unwrap();
        let lease = lease.unwrap_or_else(|| panic!("{id} is lost"));
        check(&lease, &entry, roles.contains(&id));
        settle(book, &lease, &entry);
    }
    no_second_lease_by_a_key(&snapshot, book);
    tally.found_issuing += issuing(&store);
}

fn check(lease: &Lease, entry: &Entry, has_role: bool) {
    let id = lease.id;
    let told = format!(
        "{id} is {:?}, acknowledged as {:?}",
        lease.state, entry.fate
    );
    match (&lease.state, entry.fate) {
        (LeaseState::Issuing, _) => panic!("{told}: it was handed out"),
        (LeaseState::Active, fate) => assert!(fate <= Fate::Uncertain && has_role, "{told}"),
        (LeaseState::Revoking { cause, .. } | LeaseState::Ended { cause, .. }, Fate::Alive) => {
            assert!(entry.short && *cause == Cause::Expired, "{told}");
        }
        (LeaseState::Revoking { .. }, fate) => assert!(fate < Fate::Confirmed, "{told}"),
        (LeaseState::Ended { .. }, _) => assert!(!has_role, "{told}"),
    }
}

/// What was uncertain is what it was found to be: nobody asks for anything now.
fn settle(book: &Book, lease: &Lease, entry: &Entry) {
    match &lease.state {
        LeaseState::Ended { .. } => book.bury(lease.id),
        LeaseState::Active => book.settle_lease(lease.id, Fate::Alive),
        _ => book.settle_lease(lease.id, entry.fate.max(Fate::Dead)),
    }
}

/// A task has no more leases than keys were used with it, and an ended one stays ended.
fn no_second_lease_by_a_key(snapshot: &Snapshot, book: &Book) {
    for (id, fate, keys) in book.tasks() {
        let task = snapshot.task(id.parse().unwrap()).unwrap().unwrap();
        assert!(task.issued <= keys, "{} leases by {keys} keys", task.issued);
        assert!(
            !(task.is_open() && fate >= Fate::Dead),
            "{id} is open again"
        );
        assert!(
            task.is_open() || fate > Fate::Alive,
            "{id} ended of nothing"
        );
        book.settle_task(&id, task.is_open());
    }
}

fn issuing(store: &Store) -> u64 {
    let outbox = store.read().outbox(None, usize::MAX).unwrap();
    let issuing = outbox.iter().filter(|out| out.effect == Effect::Issue);
    issuing.count() as u64
}

/// Nobody is at work: waits until the broker has done what its earlier lives left.
pub async fn once_settled(
    world: &World,
    clients: &Clients,
    book: &Book,
    tally: &mut Tally,
) -> Result<(), Gone> {
    soon("all is settled", async {
        while !is_settled(world, clients).await? {
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    })
    .await?;
    tally.settled += 1;
    no_strays(clients).await?;
    they_log_in(world, clients, book, tally).await
}

/// Leases come first: those that are not confirmed dead then are all that can have a role afterwards.
async fn is_settled(world: &World, clients: &Clients) -> Result<bool, Gone> {
    let active = leases(clients, v1::LeaseState::Active).await?;
    let issuing = leases(clients, v1::LeaseState::Issuing).await?;
    let revoking = leases(clients, v1::LeaseState::Revoking).await?;
    let roles = world.roles().await;
    for role in &roles {
        let known = [&active, &issuing, &revoking];
        assert!(
            known.iter().any(|it| it.contains(role)),
            "{role} is a stray"
        );
    }
    Ok(issuing.is_empty() && revoking.is_empty() && roles == active)
}

async fn leases(clients: &Clients, state: v1::LeaseState) -> Result<BTreeSet<LeaseId>, Gone> {
    let request = v1::ListLeasesRequest {
        page_size: 1000,
        target: TARGET.to_owned(),
        state: state.into(),
        ..Default::default()
    };
    let mut found = BTreeSet::new();
    let mut page_token = String::new();
    loop {
        let request = v1::ListLeasesRequest {
            page_token,
            ..request.clone()
        };
        let page = answer(clients.operator.clone().list_leases(request).await)?.unwrap();
        found.extend(
            page.leases
                .iter()
                .map(|it| it.id.parse::<LeaseId>().unwrap()),
        );
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(found);
        }
    }
}

async fn no_strays(clients: &Clients) -> Result<(), Gone> {
    let request = v1::SweepTargetRequest {
        target: TARGET.to_owned(),
        dry_run: true,
    };
    let swept = answer(clients.operator.clone().sweep_target(request).await)?.unwrap();
    assert!(swept.listed && swept.strays.is_empty(), "{swept:?}");
    Ok(())
}

/// Each credential that lives, the first time it has survived a crash.
async fn they_log_in(
    world: &World,
    clients: &Clients,
    book: &Book,
    tally: &mut Tally,
) -> Result<(), Gone> {
    let alive = book.entries().into_iter();
    // A short one may have no time left.
    let alive = alive.filter(|(_, entry)| entry.fate == Fate::Alive && !entry.short);
    let (old, new): (Vec<_>, Vec<_>) = alive.partition(|(_, entry)| entry.proved);
    let tried_again = old.into_iter().rev().take(TRIED_AGAIN);
    for (id, entry) in new.into_iter().chain(tried_again) {
        if !world.logs_in(&entry.user, &entry.password).await {
            let active = leases(clients, v1::LeaseState::Active).await?;
            panic!("{id} cannot log in; active: {}", active.contains(&id));
        }
        tally.logins += 1;
        book.prove(id);
    }
    Ok(())
}

/// At the end: what was confirmed dead is.
pub fn the_dead_stay_dead(world: &World, book: &Book) {
    let store = world.store();
    let snapshot = store.read();
    for id in book.buried() {
        let lease = snapshot.lease(id).unwrap().unwrap();
        assert!(matches!(lease.state, LeaseState::Ended { .. }), "{lease:?}");
    }
}
