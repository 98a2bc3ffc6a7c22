//! Spans: what took how long, as a part of what. They never carry a secret, nor any text that an agent, an operator
//! or a target wrote.

use std::borrow::Cow;
use std::sync::{Mutex, PoisonError};

use quietus_core::{LeaseId, TaskId};
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};
use tokio::sync::mpsc;

use super::context::TraceContext;
use super::measures::Counter;

/// How many spans may wait to be sent. One more, and it is dropped.
pub const QUEUE: usize = 8192;

/// The id of a span: never all zero.
pub type SpanId = [u8; 8];

/// Something that took its time.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// Which trace it belongs to.
    pub trace: [u8; 16],
    /// Its own id.
    pub id: SpanId,
    /// What it is a part of.
    pub parent: Option<SpanId>,
    /// What it was.
    pub name: Cow<'static, str>,
    /// How it stands to others.
    pub kind: SpanKind,
    /// When it began, in nanoseconds since 1970.
    pub start: u64,
    /// When it was over.
    pub end: u64,
    /// What else is known of it.
    pub attributes: Vec<Attribute>,
    /// If it failed, a stable word for why: `error.type`.
    pub error: Option<Cow<'static, str>>,
    /// Another place that it belongs to.
    pub link: Option<TraceContext>,
}

/// How a span stands to others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanKind {
    /// Work in here.
    Internal,
    /// A call that came in.
    Server,
    /// A call that went out.
    Client,
}

/// A name and a value.
pub type Attribute = (&'static str, Text);

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Text {
    /// A text.
    Text(Cow<'static, str>),
    /// A number.
    Number(i64),
}

/// Where spans go: a queue that is never waited for.
#[derive(Debug)]
pub struct Spans {
    queue: mpsc::Sender<Span>,
    /// Until somebody sends them on.
    waiting: Mutex<Option<mpsc::Receiver<Span>>>,
    /// Those that had no room, or could not be sent.
    dropped: Counter,
}

impl Default for Spans {
    fn default() -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE);
        Self {
            queue,
            waiting: Mutex::new(Some(waiting)),
            dropped: Counter::default(),
        }
    }
}

impl Spans {
    /// Puts it into the queue, if there is room.
    pub fn put(&self, span: Span) {
        if self.queue.try_send(span).is_err() {
            self.dropped.increment();
        }
    }

    /// How many had no room, or could not be sent.
    pub fn dropped(&self) -> &Counter {
        &self.dropped
    }

    /// The other end of the queue; none if somebody has it.
    pub(super) fn take(&self) -> Option<mpsc::Receiver<Span>> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.take()
    }
}

impl Span {
    /// A span with nothing known of it but its place and its time.
    pub fn new(trace: [u8; 16], id: SpanId, name: &'static str, (start, end): (u64, u64)) -> Self {
        Self {
            trace,
            id,
            parent: None,
            name: Cow::Borrowed(name),
            kind: SpanKind::Internal,
            start,
            end,
            attributes: Vec::new(),
            error: None,
            link: None,
        }
    }

    /// The same as a part of that one.
    pub fn under(self, parent: SpanId) -> Self {
        let parent = Some(parent);
        Self { parent, ..self }
    }

    /// The same of this kind.
    pub fn kind(self, kind: SpanKind) -> Self {
        Self { kind, ..self }
    }

    /// The same with one thing more known of it.
    pub fn with(mut self, name: &'static str, value: impl Into<Text>) -> Self {
        self.attributes.push((name, value.into()));
        self
    }

    /// The same, which failed if there is a word for why.
    pub fn failed(self, error: Option<impl Into<Cow<'static, str>>>) -> Self {
        let error = error.map(Into::into);
        Self { error, ..self }
    }
}

impl From<&'static str> for Text {
    fn from(text: &'static str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self::Text(Cow::Owned(text))
    }
}

impl From<u32> for Text {
    fn from(number: u32) -> Self {
        Self::Number(number.into())
    }
}

/// A new id. Without randomness it is the same each time, and the spans are not told apart.
pub fn new_id() -> SpanId {
    let mut id = [0; 8];
    let _ = SystemRandom::new().fill(&mut id);
    never_zero(id)
}

/// The id of a task's own span: it follows from the task's name, so that it is known before and after a restart.
pub fn of_task(task: TaskId) -> SpanId {
    let mut id = [0; 8];
    // The random half of a UUID.
    id.copy_from_slice(&task.to_bytes()[8..]);
    never_zero(id)
}

/// The id of the span that is a lease's revocation: it follows from the lease's name.
pub fn of_revocation(lease: LeaseId) -> SpanId {
    let mut name = [0; 20];
    name[..16].copy_from_slice(&lease.task.to_bytes());
    name[16..].copy_from_slice(&lease.number.to_be_bytes());
    let mut id = [0; 8];
    id.copy_from_slice(&digest(&SHA256, &name).as_ref()[..8]);
    never_zero(id)
}

fn never_zero(mut id: SpanId) -> SpanId {
    if id == [0; 8] {
        id[7] = 1;
    }
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span() -> Span {
        Span::new([1; 16], new_id(), "issue", (1, 2))
    }

    #[test]
    fn what_has_no_room_is_dropped_and_counted() {
        let spans = Spans::default();
        for _ in 0..QUEUE + 3 {
            spans.put(span());
        }
        assert_eq!(spans.dropped().get(), 3);
    }

    #[test]
    fn nobody_has_the_queue_twice() {
        let spans = Spans::default();
        let waiting = spans.take();
        assert!(waiting.is_some() && spans.take().is_none());
        drop(waiting);
        spans.put(span());
        assert_eq!(spans.dropped().get(), 1, "nobody is left to send it");
    }

    #[test]
    fn ids_are_never_zero_and_follow_from_names() {
        let lease = |number| LeaseId {
            task: TaskId::from_bytes([0; 16]),
            number,
        };
        assert_ne!(of_task(lease(0).task), [0; 8]);
        assert_eq!(of_revocation(lease(1)), of_revocation(lease(1)));
        assert_ne!(of_revocation(lease(1)), of_revocation(lease(2)));
    }
}
