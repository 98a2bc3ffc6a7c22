//! A target that does as it is told: it holds a set of names, and each call does what the test's script says.
//!
//! Whatever must hold at every call is looked at in every call, in every test: what is wrong is kept, and told when the
//! test is over.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, Weak};

use quietus::engine::Engine;
use quietus::issuers::{
    Abilities, Credential, Doing, Doomed, Failure, Found, Issuer, KeyRequest, Made, Prepared,
    Secret, Unfit,
};
use quietus::store::Effect;
use quietus_core::{Confirmation, Digest, Enforced, IssueOrder, LeaseId, LeaseState};
use tokio::sync::Semaphore;

/// What a target is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ask {
    Issue,
    Renew,
    Revoke,
    List,
    Check,
}

/// What it does.
#[derive(Clone, Debug)]
pub enum Act {
    /// Does it, and says so.
    Answer,
    /// Says no, and does nothing.
    No(&'static str),
    /// Does not answer, and does nothing.
    Away(&'static str),
    /// Does it, but the reply is lost.
    Lost(&'static str),
    /// Waits until it is let go, then does it.
    Hold,
    /// Does it, then waits until it is let go with the reply.
    HoldReply,
    /// Waits until it is let go, then says no.
    HoldNo(&'static str),
    /// Breaks off.
    Panic,
}

/// One target.
pub struct Scripted {
    pub renewable: bool,
    pub keeps_list: bool,
    pub state: Mutex<State>,
    pub gates: BTreeMap<Ask, Semaphore>,
}

#[derive(Default)]
pub struct State {
    engine: Weak<Engine>,
    names: BTreeSet<LeaseId>,
    /// By default, and for the next calls.
    acts: BTreeMap<Ask, Act>,
    next: BTreeMap<Ask, VecDeque<Act>>,
    calls: Vec<(Ask, Option<LeaseId>)>,
    /// By what they are and for which lease.
    flying: Vec<(Ask, Option<LeaseId>)>,
    most: usize,
    wrong: Vec<String>,
}

/// A call that is under way until this is dropped.
struct Flight<'a>(&'a Scripted, Ask, Option<LeaseId>);

const KINDS: [Ask; 5] = [Ask::Issue, Ask::Renew, Ask::Revoke, Ask::List, Ask::Check];

impl Scripted {
    pub fn new() -> Arc<Self> {
        Arc::new(Self::plain())
    }

    pub fn plain() -> Self {
        Self {
            renewable: true,
            keeps_list: true,
            state: Mutex::default(),
            gates: KINDS.map(|ask| (ask, Semaphore::new(0))).into(),
        }
    }

    /// From now on.
    pub fn on(&self, ask: Ask, act: Act) {
        self.lock().acts.insert(ask, act);
    }

    /// Whatever it is asked.
    pub fn on_all(&self, act: &Act) {
        for ask in KINDS {
            self.on(ask, act.clone());
        }
    }

    /// For the next calls of this kind, one each.
    pub fn next(&self, ask: Ask, acts: impl IntoIterator<Item = Act>) {
        self.lock().next.entry(ask).or_default().extend(acts);
    }

    /// From now on it does all that it is asked.
    pub fn forget_script(&self) {
        let mut state = self.lock();
        state.acts.clear();
        state.next.clear();
    }

    /// Lets one call of this kind go that waits, or will wait.
    pub fn let_go(&self, ask: Ask) {
        self.gates[&ask].add_permits(1);
    }

    /// Has nobody wait any more.
    pub fn let_all_go(&self) {
        for gate in self.gates.values() {
            gate.add_permits(1 << 20);
        }
    }

    /// The calls of this kind so far.
    pub fn calls(&self, ask: Ask) -> usize {
        let state = self.lock();
        state.calls.iter().filter(|call| call.0 == ask).count()
    }

    /// The calls of this kind for one lease so far.
    pub fn calls_for(&self, ask: Ask, lease: LeaseId) -> usize {
        let state = self.lock();
        let calls = state.calls.iter();
        calls.filter(|call| **call == (ask, Some(lease))).count()
    }

    /// Calls of this kind under way.
    pub fn flying(&self, ask: Ask) -> usize {
        let state = self.lock();
        state.flying.iter().filter(|call| call.0 == ask).count()
    }

    /// The most calls of any kind that were under way at once.
    pub fn most(&self) -> usize {
        self.lock().most
    }

    pub fn names(&self) -> BTreeSet<LeaseId> {
        self.lock().names.clone()
    }

    pub fn has(&self, lease: LeaseId) -> bool {
        self.lock().names.contains(&lease)
    }

    /// Puts something there that nobody asked for.
    pub fn plant(&self, lease: LeaseId) {
        self.lock().names.insert(lease);
    }

    pub fn meet(&self, engine: &Arc<Engine>) {
        self.lock().engine = Arc::downgrade(engine);
    }

    /// What was wrong at any call.
    pub fn wrong(&self) -> Vec<String> {
        self.lock().wrong.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .unwrap_or_else(|broken| broken.into_inner())
    }

    async fn asked<T>(
        &self,
        ask: Ask,
        lease: Option<LeaseId>,
        effect: impl FnOnce(&mut State) -> T,
    ) -> Result<T, Failure> {
        let (_flight, act) = self.begin(ask, lease);
        if matches!(act, Act::Hold | Act::HoldNo(_)) {
            self.gates[&ask].acquire().await.unwrap().forget();
        }
        let done = |scripted: &Self| effect(&mut scripted.lock());
        match act {
            Act::Answer | Act::Hold => Ok(done(self)),
            Act::No(why) | Act::HoldNo(why) => Err(Failure::said(why)),
            Act::Away(why) => Err(Failure::away(why)),
            Act::Lost(why) => {
                done(self);
                Err(Failure::away(why))
            }
            Act::HoldReply => {
                let done = done(self);
                self.gates[&ask].acquire().await.unwrap().forget();
                Ok(done)
            }
            Act::Panic => panic!("as the script says"),
        }
    }

    fn begin(&self, ask: Ask, lease: Option<LeaseId>) -> (Flight<'_>, Act) {
        let mut state = self.lock();
        state.look(ask, lease);
        state.calls.push((ask, lease));
        state.flying.push((ask, lease));
        state.most = state.most.max(state.flying.len());
        let next = state.next.get_mut(&ask).and_then(VecDeque::pop_front);
        let act = next.or_else(|| state.acts.get(&ask).cloned());
        (Flight(self, ask, lease), act.unwrap_or(Act::Answer))
    }
}

impl State {
    /// What must hold whenever a target is called.
    fn look(&mut self, ask: Ask, lease: Option<LeaseId>) {
        let (Some(id), Some(engine)) = (lease, self.engine.upgrade()) else {
            return;
        };
        let snapshot = engine.store().read();
        let found = snapshot.lease(id).unwrap();
        let outbox = snapshot.outbox(None, usize::MAX).unwrap();
        let out = outbox.iter().find(|out| out.lease == id);
        let out = out.map(|out| out.effect);
        let flying = |kinds: &[Ask]| {
            let mut flying = self.flying.iter();
            flying.any(|call| call.1 == lease && kinds.contains(&call.0))
        };
        let state = found.map(|lease| lease.state);
        let good = match (ask, &state) {
            (Ask::Issue, Some(LeaseState::Issuing)) => out == Some(Effect::Issue),
            // It may have been ended since it was looked at; its revocation then waits.
            (Ask::Issue | Ask::Renew, Some(LeaseState::Revoking { .. })) => !flying(&[Ask::Revoke]),
            (Ask::Renew, Some(LeaseState::Active)) => !flying(&[Ask::Revoke]),
            (Ask::Issue | Ask::Renew, _) => false,
            (Ask::Revoke, Some(LeaseState::Revoking { .. })) => {
                !flying(&[Ask::Issue, Ask::Renew, Ask::Revoke])
                    && matches!(out, Some(Effect::Revoke(_)))
            }
            // A stray.
            (Ask::Revoke, Some(LeaseState::Ended { .. }) | None) => self.names.contains(&id),
            (Ask::Revoke, Some(LeaseState::Issuing | LeaseState::Active)) => false,
            (Ask::List | Ask::Check, _) => true,
        };
        if !good {
            let flying = &self.flying;
            let wrong = format!("{ask:?} of {id}: {state:?}, {out:?}, under way {flying:?}");
            self.wrong.push(wrong);
        }
    }
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        let call = (self.1, self.2);
        let place = state.flying.iter().position(|it| *it == call).unwrap();
        state.flying.remove(place);
    }
}

/// What the engine is given.
pub struct Double(pub Arc<Scripted>);

impl Double {
    fn prepared(&self, ask: Ask, order: &IssueOrder) -> Prepared {
        let scripted = Arc::clone(&self.0);
        let id = order.lease().id;
        Prepared::new(None, async move {
            let made = scripted.asked(ask, Some(id), |state| state.names.insert(id));
            made.await.map(|_| Made {
                credential: Credential::External {
                    kind: "scripted".to_owned(),
                    public: BTreeMap::new(),
                    secret: [("password".to_owned(), Secret::new("s3cret"))].into(),
                },
                fingerprint: Some(fingerprint(id)),
            })
        })
    }
}

/// Of the credential of this lease.
pub fn fingerprint(lease: LeaseId) -> Digest {
    let digest = ring::digest::digest(&ring::digest::SHA256, lease.to_string().as_bytes());
    Digest(digest.as_ref().try_into().unwrap())
}

impl Issuer for Double {
    fn abilities(&self) -> Abilities {
        Abilities {
            can_revoke: true,
            confirms_by: Some(Confirmation::DeletedAtTarget),
            expires_at_target: false,
            renewable: self.0.renewable,
            enforced: Enforced::AtTarget,
        }
    }

    fn issue(&self, order: &IssueOrder, _: Option<&KeyRequest>) -> Result<Prepared, Unfit> {
        Ok(self.prepared(Ask::Issue, order))
    }

    fn renew(&self, order: &IssueOrder) -> Result<Prepared, Unfit> {
        Ok(self.prepared(Ask::Renew, order))
    }

    fn revoke<'a>(&'a self, doomed: &'a Doomed) -> Doing<'a, Result<Confirmation, Failure>> {
        let id = doomed.id;
        Box::pin(async move {
            let gone = self
                .0
                .asked(Ask::Revoke, Some(id), |state| state.names.remove(&id));
            gone.await.map(|_| Confirmation::DeletedAtTarget)
        })
    }

    fn list(&self) -> Doing<'_, Result<Option<Vec<Found>>, Failure>> {
        Box::pin(async move {
            let names = self.0.asked(Ask::List, None, |state| state.names.clone());
            let names = names.await?;
            let found = names.into_iter().map(|id| Found {
                id,
                name: format!("role {id}"),
            });
            Ok(self.0.keeps_list.then(|| found.collect()))
        })
    }

    fn check(&self) -> Doing<'_, Result<String, Failure>> {
        Box::pin(async move {
            let checked = self.0.asked(Ask::Check, None, |_| "a script".to_owned());
            checked.await
        })
    }
}
