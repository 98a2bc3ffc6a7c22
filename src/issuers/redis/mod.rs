//! A user of a Redis server (7.0 or later) per lease.
//!
//! `can_revoke`: yes. `confirms_by`: the user is gone, and so are its connections. `expires_at_target`: no, Redis has
//! no such thing; without an `aclfile` a restart of the server removes them all.
//!
//! The server gets the SHA-256 of a password and never the password. A user is made by one command, so it is there
//! whole or not at all. A user that is absent is gone.

mod connection;
mod reply;
mod rules;
mod tls;

use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use quietus_core::{Confirmation, Digest, Enforced, IssueOrder, LeaseId};
use redis::{Cmd, Value};
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroizing;

use super::{
    Abilities, Credential, Doing, Doomed, Failure, Found, Issuer, KeyRequest, Made, Prepared,
    Secret, Shared, Unfit,
};
use crate::config::{RedisPersist, RedisSettings, Target};
use connection::Connections;

/// What selectors came with.
const OLDEST: u64 = 7;

/// Makes users of one Redis server.
#[derive(Clone)]
pub struct RedisIssuer(Arc<Inner>);

struct Inner {
    settings: RedisSettings,
    connections: Connections,
    ca_pem: String,
}

impl RedisIssuer {
    /// Reads the password and the certificates; nothing is connected.
    ///
    /// # Errors
    /// What to do about a file that cannot be used.
    pub fn new(target: &Target, settings: &RedisSettings, shared: &Shared) -> Result<Self, String> {
        connection::password(&settings.password_file)?;
        let (tls, ca_pem) = tls::load(&settings.server)?;
        let connections = Connections {
            server: settings.server.clone(),
            tls,
            user: settings.user.clone(),
            password_file: settings.password_file.clone(),
            name: connection_name(target, shared),
            timeout: target.timeout,
            current: Default::default(),
        };
        Ok(Self(Arc::new(Inner {
            settings: settings.clone(),
            connections,
            ca_pem,
        })))
    }
}

impl Issuer for RedisIssuer {
    fn abilities(&self) -> Abilities {
        Abilities {
            can_revoke: true,
            confirms_by: Some(Confirmation::DeletedAtTarget),
            expires_at_target: false,
            renewable: true,
            enforced: Enforced::AtTarget,
        }
    }

    fn issue(&self, order: &IssueOrder, key: Option<&KeyRequest>) -> Result<Prepared, Unfit> {
        if key.is_some() {
            let message = "a user of Redis has a password and no key: leave the key out";
            return Err(Unfit::new("key", message));
        }
        let lease = order.lease();
        let name = self.0.name_of(lease.id);
        let rules = rules::rules(&self.0.settings, &lease.scopes)?;
        let fingerprint = Some(sha256(name.as_bytes()));
        let inner = Arc::clone(&self.0);
        Ok(Prepared::new(fingerprint, async move {
            let credential = inner.make(name, &rules).await?;
            Ok(Made {
                credential,
                fingerprint,
            })
        }))
    }

    /// The server knows no end that could be moved. The user must still be there; its password stays as it is, and
    /// as nobody stores it, it is not told again: the credential's is empty.
    fn renew(&self, order: &IssueOrder) -> Result<Prepared, Unfit> {
        let name = self.0.name_of(order.lease().id);
        let fingerprint = Some(sha256(name.as_bytes()));
        let inner = Arc::clone(&self.0);
        Ok(Prepared::new(fingerprint, async move {
            match inner.is_there(&name).await? {
                true => Ok(Made {
                    credential: inner.credential(name, Secret::new("")),
                    fingerprint,
                }),
                false => Err(Failure::said(
                    "the user is not there any more: request a new credential",
                )),
            }
        }))
    }

    fn revoke<'a>(&'a self, doomed: &'a Doomed) -> Doing<'a, Result<Confirmation, Failure>> {
        Box::pin(async move {
            self.0.unmake(&self.0.name_of(doomed.id)).await?;
            Ok(Confirmation::DeletedAtTarget)
        })
    }

    fn list(&self) -> Doing<'_, Result<Option<Vec<Found>>, Failure>> {
        Box::pin(async {
            let users = self.0.connections.ask(&acl("USERS")).await?;
            let found = reply::texts(users)?.into_iter();
            let ours = found.filter_map(|name| {
                let id = name.strip_prefix(&self.0.settings.user_prefix)?;
                let id = id.parse().ok()?;
                Some(Found { id, name })
            });
            Ok(Some(ours.collect()))
        })
    }

    fn check(&self) -> Doing<'_, Result<String, Failure>> {
        Box::pin(async { self.0.check().await })
    }
}

impl Inner {
    fn name_of(&self, id: LeaseId) -> String {
        format!("{}{id}", self.settings.user_prefix)
    }

    async fn make(&self, name: String, rules: &[String]) -> Result<Credential, Failure> {
        let password = random_password()?;
        let hash = format!("#{}", sha256(password.expose().as_bytes()));
        let mut command = acl("SETUSER");
        command
            .arg(&name)
            .arg("reset")
            .arg("on")
            .arg(hash)
            .arg(rules);
        self.connections.ask(&command).await?;
        self.save().await?;
        Ok(self.credential(name, password))
    }

    /// No new connections, none that are there, no user; and then a look whether all that is true.
    async fn unmake(&self, name: &str) -> Result<(), Failure> {
        if self.is_there(name).await? {
            let mut off = acl("SETUSER");
            off.arg(name).arg("resetpass").arg("off");
            self.connections.ask(&off).await?;
            self.kill(name).await?;
            // Nobody can log in any more, so the second time counts those that are left.
            if self.kill(name).await? > 0 {
                return Err(Failure::said("some of its connections are still open"));
            }
            self.connections.ask(acl("DELUSER").arg(name)).await?;
            if self.is_there(name).await? {
                return Err(Failure::said("the user is still there after ACL DELUSER"));
            }
        }
        // Also if it was not there: perhaps an earlier attempt was cut off before this.
        self.save().await
    }

    async fn kill(&self, name: &str) -> Result<i64, Failure> {
        let mut kill = redis::cmd("CLIENT");
        kill.arg("KILL").arg("USER").arg(name);
        match self.connections.ask(&kill).await? {
            Value::Int(count) => Ok(count),
            _ => Err(Failure::away("CLIENT KILL was not answered with a number")),
        }
    }

    async fn is_there(&self, name: &str) -> Result<bool, Failure> {
        let found = self.connections.ask(acl("GETUSER").arg(name)).await?;
        Ok(found != Value::Nil)
    }

    async fn save(&self) -> Result<(), Failure> {
        match self.settings.persist {
            RedisPersist::None => Ok(()),
            RedisPersist::Aclfile => self.connections.ask(&acl("SAVE")).await.map(drop),
        }
    }

    /// Asks for a user that is never there what a revocation does to one, so that each right is tried.
    async fn check(&self) -> Result<String, Failure> {
        let version = self.version().await?;
        let nobody = format!("{}check", self.settings.user_prefix);
        self.connections
            .ask(acl("SETUSER").arg(&nobody).arg("reset"))
            .await?;
        self.kill(&nobody).await?;
        self.connections.ask(acl("DELUSER").arg(&nobody)).await?;
        self.is_there(&nobody).await?;
        self.connections.ask(&acl("USERS")).await?;
        self.save().await?;
        Ok(format!("Redis {version}"))
    }

    async fn version(&self) -> Result<String, Failure> {
        let Value::Array(facts) = self.connections.ask(&redis::cmd("HELLO")).await? else {
            return Err(Failure::away("HELLO was not answered with a list"));
        };
        let at = facts
            .iter()
            .position(|it| *it == Value::BulkString(b"version".to_vec()));
        let version = at.and_then(|at| facts.get(at + 1)).cloned();
        let version = reply::text(version.unwrap_or(Value::Nil))?;
        let major: Option<u64> = version.split('.').next().and_then(|it| it.parse().ok());
        match major {
            Some(major) if major >= OLDEST => Ok(version),
            _ => Err(Failure::away(format_args!(
                "this is Redis {version}: {OLDEST}.0 or later is needed"
            ))),
        }
    }

    fn credential(&self, user: String, password: Secret) -> Credential {
        Credential::Redis {
            host: self.settings.agent_host.clone(),
            port: self.settings.agent_port,
            user,
            password,
            tls: self.settings.server.is_tls(),
            ca_pem: self.ca_pem.clone(),
        }
    }
}

fn acl(what: &str) -> Cmd {
    let mut command = redis::cmd("ACL");
    command.arg(what);
    command
}

fn random_password() -> Result<Secret, Failure> {
    let mut bytes = Zeroizing::new([0; 32]);
    let filled = SystemRandom::new().fill(bytes.as_mut());
    filled.map_err(|_| Failure::away("the system gives no random bytes"))?;
    Ok(Secret::new(URL_SAFE_NO_PAD.encode(bytes.as_ref())))
}

fn sha256(bytes: &[u8]) -> Digest {
    let mut out = [0; 32];
    out.copy_from_slice(digest(&SHA256, bytes).as_ref());
    Digest(out)
}

/// The same for every process of this broker, another for every other broker.
fn connection_name(target: &Target, shared: &Shared) -> String {
    let whose = sha256(format!("{} {}", shared.broker, target.name).as_bytes());
    format!("quietus:{}:{whose}", target.name)
}

fn at(path: &Path, problem: impl std::fmt::Display) -> String {
    format!("{} {problem}", path.display())
}
