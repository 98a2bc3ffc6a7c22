//! Good chains with bytes changed, lost or added: never a panic, never accepted.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::sync::LazyLock;

use common::*;
use proptest::prelude::*;
use proptest::sample::Index;
use quietus_identity::{CertificateDer, Purpose, TrustBundle, TrustBundles, verify};

static WORLD: LazyLock<World> = LazyLock::new(World::new);
static GOOD: LazyLock<Attempt> = LazyLock::new(|| {
    WORLD.attempt(&[
        &WORLD.intermediate.issue(leaf_params()),
        &WORLD.intermediate,
    ])
});

#[test]
fn every_single_bit_matters() {
    assert!(GOOD.verify().is_ok());
    for position in 0..GOOD.chain.len() {
        for index in 0..GOOD.chain[position].len() {
            (0..8).for_each(|bit| refuse(position, |der| der[index] ^= 1 << bit));
        }
    }
}

#[test]
fn every_byte_has_to_be_there() {
    for position in 0..GOOD.chain.len() {
        for index in 0..GOOD.chain[position].len() {
            refuse(position, |der| der.truncate(index));
            refuse(position, |der| {
                der.remove(index);
            });
            refuse(position, |der| der.insert(index, 0));
        }
    }
}

/// An anchor is trusted for being in the bundle, its own signature is not looked at; but no change lets it vouch for
/// a chain that another key has signed, or under another name.
#[test]
fn no_byte_of_an_anchor_makes_it_vouch_for_others() {
    let stranger = Authority::root(with(root_params(), |p| name(p, "prod rooT")));
    let chain = [stranger.issue(leaf_params()).der];
    for index in 0..WORLD.prod.der.len() {
        let mut der = WORLD.prod.der.to_vec();
        der[index] ^= 0x20;
        let Ok(bundle) =
            TrustBundle::from_pem("prod.example".parse().unwrap(), pem(&der).as_bytes())
        else {
            continue;
        };
        assert!(
            verify(
                &chain,
                &TrustBundles::from_iter([bundle]),
                Purpose::Client,
                NOW
            )
            .is_err()
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn several_bytes_changed(position in 0..2_usize, changes in prop::collection::vec((any::<Index>(), any::<u8>()), 1..16)) {
        refuse(position, |der| {
            for (index, byte) in changes {
                let index = index.index(der.len());
                der[index] = byte;
            }
        });
    }

    #[test]
    fn bytes_inserted(position in 0..2_usize, at in any::<Index>(), bytes in prop::collection::vec(any::<u8>(), 1..64)) {
        refuse(position, |der| {
            let at = at.index(der.len() + 1);
            der.splice(at..at, bytes);
        });
    }

    #[test]
    fn a_range_copied_over_another(position in 0..2_usize, from in any::<Index>(), to in any::<Index>(), length in 1..64_usize) {
        refuse(position, |der| {
            let length = length.min(der.len());
            let (from, to) = (from.index(der.len() - length + 1), to.index(der.len() - length + 1));
            der.copy_within(from..from + length, to);
        });
    }

    #[test]
    fn any_bytes_at_all(chain in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..512), 0..10)) {
        let chain: Vec<CertificateDer<'_>> = chain.into_iter().map(Into::into).collect();
        prop_assert!(verify(&chain, &GOOD.bundles, Purpose::Client, NOW).is_err());
    }

    #[test]
    fn any_bytes_as_a_bundle(bytes in prop::collection::vec(any::<u8>(), 0..512), text in "[-A-Z{}\": \n]{0,200}") {
        prop_assert!(TrustBundle::parse("prod.example".parse().unwrap(), &bytes).is_err());
        prop_assert!(TrustBundle::parse("prod.example".parse().unwrap(), text.as_bytes()).is_err());
    }
}

/// The one chain that may be accepted is the one that was not changed after all.
fn refuse(position: usize, change: impl FnOnce(&mut Vec<u8>)) {
    let mut der = GOOD.chain[position].to_vec();
    change(&mut der);
    let mut chain = GOOD.chain.clone();
    chain[position] = der.into();
    let accepted = verify(&chain, &GOOD.bundles, Purpose::Client, NOW).is_ok();
    assert_eq!(
        accepted,
        chain == GOOD.chain,
        "certificate {position}: {:02x?}",
        chain[position].as_ref()
    );
}
