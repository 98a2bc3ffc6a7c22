use std::collections::HashMap;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use humantime::format_duration;
use quietus_identity::SpiffeId;
use toml::Spanned;

use super::raw::{Number, Span, Text};
use super::source::Source;
use super::{ConfigError, MAX_ENTRIES, Problem};

const MAX_WORDS: usize = 128;

/// Collects what is wrong with a file while its parts are checked. A part that is wrong is `None` or its default;
/// [`Self::finish`] lets nothing through once there is a problem.
pub(super) struct Problems<'a> {
    source: &'a Source,
    found: Vec<Problem>,
}

impl<'a> Problems<'a> {
    pub(super) fn new(source: &'a Source) -> Self {
        let found = Vec::new();
        Self { source, found }
    }

    pub(super) fn finish<T>(self, whole: Option<T>) -> Result<T, ConfigError> {
        let problems = self.found;
        match whole {
            Some(whole) if problems.is_empty() => Ok(whole),
            _ => Err(ConfigError::Invalid {
                path: self.source.path().to_owned(),
                problems,
            }),
        }
    }

    pub(super) fn at<T>(&mut self, key: &'static str, at: &Spanned<T>, message: impl Display) {
        let line = Some(self.line(at));
        self.add(key, line, message);
    }

    pub(super) fn missing(&mut self, key: &'static str, message: impl Display) {
        self.add(key, None, message);
    }

    pub(super) fn parsed<T>(&mut self, key: &'static str, text: &Text) -> Option<T>
    where
        T: FromStr<Err: Display>,
    {
        self.accepted(key, text, text.get_ref().parse())
    }

    pub(super) fn accepted<T>(
        &mut self,
        key: &'static str,
        text: &Text,
        read: Result<T, impl Display>,
    ) -> Option<T> {
        read.map_err(|reason| self.at(key, text, format_args!("{:?}: {reason}", text.get_ref())))
            .ok()
    }

    /// The SPIFFE ID of a workload.
    pub(super) fn workload(&mut self, key: &'static str, text: &Text) -> Option<SpiffeId> {
        let id: SpiffeId = self.parsed(key, text)?;
        let read = check_workload(&id);
        self.accepted(key, text, read).map(|()| id)
    }

    /// A path, relative to the file's folder.
    pub(super) fn path(&mut self, key: &'static str, text: &Text) -> Option<PathBuf> {
        let path = text.get_ref();
        if path.trim().is_empty() || path.contains('\0') {
            self.at(
                key,
                text,
                "not a path: write one, relative to this file or absolute",
            );
            return None;
        }
        Some(self.source.folder().join(path))
    }

    /// A short text for people and policies.
    pub(super) fn words(&mut self, key: &'static str, text: &Text) -> Option<String> {
        let words = text.get_ref();
        let sound = (1..=MAX_WORDS).contains(&words.len())
            && words.trim() == words
            && !words.chars().any(char::is_control);
        if !sound {
            let expected = "write 1 to 128 bytes without control characters or space around them";
            self.at(key, text, expected);
        }
        sound.then(|| words.clone())
    }

    pub(super) fn number<T: TryFrom<i64>>(
        &mut self,
        key: &'static str,
        number: &Number,
        range: RangeInclusive<i64>,
    ) -> Option<T> {
        let value = *number.get_ref();
        let fitting = range.contains(&value).then(|| T::try_from(value).ok());
        if let Some(fitting) = fitting.flatten() {
            return Some(fitting);
        }
        let (least, most) = range.into_inner();
        let message = format!("{value}: write a whole number from {least} to {most}");
        self.at(key, number, message);
        None
    }

    pub(super) fn number_or<T: TryFrom<i64>>(
        &mut self,
        key: &'static str,
        number: &Option<Number>,
        default: T,
        range: RangeInclusive<i64>,
    ) -> T {
        let given = number.as_ref();
        given
            .and_then(|number| self.number(key, number, range))
            .unwrap_or(default)
    }

    pub(super) fn span_or(
        &mut self,
        key: &'static str,
        span: &Option<Spanned<Span>>,
        default: Duration,
        range: RangeInclusive<Duration>,
    ) -> Duration {
        let Some(span) = span else { return default };
        let Span(value) = *span.get_ref();
        if range.contains(&value) {
            return value;
        }
        let [value, least, most] = [value, *range.start(), *range.end()].map(format_duration);
        let message = format!("{value}: write a duration from {least} to {most}");
        self.at(key, span, message);
        default
    }

    /// Refuses more entries than a file may have.
    pub(super) fn few<T>(&mut self, key: &'static str, entries: &[T]) {
        let count = entries.len();
        if count > MAX_ENTRIES {
            let message =
                format!("{count} entries: at most {MAX_ENTRIES} are allowed; remove some");
            self.missing(key, message);
        }
    }

    /// Refuses a name that was there before.
    pub(super) fn unique<'t>(
        &mut self,
        key: &'static str,
        names: impl IntoIterator<Item = &'t Text>,
    ) {
        let mut seen = HashMap::new();
        for name in names {
            let line = self.line(name);
            if let Some(first) = seen.insert(name.get_ref(), line) {
                let name = name.get_ref();
                let message = format!("{name:?} is already on line {first}: remove one of the two");
                self.add(key, Some(line), message);
            }
        }
    }

    fn add(&mut self, key: &'static str, line: Option<usize>, message: impl Display) {
        let message = message.to_string();
        self.found.push(Problem { line, key, message });
    }

    fn line<T>(&self, at: &Spanned<T>) -> usize {
        self.source.line(at.span().start)
    }
}

/// Refuses the ID of a trust domain, which names no workload.
pub(super) fn check_workload(id: &SpiffeId) -> Result<(), &'static str> {
    match id.path() {
        "" => Err("this names a trust domain: add the path of a workload"),
        _ => Ok(()),
    }
}
