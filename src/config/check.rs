use std::collections::{BTreeMap, BTreeSet};

use quietus_identity::{SpiffeId, TrustDomain};

use super::ledger::ledger;
use super::limits::limits;
use super::pattern::PatternIndex;
use super::problems::{Problems, check_workload};
use super::raw::{self, Text};
use super::source::Source;
use super::target;
use super::telemetry::telemetry;
use super::{
    AgentEntry, Broker, Config, ConfigError, IdPattern, Keys, MAX_GRADE, MAX_RESOURCE_SERVERS,
    OperatorEntry, Policy, Store, Target, TrustDomainEntry,
};

const GRADES: std::ops::RangeInclusive<i64> = 0..=MAX_GRADE as i64;
const MAX_ISSUER: usize = 512;

/// Checks the whole file.
pub(super) fn config(source: &Source, raw: &raw::Config) -> Result<Config, ConfigError> {
    let mut problems = Problems::new(source);
    let config = whole(&mut problems, raw);
    problems.finish(config)
}

fn whole(problems: &mut Problems<'_>, raw: &raw::Config) -> Option<Config> {
    let broker = broker(problems, &raw.broker);
    let store = store(problems, &raw.store);
    let keys = problems.path("keys.dir", &raw.keys.dir);
    let policy = problems.path("policy.dir", &raw.policy.dir);
    let trust_domains = trust_domains(problems, &raw.trust_domain);
    let known: Known = trust_domains.iter().map(|entry| &entry.name).collect();
    let agents = agents(problems, &raw.agent, &known);
    let operators = operators(problems, &raw.operator, &known);
    let targets = targets(problems, &raw.target, &known);
    let auditors = auditors(problems, &raw.auditor, &known);
    let limits = limits(problems, &raw.limits);
    let ledger = ledger(problems, &raw.ledger, &limits);
    let telemetry = telemetry(problems, &raw.telemetry);
    Some(Config {
        broker: broker?,
        store: store?,
        keys: Keys { dir: keys? },
        policy: Policy { dir: policy? },
        limits,
        ledger,
        log: raw.log,
        telemetry,
        agent_index: PatternIndex::new(agents.iter().map(|agent| &agent.id)),
        operator_index: PatternIndex::new(operators.iter().map(|operator| &operator.id)),
        auditor_index: PatternIndex::new(auditors.iter().map(|auditor| &auditor.id)),
        targets: targets
            .into_iter()
            .map(|it| (it.name.clone(), it))
            .collect::<BTreeMap<_, _>>(),
        trust_domains,
        agents,
        operators,
        auditors,
    })
}

fn broker(problems: &mut Problems<'_>, raw: &raw::Broker) -> Option<Broker> {
    let listen = raw.listen.get_ref().parse();
    let expected = "write an IP address and a port, such as 127.0.0.1:8443";
    let listen = problems.accepted("broker.listen", &raw.listen, listen.map_err(|_| expected));
    let svid = problems.path("broker.svid", &raw.svid);
    let key = problems.path("broker.key", &raw.key);
    let issuer = raw.issuer.as_ref().map(|issuer| {
        let read = checked_issuer(issuer.get_ref());
        problems.accepted("broker.issuer", issuer, read)
    });
    Some(Broker {
        listen: listen?,
        svid: svid?,
        key: key?,
        issuer: issuer.flatten(),
    })
}

/// RFC 8414, section 2: an `https` URL without query or fragment. A SPIFFE ID is one of SPIFFE's issuers.
fn checked_issuer(text: &str) -> Result<String, &'static str> {
    let plain = text.len() <= MAX_ISSUER
        && text.bytes().all(|b| b.is_ascii_graphic())
        && !text.contains(['?', '#', '"', '\\']);
    let host = text.strip_prefix("https://").unwrap_or_default();
    let is_url = plain && !host.is_empty() && !host.starts_with('/');
    if is_url || text.parse::<SpiffeId>().is_ok() {
        return Ok(text.to_owned());
    }
    Err("write an https:// URL without query or fragment, or a SPIFFE ID, or leave the key out")
}

fn store(problems: &mut Problems<'_>, raw: &raw::Store) -> Option<Store> {
    let path = problems.path("store.path", &raw.path);
    let cache = problems.number_or(
        "store.cache_bytes",
        &raw.cache_bytes,
        128 << 20,
        1 << 20..=1 << 40,
    );
    let free = problems.number_or(
        "store.min_free_bytes",
        &raw.min_free_bytes,
        256 << 20,
        1 << 20..=1 << 50,
    );
    Some(Store {
        path: path?,
        cache_bytes: cache,
        min_free_bytes: free,
    })
}

fn trust_domains(problems: &mut Problems<'_>, raw: &[raw::TrustDomain]) -> Vec<TrustDomainEntry> {
    problems.few("trust_domain", raw);
    problems.unique("trust_domain.name", raw.iter().map(|entry| &entry.name));
    if raw.is_empty() {
        let message = "none: nobody could connect; add a [[trust_domain]] with name and bundle";
        problems.missing("trust_domain", message);
    }
    raw.iter()
        .filter_map(|entry| trust_domain(problems, entry))
        .collect()
}

fn trust_domain(problems: &mut Problems<'_>, raw: &raw::TrustDomain) -> Option<TrustDomainEntry> {
    let name = problems.parsed("trust_domain.name", &raw.name);
    let bundle = problems.path("trust_domain.bundle", &raw.bundle);
    Some(TrustDomainEntry {
        name: name?,
        bundle: bundle?,
    })
}

fn agents(problems: &mut Problems<'_>, raw: &[raw::Agent], known: &Known<'_>) -> Vec<AgentEntry> {
    problems.few("agent", raw);
    problems.unique("agent.id", raw.iter().map(|entry| &entry.id));
    raw.iter()
        .filter_map(|entry| agent(problems, entry, known))
        .collect()
}

fn agent(problems: &mut Problems<'_>, raw: &raw::Agent, known: &Known<'_>) -> Option<AgentEntry> {
    let id = pattern(problems, "agent.id", &raw.id, known);
    let owner = problems.words("agent.owner", &raw.owner);
    let team = problems.words("agent.team", &raw.team);
    let environment = problems.words("agent.environment", &raw.environment);
    let tier = problems.number("agent.tier", &raw.tier, GRADES);
    Some(AgentEntry {
        id: id?,
        owner: owner?,
        team: team?,
        environment: environment?,
        tier: tier?,
    })
}

fn operators(
    problems: &mut Problems<'_>,
    raw: &[raw::Operator],
    known: &Known<'_>,
) -> Vec<OperatorEntry> {
    problems.few("operator", raw);
    problems.unique("operator.id", raw.iter().map(|entry| &entry.id));
    if raw.is_empty() {
        let message = "none: nobody could revoke; add an [[operator]] with an id";
        problems.missing("operator", message);
    }
    raw.iter()
        .filter_map(|entry| pattern(problems, "operator.id", &entry.id, known))
        .map(|id| OperatorEntry { id })
        .collect()
}

fn auditors(
    problems: &mut Problems<'_>,
    raw: &[raw::Operator],
    known: &Known<'_>,
) -> Vec<OperatorEntry> {
    problems.few("auditor", raw);
    problems.unique("auditor.id", raw.iter().map(|entry| &entry.id));
    raw.iter()
        .filter_map(|entry| pattern(problems, "auditor.id", &entry.id, known))
        .map(|id| OperatorEntry { id })
        .collect()
}

fn targets(problems: &mut Problems<'_>, raw: &[target::Raw], known: &Known<'_>) -> Vec<Target> {
    problems.few("target", raw);
    problems.unique("target.name", raw.iter().map(|entry| &entry.name));
    raw.iter()
        .filter_map(|entry| target(problems, entry, known))
        .collect()
}

fn target(problems: &mut Problems<'_>, raw: &target::Raw, known: &Known<'_>) -> Option<Target> {
    let name = problems.parsed("target.name", &raw.name);
    let environment = problems.words("target.environment", &raw.environment);
    let sensitivity = problems.number("target.sensitivity", &raw.sensitivity, GRADES);
    let resource_servers = resource_servers(problems, raw, known);
    let (concurrency, timeout) = target::calls(problems, raw);
    let settings = target::settings(problems, raw);
    Some(Target {
        name: name?,
        settings: settings?,
        environment: environment?,
        sensitivity: sensitivity?,
        resource_servers,
        concurrency,
        timeout,
    })
}

fn resource_servers(
    problems: &mut Problems<'_>,
    raw: &target::Raw,
    known: &Known<'_>,
) -> Vec<SpiffeId> {
    const KEY: &str = "target.resource_servers";
    let servers = raw.resource_servers.get_ref();
    problems.unique(KEY, servers);
    if servers.len() > MAX_RESOURCE_SERVERS {
        let message = format!("at most {MAX_RESOURCE_SERVERS} are allowed: remove some");
        problems.at(KEY, &raw.resource_servers, message);
    }
    servers
        .iter()
        .filter_map(|text| resource_server(problems, KEY, text, known))
        .collect()
}

/// The trust domains that the file accepts.
type Known<'a> = BTreeSet<&'a TrustDomain>;

fn resource_server(
    problems: &mut Problems<'_>,
    key: &'static str,
    text: &Text,
    known: &Known<'_>,
) -> Option<SpiffeId> {
    let id = problems.workload(key, text)?;
    let read = check_known(id.trust_domain(), known);
    problems.accepted(key, text, read).map(|()| id)
}

fn pattern(
    problems: &mut Problems<'_>,
    key: &'static str,
    text: &Text,
    known: &Known<'_>,
) -> Option<IdPattern> {
    let pattern: IdPattern = problems.parsed(key, text)?;
    let named = match &pattern {
        IdPattern::Exact(id) => check_workload(id),
        IdPattern::Below(_) => Ok(()),
    };
    let read = named.and(check_known(pattern.trust_domain(), known));
    problems.accepted(key, text, read).map(|()| pattern)
}

fn check_known(domain: &TrustDomain, known: &Known<'_>) -> Result<(), &'static str> {
    match known.contains(domain) {
        true => Ok(()),
        false => Err("its trust domain is not accepted: correct it, or add a [[trust_domain]]"),
    }
}
