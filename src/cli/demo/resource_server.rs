//! The demo's resource server: what any service does with a token. It verifies the signature, the audience, the
//! lifetime and the binding to the caller's certificate by itself, and asks the broker whether the lease is alive.

use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;

use quietus_identity::VerifiedSvid;
use quietus_token::{JwkSet, Presented, TokenError, Verifier};
use tokio::net::TcpListener;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Server};
use tonic::{Code, Request, Response, Status};
use tonic_types::{ErrorDetails, StatusExt};

use super::cast::{Report, connect_broker, load, now, say, svid_files};
use super::stage::{RESOURCE, TARGET};
use crate::api::demo::orders_server::{Orders, OrdersServer};
use crate::api::demo::{ReadOrdersRequest, ReadOrdersResponse};
use crate::api::v1;
use crate::api::v1::verification_client::VerificationClient;
use crate::config::ClientConfig;
use crate::server::Authenticate;
use crate::server::listener::{Limits, Listener};
use crate::tls::{ServerSvid, ServerTls};
use crate::trust::Trust;

struct ResourceServer {
    verifier: Verifier,
    broker: VerificationClient<Channel>,
}

pub(super) async fn play(identity: &Path) -> anyhow::Result<()> {
    let config = load(identity)?;
    let mut broker = VerificationClient::new(connect_broker(&config).await?);
    let keys = broker
        .get_signing_keys(v1::GetSigningKeysRequest {})
        .await?
        .into_inner();
    let keys = JwkSet::from_json(keys.jwk_set.as_bytes())?;
    let server = ResourceServer {
        verifier: Verifier::new(keys, config.broker.as_str(), TARGET),
        broker,
    };
    serve(&config, server).await
}

async fn serve(config: &ClientConfig, server: ResourceServer) -> anyhow::Result<()> {
    let domain = config.broker.trust_domain().clone();
    let start = now()();
    let trust = Arc::new(Trust::load(vec![(domain, config.bundle.clone())], start)?);
    let svid = Arc::new(ServerSvid::load(svid_files(config), start)?);
    let tls = ServerTls::new(svid, Arc::clone(&trust), now())?;
    let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = socket.local_addr()?.to_string();
    let guard = Authenticate::new(trust, now());
    let orders = InterceptedService::new(OrdersServer::new(server), guard);
    say(&Report::Listening { address })?;
    let connections = Listener::new(socket, tls, Limits::default()).incoming();
    Ok(Server::builder()
        .add_service(orders)
        .serve_with_incoming(connections)
        .await?)
}

#[tonic::async_trait]
impl Orders for ResourceServer {
    async fn read_orders(
        &self,
        request: Request<ReadOrdersRequest>,
    ) -> Result<Response<ReadOrdersResponse>, Status> {
        let caller = request.extensions().get::<VerifiedSvid>();
        let caller = caller.ok_or_else(|| refused("NO_CALLER"))?.fingerprint();
        let token = bearer(&request).ok_or_else(|| refused("NO_TOKEN"))?;
        // By itself: this works while the broker is away as well.
        let presented = Presented::from_thumbprint(caller);
        let verified = self.verifier.verify(token, presented, now()());
        let verified = verified.map_err(|error: TokenError| refused(error.reason()))?;
        if !verified.allows(TARGET, "read", RESOURCE) {
            return Err(refused("SCOPE"));
        }
        // And at the broker: a revoked token is dead before it expires.
        let question = v1::IntrospectRequest {
            token: token.to_owned(),
            presenter_certificate_sha256: caller.to_vec(),
        };
        let answer = self.broker.clone().introspect(question).await?.into_inner();
        match answer.active {
            true => Ok(Response::new(ReadOrdersResponse {
                agent: verified.subject().to_owned(),
                orders: 42,
            })),
            false => Err(refused("REVOKED")),
        }
    }
}

fn bearer<T>(request: &Request<T>) -> Option<&str> {
    request
        .metadata()
        .get("authorization")?
        .to_str()
        .ok()?
        .strip_prefix("Bearer ")
}

fn refused(reason: &str) -> Status {
    let details = ErrorDetails::with_error_info(reason, "orders", []);
    Status::with_error_details(Code::Unauthenticated, "the token is refused", details)
}
