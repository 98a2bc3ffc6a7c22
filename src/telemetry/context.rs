//! W3C Trace Context: which trace a call belongs to, as its caller says (`traceparent`, version 00).

use std::fmt;
use std::future::Future;
use std::str::FromStr;

use tokio::task_local;

/// The name of the header, and of the gRPC metadata.
pub const TRACEPARENT: &str = "traceparent";
/// The length of a `traceparent` of version 00.
const LENGTH: usize = 55;
const SAMPLED: u8 = 1;

task_local! {
    static CURRENT: Option<TraceContext>;
}

/// A place in a distributed trace: what `traceparent` says. `tracestate` is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TraceContext {
    trace: [u8; 16],
    span: [u8; 8],
    flags: u8,
}

/// Not a `traceparent`. Whoever gets one goes on as if there were none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a traceparent as in W3C Trace Context: write 00-<32 hex digits>-<16 hex digits>-<2 hex digits>"
)]
pub struct NotTraceContext;

impl TraceContext {
    /// A place in a trace; none if one of the ids is all zero, which stands for no id. Of the flags the lowest bit is
    /// kept: whether somebody records the trace.
    pub fn new(trace: [u8; 16], span: [u8; 8], flags: u8) -> Option<Self> {
        let flags = flags & SAMPLED;
        let is_one = trace != [0; 16] && span != [0; 8];
        is_one.then_some(Self { trace, span, flags })
    }

    /// The trace.
    pub fn trace(&self) -> [u8; 16] {
        self.trace
    }

    /// The caller's span.
    pub fn span(&self) -> [u8; 8] {
        self.span
    }

    /// Whether the caller records the trace.
    pub fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }
}

impl FromStr for TraceContext {
    type Err = NotTraceContext;

    /// Section 3.2 of the recommendation. A later version is read as far as version 00 goes.
    fn from_str(text: &str) -> Result<Self, NotTraceContext> {
        let text = text.as_bytes();
        let (first, rest) = text.split_at_checked(LENGTH).ok_or(NotTraceContext)?;
        let [version] = hex(&first[..2])?;
        let dashes = [2, 35, 52].iter().all(|at| first[*at] == b'-');
        let ends = match version {
            0 => rest.is_empty(),
            0xff => false,
            _ => rest.first().is_none_or(|byte| *byte == b'-'),
        };
        if !dashes || !ends {
            return Err(NotTraceContext);
        }
        let [flags] = hex(&first[53..])?;
        Self::new(hex(&first[3..35])?, hex(&first[36..52])?, flags).ok_or(NotTraceContext)
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let trace = u128::from_be_bytes(self.trace);
        let span = u64::from_be_bytes(self.span);
        write!(f, "00-{trace:032x}-{span:016x}-{:02x}", self.flags)
    }
}

/// Lower-case digits only: upper-case ones are refused by the recommendation.
fn hex<const N: usize>(digits: &[u8]) -> Result<[u8; N], NotTraceContext> {
    let mut bytes = [0; N];
    if digits.len() != 2 * N {
        return Err(NotTraceContext);
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Ok(bytes)
}

fn digit(digit: u8) -> Result<u8, NotTraceContext> {
    match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'a'..=b'f' => Ok(digit - b'a' + 10),
        _ => Err(NotTraceContext),
    }
}

/// Does it as part of what this context says, or of no trace.
pub async fn within<T>(context: Option<TraceContext>, doing: impl Future<Output = T>) -> T {
    CURRENT.scope(context, doing).await
}

/// What is done at this moment is part of this, if of any trace.
pub fn current() -> Option<TraceContext> {
    CURRENT.try_with(|context| *context).unwrap_or_default()
}

/// The same work as a part of the current trace, wherever it is done: for tasks that are spawned.
pub fn carried<T>(doing: impl Future<Output = T>) -> impl Future<Output = T> {
    CURRENT.scope(current(), doing)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOUND: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn what_is_sound_is_read_and_written_as_it_was() {
        let context: TraceContext = SOUND.parse().unwrap();
        assert_eq!(context.to_string(), SOUND);
        assert_eq!(context.trace()[..2], [0x4b, 0xf9]);
        assert_eq!(context.span()[6..], [0x02, 0xb7]);
        assert!(context.is_sampled());
        let off: TraceContext = SOUND.replace("-01", "-00").parse().unwrap();
        assert!(!off.is_sampled());
    }

    #[test]
    fn unknown_flags_are_not_passed_on() {
        let context: TraceContext = SOUND.replace("-01", "-ff").parse().unwrap();
        assert_eq!(context.to_string(), SOUND);
    }

    #[test]
    fn a_later_version_is_read_as_far_as_it_is_known() {
        for later in [
            SOUND.replacen("00", "01", 1),
            format!("{}-what.the-future", SOUND.replacen("00", "cc", 1)),
            format!("{}-", SOUND.replacen("00", "fe", 1)),
        ] {
            let context: TraceContext = later.parse().unwrap();
            assert_eq!(context.to_string(), SOUND, "{later}");
        }
    }

    #[test]
    fn what_is_not_sound_is_refused() {
        for (why, text) in [
            ("empty", String::new()),
            ("space", " ".to_owned()),
            ("too short", SOUND[..54].to_owned()),
            ("too long", format!("{SOUND}0")),
            ("more after version 00", format!("{SOUND}-more")),
            ("a dash after version 00", format!("{SOUND}-")),
            ("space before", format!(" {SOUND}")),
            ("space after", format!("{SOUND} ")),
            ("version ff", SOUND.replacen("00", "ff", 1)),
            ("version of one digit", SOUND[1..].to_owned()),
            ("version of letters", SOUND.replacen("00", "zz", 1)),
            ("version with a sign", SOUND.replacen("00", "+0", 1)),
            ("upper-case version", SOUND.replacen("00", "0A", 1)),
            ("upper-case trace", SOUND.replace("4bf9", "4BF9")),
            ("upper-case span", SOUND.replace("00f0", "00F0")),
            ("upper-case flags", SOUND.replace("-01", "-0A")),
            ("flags of letters", SOUND.replace("-01", "-0x")),
            ("a letter in the trace", SOUND.replace("4bf9", "4bfg")),
            ("a letter in the span", SOUND.replace("00f0", "00g0")),
            (
                "no trace",
                SOUND.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
            ),
            (
                "no span",
                SOUND.replace("00f067aa0ba902b7", &"0".repeat(16)),
            ),
            ("a short trace", SOUND.replace("4bf9", "4bf")),
            ("a long trace", SOUND.replace("4bf9", "4bf9a")),
            ("a short span", SOUND.replace("00f0", "0f0")),
            ("other dashes", SOUND.replace('-', "_")),
            ("a dash too early", SOUND.replace("36-00", "3-600")),
            ("no flags", SOUND.replace("-01", "-")),
            ("not ASCII", SOUND.replace("4b", "\u{e9}")),
            (
                "a later version that goes on without a dash",
                format!("{}0", SOUND.replacen("00", "01", 1)),
            ),
            (
                "a later version that is too short",
                SOUND.replacen("00", "01", 1)[..50].to_owned(),
            ),
            ("two of them", format!("{SOUND},{SOUND}")),
        ] {
            assert_eq!(
                text.parse::<TraceContext>(),
                Err(NotTraceContext),
                "{why}: {text:?}"
            );
        }
    }

    #[test]
    fn ids_of_zeros_are_none() {
        assert_eq!(TraceContext::new([0; 16], [1; 8], 0), None);
        assert_eq!(TraceContext::new([1; 16], [0; 8], 0), None);
    }

    #[tokio::test]
    async fn work_is_part_of_the_trace_that_it_is_done_within() {
        let context = SOUND.parse().ok();
        assert_eq!(current(), None);
        within(context, async {
            assert_eq!(current(), context);
            let spawned = tokio::spawn(async { current() });
            assert_eq!(spawned.await.unwrap(), None);
            let carried = tokio::spawn(carried(async { current() }));
            assert_eq!(carried.await.unwrap(), context);
        })
        .await;
        assert_eq!(current(), None);
    }
}
