//! Plays each event to the lifecycle and to the register, and compares everything.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::time::Duration;

use quietus_core::*;

use crate::names::{REASON, TARGETS, agent, digest, millis, operator, scopes, selector, target};
use crate::ops::{Ask, Deed, Op, Svid, Twist, Want};
use crate::register::{Line, Page, Register, Said, Verdict};
use crate::store::Store;

pub struct World<'a> {
    pub register: Register,
    pub pages: Vec<Page>,
    pub store: Store,
    pub opened: u128,
    /// The SVID shown with the last request for a credential.
    pub shown: Option<Identity>,
    /// What identifies the credential that the next step grants, if it is known beforehand.
    pub mark: Option<u8>,
    pub seen: &'a RefCell<BTreeSet<String>>,
}

impl World<'_> {
    pub fn play(&mut self, op: Op) {
        match op {
            Op::Wait(by) => self.register.now = self.register.now.saturating_add(by),
            Op::Open(who, svid, lasts, beat) if self.pages.len() < 5 => {
                self.open(who, &svid, lasts, beat);
            }
            Op::Freeze(number) => self.freeze(selector(number)),
            Op::Thaw(lot) => self.thaw(&draw_selector(self.register.frozen.iter(), lot)),
            Op::Revoke(number) => self.revoke(selector(number)),
            Op::Sweep(lot) => self.sweep(&draw_selector(self.register.floors.keys(), lot)),
            Op::OnTask(lot, deed) if !self.pages.is_empty() => self.act(self.draw_task(lot), deed),
            Op::OnTask(..) | Op::Open(..) => {}
        }
        self.store.audit(&self.register.rules);
    }

    fn act(&mut self, at: usize, deed: Deed) {
        match deed {
            Deed::Heartbeat(ask) => self.alive(at, &ask, false),
            Deed::Held(ask) => self.alive(at, &ask, true),
            Deed::HoldDropped => {
                self.take(at, Event::HoldDropped, |page, register, _| {
                    page.dropped(register)
                });
            }
            Deed::Issue(ask, want) => self.issue(at, &ask, &want),
            Deed::Renew(ask, lot, want, twist) => self.renew(at, &ask, lot, want, twist),
            Deed::EndOne(lot, cause) => self.end_one(at, lot, &cause),
            Deed::EndTarget(target, back) => {
                let epoch = (self.register.epoch + 1).saturating_sub(back);
                self.end_target(at, target, epoch);
            }
            Deed::EndTask(cause) => self.end_task(at, cause),
            Deed::Due => self.due(at),
            Deed::DueOnTime => self.due_on_time(at),
            Deed::IssueSettled(lot, made) => self.issue_settled(at, lot, made),
            Deed::RevokeSettled(lot, how) => self.revoke_settled(at, lot, how),
        }
    }

    /// Puts one event to both, and compares everything.
    fn take(
        &mut self,
        at: usize,
        event: Event,
        judge: impl FnOnce(&mut Page, &Register, Option<Timestamp>) -> Verdict,
    ) {
        let page = &mut self.pages[at];
        let before = self.store.tasks[&page.id].clone();
        let view = self.store.view(page.id, &event);
        let now = Timestamp(self.register.now);
        let mut step = step(&self.register.rules, view, event, now);
        if let Some(mark) = self.mark.take() {
            step.identify(digest(mark));
        }
        let verdict = judge(page, &self.register, before.lease_due);
        self.note(&step);
        if step.outcome == Outcome::Purged {
            assert!(matches!(verdict.said, Said::Plain(Outcome::Purged)));
            assert_eq!(step.task.as_ref(), Some(&before));
            assert!(step.leases.is_empty() && step.effects.is_empty());
            assert!(self.store.leases_of(before.id).iter().all(|l| l.is_ended()));
            self.store.purge(before.id);
            self.pages.remove(at);
            return;
        }
        self.store.write(&step);
        let stored = &self.store.tasks[&before.id];
        assert_eq!(*stored, self.pages[at].task(stored.lease_due));
        assert_eq!(stored.version > before.version, step.task.is_some());
        self.compare(at, &verdict, &step);
    }

    fn compare(&self, at: usize, verdict: &Verdict, step: &Step) {
        let page = &self.pages[at];
        match (&verdict.said, &step.outcome) {
            (Said::Plain(said), outcome) => assert_eq!(said, outcome),
            (Said::Issued(number), Outcome::Issued(order))
            | (Said::Renewed(number), Outcome::Renewed(order)) => {
                assert_eq!(*order.agent(), agent(page.owner));
                assert_eq!(*order.lease(), page.lease(*number));
                assert_eq!(order.issued_at(), Timestamp(self.register.now));
                self.granted(page, order.lease());
            }
            (Said::Issued(_) | Said::Renewed(_), other) => panic!("no order but {other:?}"),
        }
        let by_id = |effect: &Effect| match effect {
            Effect::Issue(id) => (0, *id),
            Effect::Revoke(id) => (1, *id),
        };
        let mut effects = step.effects.clone();
        effects.sort_by_key(by_id);
        let mut expected = verdict.effects.clone();
        expected.sort_by_key(by_id);
        assert_eq!(effects, expected);
        let mut changed: Vec<u32> = step.leases.iter().map(|lease| lease.id.number).collect();
        changed.sort_unstable();
        assert_eq!(changed, verdict.changed);
        for (number, stored) in (0u32..).zip(self.store.leases_of(page.id)) {
            assert_eq!(*stored, page.lease(number));
        }
    }

    /// Whatever was granted was granted to a task in good standing, under no freeze and no revocation.
    fn granted(&self, page: &Page, lease: &Lease) {
        let (register, task) = (&self.register, &self.store.tasks[&page.id]);
        assert!(task.is_open());
        assert_eq!(task.overdue(Timestamp(register.now)), None);
        assert!(lease.is_live() && lease.expires_at.0 > register.now);
        let shown = self.shown.unwrap();
        assert_eq!(lease.certificate, shown.certificate);
        assert!(lease.expires_at <= shown.until, "outlives its SVID");
        assert_eq!(
            self.store.guards.frozen(&task.agent, Some(&lease.target)),
            None
        );
        for (selector, epoch) in &register.orders {
            let old_task = selector.covers(&task.agent, None) && task.epoch < *epoch;
            let old_lease =
                selector.covers(&task.agent, Some(&lease.target)) && lease.epoch < *epoch;
            assert!(!old_task && !old_lease, "revoked by {selector:?} {epoch}");
        }
    }

    fn note(&self, step: &Step) {
        let text = format!("{:?}", step.outcome);
        let name = match &step.outcome {
            Outcome::Refused(Refusal::TaskEnded(cause)) => format!("TaskEnded {}", cause.reason()),
            Outcome::Refused(Refusal::NoTimeLeft(bound)) => {
                format!("NoTimeLeft {}", bound.as_str())
            }
            Outcome::Refused(refusal) => refusal.reason().to_owned(),
            Outcome::Alive { .. } => text,
            Outcome::Renewed(order) if order.lease().enforced == Enforced::AtTarget => {
                "Renewed at its target".to_owned()
            }
            Outcome::Unchanged if step.task.is_some() => "Rescheduled".to_owned(),
            _ => text
                .split(|c: char| !c.is_alphanumeric())
                .next()
                .unwrap()
                .to_owned(),
        };
        self.seen.borrow_mut().insert(name);
    }

    /// Mostly a task that has not ended, now and then any.
    fn draw_task(&self, lot: usize) -> usize {
        let open: Vec<_> = (0..self.pages.len())
            .filter(|at| self.pages[*at].over.is_none())
            .collect();
        match lot {
            0..6 if !open.is_empty() => open[lot % open.len()],
            _ => lot % self.pages.len(),
        }
    }

    /// Mostly a lease that fits, now and then any or an unknown one.
    fn draw_lease(&self, at: usize, lot: u32, fits: impl Fn(&Line) -> bool) -> u32 {
        let page = &self.pages[at];
        let fitting = page.numbers(fits);
        if lot < 6 && !fitting.is_empty() {
            return fitting[lot as usize % fitting.len()];
        }
        lot % (page.issued() + 1)
    }

    fn lease_id(&self, at: usize, number: u32) -> LeaseId {
        self.pages[at].lease_id(number)
    }

    fn caller(&self, at: usize, ask: &Ask) -> (usize, Identity) {
        let page = &self.pages[at];
        let who = ask.who.unwrap_or(page.owner);
        (who, self.identity(&ask.svid, Some(page)))
    }

    /// A verified SVID never has expired; if the task's own has, the agent shows another.
    fn identity(&self, svid: &Svid, page: Option<&Page>) -> Identity {
        let now = self.register.now;
        let (certificate, lasts) = match (svid, page) {
            (Svid::Own, Some(page)) if page.svid.until.0 > now => return page.svid,
            (Svid::Own, _) => (9, 20_000),
            (Svid::Other(certificate, lasts), _) => (*certificate, *lasts),
        };
        Identity {
            certificate: Digest([certificate; 32]),
            anchor: Digest([7; 32]),
            until: Timestamp(now.saturating_add(lasts)),
        }
    }

    fn open(&mut self, who: usize, svid: &Svid, lasts: Option<u64>, beat: Option<u64>) {
        let identity = self.identity(svid, None);
        let id = TaskId::from_bytes(self.opened.to_be_bytes());
        let register = &self.register;
        let order = OpenOrder {
            id,
            caller: Caller {
                agent: agent(who),
                identity,
            },
            purpose: "why".to_owned(),
            ticket: "T-1".to_owned(),
            environment: "prod".to_owned(),
            trace: [7; 16],
            duration: lasts.map(Duration::from_millis),
            heartbeat: beat.map(Duration::from_millis),
        };
        let step = open(
            &register.rules,
            &self.store.guards,
            order,
            Timestamp(register.now),
        );
        self.note(&step);
        assert!(step.leases.is_empty() && step.effects.is_empty());
        if let Some(refusal) = register.freeze_on(who, None) {
            assert_eq!(step.outcome, Outcome::Refused(refusal));
            assert_eq!(step.task, None);
            return;
        }
        let asked = lasts.unwrap_or(millis(register.rules.default_task));
        let most = millis(register.rules.max_task);
        let bound = match asked > most || lasts.is_none() {
            true => Bound::Config,
            false => Bound::Request,
        };
        assert_eq!(step.outcome, Outcome::Opened { bound });
        let grace = millis(register.rules.grace);
        let page = Page {
            id,
            owner: who,
            epoch: register.epoch,
            opened: register.now,
            deadline: register.now.saturating_add(asked.min(most)),
            beat,
            beat_due: beat.map(|beat| register.now.saturating_add(beat).saturating_add(grace)),
            hold_due: None,
            svid: identity,
            over: None,
            closed: None,
            version: 1,
            lines: vec![],
        };
        assert_eq!(step.task, Some(page.task(None)));
        self.store.write(&step);
        self.pages.push(page);
        self.opened += 1;
    }

    fn alive(&mut self, at: usize, ask: &Ask, held: bool) {
        let (who, svid) = self.caller(at, ask);
        let caller = Caller {
            agent: agent(who),
            identity: svid,
        };
        let event = match held {
            true => Event::Held(caller),
            false => Event::Heartbeat(caller),
        };
        self.take(at, event, |page, register, _| {
            page.alive(register, who, svid, held)
        });
    }

    fn issue(&mut self, at: usize, ask: &Ask, want: &Want) {
        let (who, svid) = self.caller(at, ask);
        (self.shown, self.mark) = (Some(svid), want.mark);
        self.take(
            at,
            Event::Issue(grant(who, svid, want)),
            |page, register, _| page.issue(register, who, svid, want),
        );
    }

    fn renew(&mut self, at: usize, ask: &Ask, lot: u32, mut want: Want, twist: Twist) {
        let number = self.draw_lease(at, lot, |l| l.over.is_none() && l.made);
        let (who, svid) = self.caller(at, ask);
        (self.shown, self.mark) = (Some(svid), want.mark);
        let page = &self.pages[at];
        if let Some(line) = page.lines.get(number as usize) {
            (want.target, want.scope) = match twist {
                Twist::No | Twist::Place => (line.target, line.scope),
                Twist::Target => (1 - line.target, line.scope),
                Twist::Scope => (line.target, 1 - line.scope),
            };
            want.at_target = line.at_target != matches!(twist, Twist::Place);
        }
        let event = Event::Renew(page.lease_id(number), grant(who, svid, &want));
        self.take(at, event, |page, register, _| {
            page.renew(register, who, svid, number, &want)
        });
    }

    fn end_one(&mut self, at: usize, lot: u32, cause: &Cause) {
        let number = self.draw_lease(at, lot, |line| line.over.is_none());
        let event = Event::EndLeases(Which::One(self.lease_id(at, number)), cause.clone());
        self.take(at, event, |page, register, _| {
            let found = page.live().into_iter().filter(|n| *n == number).collect();
            page.end_leases(register, found, cause)
        });
    }

    fn end_target(&mut self, at: usize, number: usize, epoch: u64) {
        let cause = Cause::Operator(operator());
        let event = Event::EndLeases(Which::Target(target(number), epoch), cause.clone());
        self.take(at, event, |page, register, _| {
            let found = page
                .numbers(|line| line.over.is_none() && line.target == number && line.epoch < epoch);
            page.end_leases(register, found, &cause)
        });
    }

    fn end_task(&mut self, at: usize, cause: Cause) {
        self.take(at, Event::EndTask(cause.clone()), |page, register, _| {
            page.end_task(register, cause)
        });
    }

    fn issue_settled(&mut self, at: usize, lot: u32, made: Option<Option<u8>>) {
        let number = self.draw_lease(at, lot, |line| !line.made && line.over.is_none());
        let answer = made.map(|mark| mark.map(digest)).ok_or(REASON.to_owned());
        let event = Event::IssueSettled(self.lease_id(at, number), answer);
        self.take(at, event, |page, register, _| {
            page.issue_settled(register, number, made)
        });
    }

    fn revoke_settled(&mut self, at: usize, lot: u32, how: Option<Confirmation>) {
        let number = self.draw_lease(at, lot, |l| l.over.is_some() && l.dead.is_none());
        let answer = how.ok_or(REASON.to_owned());
        let event = Event::RevokeSettled(self.lease_id(at, number), answer);
        self.take(at, event, |page, register, _| {
            page.revoke_settled(register.now, number, how)
        });
    }

    /// After a look at a task, it does not ask to be looked at again at once, unless to be forgotten.
    fn due(&mut self, at: usize) {
        let id = self.pages[at].id;
        self.take(at, Event::Due, Page::due);
        let (rules, now) = (&self.register.rules, self.register.now);
        let Some(task) = self.store.tasks.get(&id) else {
            return;
        };
        let next = next_deadline(task, rules.retention);
        if next.is_some_and(|next| next.0 <= now) {
            assert!(
                matches!(task.state, TaskState::Closed { .. }),
                "a busy loop"
            );
            assert!(rules.retention.is_zero() || now == u64::MAX);
            self.take(at, Event::Due, Page::due);
            assert!(!self.store.tasks.contains_key(&id), "a busy loop");
        }
    }

    fn due_on_time(&mut self, at: usize) {
        let task = &self.store.tasks[&self.pages[at].id];
        let before = task.clone();
        let Some(next) = next_deadline(task, self.register.rules.retention) else {
            return;
        };
        self.register.now = self.register.now.max(next.0);
        self.due(at);
        let after = self.store.tasks.get(&before.id);
        assert_ne!(after, Some(&before), "a look in due time did nothing");
    }

    fn freeze(&mut self, selector: Selector) {
        let freeze = Freeze {
            by: operator(),
            at: Timestamp(self.register.now),
            reason: REASON.to_owned(),
        };
        self.store.guards = self.store.guards.clone().freeze(selector.clone(), freeze);
        self.register.epoch += 1;
        self.register.frozen.insert(selector);
        self.compare_guards();
    }

    fn thaw(&mut self, selector: &Selector) {
        let thawed = self.store.guards.clone().thaw(selector);
        assert_eq!(thawed.is_some(), self.register.frozen.remove(selector));
        if let Some(guards) = thawed {
            self.store.guards = guards;
            self.register.epoch += 1;
        }
        self.compare_guards();
    }

    fn revoke(&mut self, selector: Selector) {
        self.store.guards = self
            .store
            .guards
            .clone()
            .revoke(selector.clone(), operator());
        self.register.epoch += 1;
        let epoch = self.register.epoch;
        self.register.floors.insert(selector.clone(), epoch);
        self.register.orders.push((selector, epoch));
        self.compare_guards();
    }

    /// Ends all that a floor covers, then lifts it; a sweep that was overtaken by another order lifts nothing.
    fn sweep(&mut self, selector: &Selector) {
        let floor = self.store.guards.floors.get(selector).map(|f| f.epoch);
        assert_eq!(floor, self.register.floors.get(selector).copied());
        let Some(epoch) = floor else {
            assert_eq!(self.store.guards.clone().swept(selector, 0), None);
            return;
        };
        for at in 0..self.pages.len() {
            if let Selector::Target(name) = selector {
                let number = TARGETS.iter().position(|t| *t == name.as_str()).unwrap();
                self.end_target(at, number, epoch);
            } else {
                let page = &self.pages[at];
                if selector.covers(&agent(page.owner), None) && page.epoch < epoch {
                    self.end_task(at, Cause::Operator(operator()));
                }
            }
        }
        assert_eq!(self.store.guards.clone().swept(selector, epoch - 1), None);
        self.store.guards = self.store.guards.clone().swept(selector, epoch).unwrap();
        self.register.epoch += 1;
        self.register.floors.remove(selector);
        self.compare_guards();
        for lease in self.store.leases.values().filter(|lease| lease.is_live()) {
            let task = &self.store.tasks[&lease.id.task];
            assert!(
                lease.epoch >= epoch || !selector.covers(&task.agent, Some(&lease.target)),
                "survived a sweep: {lease:?}"
            );
        }
    }

    fn compare_guards(&self) {
        let guards = &self.store.guards;
        assert_eq!(guards.epoch, self.register.epoch);
        assert!(guards.freezes.keys().eq(&self.register.frozen));
        let floors = guards
            .floors
            .iter()
            .map(|(name, floor)| (name, floor.epoch));
        assert!(
            floors.eq(self
                .register
                .floors
                .iter()
                .map(|(name, epoch)| (name, *epoch)))
        );
    }
}

/// Mostly one that is in force, now and then any.
fn draw_selector<'a>(
    mut in_force: impl ExactSizeIterator<Item = &'a Selector>,
    lot: u8,
) -> Selector {
    let count = in_force.len().max(1);
    let drawn = in_force.nth(usize::from(lot) % count).cloned();
    drawn.filter(|_| lot < 7).unwrap_or_else(|| selector(lot))
}

fn grant(who: usize, identity: Identity, want: &Want) -> Grant {
    Grant {
        caller: Caller {
            agent: agent(who),
            identity,
        },
        target: target(want.target),
        scopes: scopes(want.target, want.scope),
        enforced: match want.at_target {
            true => Enforced::AtTarget,
            false => Enforced::AtBroker,
        },
        renewable: want.renewable,
        ttl: want.ttl.map(Duration::from_millis),
        policy_max: want.cap.map(Duration::from_millis),
    }
}
