//! The story as people read it.

use std::time::Duration;

use crate::audit::story::{Action, At, Decision, LeaseEvent, LeaseStory, Opened, Step, Story};
use crate::cli::output::{Page, Show};
use crate::cli::show::bound_in_words;
use crate::cli::style::Tone;
use crate::cli::text::{count, length, short, snake};
use crate::cli::view::Time;

/// Room for words that others wrote.
const WORDS_COLUMNS: usize = 200;
/// How much of a digest tells it from others.
const DIGEST: usize = 16;

/// A line, and what hangs from it.
struct Node {
    tone: Tone,
    text: String,
    below: Vec<Node>,
}

impl Node {
    fn new(text: impl Into<String>) -> Self {
        Self::toned(Tone::Plain, text)
    }

    fn toned(tone: Tone, text: impl Into<String>) -> Self {
        Self {
            tone,
            text: text.into(),
            below: Vec::new(),
        }
    }

    fn with(mut self, below: impl IntoIterator<Item = Node>) -> Self {
        self.below.extend(below);
        self
    }

    fn draw(&self, page: &mut Page, lead: &str, is_last: bool) {
        let (branch, trunk) = match is_last {
            true => ("└─ ", "   "),
            false => ("├─ ", "│  "),
        };
        page.toned(self.tone, format!("{lead}{branch}{}", self.text));
        self.draw_below(page, &format!("{lead}{trunk}"));
    }

    fn draw_below(&self, page: &mut Page, lead: &str) {
        let last = self.below.len();
        for (node, n) in self.below.iter().zip(1..) {
            node.draw(page, lead, n == last);
        }
    }
}

impl Show for Story {
    fn show(&self, page: &mut Page) {
        let state = self.state.as_deref().map(snake);
        let state = state.unwrap_or_else(|| "unknown".to_owned());
        page.toned(Tone::Strong, format!("task {}, {state}", self.task));
        let opening = self.opened.as_ref().map(|opened| opening(self, opened));
        let lost = || Node::toned(Tone::Busy, "its opening is not in the ledger any more");
        let steps = self.steps.iter().map(step);
        let root = Node::new("")
            .with([opening.unwrap_or_else(lost)])
            .with(steps)
            .with([closing(self)]);
        root.draw_below(page, "");
    }
}

fn opening(story: &Story, opened: &Opened) -> Node {
    let mut node = Node::new(format!(
        "{} opened by {}, {}",
        mark(&opened.at),
        opened.agent,
        Time::from_millis(opened.at.time_ms)
    ));
    let mut say = |text: Option<String>| node.below.extend(text.map(Node::new));
    say(story.owner.as_ref().map(|owner| {
        let team = story.team.as_deref().unwrap_or_default();
        format!("owner {owner}, team {team}")
    }));
    say(opened
        .purpose
        .as_ref()
        .map(|text| format!("purpose {}", quoted(text))));
    say(opened
        .ticket
        .as_ref()
        .map(|text| format!("ticket {}", quoted(text))));
    say(opened
        .environment
        .as_ref()
        .map(|name| format!("environment {name}")));
    say(opened
        .deadline_ms
        .map(|at| format!("deadline {}", after(at.saturating_sub(opened.at.time_ms)))));
    say(opened
        .certificate
        .as_ref()
        .map(|digest| format!("certificate {}", brief(digest))));
    say(opened
        .prompt
        .as_ref()
        .map(|digest| format!("prompt {digest}, as the agent says")));
    say(story.trace.as_ref().map(|id| format!("trace {id}")));
    node
}

fn step(step: &Step) -> Node {
    let decisions = step.decisions.iter().map(decision);
    let leases = step.leases.iter().map(lease);
    let action = step.action.iter().map(action_of);
    headline(step).with(decisions).with(leases).with(action)
}

fn headline(step: &Step) -> Node {
    let mark = mark(&step.at);
    let by = step
        .at
        .by
        .as_ref()
        .map(|by| format!(" by {by}"))
        .unwrap_or_default();
    let policy = step
        .policy
        .as_ref()
        .map(|digest| format!(", policy {}", brief(digest)));
    let policy = policy.unwrap_or_default();
    let cause = step.cause.as_deref().unwrap_or("no cause told");
    match step.at.event.as_str() {
        "lease.issued" => Node::toned(Tone::Good, format!("{mark} request granted{policy}")),
        "request.refused" => {
            let why = step.refusal.as_deref().unwrap_or("no reason told");
            let call = step.detail.get("call").map(|call| format!(" ({call})"));
            let call = call.unwrap_or_default();
            Node::toned(
                Tone::Bad,
                format!("{mark} refused: {why}{call}{by}{policy}"),
            )
        }
        "task.ended" => Node::toned(Tone::Strong, format!("{mark} task ended: {cause}{by}")),
        "lease.ended" => Node::new(format!("{mark} leases ended: {cause}{by}")),
        "action.recorded" => Node::new(format!(
            "{mark} action, with no lease that was granted here"
        )),
        event => {
            let detail = step.detail.iter().filter(|(name, _)| *name != "task");
            let detail: Vec<_> = detail
                .map(|(name, value)| format!(" {name}={}", quoted(value)))
                .collect();
            Node::new(format!("{mark} {event}{by}{}", detail.concat()))
        }
    }
}

fn decision(decision: &Decision) -> Node {
    let tone = match decision.outcome.as_str() {
        "permit" => Tone::Good,
        _ => Tone::Bad,
    };
    let by = match decision.deciding.as_slice() {
        [] => "no policy permits it".to_owned(),
        ids => format!("by {}", ids.join(", ")),
    };
    Node::toned(
        tone,
        format!("{} {}, {by}", decision.outcome, decision.scope),
    )
}

fn lease(lease: &LeaseStory) -> Node {
    let number = lease.id.rsplit('.').next().unwrap_or(&lease.id);
    let mut text = format!("lease {number} at {}", lease.target);
    if let Some(at) = lease.expires_after_ms {
        text.push_str(&format!(", expires {}", after(at)));
    }
    if let Some(bound) = &lease.bound {
        text.push_str(&format!(", bound by {}", bound_in_words(bound)));
    }
    if let Some(digest) = &lease.fingerprint {
        text.push_str(&format!(", fingerprint {}", brief(digest)));
    }
    Node::new(text).with(lease.events.iter().map(|event| lease_event(lease, event)))
}

fn lease_event(lease: &LeaseStory, event: &LeaseEvent) -> Node {
    let mark = mark(&event.at);
    if let Some(action) = &event.action {
        let node = action_of(action);
        let text = format!("{mark} {}", node.text);
        return Node { text, ..node };
    }
    if let Some(expires) = event.expires_after_ms {
        let text = format!("{mark} renewed, expires {}", after(expires));
        return Node::new(text);
    }
    if let Some(how) = &event.confirmed {
        let lag = lease
            .lag_ms
            .filter(|lag| *lag > 0)
            .map(Duration::from_millis);
        let lag = lag.map_or_else(
            || "at once".to_owned(),
            |lag| format!("after {}", length(lag)),
        );
        let cause = event.cause.as_deref().unwrap_or("no cause told");
        return Node::toned(
            Tone::Good,
            format!("{mark} ended ({cause}), confirmed dead {lag}: {how}"),
        );
    }
    let state = event.state.as_deref().map(snake).unwrap_or_default();
    let cause = event
        .cause
        .as_ref()
        .map(|cause| format!(" ({cause})"))
        .unwrap_or_default();
    let attempts = event.attempts.filter(|attempts| *attempts > 0);
    let attempts =
        attempts.map(|attempts| format!(", {} in vain", count(attempts.into(), "attempt")));
    let text = format!("{mark} {state}{cause}{}", attempts.unwrap_or_default());
    match &event.error {
        Some(error) => Node::toned(Tone::Bad, format!("{text}: {}", quoted(error))),
        None => Node::new(text),
    }
}

fn action_of(action: &Action) -> Node {
    let tone = match action.result.as_str() {
        "succeeded" => Tone::Plain,
        _ => Tone::Bad,
    };
    let text = format!(
        "action {} on {}: {}",
        quoted(&action.tool),
        quoted(&action.resource),
        action.result
    );
    let mut node = Node::toned(tone, text);
    let digests = [
        ("prompt", &action.prompt),
        ("arguments", &action.arguments),
        ("response", &action.response),
    ];
    for (name, digest) in digests {
        node.below.extend(
            digest
                .iter()
                .map(|digest| Node::new(format!("{name} {digest}"))),
        );
    }
    node.below.extend(
        action
            .call
            .iter()
            .map(|call| Node::new(format!("call {}", quoted(call)))),
    );
    node.below.extend(
        action
            .text
            .iter()
            .map(|text| Node::new(format!("text {}", quoted(text)))),
    );
    let missing = action.text_missing.iter();
    node.below
        .extend(missing.map(|why| Node::toned(Tone::Dim, format!("text {why}"))));
    node
}

fn closing(story: &Story) -> Node {
    let told = &story.credentials;
    let all = count(told.issued, "credential");
    let (tone, text) = match (told.issued, told.live, told.unconfirmed) {
        (0, ..) => (Tone::Plain, "no credential was issued".to_owned()),
        (_, 0, 0) => (Tone::Good, format!("the death of {all} is confirmed")),
        (_, 0, left) => (Tone::Bad, format!("{left} of {all} not confirmed dead")),
        (_, live, 0) => (Tone::Busy, format!("{live} of {all} still live")),
        (_, live, left) => (
            Tone::Bad,
            format!("{live} of {all} still live, {left} not confirmed dead"),
        ),
    };
    Node::toned(tone, text)
}

/// When, and which entry says so.
fn mark(at: &At) -> String {
    format!("{} #{}", after(at.after_ms), at.entry)
}

fn after(millis: u64) -> String {
    match millis {
        millis if millis < 10_000 => format!("+{}.{:03}s", millis / 1000, millis % 1000),
        millis => format!("+{}", length(Duration::from_millis(millis))),
    }
}

fn brief(digest: &str) -> String {
    let start: String = digest.chars().take(DIGEST).collect();
    format!("{start}…")
}

/// Others' words, so that it can be seen where they begin and end.
fn quoted(text: &str) -> String {
    let text = text.replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{}\"", short(&text, WORDS_COLUMNS))
}

#[cfg(test)]
mod tests;
