//! Text with `{{target.field}}` in it.

use quietus_core::TargetName;

use super::args::Assignment;
use crate::cli::exit::Complaint;
use crate::issuers::Secret;

/// Where a rendered template goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goes {
    /// Into the variable.
    Inline,
    /// Into a file whose path the variable gets.
    File,
}

/// A variable whose value is made of credentials' fields.
#[derive(Clone, Debug)]
pub struct Template {
    pub name: String,
    pub goes: Goes,
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Field(Placeholder),
}

/// One field of one credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placeholder {
    pub target: TargetName,
    pub field: String,
    encoded: bool,
}

impl Template {
    /// Reads a template that may name these targets.
    pub fn read(
        given: &Assignment,
        goes: Goes,
        targets: &[&TargetName],
    ) -> Result<Self, Complaint> {
        let option = if goes == Goes::File { "file" } else { "env" };
        let parts = parts(&given.template, targets);
        let parts =
            parts.map_err(|why| Complaint::Usage(format!("--{option} {}: {why}", given.name)))?;
        let name = given.name.clone();
        Ok(Self { name, goes, parts })
    }

    pub fn placeholders(&self) -> impl Iterator<Item = &Placeholder> {
        self.parts.iter().filter_map(|part| match part {
            Part::Field(placeholder) => Some(placeholder),
            Part::Text(_) => None,
        })
    }

    pub fn names(&self, target: &TargetName) -> bool {
        self.placeholders()
            .any(|placeholder| placeholder.target == *target)
    }

    /// The text, with each field as `look_up` finds it.
    pub fn render<'a>(
        &self,
        look_up: impl Fn(&Placeholder) -> Result<&'a Secret, Complaint>,
    ) -> Result<Secret, Complaint> {
        let mut found = Vec::with_capacity(self.parts.len());
        for part in &self.parts {
            found.push(match part {
                Part::Text(text) => Secret::new(text.as_str()),
                Part::Field(field) if field.encoded => encoded(look_up(field)?.expose()),
                Part::Field(field) => look_up(field)?.clone(),
            });
        }
        Ok(joined(&found))
    }
}

/// Whether it can be the name of a variable.
pub fn is_variable(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    name.bytes().all(plain) && name.bytes().next().is_some_and(|b| !b.is_ascii_digit())
}

/// Percent-encoded (RFC 3986 section 2.1), all but unreserved characters.
pub fn encoded(text: &str) -> Secret {
    // Never grown, so that no copy is left behind.
    let mut encoded = String::with_capacity(text.len() * 3);
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte));
            }
            _ => {
                encoded.push('%');
                encoded.push(char::from(HEX[usize::from(byte >> 4)]));
                encoded.push(char::from(HEX[usize::from(byte & 15)]));
            }
        }
    }
    Secret::new(encoded)
}

/// One text after the other.
pub fn joined(parts: &[Secret]) -> Secret {
    let length = parts.iter().map(|part| part.expose().len()).sum();
    let mut text = String::with_capacity(length);
    for part in parts {
        text.push_str(part.expose());
    }
    Secret::new(text)
}

const HEX: &[u8; 16] = b"0123456789ABCDEF";

fn parts(template: &str, targets: &[&TargetName]) -> Result<Vec<Part>, String> {
    let mut parts = Vec::new();
    let mut rest = template;
    while let Some((text, opened)) = rest.split_once("{{") {
        let (inside, after) = opened
            .split_once("}}")
            .ok_or_else(|| "a {{ has no }} behind it".to_owned())?;
        if !text.is_empty() {
            parts.push(Part::Text(text.to_owned()));
        }
        parts.push(Part::Field(placeholder(inside.trim(), targets)?));
        rest = after;
    }
    if !rest.is_empty() {
        parts.push(Part::Text(rest.to_owned()));
    }
    Ok(parts)
}

fn placeholder(inside: &str, targets: &[&TargetName]) -> Result<Placeholder, String> {
    let (path, encoded) = match inside.split_once('|') {
        None => (inside, false),
        Some((path, "url")) => (path, true),
        Some((_, filter)) => return Err(format!("there is no filter {filter}: only url")),
    };
    // Names of targets hold dots: the longest that fits is meant.
    let of = |target: &&TargetName| path.strip_prefix(target.as_str())?.strip_prefix('.');
    let target = targets
        .iter()
        .copied()
        .filter(|target| of(target).is_some());
    let target = target.max_by_key(|target| target.as_str().len());
    let Some((target, field)) = target.and_then(|target| Some((target, of(&target)?))) else {
        let names: Vec<&str> = targets.iter().map(|target| target.as_str()).collect();
        let names = names.join(", ");
        return Err(format!(
            "{{{{{inside}}}}} names none of the targets: {names}"
        ));
    };
    Ok(Placeholder {
        target: target.clone(),
        field: field.to_owned(),
        encoded,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(template: &str) -> Result<Template, String> {
        let targets: Vec<TargetName> = ["db", "db.eu", "web"]
            .map(|name| name.parse().unwrap())
            .into();
        let given = Assignment {
            name: "X".to_owned(),
            template: template.to_owned(),
        };
        let targets: Vec<&TargetName> = targets.iter().collect();
        Template::read(&given, Goes::Inline, &targets).map_err(|error| error.to_string())
    }

    fn render(template: &str) -> String {
        let secret = Secret::new("p@ss/w:ü");
        let rendered = read(template).unwrap().render(|_| Ok(&secret)).unwrap();
        rendered.expose().to_owned()
    }

    #[test]
    fn fields_are_replaced() {
        assert_eq!(render(""), "");
        assert_eq!(render("plain }} {x}"), "plain }} {x}");
        assert_eq!(render("a{{db.password}}b"), "ap@ss/w:üb");
        assert_eq!(render("{{ db.a }}{{web.b}}"), "p@ss/w:üp@ss/w:ü");
        assert_eq!(render("u:{{db.password|url}}@h"), "u:p%40ss%2Fw%3A%C3%BC@h");
    }

    #[test]
    fn the_longest_target_is_meant() {
        let template = read("{{db.eu.user}} {{db.user}}").unwrap();
        let named: Vec<(&str, &str)> = template
            .placeholders()
            .map(|p| (p.target.as_str(), p.field.as_str()))
            .collect();
        assert_eq!(named, [("db.eu", "user"), ("db", "user")]);
    }

    #[test]
    fn mistakes_are_told_with_what_there_is() {
        let cases = [
            ("{{db.user", "--env X: a {{ has no }} behind it"),
            (
                "{{cache.user}}",
                "--env X: {{cache.user}} names none of the targets: db, db.eu, web",
            ),
            (
                "{{}}",
                "--env X: {{}} names none of the targets: db, db.eu, web",
            ),
            (
                "{{db}}",
                "--env X: {{db}} names none of the targets: db, db.eu, web",
            ),
            (
                "{{db.user|sql}}",
                "--env X: there is no filter sql: only url",
            ),
        ];
        for (template, told) in cases {
            assert_eq!(read(template).unwrap_err(), told);
        }
    }

    #[test]
    fn names_of_variables() {
        for good in ["A", "_", "a1", "PGHOST"] {
            assert!(is_variable(good), "{good}");
        }
        for bad in ["", "1a", "a-b", "a b", "ü", "a=b", "A\0"] {
            assert!(!is_variable(bad), "{bad:?}");
        }
    }
}
