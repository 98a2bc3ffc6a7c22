//! All credentials of a run, and the variables and files that the program gets them in.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::Duration;

use quietus_core::TargetName;

use super::agent::Agent;
use super::environment::{AGENT, KEY_FILE, Kit, Place, Style};
use super::files::PrivateFolder;
use super::template::{Goes, Placeholder, Template};
use crate::api::v1;
use crate::cli::exit::Complaint;
use crate::issuers::Secret;

/// What the client itself reads, and the child is not to get by chance.
const OURS: [&str; 3] = ["QUIETUS_IDENTITY", "QUIETUS_OUTPUT", TASK];
/// The variable that holds the task's id.
pub const TASK: &str = "QUIETUS_TASK_ID";

pub struct Handover {
    folder: PrivateFolder,
    style: Style,
    templates: Vec<Template>,
    kits: BTreeMap<TargetName, Kit>,
    written: BTreeMap<String, Secret>,
    agent: Option<Agent>,
}

/// How the program's environment differs from ours.
#[derive(Debug, Default)]
pub struct Variables {
    pub set: BTreeMap<String, Secret>,
    pub unset: BTreeSet<&'static str>,
}

impl Handover {
    pub fn new(style: Style, templates: Vec<Template>) -> io::Result<Self> {
        Ok(Self {
            folder: PrivateFolder::planned()?,
            style,
            templates,
            kits: BTreeMap::new(),
            written: BTreeMap::new(),
            agent: None,
        })
    }

    /// Takes a credential in, the first one of its target or a newer one.
    pub fn take(&mut self, target: &TargetName, new: v1::Credential) -> Result<(), Complaint> {
        let path = |name: &str| self.folder.join(name);
        let place = Place {
            target,
            path: &path,
        };
        let before = self.kits.get(target);
        let mut kit = Kit::new(new, before, &place, self.style)?;
        if before.is_some_and(|before| before.field(AGENT).is_none()) {
            kit.forget_agent();
        }
        self.kits.insert(target.clone(), kit);
        Ok(())
    }

    /// What the program's environment is to hold, as of now.
    pub fn variables(&self) -> Result<Variables, Complaint> {
        let mut variables = Variables::default();
        let mut sources = BTreeMap::<&str, String>::new();
        let mut claim = |name, by: String| match sources.insert(name, by.clone()) {
            _ if OURS.contains(&name) => Err(clash("quietus itself", &by, name)),
            Some(other) => Err(clash(&other, &by, name)),
            None => Ok(()),
        };
        for template in &self.templates {
            let option = if template.goes == Goes::File {
                "--file"
            } else {
                "--env"
            };
            claim(&template.name, format!("{option} {}", template.name))?;
            let value = self.value(template)?;
            variables.set.insert(template.name.clone(), value);
        }
        for (target, kit) in self
            .kits
            .iter()
            .filter(|(target, _)| !self.is_templated(target))
        {
            variables.unset.extend(kit.unset());
            for (name, field) in kit.variables() {
                claim(name, target.as_str().to_owned())?;
                let value = kit
                    .field(field)
                    .ok_or(Complaint::Incomplete("credential"))?;
                variables.set.insert(name.to_owned(), value.clone());
            }
        }
        let zero = |(_, value): &(&String, &Secret)| value.expose().contains('\0');
        match variables.set.iter().find(zero) {
            Some((name, _)) => Err(Complaint::Usage(format!(
                "{name} would hold a zero byte, which no variable can: use --file"
            ))),
            None => Ok(variables),
        }
    }

    /// Writes the files that the variables name, those whose content is new.
    pub fn write(&mut self) -> anyhow::Result<()> {
        for (name, content) in self.files()? {
            if self.written.get(&name) != Some(&content) {
                self.folder.write(&name, content.expose())?;
                self.written.insert(name, content);
            }
        }
        Ok(())
    }

    /// Whether any of a target's credential lies in files, so that a newer one reaches the program.
    pub fn is_in_files(&self, target: &TargetName) -> bool {
        let in_template =
            |template: &Template| template.goes == Goes::File && template.names(target);
        self.templates.iter().any(in_template)
            || self
                .kits
                .get(target)
                .is_some_and(|kit| kit.files(&self.used(target, kit)).next().is_some())
    }

    pub fn kind(&self, target: &TargetName) -> &'static str {
        self.kits.get(target).map_or("", |kit| kit.kind)
    }

    /// Starts an SSH agent if a credential is to be used through one, and the tools are there.
    pub async fn start_agent(&mut self) -> anyhow::Result<()> {
        if self.agent_users().is_empty() {
            return Ok(());
        }
        self.folder.make()?;
        self.agent = Agent::start(&self.folder.join("agent.sock")).await?;
        if self.agent.is_none() {
            self.kits.values_mut().for_each(Kit::forget_agent);
        }
        Ok(())
    }

    /// Hands a target's key to the agent, for that long.
    pub async fn add_key(&self, target: &TargetName, time: Duration) -> anyhow::Result<()> {
        let key = self.kits.get(target).and_then(|kit| kit.field(KEY_FILE));
        match (&self.agent, key) {
            (Some(agent), Some(key)) if self.agent_users().contains(&target) => {
                agent.add(key.expose(), time.as_secs()).await
            }
            _ => Ok(()),
        }
    }

    fn agent_users(&self) -> Vec<&TargetName> {
        let uses = |(target, kit): &(&TargetName, &Kit)| {
            kit.field(AGENT).is_some() && self.used(target, kit).contains(AGENT)
        };
        self.kits
            .iter()
            .filter(uses)
            .map(|(target, _)| target)
            .collect()
    }

    fn is_templated(&self, target: &TargetName) -> bool {
        self.templates.iter().any(|template| template.names(target))
    }

    /// The fields of a target's credential that the program gets.
    fn used<'a>(&'a self, target: &TargetName, kit: &'a Kit) -> BTreeSet<&'a str> {
        if !self.is_templated(target) {
            return kit.variables().map(|(_, field)| field).collect();
        }
        let placeholders = self.templates.iter().flat_map(Template::placeholders);
        let its_own = placeholders.filter(|placeholder| placeholder.target == *target);
        its_own
            .map(|placeholder| placeholder.field.as_str())
            .collect()
    }

    fn files(&self) -> Result<Vec<(String, Secret)>, Complaint> {
        let mut files = Vec::new();
        for (target, kit) in &self.kits {
            let used = self.used(target, kit);
            files.extend(
                kit.files(&used)
                    .map(|file| (file.name.clone(), file.content.clone())),
            );
        }
        for template in self
            .templates
            .iter()
            .filter(|template| template.goes == Goes::File)
        {
            files.push((template.name.clone(), self.render(template)?));
        }
        Ok(files)
    }

    fn value(&self, template: &Template) -> Result<Secret, Complaint> {
        let rendered = self.render(template)?;
        Ok(match template.goes {
            Goes::Inline => rendered,
            Goes::File => Secret::new(self.folder.join(&template.name).to_string_lossy()),
        })
    }

    fn render(&self, template: &Template) -> Result<Secret, Complaint> {
        template.render(|placeholder| self.look_up(template, placeholder))
    }

    fn look_up(&self, template: &Template, wanted: &Placeholder) -> Result<&Secret, Complaint> {
        let kit = self
            .kits
            .get(&wanted.target)
            .ok_or(Complaint::Incomplete("credential"))?;
        let unknown = || {
            let (target, kind) = (wanted.target.as_str(), kit.kind);
            Complaint::Usage(format!(
                "{}: {target} ({kind}) has no field {}: there are {}",
                template.name,
                wanted.field,
                kit.field_names()
            ))
        };
        kit.field(&wanted.field).ok_or_else(unknown)
    }
}

fn clash(one: &str, other: &str, name: &str) -> Complaint {
    Complaint::Usage(format!(
        "{one} and {other} would both set {name}: name one of them in --env NAME=TEMPLATE, such as \
         --env OTHER={{{{target.field}}}}"
    ))
}

#[cfg(test)]
mod tests;
