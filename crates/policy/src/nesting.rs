//! Keeps policies shallow enough for parsers that recurse.
//!
//! Cedar parses, validates and drops an expression by recursion, and a stack that overflows aborts the process. So
//! the depth that a policy could have is bounded from its text, before anything parses it.

/// The deepest brackets of a policy.
pub(crate) const MAX_BRACKETS: usize = 32;
/// The most operators, accesses, brackets and keywords of a policy: each can make an expression one level deeper.
pub(crate) const MAX_LINKS: usize = 200;

const KEYWORDS: [&str; 7] = ["when", "unless", "if", "in", "is", "has", "like"];

/// Where a policy becomes too deep, if any does.
pub(crate) fn too_deep(text: &str) -> Option<usize> {
    let (mut at, mut brackets, mut links) = (0, 0_usize, 0);
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        let (token, length) = first_token(rest);
        match token {
            Token::Open => (brackets, links) = (brackets + 1, links + 1),
            Token::Close => brackets = brackets.saturating_sub(1),
            Token::Link => links += 1,
            Token::End => (brackets, links) = (0, 0),
            Token::Other => {}
        }
        if brackets > MAX_BRACKETS || links > MAX_LINKS {
            return Some(at);
        }
        at += length;
    }
    None
}

enum Token {
    Open,
    Close,
    Link,
    End,
    Other,
}

/// The first token and its length in bytes.
fn first_token(rest: &str) -> (Token, usize) {
    let first = rest.chars().next().unwrap_or_default();
    match first {
        '/' if rest.starts_with("//") => (Token::Other, rest.find('\n').unwrap_or(rest.len())),
        '"' => (Token::Other, string_length(rest)),
        '(' | '[' | '{' => (Token::Open, 1),
        ')' | ']' | '}' => (Token::Close, 1),
        '&' | '|' | '+' | '-' | '*' | '.' | '!' => (Token::Link, 1),
        ';' => (Token::End, 1),
        'a'..='z' | 'A'..='Z' | '_' => word(rest),
        other => (Token::Other, other.len_utf8()),
    }
}

fn word(rest: &str) -> (Token, usize) {
    let inside = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let length = rest.bytes().take_while(|b| inside(*b)).count();
    let keyword = rest
        .get(..length)
        .is_some_and(|word| KEYWORDS.contains(&word));
    (if keyword { Token::Link } else { Token::Other }, length)
}

fn string_length(rest: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in rest.bytes().enumerate().skip(1) {
        match byte {
            b'"' if !escaped => return at + 1,
            _ => escaped = byte == b'\\' && !escaped,
        }
    }
    rest.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_counts_per_policy_and_outside_text() {
        let shallow = [
            "(".repeat(MAX_BRACKETS),
            "();".repeat(1_000),
            "a && ".repeat(MAX_LINKS / 2),
            "a && b; ".repeat(1_000),
            format!("\"{}\"", "(".repeat(1_000)),
            format!("\"\\\"{}\"", "(".repeat(1_000)),
            format!("// {}", "(".repeat(1_000)),
            "\"a\", ".repeat(100_000),
        ];
        for text in shallow {
            assert_eq!(too_deep(&text), None, "{text:.40}");
        }
        let deep = [
            "(".repeat(MAX_BRACKETS + 1),
            "[".repeat(MAX_BRACKETS + 1),
            format!("\"\\\\\"{}", "{".repeat(MAX_BRACKETS + 1)),
            format!("// x\n{}", "(".repeat(MAX_BRACKETS + 1)),
            "a && ".repeat(MAX_LINKS),
            "if a then b else ".repeat(MAX_LINKS + 1),
            ".task".repeat(MAX_LINKS + 1),
            "[\"task\"]".repeat(MAX_LINKS + 1),
        ];
        for text in deep {
            assert!(too_deep(&text).is_some(), "{text:.40}");
        }
    }
}
