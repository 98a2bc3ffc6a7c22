use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use quietus_identity::TrustDomain;

use super::files::{self, NewFile};
use super::{DevCa, DevError, Svid};

const SAMPLE: &str = include_str!("../../config/quietus.toml");
const SAMPLE_CLIENT: &str = include_str!("../../config/agent.toml");
const SAMPLE_TRUST_DOMAIN: &str = "dev.example";
const SAMPLE_ADDRESS: &str = "127.0.0.1:8443";

const POLICIES: [(&str, &str); 4] = [
    (
        "policies/approval.cedar",
        include_str!("../../config/policies/approval.cedar"),
    ),
    (
        "policies/development.cedar",
        include_str!("../../config/policies/development.cedar"),
    ),
    (
        "policies/guardrails.cedar",
        include_str!("../../config/policies/guardrails.cedar"),
    ),
    (
        "policies/orders.cedar",
        include_str!("../../config/policies/orders.cedar"),
    ),
];
const FOLDERS: [&str; 3] = ["policies", "state", "state/keys"];

const BROKER: &str = "broker";
/// Each client's file name and path.
const CLIENTS: [(&str, &str); 4] = [
    ("agent", "/agent/builder"),
    ("reader", "/agent/reader"),
    ("operator", "/operator/dev"),
    ("resource-server", "/rs/orders"),
];

/// What a development trust domain should be.
#[derive(Clone, Debug)]
pub struct DevDomainOptions {
    /// Its name.
    pub trust_domain: TrustDomain,
    /// Where the broker will listen.
    pub listen: SocketAddr,
    /// When it is made.
    pub now: SystemTime,
    /// How long its certificates last, the CA's among them.
    pub lifetime: Duration,
    /// Whether files that are there are replaced.
    pub force: bool,
}

/// A development trust domain in a folder: a CA, SVIDs and configuration for a broker, two agents, an operator and
/// a resource server, and policies.
pub struct DevDomain {
    /// The folder.
    pub folder: PathBuf,
    /// The CA, for more SVIDs.
    pub ca: DevCa,
    /// The files that were written; none if the folder was opened.
    pub written: Vec<PathBuf>,
}

impl DevDomain {
    /// Makes a trust domain and writes it into the folder, and nowhere else.
    ///
    /// # Errors
    /// Before anything is written if a file is there already, unless `force` is set.
    pub fn create(folder: &Path, options: &DevDomainOptions) -> Result<Self, DevError> {
        let address = reachable(options.listen)?;
        let ca = DevCa::generate(options.trust_domain.clone(), options.now, options.lifetime)?;
        let mut new = credentials(&ca, options)?;
        new.extend(configuration(options, address));
        let names: Vec<&str> = new.iter().map(|file| file.name.as_str()).collect();
        if !options.force {
            files::check_absent(folder, &names)?;
        }
        make_folders(folder)?;
        Ok(Self {
            written: files::write(folder, &new, options.force)?,
            folder: folder.to_owned(),
            ca,
        })
    }

    /// Opens a trust domain that [`Self::create`] wrote.
    pub fn open(folder: &Path, trust_domain: TrustDomain) -> Result<Self, DevError> {
        let bundle = files::read(&folder.join("bundle.pem"))?;
        let key = files::read(&folder.join("ca.key"))?;
        Ok(Self {
            folder: folder.to_owned(),
            ca: DevCa::from_pem(trust_domain, &bundle, &key)?,
            written: Vec::new(),
        })
    }

    /// The broker's configuration file.
    pub fn config(&self) -> PathBuf {
        self.folder.join("quietus.toml")
    }

    /// A client's configuration file: of `agent`, `reader`, `operator` or `resource-server`.
    pub fn client_config(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.toml"))
    }
}

/// Where a client on this machine finds a broker that listens there.
fn reachable(listen: SocketAddr) -> Result<SocketAddr, DevError> {
    if listen.port() == 0 {
        return Err(DevError::NoPort);
    }
    let ip = match listen.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    Ok(SocketAddr::new(ip, listen.port()))
}

fn credentials(ca: &DevCa, options: &DevDomainOptions) -> Result<Vec<NewFile>, DevError> {
    let (now, lifetime) = (options.now, options.lifetime);
    let mut files = vec![
        NewFile::private("ca.key", ca.key_pem()),
        NewFile::public("bundle.pem", ca.bundle_pem()),
    ];
    files.extend(pair(
        BROKER,
        ca.local_server_svid("/broker", now, lifetime)?,
    ));
    for (name, path) in CLIENTS {
        files.extend(pair(name, ca.svid(path, now, lifetime)?));
    }
    Ok(files)
}

fn pair(name: &str, svid: Svid) -> [NewFile; 2] {
    [
        NewFile::public(format!("{name}.pem"), svid.chain_pem),
        NewFile::private(format!("{name}.key"), svid.key_pem),
    ]
}

/// The samples, with the names of this trust domain in them.
fn configuration(options: &DevDomainOptions, address: SocketAddr) -> impl Iterator<Item = NewFile> {
    let fit = |sample: &str, address: SocketAddr| {
        sample
            .replace(SAMPLE_ADDRESS, &address.to_string())
            .replace(SAMPLE_TRUST_DOMAIN, options.trust_domain.as_str())
    };
    let broker = NewFile::public("quietus.toml", fit(SAMPLE, options.listen));
    let client = fit(SAMPLE_CLIENT, address);
    let clients = CLIENTS.map(|(name, _)| client_file(&client, name));
    let policies = POLICIES.map(|(name, text)| NewFile::public(name, fit(text, address)));
    std::iter::once(broker).chain(clients).chain(policies)
}

fn client_file(sample: &str, name: &str) -> NewFile {
    let text = sample
        .replace("\"agent.pem\"", &format!("\"{name}.pem\""))
        .replace("\"agent.key\"", &format!("\"{name}.key\""));
    NewFile::public(format!("{name}.toml"), text)
}

fn make_folders(folder: &Path) -> Result<(), DevError> {
    files::outer_folder(folder)?;
    FOLDERS
        .iter()
        .try_for_each(|name| files::inner_folder(&folder.join(name)))
}
