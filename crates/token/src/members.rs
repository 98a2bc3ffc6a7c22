//! JSON objects that say each thing once.

use std::fmt;

use serde::de::{DeserializeOwned, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, de};
use serde_json::{Map, Value};

use crate::error::TokenError;

/// The members of one JSON object. No object in it, at any depth, has two members of one name: two parsers could
/// disagree on which of them counts (RFC 7515 section 4, RFC 7519 section 4).
pub(crate) struct Members(Map<String, Value>);

impl Members {
    /// Reads `json`, which must hold one object; `malformed` is the error if it does not.
    pub(crate) fn parse(json: &[u8], malformed: TokenError) -> Result<Self, TokenError> {
        match serde_json::from_slice(json) {
            Ok(Once(Value::Object(members))) => Ok(Self(members)),
            Err(error) if error.is_data() => Err(TokenError::DuplicateMember),
            _ => Err(malformed),
        }
    }

    /// Takes out the member `name`, which must be there.
    pub(crate) fn required<T: DeserializeOwned>(
        &mut self,
        name: &'static str,
    ) -> Result<T, TokenError> {
        self.optional(name)?.ok_or(TokenError::ClaimMissing(name))
    }

    /// Takes out the member `name`, if it is there. A `null` is a value like any other, and not absence.
    pub(crate) fn optional<T: DeserializeOwned>(
        &mut self,
        name: &'static str,
    ) -> Result<Option<T>, TokenError> {
        let member = self.0.remove(name).map(serde_json::from_value);
        member.transpose().map_err(|_| TokenError::ClaimType(name))
    }

    /// The member `name`, if it is there and is a string.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.as_str()
    }

    /// Whether there is a member of any of these names.
    pub(crate) fn has_any(&self, names: &[&str]) -> bool {
        names.iter().any(|name| self.0.contains_key(*name))
    }

    /// Whether every member has been taken out.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        match Once::deserialize(input)?.0 {
            Value::Object(members) => Ok(Self(members)),
            _ => Err(D::Error::custom("not an object")),
        }
    }
}

/// Any JSON value without duplicate names. From JSON text, a duplicate is the only way that reading one can end in an
/// error of the category "data".
struct Once(Value);

impl<'de> Deserialize<'de> for Once {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        input.deserialize_any(OnceVisitor).map(Self)
    }
}

struct OnceVisitor;

impl<'de> Visitor<'de> for OnceVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value without duplicate members")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Once(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(list.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut members = Map::new();
        while let Some((name, Once(value))) = entries.next_entry::<String, _>()? {
            if members.insert(name, value).is_some() {
                return Err(de::Error::custom("duplicate member"));
            }
        }
        Ok(members.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(json: &str) -> Option<TokenError> {
        Members::parse(json.as_bytes(), TokenError::ClaimsMalformed).err()
    }

    #[test]
    fn each_name_may_be_said_once_in_each_object() {
        assert_eq!(verdict(r#"{"a":{"a":[{"a":1},{"a":2.5}]},"b":-1}"#), None);
        for twice in [
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"\u0061":2}"#,
            r#"{"b":{"a":1,"a":1}}"#,
            r#"{"b":[[{"a":null,"a":true}]]}"#,
        ] {
            assert_eq!(verdict(twice), Some(TokenError::DuplicateMember), "{twice}");
        }
    }

    #[test]
    fn what_is_not_one_object_is_malformed() {
        let deep = "[".repeat(1_000);
        for other in [
            "",
            "1",
            "[]",
            "{",
            "{}{}",
            "{\"a\":1e999}",
            "\u{feff}{}",
            &deep,
        ] {
            assert_eq!(
                verdict(other),
                Some(TokenError::ClaimsMalformed),
                "{other:?}"
            );
        }
    }
}
