//! Measures how long one token takes: `cargo run --release -p quietus-token --example speed`.

use std::error::Error;
use std::hint::black_box;
use std::time::Instant;

use quietus_token::{
    Actor, AuthorizationDetail, Claims, Confirmation, JwkSet, Presented, SigningKey, Verifier,
};
use ring::rand::SystemRandom;

const ROUNDS: u32 = 20_000;
const NOW: u64 = 1_800_000_000;

fn main() -> Result<(), Box<dyn Error>> {
    let key = SigningKey::from_pkcs8(&SigningKey::generate(&SystemRandom::new())?)?;
    let keys = JwkSet::new([key.public_jwk()])?;
    let verifier = Verifier::new(keys.clone(), "https://quietus.example", "orders-db");
    let presented = Presented::certificate(b"certificate");
    let claims = claims();
    let token = key.sign(key.prepare(&claims));
    verifier.verify(token.expose(), presented, NOW)?;

    println!("token: {} bytes", token.expose().len());
    report("prepare", || key.prepare(&claims));
    report("prepare and sign", || key.sign(key.prepare(&claims)));
    report("check signature", || keys.check_signature(token.expose()));
    report("verify", || verifier.verify(token.expose(), presented, NOW));
    report("unverified ids", || {
        quietus_token::decode_unverified_ids(token.expose())
    });
    Ok(())
}

/// Prints the best of five runs, in µs a call.
#[expect(
    clippy::disallowed_methods,
    reason = "only the crate must not read a clock"
)]
fn report<T>(what: &str, call: impl Fn() -> T) {
    let run = || {
        let start = Instant::now();
        for _ in 0..ROUNDS {
            black_box(call());
        }
        start.elapsed() / ROUNDS
    };
    let best = (0..5).map(|_| run()).min().unwrap_or_default();
    println!("{what}: {:.1} µs", best.as_secs_f64() * 1e6);
}

fn claims() -> Claims {
    Claims {
        iss: "https://quietus.example".to_owned(),
        sub: "spiffe://example.org/agents/planner".to_owned(),
        client_id: "spiffe://example.org/agents/reporter".to_owned(),
        aud: "orders-db".to_owned(),
        iat: NOW,
        nbf: NOW,
        exp: NOW + 300,
        jti: "01890a5d-ac96-774b-bcce-b302099a8057".to_owned(),
        txn: "01890a5d-ac96-774b-bcce-b302099a8001".to_owned(),
        scope: "orders-db:read:public.orders".to_owned(),
        authorization_details: vec![AuthorizationDetail::scope(
            "orders-db",
            "read",
            "public.orders",
        )],
        act: Some(Actor {
            sub: "spiffe://example.org/agents/reporter".to_owned(),
            act: None,
        }),
        cnf: Confirmation::certificate(b"certificate"),
    }
}
