//! What happens in the demo, in order, and what must come of each step.

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use tonic::transport::Channel;

use super::cast::{Order, Report, connect_broker, load};
use super::stage::{Actor, GRACE, Stage, TARGET};
use crate::api::v1;
use crate::api::v1::operator_client::OperatorClient;
use crate::cli::style::{Palette, Tone, When};
use crate::cli::table::{Cell, Table};

/// What the agent is permitted.
const READ: &str = "orders-db:read:public.orders";
/// What it is not: another action on the very same resource, and another target.
const ESCALATIONS: [&str; 2] = [
    "orders-db:admin:public.orders",
    "payments-api:read:transfers",
];
/// How often the operator looks whether the killed agent's task has ended.
const LOOK: Duration = Duration::from_millis(50);

pub(super) async fn play(color: When, keep: Option<PathBuf>) -> anyhow::Result<()> {
    let kept = keep.is_some();
    let show = Show(Palette::new(color, io::stdout().is_terminal()));
    show.title("A throwaway trust domain and a broker")?;
    let (stage, ready) = Stage::set(keep).await?;
    show.line(&format!(
        "{ready} (mTLS, TLS 1.3), process {}",
        stage.broker_pid()
    ))?;
    show.line(&format!(
        "everything it keeps is in {}",
        stage.folder.display()
    ))?;
    let config = load(&stage.identity("operator"))?;
    let mut operator = OperatorClient::new(connect_broker(&config).await?);
    let mut orders = stage.enter("resource-server", "resource-server")?;
    let Report::Listening { address } = orders.hear().await? else {
        bail!("the resource server does not listen");
    };
    show.line(&format!(
        "a resource server for {TARGET} on {address}, process {}",
        orders.pid()
    ))?;

    let agent = first_task(&show, &stage, &address).await?;
    let (agent, token) = escalation(&show, agent).await?;
    let token = theft(&show, &stage, &address, token).await?;
    death(&show, &stage, &mut operator, agent, &address, token).await?;
    #[cfg(feature = "postgres")]
    match &stage.database {
        Ok(_) => super::database::act(&show, &stage).await?,
        Err(why) => {
            show.title("A role in a real PostgreSQL database")?;
            show.line(&format!("is left out: {why}"))?;
        }
    }
    kill_switch(&show, &stage, &mut operator, &address).await?;
    accounts(&show, &mut operator).await?;

    let folder = stage.folder.clone();
    stage.strike().await?;
    show.title("Everything came out as it must")?;
    if kept {
        show.line(&format!(
            "kept in {}: start it again with",
            folder.display()
        ))?;
        show.line(&format!(
            "quietus serve --config {}/quietus.toml",
            folder.display()
        ))?;
    }
    Ok(())
}

struct Player {
    actor: Actor,
    task: String,
    token: String,
}

async fn first_task(show: &Show, stage: &Stage, address: &str) -> anyhow::Result<Player> {
    show.title("An agent opens a task and gets a token for it")?;
    let mut player = open(stage, "agent", "reconcile the orders of 20 November").await?;
    show.line(&format!(
        "process {} opened task {}",
        player.actor.pid(),
        player.task
    ))?;
    let report = player.request(READ, 600).await?;
    let Report::Issued {
        lease,
        bound,
        seconds,
        ..
    } = &report
    else {
        bail!("no token: {report:?}");
    };
    show.line(&format!("asked for {READ} for 600 s"))?;
    show.line(&format!(
        "got lease {lease} for {seconds} s (bound by {bound})"
    ))?;
    let used = player.present(address).await?;
    let Report::Accepted { agent } = &used else {
        bail!("the resource server refused a good token: {used:?}");
    };
    show.good(&format!("the resource server accepted it, for {agent}"))?;
    Ok(player)
}

async fn escalation(show: &Show, mut player: Player) -> anyhow::Result<(Player, String)> {
    show.title("The agent asks for more than it may have")?;
    for scope in ESCALATIONS {
        let report = player.request(scope, 60).await?;
        let Report::Refused { reason, message } = &report else {
            bail!("an escalation was granted: {report:?}");
        };
        show.good(&format!("{scope} is refused, {reason}: {message}"))?;
    }
    let token = player.token.clone();
    Ok((player, token))
}

async fn theft(show: &Show, stage: &Stage, address: &str, token: String) -> anyhow::Result<String> {
    show.title("Another identity steals the token")?;
    let mut thief = stage.enter("agent", "reader")?;
    let order = Order::Present {
        address: address.to_owned(),
        token: token.clone(),
    };
    let report = thief.act(&order).await?;
    let Report::Refused { reason, .. } = &report else {
        bail!("a stolen token was accepted: {report:?}");
    };
    show.good(&format!(
        "refused, {reason}: it is bound to the certificate of the agent"
    ))?;
    Ok(token)
}

async fn death(
    show: &Show,
    stage: &Stage,
    operator: &mut OperatorClient<Channel>,
    agent: Player,
    address: &str,
    token: String,
) -> anyhow::Result<()> {
    show.title("The agent is killed with SIGKILL")?;
    let task = agent.task.clone();
    agent.actor.kill().await?;
    let killed = Instant::now();
    let ending = loop {
        let ended = find_task(operator, &task).await?;
        if let Some(ending) = ended.ending {
            break ending;
        }
        ensure!(
            killed.elapsed() < GRACE * 5,
            "the task of the dead agent lives on"
        );
        tokio::time::sleep(LOOK).await;
    };
    ensure!(
        ending.cause == "Abandoned",
        "the task ended as {}",
        ending.cause
    );
    let after = killed.elapsed().as_secs_f32();
    show.good(&format!(
        "{after:.1} s later its task ended by itself: {} ({}), the grace is {} s",
        ending.cause,
        ending.reason,
        GRACE.as_secs()
    ))?;
    // The very same identity comes back with the token: it is still bound to it, still within its lifetime, and dead.
    let mut again = stage.enter("agent", "agent")?;
    let order = Order::Present {
        address: address.to_owned(),
        token,
    };
    let report = again.act(&order).await?;
    let Report::Refused { reason, .. } = &report else {
        bail!("the token of an ended task was accepted: {report:?}");
    };
    show.good(&format!("its token is refused: {reason}"))
}

async fn kill_switch(
    show: &Show,
    stage: &Stage,
    operator: &mut OperatorClient<Channel>,
    address: &str,
) -> anyhow::Result<()> {
    show.title("An operator revokes everything else")?;
    let mut players = Vec::new();
    for purpose in ["answer customer 4711", "refresh the sales report"] {
        let mut player = open(stage, "agent", purpose).await?;
        for _ in 0..2 {
            let report = player.request(READ, 300).await?;
            ensure!(
                matches!(report, Report::Issued { .. }),
                "no token: {report:?}"
            );
        }
        players.push(player);
    }
    let all = v1::RevokeRequest {
        selector: Some(v1::Selector {
            of: Some(v1::selector::Of::All(true)),
        }),
        reason: "end of the demo".to_owned(),
        ..Default::default()
    };
    let revoked = operator.revoke(all).await?.into_inner();
    ensure!(
        (revoked.tasks, revoked.leases) == (2, 4),
        "revoked {revoked:?}"
    );
    show.line(&format!(
        "ended {} tasks and {} leases",
        revoked.tasks, revoked.leases
    ))?;
    for player in &mut players {
        let report = player.present(address).await?;
        ensure!(
            matches!(report, Report::Refused { .. }),
            "a revoked token was accepted"
        );
        let report = player.request(READ, 300).await?;
        ensure!(
            matches!(report, Report::Refused { .. }),
            "a revoked task got a token"
        );
    }
    show.good("none of their tokens is accepted, and none of their tasks gets another")
}

/// The closing table: every credential and how it ended.
async fn accounts(show: &Show, operator: &mut OperatorClient<Channel>) -> anyhow::Result<()> {
    show.title("Every credential, and how it ended")?;
    let request = v1::ListLeasesRequest {
        page_size: 1000,
        ..Default::default()
    };
    let leases = operator.list_leases(request).await?.into_inner().leases;
    ensure!(!leases.is_empty(), "there are no leases");
    let mut table = Table::with_head(["LEASE", "SCOPE", "LIVED", "ENDED BY", "CONFIRMED"]);
    for lease in &leases {
        let ending = lease
            .ending
            .as_ref()
            .context("a credential is still alive")?;
        ensure!(
            !lease.confirmed.is_empty(),
            "a death is not confirmed: {lease:?}"
        );
        let task = find_task(operator, &lease.task_id).await?;
        let why = task.ending.as_ref().unwrap_or(ending);
        table.add([
            short(&lease.id).into(),
            lease.scopes.join(" ").into(),
            lived(lease).unwrap_or_default().into(),
            format!("{} ({})", why.cause, why.reason).into(),
            Cell::toned(Tone::Good, &lease.confirmed),
        ]);
    }
    let status = operator
        .get_status(v1::GetStatusRequest {})
        .await?
        .into_inner();
    ensure!(
        (status.open_tasks, status.live_leases) == (0, 0),
        "something is still alive"
    );
    for line in table.render(show.0).lines() {
        show.line(line)?;
    }
    show.good(&format!(
        "nothing is alive, and {} ledger entries say how it came to that",
        status.ledger_entries
    ))
}

async fn open(stage: &Stage, identity: &str, purpose: &str) -> anyhow::Result<Player> {
    let mut actor = stage.enter("agent", identity)?;
    let order = Order::Open {
        purpose: purpose.to_owned(),
    };
    let report = actor.act(&order).await?;
    let Report::Opened { task } = report else {
        bail!("no task: {report:?}");
    };
    Ok(Player {
        actor,
        task,
        token: String::new(),
    })
}

impl Player {
    async fn request(&mut self, scope: &str, ttl_seconds: i64) -> anyhow::Result<Report> {
        let scope = scope.to_owned();
        let report = self
            .actor
            .act(&Order::Request { scope, ttl_seconds })
            .await?;
        if let Report::Issued { token, .. } = &report {
            self.token.clone_from(token);
        }
        Ok(report)
    }

    async fn present(&mut self, address: &str) -> anyhow::Result<Report> {
        let order = Order::Present {
            address: address.to_owned(),
            token: self.token.clone(),
        };
        self.actor.act(&order).await
    }
}

async fn find_task(operator: &mut OperatorClient<Channel>, id: &str) -> anyhow::Result<v1::Task> {
    let request = v1::ListTasksRequest {
        page_size: 1000,
        ..Default::default()
    };
    let tasks = operator.list_tasks(request).await?.into_inner().tasks;
    tasks
        .into_iter()
        .find(|task| task.id == id)
        .context("the task is not listed")
}

/// The end of an id is what tells it from its neighbours.
fn short(id: &str) -> String {
    let from = id.len().saturating_sub(14);
    format!("…{}", &id[from..])
}

fn lived(lease: &v1::Lease) -> Option<String> {
    let (from, to) = (
        lease.issued_at.as_ref()?,
        lease.ending.as_ref()?.at.as_ref()?,
    );
    let millis = (to.seconds - from.seconds) * 1000 + i64::from(to.nanos - from.nanos) / 1_000_000;
    Some(format!("{}.{} s", millis / 1000, millis % 1000 / 100))
}

/// What the audience sees.
pub(super) struct Show(Palette);

impl Show {
    pub(super) fn title(&self, text: &str) -> anyhow::Result<()> {
        self.print(&format!("\n{}", self.0.paint(Tone::Strong, text)))
    }

    pub(super) fn line(&self, text: &str) -> anyhow::Result<()> {
        self.print(&format!("  {text}"))
    }

    pub(super) fn good(&self, text: &str) -> anyhow::Result<()> {
        self.print(&format!("  {} {text}", self.0.paint(Tone::Good, "✓")))
    }

    fn print(&self, text: &str) -> anyhow::Result<()> {
        Ok(writeln!(io::stdout(), "{text}")?)
    }
}
