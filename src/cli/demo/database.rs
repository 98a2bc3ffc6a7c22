//! The demo's database: a real PostgreSQL server, if there is one on this machine, in which a role lives and dies.

use std::path::Path;

use anyhow::{Context, bail, ensure};
use quietus_ledger::note::Verifier;
use quietus_ledger::receipt::{self, End};
use tokio_postgres::{Client, Config, NoTls};

use super::cast::{connect_broker, load};
use super::script::Show;
use super::stage::Stage;
use crate::api::v1::broker_client::BrokerClient;
use crate::api::v1::credential::Kind;
use crate::api::{v1, wire};
use crate::dev::{DevPostgres, DevPostgresOptions};

const NAME: &str = "shop-db";
const SCOPE: &str = "shop-db:read:public.orders";
const TABLE: &str =
    "CREATE TABLE public.orders (id int); INSERT INTO public.orders VALUES (1), (2), (3);";
const POLICY: &str = r#"
@id("demo-reads-shop")
permit (principal, action == Action::"read", resource in Target::"shop-db");
"#;

/// A server with a table of orders in it; why not, if there is none.
pub(super) async fn launch() -> Result<DevPostgres, String> {
    let options = DevPostgresOptions::default();
    let launched = tokio::task::spawn_blocking(move || DevPostgres::launch(&options)).await;
    let server = launched
        .map_err(|error| error.to_string())?
        .map_err(|error| error.to_string())?;
    let made = server.run("postgres", TABLE).await;
    made.map_err(|error| error.to_string())?;
    Ok(server)
}

/// Makes it a target of the trust domain in this folder.
pub(super) fn configure(folder: &Path, server: &DevPostgres) -> anyhow::Result<()> {
    let path = folder.join("quietus.toml");
    let settings = server.target_settings("postgres");
    let target = format!(
        "\n[[target]]\nname = \"{NAME}\"\nkind = \"postgres\"\nenvironment = \"dev\"\nsensitivity = 2\n\
         resource_servers = []\n\n[target.postgres]\n{settings}"
    );
    std::fs::write(&path, std::fs::read_to_string(&path)? + &target)?;
    Ok(std::fs::write(folder.join("policies/shop.cedar"), POLICY)?)
}

pub(super) async fn act(show: &Show, stage: &Stage) -> anyhow::Result<()> {
    show.title("A role in a real PostgreSQL database lives and dies with a task")?;
    let config = load(&stage.identity("agent"))?;
    let mut broker = BrokerClient::new(connect_broker(&config).await?);
    let task = open(&mut broker).await?;
    let role = request(&mut broker, &task).await?;
    show.line(&format!("asked for {SCOPE}, got the role {}", role.user))?;
    let session = login(&role).await.context("the role cannot log in")?;
    let rows = session.simple_query("SELECT * FROM public.orders").await?;
    ensure!(!rows.is_empty(), "there are no orders");
    show.good("it reads public.orders")?;
    if session
        .simple_query("DELETE FROM public.orders")
        .await
        .is_ok()
    {
        bail!("a role that may read has deleted");
    }
    show.good("and may not delete from it")?;

    let receipt = close(&mut broker, task).await?;
    if session.simple_query("SELECT 1").await.is_ok() {
        bail!("a session outlived its lease");
    }
    if login(&role).await.is_ok() {
        bail!("a role outlived its lease");
    }
    show.good("its task is closed: the open session is gone, and nobody logs in with it again")?;
    tell(show, &receipt)
}

async fn open(broker: &mut BrokerClient<tonic::transport::Channel>) -> anyhow::Result<String> {
    let request = v1::OpenTaskRequest {
        purpose: "count the orders of the shop".to_owned(),
        ..Default::default()
    };
    let opened = broker.open_task(request).await?.into_inner();
    Ok(opened.task.context("no task in the answer")?.id)
}

async fn request(
    broker: &mut BrokerClient<tonic::transport::Channel>,
    task: &str,
) -> anyhow::Result<v1::PostgresCredential> {
    let request = v1::RequestCredentialRequest {
        task_id: task.to_owned(),
        scopes: vec![SCOPE.to_owned()],
        ..Default::default()
    };
    let issued = broker.request_credential(request).await?.into_inner();
    match issued.credential.and_then(|credential| credential.kind) {
        Some(Kind::Postgres(role)) => Ok(role),
        _ => bail!("no role in the answer"),
    }
}

async fn login(role: &v1::PostgresCredential) -> anyhow::Result<Client> {
    let mut config = Config::new();
    config
        .host(&role.host)
        .port(u16::try_from(role.port)?)
        .dbname(&role.database)
        .user(&role.user)
        .password(&role.password);
    let (client, connection) = config.connect(NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

async fn close(
    broker: &mut BrokerClient<tonic::transport::Channel>,
    task_id: String,
) -> anyhow::Result<v1::Receipt> {
    let request = v1::CloseTaskRequest {
        task_id,
        wait: Some(wire::Duration {
            seconds: 15,
            nanos: 0,
        }),
        ..Default::default()
    };
    let closed = broker.close_task(request).await?.into_inner();
    closed.receipt.context("no receipt in the answer")
}

/// What an outsider reads from it.
fn tell(show: &Show, signed: &v1::Receipt) -> anyhow::Result<()> {
    let verifier: Verifier = signed.verifier.parse()?;
    let receipt = receipt::verify(signed.note.as_bytes(), &[verifier])?;
    ensure!(receipt.complete, "a death is not confirmed: {receipt:?}");
    for credential in &receipt.credentials {
        let End::Confirmed { how, .. } = &credential.end else {
            bail!("a death is not confirmed: {credential:?}");
        };
        let how = serde_json::to_value(how)?;
        let how = how.as_str().unwrap_or_default().to_owned();
        show.good(&format!("the receipt is signed and complete: {NAME} {how}"))?;
    }
    Ok(())
}
