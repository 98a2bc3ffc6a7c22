//! A broker that lies to whoever copies: nothing of it may be kept.

use std::path::Path;
use std::sync::Arc;

use quietus::api::v1;
use quietus::api::v1::audit_client::AuditClient;
use quietus::api::v1::audit_server::{Audit, AuditServer};
use quietus::audit::Remote;
use quietus::audit::fetch::{Fetched, Options, fetch};
use quietus_ledger::tiles;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Request, Response, Status, Streaming};

use crate::copies::files;
use crate::hall::*;
use crate::help::*;

/// What becomes of a file on its way; none for one that is withheld.
type Twist = Arc<dyn Fn(&str, Vec<u8>) -> Option<Vec<u8>> + Send + Sync>;

/// Stands between a broker and whoever copies.
struct Liar {
    client: AuditClient<Channel>,
    twist: Twist,
}

impl Liar {
    fn told(&self, name: &str, bytes: Vec<u8>) -> Result<Vec<u8>, Status> {
        (self.twist)(name, bytes).ok_or_else(|| Status::not_found(name))
    }

    fn note(
        &self,
        mut head: v1::GetCheckpointResponse,
    ) -> Result<v1::GetCheckpointResponse, Status> {
        let name = format!("checkpoints/{}", head.size);
        head.note = String::from_utf8(self.told(&name, head.note.into_bytes())?).unwrap();
        Ok(head)
    }
}

#[tonic::async_trait]
impl Audit for Liar {
    async fn get_checkpoint(
        &self,
        request: Request<v1::GetCheckpointRequest>,
    ) -> Result<Response<v1::GetCheckpointResponse>, Status> {
        let head = self.client.clone().get_checkpoint(request).await?;
        Ok(Response::new(self.note(head.into_inner())?))
    }

    async fn list_checkpoints(
        &self,
        request: Request<v1::ListCheckpointsRequest>,
    ) -> Result<Response<v1::ListCheckpointsResponse>, Status> {
        let heads = self
            .client
            .clone()
            .list_checkpoints(request)
            .await?
            .into_inner()
            .checkpoints;
        let checkpoints = heads
            .into_iter()
            .map(|head| self.note(head))
            .collect::<Result<_, _>>()?;
        Ok(Response::new(v1::ListCheckpointsResponse { checkpoints }))
    }

    type ReadEntriesStream = Streaming<v1::ReadEntriesResponse>;

    async fn read_entries(
        &self,
        request: Request<v1::ReadEntriesRequest>,
    ) -> Result<Response<Self::ReadEntriesStream>, Status> {
        self.client.clone().read_entries(request).await
    }

    async fn prove_inclusion(
        &self,
        request: Request<v1::ProveInclusionRequest>,
    ) -> Result<Response<v1::ProveInclusionResponse>, Status> {
        self.client.clone().prove_inclusion(request).await
    }

    async fn prove_consistency(
        &self,
        request: Request<v1::ProveConsistencyRequest>,
    ) -> Result<Response<v1::ProveConsistencyResponse>, Status> {
        self.client.clone().prove_consistency(request).await
    }

    async fn get_tile(
        &self,
        request: Request<v1::GetTileRequest>,
    ) -> Result<Response<v1::GetTileResponse>, Status> {
        let name = request.get_ref().path.clone();
        let content = self
            .client
            .clone()
            .get_tile(request)
            .await?
            .into_inner()
            .content;
        let content = self.told(&name, content)?;
        Ok(Response::new(v1::GetTileResponse { content }))
    }

    async fn get_object(
        &self,
        request: Request<v1::GetObjectRequest>,
    ) -> Result<Response<v1::GetObjectResponse>, Status> {
        let name = request.get_ref().digest.clone();
        let content = self
            .client
            .clone()
            .get_object(request)
            .await?
            .into_inner()
            .content;
        let content = self.told(&name, content)?;
        Ok(Response::new(v1::GetObjectResponse { content }))
    }

    async fn get_text(
        &self,
        request: Request<v1::GetTextRequest>,
    ) -> Result<Response<v1::GetTextResponse>, Status> {
        self.client.clone().get_text(request).await
    }
}

async fn copy_from(stage: &Stage, dir: &Path, twist: Twist) -> anyhow::Result<Fetched> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let client = audit(stage, "auditor").await;
    let served = Server::builder()
        .add_service(AuditServer::new(Liar { client, twist }))
        .serve_with_incoming(TcpListenerStream::new(listener));
    let serving = tokio::spawn(served);
    let channel = Endpoint::from_shared(address)
        .unwrap()
        .connect()
        .await
        .unwrap();
    let remote = Remote::new(AuditClient::new(channel).max_decoding_message_size(64 << 20));
    let key = [log_key(&stage.world)];
    let options = Options {
        keys: &key,
        at_most: None,
    };
    let fetched = fetch(&remote, dir, options, &mut |_, _| {}).await;
    serving.abort();
    fetched
}

fn flip(name: &'static str, at: usize) -> Twist {
    Arc::new(move |path, mut bytes| {
        if path == name {
            let at = at % bytes.len();
            bytes[at] ^= 1;
        }
        Some(bytes)
    })
}

fn withhold(name: &'static str) -> Twist {
    Arc::new(move |path, bytes| (path != name).then_some(bytes))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_altered_byte_of_any_file_is_found_and_the_copy_stays_as_it_was() {
    let stage = hall().await;
    grow_to(&stage, 300).await;
    settled(&stage).await;
    let dir = stage.world.path("copy");
    let honest: Twist = Arc::new(|_, bytes| Some(bytes));
    copy_from(&stage, &dir, Arc::clone(&honest)).await.unwrap();
    let before = files(&dir);
    grow_to(&stage, 900).await;
    let newest = settled(&stage).await.size;
    assert_eq!(newest, 900);
    let lies = [
        flip("tile/0/001", 0),
        flip("tile/0/002", 8191),
        flip("tile/0/003.p/132", 77),
        flip("tile/1/000.p/3", 40),
        flip("tile/entries/001", 5000),
        flip("tile/entries/002", 0),
        flip("tile/entries/003.p/132", 3),
        flip("checkpoints/900", 30),
        flip("checkpoints/512", 30),
        withhold("tile/0/001"),
        withhold("tile/1/000.p/3"),
        withhold("tile/entries/002"),
        withhold("tile/entries/003.p/132"),
        Arc::new(|path: &str, mut bytes: Vec<u8>| {
            if path.starts_with("tile/") {
                bytes.truncate(bytes.len() - 1);
            }
            Some(bytes)
        }),
        Arc::new(|path: &str, bytes: Vec<u8>| {
            Some(if path.starts_with("tile/") {
                Vec::new()
            } else {
                bytes
            })
        }),
        Arc::new(|path: &str, bytes: Vec<u8>| {
            Some(if path == "tile/entries/001" {
                swapped(&bytes)
            } else {
                bytes
            })
        }),
    ];
    for (n, lie) in lies.into_iter().enumerate() {
        // A copy of its own for each, since what is good stays.
        let own = stage.world.path(&format!("copy-{n}"));
        for (name, bytes) in &before {
            let path = own.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }
        let lied = copy_from(&stage, &own, lie).await;
        let error = lied
            .map(drop)
            .err()
            .unwrap_or_else(|| panic!("lie {n} was believed"));
        let after = files(&own);
        for (name, bytes) in &before {
            assert_eq!(
                after.get(name),
                Some(bytes),
                "lie {n} changed {name}: {error:#}"
            );
        }
    }
    copy_from(&stage, &dir, honest).await.unwrap();
    let key = key_file(&stage.world);
    let verified = run(
        &stage,
        &[
            "verify",
            dir.to_str().unwrap(),
            "--key",
            key.to_str().unwrap(),
        ],
    );
    assert!(verified.status.success(), "{verified:?}");
}

/// Two entries change places.
fn swapped(bundle: &[u8]) -> Vec<u8> {
    let mut entries = tiles::entries(bundle, 256).unwrap();
    entries.swap(3, 4);
    tiles::bundle(&entries).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_entries_name_and_the_broker_withholds_is_told() {
    let mut stage = hall().await;
    settled(&stage).await;
    let digest = stage.status().await.policy_digest;
    let dir = stage.world.path("copy");
    let hidden = digest.clone();
    let twist: Twist = Arc::new(move |path, bytes| (path != hidden).then_some(bytes));
    let fetched = copy_from(&stage, &dir, twist).await.unwrap();
    assert_eq!(fetched.missing, [format!("policies/{digest}")]);
    assert!(dir.join("checkpoint").exists());
}
