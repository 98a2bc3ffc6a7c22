//! What a verifier needs of an entry, without building the entry: several times faster than reading it whole.
//!
//! The bytes are compared with the schema in one pass. That pass only ever says that an entry is canonical; what it
//! does not recognise is for [`Sealed::parse`] to judge, so the two cannot disagree about what is refused.

mod schema;

use std::borrow::Cow;

use super::{EntryError, MAX_ENTRY, Sealed};
use schema::{Kind, Mark, Member, SEALED};

/// An entry that is in canonical form.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Skimmed<'a> {
    pub seq: u64,
    pub time: u64,
    pub event: Cow<'a, str>,
    pub policy: Option<Cow<'a, str>>,
    pub task: Option<Cow<'a, str>>,
    /// Whether some of its lists are kept beside it.
    pub attached: bool,
}

/// Reads an entry, which must be in canonical form.
pub(crate) fn skim(bytes: &[u8]) -> Result<Skimmed<'_>, EntryError> {
    match fast(bytes) {
        Some(skimmed) => Ok(skimmed),
        None => Sealed::parse(bytes).map(Skimmed::from),
    }
}

fn fast(bytes: &[u8]) -> Option<Skimmed<'_>> {
    let text = std::str::from_utf8(bytes).ok();
    let text = text.filter(|text| text.len() <= MAX_ENTRY)?;
    let mut pass = Pass {
        text,
        at: 0,
        found: Skimmed::default(),
    };
    pass.object(SEALED)?;
    (pass.at == text.len()).then_some(pass.found)
}

impl From<Sealed> for Skimmed<'_> {
    fn from(Sealed { entry, seq }: Sealed) -> Self {
        Self {
            seq,
            time: entry.time,
            attached: !entry.attached.is_empty(),
            event: entry.event.into(),
            policy: entry.policy.map(Cow::from),
            task: entry.task.map(|task| task.id.into()),
        }
    }
}

/// One pass over an entry. Every method moves on behind what it is named for, or gives up.
struct Pass<'a> {
    text: &'a str,
    at: usize,
    found: Skimmed<'a>,
}

impl<'a> Pass<'a> {
    /// The members in the order of the schema: none twice, none unknown, none missing that must be there.
    fn object(&mut self, members: &'static [Member]) -> Option<()> {
        let mut opening = b'{';
        for member in members {
            match self.is_next(opening, member.name) {
                true => {
                    self.at += member.name.len() + 4;
                    self.member(member)?;
                    opening = b',';
                }
                false if member.required => return None,
                false => {}
            }
        }
        (opening == b',').then_some(())?;
        self.expect(b'}')
    }

    /// Whether `{"name":` or `,"name":` comes next.
    fn is_next(&self, opening: u8, name: &str) -> bool {
        let Some((first, rest)) = self.rest().split_first() else {
            return false;
        };
        let name = name.as_bytes();
        let end = rest.get(name.len() + 1..name.len() + 3);
        *first == opening
            && rest.first() == Some(&b'"')
            && rest[1..].starts_with(name)
            && end == Some(b"\":")
    }

    fn member(&mut self, member: &'static Member) -> Option<()> {
        let start = self.at;
        let number = self.value(&member.kind, member.required)?;
        let text = |at: usize| {
            let text = &self.text[start + 1..at - 1];
            // Escapes are left to the slow way.
            (!text.contains('\\')).then_some(Cow::Borrowed(text))
        };
        match member.mark {
            Mark::None => {}
            Mark::Seq => self.found.seq = number,
            Mark::Time => self.found.time = number,
            Mark::Event => self.found.event = text(self.at)?,
            Mark::Policy => self.found.policy = Some(text(self.at)?),
            Mark::Task => self.found.task = Some(text(self.at)?),
            Mark::Attached => self.found.attached = true,
        }
        Some(())
    }

    /// The value's number, if it is one.
    fn value(&mut self, kind: &'static Kind, may_be_empty: bool) -> Option<u64> {
        match kind {
            Kind::Text => self.string()?,
            Kind::Number { most } => return self.number(*most),
            Kind::Signed => return self.signed(),
            Kind::Truth => self.truth()?,
            Kind::Object(members) => self.object(members)?,
            Kind::List(kind) => self.list(kind, may_be_empty)?,
            Kind::Map(kind) => self.map(kind)?,
        }
        Some(0)
    }

    fn list(&mut self, kind: &'static Kind, may_be_empty: bool) -> Option<()> {
        self.expect(b'[')?;
        if may_be_empty && self.expect(b']').is_some() {
            return Some(());
        }
        loop {
            self.value(kind, true)?;
            if self.expect(b',').is_none() {
                return self.expect(b']');
            }
        }
    }

    /// Names strictly ascend. Those with escapes are not ordered as they are spelled, and are left to the slow way.
    fn map(&mut self, kind: &'static Kind) -> Option<()> {
        self.expect(b'{')?;
        let mut last = None;
        loop {
            let start = self.at;
            self.string()?;
            let name = &self.text[start..self.at];
            let ascends = last.is_none_or(|last| last < name.trim_matches('"'));
            (ascends && !name.contains('\\')).then_some(())?;
            last = Some(name.trim_matches('"'));
            self.expect(b':')?;
            self.value(kind, true)?;
            if self.expect(b',').is_none() {
                return self.expect(b'}');
            }
        }
    }

    fn string(&mut self) -> Option<()> {
        self.expect(b'"')?;
        loop {
            let plain = self.rest().iter().position(|byte| !is_plain(*byte))?;
            self.at += plain + 1;
            match self.text.as_bytes()[self.at - 1] {
                b'"' => return Some(()),
                b'\\' => self.escape()?,
                _ => return None,
            }
        }
    }

    /// The one spelling of each character that has to be escaped.
    fn escape(&mut self) -> Option<()> {
        let (kind, rest) = self.rest().split_first()?;
        match kind {
            b'"' | b'\\' | b'b' | b't' | b'n' | b'f' | b'r' => self.at += 1,
            b'u' => {
                let [b'0', b'0', high @ (b'0' | b'1'), low, ..] = rest else {
                    return None;
                };
                // Those with a letter of their own.
                let short = *high == b'0' && matches!(low, b'8' | b'9' | b'a' | b'c' | b'd');
                let is_hex = matches!(low, b'0'..=b'9' | b'a'..=b'f');
                (is_hex && !short).then_some(())?;
                self.at += 5;
            }
            _ => return None,
        }
        Some(())
    }

    fn number(&mut self, most: u64) -> Option<u64> {
        let digits = self.rest().iter().take_while(|byte| byte.is_ascii_digit());
        let digits = digits.count();
        let text = &self.text[self.at..self.at + digits];
        let is_spelled_so = (1..=20).contains(&digits) && (digits == 1 || !text.starts_with('0'));
        let number = is_spelled_so.then(|| text.parse().ok())??;
        self.at += digits;
        (number <= most).then_some(number)
    }

    fn signed(&mut self) -> Option<u64> {
        let negative = self.expect(b'-').is_some();
        let number = self.number(i64::MAX.unsigned_abs())?;
        (!negative || number > 0).then_some(number)
    }

    fn truth(&mut self) -> Option<()> {
        let words = [&b"true"[..], b"false"];
        let word = words.iter().find(|word| self.rest().starts_with(word))?;
        self.at += word.len();
        Some(())
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.rest().first() == Some(&byte)).then(|| self.at += 1)
    }

    fn rest(&self) -> &'a [u8] {
        &self.text.as_bytes()[self.at..]
    }
}

/// Whether this byte of a string stands for itself.
fn is_plain(byte: u8) -> bool {
    const PLAIN: [bool; 256] = {
        let mut plain = [true; 256];
        let mut byte = 0;
        while byte < 0x20 {
            plain[byte] = false;
            byte += 1;
        }
        plain[b'"' as usize] = false;
        plain[b'\\' as usize] = false;
        plain
    };
    PLAIN[usize::from(byte)]
}

#[cfg(test)]
mod tests;
