//! The key that is certified: the agent's, or one that is made for it.

use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{Ed25519KeyPair, KeyPair};
use ssh_key::private::{Ed25519Keypair, Ed25519PrivateKey, KeypairData};
use ssh_key::public::{EcdsaPublicKey, Ed25519PublicKey, KeyData, RsaPublicKey};
use ssh_key::{LineEnding, PrivateKey, PublicKey};
use zeroize::Zeroizing;

use super::super::{Secret, Unfit};
use super::authority::{ED25519, public};
use super::wire::Reader;

/// Longest public key as text.
const MAX_TEXT: usize = 4096;
/// The RSA keys that are certified, in bits.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// A public key as SSH writes it, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Subject {
    /// `ssh-ed25519` and its like.
    pub(super) algorithm: &'static str,
    /// What follows the name of the algorithm.
    pub(super) fields: Vec<u8>,
}

impl Subject {
    /// Reads what `ssh-keygen` writes into a `.pub` file.
    pub(super) fn read(text: &str) -> Result<Self, Unfit> {
        read(text).map_err(|message| Unfit::new("ssh_public_key", message))
    }

    /// A new Ed25519 key; its private half in OpenSSH's format.
    pub(super) fn generate(comment: &str) -> Result<(Self, Secret), String> {
        let mut seed = Zeroizing::new([0; 32]);
        SystemRandom::new()
            .fill(&mut *seed)
            .map_err(|_| "the system has no randomness to give")?;
        let pair = Ed25519KeyPair::from_seed_unchecked(&*seed).map_err(|e| e.to_string())?;
        let mut bytes = [0; 32];
        bytes.copy_from_slice(pair.public_key().as_ref());
        let pair = Ed25519Keypair {
            public: Ed25519PublicKey(bytes),
            private: Ed25519PrivateKey::from_bytes(&seed),
        };
        let text = PrivateKey::new(KeypairData::Ed25519(pair), comment)
            .and_then(|key| key.to_openssh(LineEnding::LF))
            .map_err(|error| error.to_string())?;
        let subject = split(&public(&bytes), ED25519).ok_or("a key that cannot be read")?;
        Ok((subject, Secret::new(text.as_str())))
    }
}

fn read(text: &str) -> Result<Subject, &'static str> {
    let text = text.strip_suffix('\n').unwrap_or(text);
    if text.len() > MAX_TEXT || text.chars().any(char::is_control) {
        return Err("send one line of at most 4096 bytes, as ssh-keygen writes it");
    }
    let key = PublicKey::from_openssh(text)
        .map_err(|_| "it is not a public key as ssh-keygen writes it, without options")?;
    let algorithm = match key.key_data() {
        KeyData::Ed25519(_) => ED25519,
        KeyData::Ecdsa(EcdsaPublicKey::NistP256(_)) => "ecdsa-sha2-nistp256",
        KeyData::Ecdsa(EcdsaPublicKey::NistP384(_)) => "ecdsa-sha2-nistp384",
        KeyData::Rsa(rsa) if is_strong(rsa) => "ssh-rsa",
        _ => return Err("send an Ed25519, P-256 or P-384 key, or RSA of 2048 to 8192 bits"),
    };
    let bytes = key.to_bytes().map_err(|_| "it cannot be written again")?;
    split(&bytes, algorithm).ok_or("it names another algorithm than its own")
}

fn is_strong(key: &RsaPublicKey) -> bool {
    let (Some(modulus), Some(exponent)) = (key.n.as_positive_bytes(), key.e.as_positive_bytes())
    else {
        return false;
    };
    let zeros = modulus.first().map_or(0, |byte| byte.leading_zeros());
    let bits = (modulus.len() * 8).saturating_sub(usize::try_from(zeros).unwrap_or(0));
    let odd = exponent.last().is_some_and(|byte| byte & 1 == 1);
    RSA_BITS.contains(&bits) && odd && (3..=8).contains(&exponent.len())
}

fn split(bytes: &[u8], algorithm: &'static str) -> Option<Subject> {
    let mut reader = Reader(bytes);
    (reader.string()? == algorithm.as_bytes()).then(|| Subject {
        algorithm,
        fields: reader.0.to_vec(),
    })
}
