//! `quietus secret`

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, IsTerminal, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use quietus_core::TargetName;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use zeroize::Zeroizing;

use super::exit::Complaint;
use super::output::write;
use crate::issuers::Secret;
use crate::issuers::static_secret::sealed::{MAX_BYTES, Opened, SealingKey, check, random};

/// Seals secrets that cannot be made short-lived, for targets of kind "static"
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Example:
  quietus secret keygen --out static.key
  quietus secret seal --key-file static.key --target stripe --out stripe.sealed --field api_key")]
pub struct SecretArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Debug, Subcommand)]
enum Command {
    Keygen(KeygenArgs),
    Seal(SealArgs),
}

/// Makes a key that seals and opens secrets
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Example:
  quietus secret keygen --out static.key

Whoever has the key and a sealed file has the secret: keep the two apart in backups.")]
pub struct KeygenArgs {
    /// The file to make; one that is there is left as it is
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// Seals a secret for one target
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  quietus secret seal --key-file static.key --target stripe --out stripe.sealed --field api_key
  quietus secret seal --key-file static.key --target stripe --out stripe.sealed --field pem=@key.pem
  vault-export | quietus secret seal --key-file static.key --target stripe --out stripe.sealed

Without --field, a JSON object of texts is read from standard input: {\"api_key\": \"…\"}.
Every sealing makes a new version. Leases of an older one then count as rotated at the target: change the secret
there first.")]
pub struct SealArgs {
    /// The key, made by `quietus secret keygen`
    #[arg(long, value_name = "FILE")]
    key_file: PathBuf,
    /// The name of the target in the broker's configuration
    #[arg(long, value_name = "NAME")]
    target: TargetName,
    /// The file to write; one that is there is replaced
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// A field to ask for at the terminal, or NAME=@FILE to read it from there
    #[arg(long = "field", value_name = "NAME[=@FILE]")]
    fields: Vec<String>,
}

pub fn run(args: SecretArgs) -> anyhow::Result<()> {
    match args.command {
        Command::Keygen(args) => keygen(&args),
        Command::Seal(args) => seal(&args),
    }
}

fn keygen(args: &KeygenArgs) -> anyhow::Result<()> {
    let key = SealingKey::generate()?;
    create(&args.out, key.as_bytes()).with_context(|| cannot("make", &args.out))?;
    Ok(write(&format!("wrote {}\n", args.out.display()))?)
}

fn seal(args: &SealArgs) -> anyhow::Result<()> {
    let key = SealingKey::from_file(&args.key_file);
    let key = key.with_context(|| cannot("use", &args.key_file))?;
    let fields = match args.fields.is_empty() {
        true => from_stdin()?,
        false => named(&args.fields)?,
    };
    check(&fields)?;
    let target = args.target.as_str();
    let before = key.open_file(target, &args.out).ok();
    if before.is_some_and(|before| before.fields == fields) {
        bail!(
            "{} holds just that already: change the secret at the target first",
            args.out.display()
        );
    }
    let secret = Opened {
        version: version()?,
        fields,
    };
    let sealed = key.seal(target, &secret)?;
    replace(&args.out, &sealed).with_context(|| cannot("write", &args.out))?;
    Ok(write(&format!(
        "sealed version {} for {target}\n",
        secret.version
    ))?)
}

/// When it was sealed, and something that no other has.
fn version() -> anyhow::Result<String> {
    let now = humantime::format_rfc3339_seconds(SystemTime::now());
    let mut bytes = [0; 4];
    random(&mut bytes)?;
    Ok(format!("{now}-{:08x}", u32::from_be_bytes(bytes)))
}

fn named(fields: &[String]) -> anyhow::Result<BTreeMap<String, Secret>> {
    let mut all = BTreeMap::new();
    for field in fields {
        let (name, value) = match field.split_once('=') {
            None => (field.as_str(), from_terminal(field)?),
            Some((name, from)) => {
                let Some(path) = from.strip_prefix('@') else {
                    let what = "--field NAME=VALUE would show the secret to everybody on this \
                                machine: write NAME alone, or NAME=@FILE";
                    return Err(Complaint::Usage(what.to_owned()).into());
                };
                (name, from_file(Path::new(path))?)
            }
        };
        if all.insert(name.to_owned(), value).is_some() {
            return Err(Complaint::Usage(format!("the field {name} is there twice")).into());
        }
    }
    Ok(all)
}

fn from_file(path: &Path) -> anyhow::Result<Secret> {
    let file = File::open(path).with_context(|| cannot("read", path))?;
    let bytes = limited(file).with_context(|| cannot("read", path))?;
    let text = str::from_utf8(&bytes).with_context(|| cannot("read", path))?;
    Ok(Secret::new(text.strip_suffix('\n').unwrap_or(text)))
}

fn from_stdin() -> anyhow::Result<BTreeMap<String, Secret>> {
    if io::stdin().is_terminal() {
        let what = "name the fields with --field, or pipe a JSON object in";
        return Err(Complaint::Usage(what.to_owned()).into());
    }
    let bytes = limited(io::stdin().lock())?;
    let read = serde_json::from_slice::<Fields>(&bytes);
    // What the library says could quote the secret.
    let Fields(fields) = read
        .ok()
        .context("standard input is not a JSON object of texts, each once")?;
    Ok(fields)
}

/// As much as a secret may have, twice over for JSON's escapes.
fn limited(from: impl Read) -> anyhow::Result<Zeroizing<Vec<u8>>> {
    let most = 2 * MAX_BYTES;
    let mut bytes = Zeroizing::new(Vec::with_capacity(most + 1));
    from.take(most as u64 + 1).read_to_end(&mut bytes)?;
    match bytes.len() > most {
        true => bail!("more than {most} bytes"),
        false => Ok(bytes),
    }
}

fn from_terminal(name: &str) -> anyhow::Result<Secret> {
    if !io::stdin().is_terminal() {
        let what = format!("there is no terminal to ask for {name} on: write {name}=@FILE");
        return Err(Complaint::Usage(what).into());
    }
    eprint!("{name}: ");
    let mut line = Zeroizing::new(String::with_capacity(MAX_BYTES));
    let silent = Silent::new()?;
    io::stdin()
        .lock()
        .take(MAX_BYTES as u64)
        .read_line(&mut line)?;
    drop(silent);
    eprintln!();
    Ok(Secret::new(line.trim_end_matches(['\n', '\r'])))
}

/// As long as it is there, the terminal shows nothing of what is typed.
struct Silent(Termios);

impl Silent {
    fn new() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        tcsetattr(io::stdin(), OptionalActions::Now, &silent)?;
        Ok(Self(before))
    }
}

impl Drop for Silent {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
    }
}

fn create(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// The old one or the new one is there, never a part.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".new-{}", std::process::id()));
    let draft = path.with_file_name(name);
    let written = create(&draft, bytes).and_then(|()| fs::rename(&draft, path));
    if written.is_err() {
        let _ = fs::remove_file(&draft);
    }
    written
}

fn cannot(what: &str, path: &Path) -> String {
    format!("cannot {what} {}", path.display())
}

/// A JSON object of texts in which no name is there twice.
struct Fields(BTreeMap<String, Secret>);

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FieldsVisitor)
    }
}

struct FieldsVisitor;

impl<'de> Visitor<'de> for FieldsVisitor {
    type Value = Fields;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object of texts")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
        let mut fields = BTreeMap::new();
        while let Some((name, value)) = map.next_entry::<String, String>()? {
            if fields.insert(name, Secret::new(value)).is_some() {
                return Err(A::Error::custom("twice"));
            }
        }
        Ok(Fields(fields))
    }
}
