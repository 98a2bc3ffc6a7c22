//! Connection URIs. Whatever could be taken for a part of the URI's own syntax is percent-encoded (RFC 3986).

use std::net::Ipv6Addr;

use zeroize::Zeroizing;

use super::{Postgres, Redis};

/// As libpq reads it. `ca` is the path of a file with the authority of the server's certificate.
pub(super) fn postgres(role: &Postgres, ca: Option<&str>) -> Zeroizing<String> {
    let mut uri = location("postgres", &role.user, role.password.expose(), &role.host);
    uri.push_str(&format!(":{}/{}", role.port, encoded(&role.database)));
    let options = [("sslmode", role.sslmode.as_deref()), ("sslrootcert", ca)];
    let given = options
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)));
    for ((name, value), mark) in given.zip(['?', '&']) {
        uri.push_str(&format!("{mark}{name}={}", encoded(value)));
    }
    uri
}

/// As redis-cli and most clients read it.
pub(super) fn redis(user: &Redis) -> Zeroizing<String> {
    let scheme = if user.tls { "rediss" } else { "redis" };
    let mut uri = location(scheme, &user.user, user.password.expose(), &user.host);
    uri.push_str(&format!(":{}", user.port));
    uri
}

fn location(scheme: &str, user: &str, password: &str, host: &str) -> Zeroizing<String> {
    let host = match host.parse::<Ipv6Addr>() {
        Ok(address) => format!("[{address}]"),
        Err(_) => encoded(host),
    };
    let password = Zeroizing::new(encoded(password));
    // Room for the rest, so that the password is not left behind where the text has moved from.
    let mut uri = Zeroizing::new(String::with_capacity(8192));
    uri.push_str(&format!("{scheme}://{}:", encoded(user)));
    uri.push_str(&password);
    uri.push_str(&format!("@{host}"));
    uri
}

fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len() * 3);
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(byte.into());
            }
            other => encoded.push_str(&format!("%{other:02X}")),
        }
    }
    encoded
}
