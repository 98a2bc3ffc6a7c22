//! What ought to be: a register kept by hand, a page a task and a line a lease.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use quietus_core::*;

use crate::names::{AGENTS, REASON, agent, digest, millis, scopes, target};
use crate::ops::Want;

pub struct Register {
    pub rules: Rules,
    pub now: u64,
    pub epoch: u64,
    pub frozen: BTreeSet<Selector>,
    pub floors: BTreeMap<Selector, u64>,
    /// Every wide revocation ever ordered; unlike a floor it is never taken away.
    pub orders: Vec<(Selector, u64)>,
}

pub struct Page {
    pub id: TaskId,
    pub owner: usize,
    pub epoch: u64,
    pub opened: u64,
    pub deadline: u64,
    pub beat: Option<u64>,
    pub beat_due: Option<u64>,
    pub hold_due: Option<u64>,
    pub svid: Identity,
    pub over: Option<(Cause, u64)>,
    pub closed: Option<u64>,
    pub version: u64,
    pub lines: Vec<Line>,
}

pub struct Line {
    pub target: usize,
    pub scope: usize,
    pub at_target: bool,
    pub epoch: u64,
    pub from: u64,
    pub renewed: Option<u64>,
    pub until: u64,
    pub bound: Bound,
    pub certificate: Digest,
    pub mark: Option<u8>,
    pub renewals: u32,
    pub made: bool,
    pub over: Option<(Cause, u64)>,
    pub failures: u32,
    pub said: Option<String>,
    pub dead: Option<(u64, Confirmation)>,
}

/// What a step ought to say, change and ask for.
pub struct Verdict {
    pub said: Said,
    pub changed: Vec<u32>,
    pub effects: Vec<Effect>,
}

#[allow(clippy::large_enum_variant, reason = "one at a time")]
pub enum Said {
    Plain(Outcome),
    Issued(u32),
    Renewed(u32),
}

impl Verdict {
    pub fn plain(outcome: Outcome) -> Self {
        Self::with(Said::Plain(outcome), vec![], vec![])
    }

    fn no(refusal: Refusal) -> Self {
        Self::plain(Outcome::Refused(refusal))
    }

    fn with(said: Said, changed: Vec<u32>, effects: Vec<Effect>) -> Self {
        Self {
            said,
            changed,
            effects,
        }
    }
}

impl Register {
    /// Every selector that names this agent or target, in the order in which they are consulted.
    fn names(who: usize, target_number: Option<usize>) -> Vec<Selector> {
        let domain = AGENTS[who].split('/').nth(2).unwrap().to_owned();
        let mut names = vec![
            Selector::All,
            Selector::TrustDomain(domain),
            Selector::Agent(agent(who)),
        ];
        names.extend(target_number.map(|number| Selector::Target(target(number))));
        names
    }

    pub fn freeze_on(&self, who: usize, target: Option<usize>) -> Option<Refusal> {
        let name = Self::names(who, target)
            .into_iter()
            .find(|name| self.frozen.contains(name))?;
        Some(Refusal::Frozen(name, REASON.to_owned()))
    }

    fn floor_on(&self, who: usize, target: Option<usize>, epoch: u64) -> Option<Refusal> {
        let name = Self::names(who, target)
            .into_iter()
            .find(|name| self.floors.get(name).is_some_and(|floor| epoch < *floor))?;
        Some(Refusal::Revoked(name))
    }

    fn later(&self, by: Duration) -> u64 {
        self.now.saturating_add(millis(by))
    }
}

impl Page {
    pub fn lease_id(&self, number: u32) -> LeaseId {
        LeaseId {
            task: self.id,
            number,
        }
    }

    pub fn issued(&self) -> u32 {
        u32::try_from(self.lines.len()).unwrap()
    }

    pub fn live(&self) -> Vec<u32> {
        self.numbers(|line| line.over.is_none())
    }

    pub fn numbers(&self, test: impl Fn(&Line) -> bool) -> Vec<u32> {
        (0u32..)
            .zip(&self.lines)
            .filter(|(_, line)| test(line))
            .map(|(number, _)| number)
            .collect()
    }

    fn line(&mut self, number: u32) -> Option<&mut Line> {
        self.lines.get_mut(number as usize)
    }

    /// The clock that ran out first, if the agent's SVID lasts until `svid_until`.
    fn ran_out(&self, now: u64, svid_until: u64) -> Option<Cause> {
        let mut clocks = vec![(self.deadline, Cause::Expired)];
        clocks.extend(self.beat_due.map(|due| (due, Cause::HeartbeatMissed)));
        clocks.extend(self.hold_due.map(|due| (due, Cause::HoldLost)));
        clocks.push((svid_until, Cause::IdentityExpired));
        clocks.retain(|(due, _)| *due <= now);
        clocks.sort_by_key(|(due, _)| *due);
        clocks.first().map(|(_, cause)| cause.clone())
    }

    fn barred(&self, register: &Register, who: usize, svid: &Identity) -> Option<Refusal> {
        if who != self.owner {
            return Some(Refusal::NotYours);
        }
        if let Some((cause, _)) = &self.over {
            return Some(Refusal::TaskEnded(cause.clone()));
        }
        if let Some(refusal) = register.floor_on(self.owner, None, self.epoch) {
            return Some(refusal);
        }
        let svid_until = self.svid.until.0.max(svid.until.0);
        self.ran_out(register.now, svid_until)
            .map(Refusal::TaskEnded)
    }

    fn full(&self, rules: &Rules) -> Option<Refusal> {
        if self.lines.len() >= rules.max_issued as usize {
            return Some(Refusal::IssuedLeases(rules.max_issued));
        }
        let crowded = self.live().len() >= rules.max_live as usize;
        crowded.then_some(Refusal::LiveLeases(rules.max_live))
    }

    fn life(&self, register: &Register, want: &Want, svid: &Identity) -> (u64, Bound) {
        let asked = want.ttl.unwrap_or(millis(register.rules.default_ttl));
        let by = match want.ttl {
            Some(_) => Bound::Request,
            None => Bound::Config,
        };
        let mut least = (register.now.saturating_add(asked), by);
        let mut also = |until: u64, bound: Bound| {
            if until < least.0 {
                least = (until, bound);
            }
        };
        if let Some(cap) = want.cap {
            also(register.now.saturating_add(cap), Bound::Policy);
        }
        also(register.later(register.rules.max_ttl), Bound::Config);
        also(self.deadline, Bound::Task);
        also(svid.until.0, Bound::Svid);
        (least.0 - least.0 % 1000, least.1)
    }

    fn show(&mut self, svid: Identity) -> bool {
        let newer = svid.until >= self.svid.until && svid != self.svid;
        if newer {
            self.svid = svid;
        }
        newer
    }

    pub fn alive(
        &mut self,
        register: &Register,
        who: usize,
        svid: Identity,
        held: bool,
    ) -> Verdict {
        if let Some(refusal) = self.barred(register, who, &svid) {
            return Verdict::no(refusal);
        }
        let identity_renewed = self.show(svid);
        let grace = millis(register.rules.grace);
        if let Some(beat) = self.beat {
            self.beat_due = Some(register.now.saturating_add(beat).saturating_add(grace));
        }
        if held {
            self.hold_due = Some(register.later(register.rules.grace));
        }
        self.version += 1;
        Verdict::plain(Outcome::Alive { identity_renewed })
    }

    pub fn dropped(&mut self, register: &Register) -> Verdict {
        let gone = register.later(register.rules.grace);
        match self.hold_due {
            Some(due) if self.over.is_none() && due != gone => {
                self.hold_due = Some(due.min(gone));
                self.version += 1;
                Verdict::plain(Outcome::HoldDropped)
            }
            _ => Verdict::plain(Outcome::Unchanged),
        }
    }

    pub fn issue(
        &mut self,
        register: &Register,
        who: usize,
        svid: Identity,
        want: &Want,
    ) -> Verdict {
        let refusal = self
            .barred(register, who, &svid)
            .or_else(|| register.freeze_on(who, Some(want.target)))
            .or_else(|| self.full(&register.rules));
        if let Some(refusal) = refusal {
            return Verdict::no(refusal);
        }
        let (until, bound) = self.life(register, want, &svid);
        if until <= register.now {
            return Verdict::no(Refusal::NoTimeLeft(bound));
        }
        let number = self.issued();
        self.lines.push(Line {
            target: want.target,
            scope: want.scope,
            at_target: want.at_target,
            epoch: register.epoch,
            from: register.now,
            renewed: None,
            until,
            bound,
            certificate: svid.certificate,
            mark: want.mark,
            renewals: 0,
            made: !want.at_target,
            over: None,
            failures: 0,
            said: None,
            dead: None,
        });
        self.show(svid);
        self.version += 1;
        let effects = match want.at_target {
            true => vec![Effect::Issue(self.lease_id(number))],
            false => vec![],
        };
        Verdict::with(Said::Issued(number), vec![number], effects)
    }

    pub fn renew(
        &mut self,
        register: &Register,
        who: usize,
        svid: Identity,
        number: u32,
        want: &Want,
    ) -> Verdict {
        let refusal = self
            .barred(register, who, &svid)
            .or_else(|| register.freeze_on(who, Some(want.target)))
            .or_else(|| self.stale(register, number, want));
        if let Some(refusal) = refusal {
            return Verdict::no(refusal);
        }
        let (until, bound) = self.life(register, want, &svid);
        if until <= register.now {
            return Verdict::no(Refusal::NoTimeLeft(bound));
        }
        let line = self.line(number).unwrap();
        line.until = until;
        line.bound = bound;
        line.renewed = Some(register.now);
        line.mark = want.mark.or(line.mark);
        line.certificate = svid.certificate;
        line.renewals += 1;
        self.show(svid);
        self.version += 1;
        Verdict::with(Said::Renewed(number), vec![number], vec![])
    }

    fn stale(&self, register: &Register, number: u32, want: &Want) -> Option<Refusal> {
        let Some(line) = self.lines.get(number as usize) else {
            return Some(Refusal::NoSuchLease);
        };
        if (line.target, line.scope) != (want.target, want.scope) {
            return Some(Refusal::NoSuchLease);
        }
        let fallen = register.floor_on(self.owner, Some(line.target), line.epoch);
        if fallen.is_some() {
            return fallen;
        }
        if line.over.is_some() || line.until <= register.now {
            return Some(Refusal::LeaseEnded);
        }
        let can = want.renewable && line.made && line.at_target == want.at_target;
        (!can).then_some(Refusal::NotRenewable)
    }

    fn end(&mut self, register: &Register, numbers: &[u32], cause: &Cause) -> Vec<Effect> {
        let mut effects = vec![];
        for number in numbers {
            let id = self.lease_id(*number);
            let line = self.line(*number).unwrap();
            line.over = Some((cause.clone(), register.now));
            if line.at_target {
                effects.push(Effect::Revoke(id));
            } else {
                line.dead = Some((register.now, Confirmation::RefusedByIntrospection));
            }
        }
        effects
    }

    pub fn end_leases(&mut self, register: &Register, numbers: Vec<u32>, cause: &Cause) -> Verdict {
        if numbers.is_empty() {
            return Verdict::plain(Outcome::Unchanged);
        }
        let effects = self.end(register, &numbers, cause);
        self.version += 1;
        Verdict::with(Said::Plain(Outcome::LeasesEnded), numbers, effects)
    }

    pub fn end_task(&mut self, register: &Register, cause: Cause) -> Verdict {
        if self.over.is_some() {
            return Verdict::plain(Outcome::Unchanged);
        }
        let numbers = self.live();
        let effects = self.end(register, &numbers, &Cause::TaskEnded);
        self.over = Some((cause, register.now));
        self.close_if_all_dead(register.now);
        self.version += 1;
        Verdict::with(Said::Plain(Outcome::TaskEnded), numbers, effects)
    }

    fn close_if_all_dead(&mut self, now: u64) {
        if self.over.is_some() && self.lines.iter().all(|line| line.dead.is_some()) {
            self.closed = Some(now);
        }
    }

    /// `alarm` is when the stored task believes that its first lease expires.
    pub fn due(&mut self, register: &Register, alarm: Option<Timestamp>) -> Verdict {
        let now = register.now;
        if let Some(at) = self.closed {
            let kept_until = at.saturating_add(millis(register.rules.retention));
            let gone = kept_until <= now;
            return Verdict::plain(if gone {
                Outcome::Purged
            } else {
                Outcome::Unchanged
            });
        }
        if self.over.is_some() {
            return Verdict::plain(Outcome::Unchanged);
        }
        if let Some(cause) = self.ran_out(now, self.svid.until.0) {
            return self.end_task(register, cause);
        }
        let expired = self.numbers(|line| line.over.is_none() && line.until <= now);
        if expired.is_empty() && alarm.is_some_and(|at| at.0 <= now) {
            self.version += 1;
        }
        self.end_leases(register, expired, &Cause::Expired)
    }

    pub fn issue_settled(
        &mut self,
        register: &Register,
        number: u32,
        made: Option<Option<u8>>,
    ) -> Verdict {
        let id = self.lease_id(number);
        let Some(line) = self.line(number).filter(|l| !l.made && l.over.is_none()) else {
            return Verdict::plain(Outcome::Unchanged);
        };
        let mut effects = vec![];
        if let Some(mark) = made {
            line.made = true;
            line.mark = mark.or(line.mark);
        } else {
            line.over = Some((Cause::IssueFailed, register.now));
            line.said = Some(REASON.to_owned());
            effects.push(Effect::Revoke(id));
        }
        self.version += 1;
        Verdict::with(Said::Plain(Outcome::Settled), vec![number], effects)
    }

    pub fn revoke_settled(&mut self, now: u64, number: u32, how: Option<Confirmation>) -> Verdict {
        let id = self.lease_id(number);
        let Some(line) = self
            .line(number)
            .filter(|l| l.over.is_some() && l.dead.is_none())
        else {
            return Verdict::plain(Outcome::Unchanged);
        };
        let mut effects = vec![];
        if let Some(how) = how {
            line.dead = Some((now, how));
        } else {
            line.failures += 1;
            line.said = Some(REASON.to_owned());
            effects.push(Effect::Revoke(id));
        }
        if how.is_some() {
            self.close_if_all_dead(now);
        }
        self.version += 1;
        Verdict::with(Said::Plain(Outcome::Settled), vec![number], effects)
    }

    /// The task that ought to be stored. When it wakes for a lease is checked apart: it is a bound, not a fact.
    pub fn task(&self, lease_due: Option<Timestamp>) -> Task {
        let count = |test: fn(&Line) -> bool| u32::try_from(self.numbers(test).len()).unwrap();
        let ending = self.over.clone().map(|(cause, at)| Ending {
            cause,
            at: Timestamp(at),
        });
        Task {
            id: self.id,
            agent: agent(self.owner),
            identity: self.svid,
            purpose: "why".to_owned(),
            ticket: "T-1".to_owned(),
            environment: "prod".to_owned(),
            trace: [7; 16],
            opened_at: Timestamp(self.opened),
            deadline: Timestamp(self.deadline),
            liveness: Liveness {
                interval: self.beat.map(Duration::from_millis),
                heartbeat_due: self.beat_due.map(Timestamp),
                hold_due: self.hold_due.map(Timestamp),
            },
            epoch: self.epoch,
            state: match (ending, self.closed) {
                (None, _) => TaskState::Open,
                (Some(ending), None) => TaskState::Closing(ending),
                (Some(ending), Some(at)) => TaskState::Closed {
                    ending,
                    at: Timestamp(at),
                },
            },
            issued: self.issued(),
            live: count(|line| line.over.is_none()),
            revoking: count(|line| line.over.is_some() && line.dead.is_none()),
            lease_due,
            version: self.version,
        }
    }

    pub fn lease(&self, number: u32) -> Lease {
        let line = &self.lines[number as usize];
        Lease {
            id: self.lease_id(number),
            target: target(line.target),
            scopes: scopes(line.target, line.scope),
            enforced: match line.at_target {
                true => Enforced::AtTarget,
                false => Enforced::AtBroker,
            },
            issued_at: Timestamp(line.from),
            renewed_at: line.renewed.map(Timestamp),
            expires_at: Timestamp(line.until),
            bound: line.bound,
            certificate: line.certificate,
            fingerprint: line.mark.map(digest),
            epoch: line.epoch,
            renewals: line.renewals,
            state: match (line.made, line.over.clone(), line.dead) {
                (false, None, _) => LeaseState::Issuing,
                (true, None, _) => LeaseState::Active,
                (_, Some((cause, since)), None) => LeaseState::Revoking {
                    cause,
                    since: Timestamp(since),
                    attempts: line.failures,
                    last_error: line.said.clone(),
                },
                (_, Some((cause, since)), Some((at, confirmed))) => LeaseState::Ended {
                    cause,
                    since: Timestamp(since),
                    at: Timestamp(at),
                    confirmed,
                    attempts: line.failures,
                },
            },
        }
    }
}
