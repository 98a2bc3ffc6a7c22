//! From the text of policy files to checked policies.

use std::collections::HashMap;
use std::sync::Arc;

use cedar_policy::ffi::DetailedError;
use cedar_policy::{
    Policy, PolicyId, PolicySet as CedarSet, Schema, ValidationMode, ValidationResult, Validator,
};
use cedar_policy_core::ast::Expr;

use crate::annotations::{self, Obligations};
use crate::error::{Place, PolicyError};
use crate::nesting;
use crate::scope::ScopeClauses;
use crate::set::{MAX_FILE_BYTES, MAX_FILES, MAX_POLICIES, MAX_TOTAL_BYTES, PolicyFile, SCHEMA};

/// One checked policy.
pub(crate) struct Compiled {
    pub(crate) id: Arc<str>,
    pub(crate) place: Place,
    pub(crate) policy: Policy,
    pub(crate) condition: Expr,
    pub(crate) clauses: ScopeClauses,
    pub(crate) obligations: Obligations,
}

/// Refuses too many files, too much text, and files that cannot be told apart. Expects them sorted by name.
pub(crate) fn check_files(files: &[PolicyFile]) -> Result<(), PolicyError> {
    if files.len() > MAX_FILES {
        let (count, max) = (files.len(), MAX_FILES);
        return Err(PolicyError::TooManyFiles { count, max });
    }
    files.iter().try_for_each(check_length)?;
    let bytes: usize = files.iter().map(|file| file.text.len()).sum();
    if bytes > MAX_TOTAL_BYTES {
        let max = MAX_TOTAL_BYTES;
        return Err(PolicyError::TooMuchText { bytes, max });
    }
    check_names(files)
}

/// Parses and checks the policies of every file, in order.
pub(crate) fn compile(files: &[PolicyFile]) -> Result<Vec<Compiled>, PolicyError> {
    let mut drafts = Vec::new();
    for file in files {
        drafts.extend(parse(file, MAX_POLICIES - drafts.len())?);
    }
    check_ids(&drafts)?;
    validate(&drafts, files)?;
    drafts.into_iter().map(Draft::finish).collect()
}

fn check_length(file: &PolicyFile) -> Result<(), PolicyError> {
    if file.text.len() <= MAX_FILE_BYTES {
        return Ok(());
    }
    Err(PolicyError::FileTooLarge {
        file: file.name.clone(),
        bytes: file.text.len(),
        max: MAX_FILE_BYTES,
    })
}

fn check_names(files: &[PolicyFile]) -> Result<(), PolicyError> {
    let doubled = files.windows(2).find(|two| two[0].name == two[1].name);
    let nameless = files.iter().find(|file| file.name.is_empty());
    match doubled.map(|two| &two[0]).or(nameless) {
        Some(PolicyFile { name, .. }) => Err(PolicyError::FileName { file: name.clone() }),
        None => Ok(()),
    }
}

/// A policy that is parsed but not validated.
struct Draft {
    id: String,
    place: Place,
    policy: Policy,
    obligations: Obligations,
}

fn parse(file: &PolicyFile, room: usize) -> Result<Vec<Draft>, PolicyError> {
    let lines = Lines::of(file);
    if let Some(at) = nesting::too_deep(&file.text) {
        return Err(PolicyError::TooDeep {
            place: lines.place(at),
            brackets: nesting::MAX_BRACKETS,
            links: nesting::MAX_LINKS,
        });
    }
    let set: CedarSet = file.text.parse().map_err(|error| lines.syntax(&error))?;
    let templates = set.templates().filter_map(|t| t.as_ref().loc());
    if let Some(at) = templates.map(|loc| loc.start()).min() {
        let place = lines.place(at);
        return Err(PolicyError::Template { place });
    }
    if set.num_of_policies() > room {
        let (file, max) = (file.name.clone(), MAX_POLICIES);
        return Err(PolicyError::TooManyPolicies { file, max });
    }
    let mut policies: Vec<(usize, &Policy)> = set.policies().map(|p| (start(p), p)).collect();
    policies.sort_by_key(|(start, _)| *start);
    let numbered = policies.into_iter().zip(1..);
    numbered
        .map(|((start, policy), n)| Draft::new(policy, n, lines.place(start)))
        .collect()
}

fn start(policy: &Policy) -> usize {
    policy.as_ref().loc().map_or(0, |loc| loc.start())
}

impl Draft {
    fn new(policy: &Policy, number: usize, place: Place) -> Result<Self, PolicyError> {
        let stem = place.file.strip_suffix(".cedar").unwrap_or(&place.file);
        let id = annotations::id(policy, format!("{stem}#{number}"), &place)?;
        Ok(Self {
            obligations: annotations::read(policy, &id, &place)?,
            policy: policy.new_id(PolicyId::new(&id)),
            place,
            id,
        })
    }

    fn finish(self) -> Result<Compiled, PolicyError> {
        if self.obligations.approval.is_some() && !speaks_of_approval(&self.policy) {
            let (place, policy) = (self.place, self.id);
            return Err(PolicyError::ApprovalNeverLifts { place, policy });
        }
        let Some(clauses) = ScopeClauses::of(&self.policy) else {
            return Err(self.impossible());
        };
        Ok(Compiled {
            id: self.id.into(),
            place: self.place,
            condition: self.policy.as_ref().condition(),
            policy: self.policy,
            clauses,
            obligations: self.obligations,
        })
    }

    fn impossible(self) -> PolicyError {
        PolicyError::Invalid {
            place: self.place,
            policy: self.id,
            message: "no request can meet its scope".to_owned(),
            help: None,
        }
    }
}

fn check_ids(drafts: &[Draft]) -> Result<(), PolicyError> {
    let mut seen = HashMap::new();
    for draft in drafts {
        if let Some(first) = seen.insert(&draft.id, &draft.place) {
            return Err(PolicyError::DuplicateId {
                place: draft.place.clone(),
                policy: draft.id.clone(),
                first: first.clone(),
            });
        }
    }
    Ok(())
}

/// Whether the policy's conditions read `context.approved`.
fn speaks_of_approval(policy: &Policy) -> bool {
    let json = policy.to_json().unwrap_or_default();
    reads_approved(&json["conditions"])
}

fn reads_approved(json: &serde_json::Value) -> bool {
    let access = &json["."];
    if access["left"]["Var"] == "context" && access["attr"] == "approved" {
        return true;
    }
    match json {
        serde_json::Value::Array(items) => items.iter().any(reads_approved),
        serde_json::Value::Object(fields) => fields.values().any(reads_approved),
        _ => false,
    }
}

/// Validates strictly. A warning (a policy that can never apply, characters that mislead) refuses as well.
fn validate(drafts: &[Draft], files: &[PolicyFile]) -> Result<(), PolicyError> {
    let (schema, _) = Schema::from_cedarschema_str(SCHEMA).map_err(broken)?;
    let policies = drafts.iter().map(|draft| draft.policy.clone());
    let set = CedarSet::from_policies(policies).map_err(broken)?;
    let result = Validator::new(schema).validate(&set, ValidationMode::Strict);
    let mut findings = findings(&result);
    let first = drafts
        .iter()
        .find_map(|draft| Some((draft, findings.remove(draft.id.as_str())?)));
    match first {
        Some((draft, (_, finding))) => Err(invalid(draft, finding, files)),
        None => Ok(()),
    }
}

/// What there is to say about each policy. Cedar reports in no fixed order: errors go before warnings, and then the
/// first in the text stands for the policy.
fn findings(result: &ValidationResult) -> HashMap<&str, (bool, DetailedError)> {
    let errors = result.validation_errors();
    let errors = errors.map(|e| (e.policy_id(), (false, DetailedError::from(e))));
    let warnings = result.validation_warnings();
    let warnings = warnings.map(|w| (w.policy_id(), (true, DetailedError::from(w))));
    let mut findings: HashMap<&str, (bool, DetailedError)> = HashMap::new();
    for (id, finding) in errors.chain(warnings) {
        let id: &str = id.as_ref();
        match findings.get(id) {
            Some(kept) if rank(kept) <= rank(&finding) => {}
            _ => drop(findings.insert(id, finding)),
        }
    }
    findings
}

fn rank((warning, error): &(bool, DetailedError)) -> (bool, Option<usize>, &str) {
    (*warning, offset(error), &error.message)
}

fn offset(error: &DetailedError) -> Option<usize> {
    error.source_locations.iter().map(|at| at.loc.start).min()
}

fn invalid(draft: &Draft, finding: DetailedError, files: &[PolicyFile]) -> PolicyError {
    let file = files.iter().find(|file| file.name == draft.place.file);
    let place = file
        .zip(offset(&finding))
        .map(|(file, at)| Lines::of(file).place(at));
    PolicyError::Invalid {
        place: place.unwrap_or_else(|| draft.place.clone()),
        policy: draft.id.clone(),
        message: without_preamble(&finding.message, &draft.id),
        help: finding.help,
    }
}

/// The id is told once already.
fn without_preamble(message: &str, id: &str) -> String {
    let preamble = format!("for policy `{id}`, ");
    message
        .strip_prefix(&preamble)
        .unwrap_or(message)
        .to_owned()
}

fn broken(error: impl std::error::Error) -> PolicyError {
    PolicyError::Schema(error.to_string())
}

/// Where the lines of a file begin.
struct Lines<'a> {
    file: &'a PolicyFile,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    fn of(file: &'a PolicyFile) -> Self {
        let breaks = file.text.match_indices('\n').map(|(at, _)| at + 1);
        let starts = std::iter::once(0).chain(breaks).collect();
        Self { file, starts }
    }

    fn place(&self, offset: usize) -> Place {
        let line = self.starts.partition_point(|start| *start <= offset);
        let start = self.starts.get(line - 1).copied().unwrap_or(0);
        let before = self.file.text.get(start..offset).unwrap_or_default();
        Place {
            file: self.file.name.clone(),
            line,
            column: before.chars().count() + 1,
        }
    }

    fn syntax(&self, error: &cedar_policy::ParseErrors) -> PolicyError {
        let error = DetailedError::from(error);
        PolicyError::Syntax {
            place: self.place(offset(&error).unwrap_or(0)),
            message: error.message,
            help: error.help,
        }
    }
}
