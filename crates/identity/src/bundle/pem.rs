use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::CertificateDer;

use super::BundleError;

const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";
const END: &[u8] = b"-----END CERTIFICATE-----";

/// The certificates of a text that holds nothing else. Common PEM readers skip what they do not know, and so lose
/// an anchor whose first line is damaged.
pub(super) fn certificates(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, BundleError> {
    let mut lines = Lines { text, number: 0 };
    let mut certificates = Vec::new();
    while let Some(line) = lines.next_filled() {
        if line != BEGIN {
            return Err(lines.unexpected());
        }
        let body = lines.body()?;
        let der = STANDARD.decode(body).map_err(|_| BundleError::NotBase64 {
            index: certificates.len(),
        })?;
        certificates.push(der.into());
    }
    Ok(certificates)
}

struct Lines<'a> {
    text: &'a [u8],
    number: usize,
}

impl<'a> Lines<'a> {
    fn next(&mut self) -> Option<&'a [u8]> {
        self.number += 1;
        if self.text.is_empty() {
            return None;
        }
        let end = self.text.iter().position(|byte| *byte == b'\n');
        let (line, rest) = self
            .text
            .split_at(end.map_or(self.text.len(), |end| end + 1));
        self.text = rest;
        Some(line.trim_ascii())
    }

    fn next_filled(&mut self) -> Option<&'a [u8]> {
        loop {
            match self.next()? {
                [] => continue,
                line => return Some(line),
            }
        }
    }

    fn body(&mut self) -> Result<Vec<u8>, BundleError> {
        let mut body = Vec::new();
        loop {
            match self.next() {
                Some(line) if line == END => return Ok(body),
                Some(line) if !line.starts_with(b"-") => body.extend_from_slice(line),
                _ => return Err(self.unexpected()),
            }
        }
    }

    fn unexpected(&self) -> BundleError {
        BundleError::NotPem { line: self.number }
    }
}
