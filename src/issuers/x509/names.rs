//! What a certificate is called: its serial number, its subject, its alternative names. All of it follows from the
//! order and the configuration, none of it from what the agent sent.

use quietus_core::{IssueOrder, LeaseId, Scope};
use rcgen::SanType;
use rcgen::string::Ia5String;

use super::super::Unfit;
use crate::config::{SanTemplate, X509Settings};

/// A serial number: the most bytes that one may have (RFC 5280, section 4.1.2.2).
pub(super) type Serial = [u8; 20];

/// The serial number of a lease's certificate: the bytes of its task, then its number.
pub(super) fn serial(id: LeaseId) -> Result<Serial, String> {
    let mut serial = [0; 20];
    serial[..16].copy_from_slice(&id.task.to_bytes());
    serial[16..].copy_from_slice(&id.number.to_be_bytes());
    // A UUIDv7 begins with the time, whose top bit is not set before the year 6429.
    match serial[0] & 0x80 == 0 && serial != [0; 20] {
        true => Ok(serial),
        false => Err("no positive serial number follows from this lease id".to_owned()),
    }
}

/// A serial number as DER has it, which may begin with zeros or lack them.
pub(super) fn read_serial(bytes: &[u8]) -> Option<Serial> {
    let zeros = bytes.iter().take_while(|&&byte| byte == 0).count();
    let digits = &bytes[zeros..];
    let mut serial = [0; 20];
    let room = serial.len().checked_sub(digits.len())?;
    serial[room..].copy_from_slice(digits);
    Some(serial)
}

/// The lease that a serial number was derived from.
#[cfg(test)]
fn lease(serial: Serial) -> LeaseId {
    let mut task = [0; 16];
    let mut number = [0; 4];
    task.copy_from_slice(&serial[..16]);
    number.copy_from_slice(&serial[16..]);
    LeaseId {
        task: quietus_core::TaskId::from_bytes(task),
        number: u32::from_be_bytes(number),
    }
}

/// The alternative names of an order's certificate.
pub(super) fn alternative(
    settings: &X509Settings,
    order: &IssueOrder,
) -> Result<Vec<SanType>, Unfit> {
    let configured = settings.san.iter().map(|it| filled(it, order));
    let scopes = order.lease().scopes.iter().map(scope_uri).map(uri);
    let scopes = scopes.filter(|_| settings.scope_names);
    configured.chain(scopes).collect()
}

/// `urn:quietus:scope:<target>:<action>:<resource>`, the resource percent-encoded but for letters, digits and `-._~`,
/// so that it holds no colon.
pub fn scope_uri(scope: &Scope) -> String {
    let mut text = format!("urn:quietus:scope:{}:{}:", scope.target(), scope.action());
    for byte in scope.resource().bytes() {
        match byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            true => text.push(char::from(byte)),
            false => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}

fn filled(template: &SanTemplate, order: &IssueOrder) -> Result<SanType, Unfit> {
    let id = order.lease().id;
    match template {
        SanTemplate::Dns(name) => Ok(SanType::DnsName(ascii(name.clone())?)),
        SanTemplate::Ip(address) => Ok(SanType::IpAddress(*address)),
        SanTemplate::Uri(template) => uri(template
            .replace("{agent}", &order.agent().0)
            .replace("{task}", &id.task.to_string())
            .replace("{lease}", &id.to_string())),
    }
}

fn uri(text: String) -> Result<SanType, Unfit> {
    ascii(text).map(SanType::URI)
}

fn ascii(text: String) -> Result<Ia5String, Unfit> {
    Ia5String::try_from(text)
        .map_err(|_| Unfit::new("scopes", "a name in the certificate would not be ASCII"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_serial_number_is_a_lease_id() {
        for number in [0, 1, 255, 256, u32::MAX] {
            let text = format!("0192f0c1-7d7e-7c3a-9b1d-2f6c1d0e8a55.{number}");
            let id: LeaseId = text.parse().unwrap();
            assert_eq!(lease(serial(id).unwrap()), id);
        }
    }

    #[test]
    fn a_serial_number_is_positive_and_twenty_bytes_at_most() {
        let task = "ff92f0c1-7d7e-7c3a-9b1d-2f6c1d0e8a55.0";
        assert!(serial(task.parse().unwrap()).is_err());
        let nothing = "00000000-0000-0000-0000-000000000000.0";
        assert!(serial(nothing.parse().unwrap()).is_err());
        assert_eq!(read_serial(&[1; 21]), None);
        assert_eq!(read_serial(&[0, 0, 7]), read_serial(&[7]));
    }

    #[test]
    fn a_resource_cannot_name_another_scope() {
        let read: Scope = "orders:read:a".parse().unwrap();
        assert_eq!(scope_uri(&read), "urn:quietus:scope:orders:read:a");
        let odd: Scope = "orders:read:a:urn/x%3A,URI:é".parse().unwrap_or(read);
        assert!(scope_uri(&odd).is_ascii());
        let odd: Scope = "orders:read:a:b%3A/c,URI:d".parse().unwrap();
        assert_eq!(
            scope_uri(&odd),
            "urn:quietus:scope:orders:read:a%3Ab%253A%2Fc%2CURI%3Ad"
        );
    }
}
