//! Freezes and floors.

use std::collections::BTreeMap;

use quietus_core::*;

use crate::fixtures::*;

fn floor(epoch: u64) -> Floor {
    Floor {
        epoch,
        by: operator(),
    }
}

#[test]
fn a_selector_covers_what_it_names_and_no_more() {
    let db = target("orders-db");
    let domain = |text: &str| Selector::TrustDomain(text.to_owned());
    let agent = |text: &str| Selector::Agent(AgentId(text.to_owned()));
    let covering = [
        Selector::All,
        domain("prod.example"),
        Selector::Agent(coder()),
        Selector::Target(db.clone()),
    ];
    for selector in covering {
        assert!(selector.covers(&coder(), Some(&db)), "{selector:?}");
    }
    let others = [
        domain(""),
        domain("example"),
        domain("prod.example/coder"),
        domain("spiffe://prod.example"),
        agent("spiffe://prod.example"),
        agent("spiffe://prod.example/coder/2"),
        agent("spiffe://prod.example/code"),
        Selector::Target(target("orders")),
        Selector::Target(target("orders-db2")),
    ];
    for selector in others {
        assert!(!selector.covers(&coder(), Some(&db)), "{selector:?}");
    }
    assert!(!Selector::Target(db).covers(&coder(), None));
}

#[test]
fn a_freeze_is_put_on_replaced_and_lifted_each_under_a_new_epoch() {
    let again = Freeze {
        reason: "still".to_owned(),
        ..freeze()
    };
    let guards = Guards::default()
        .freeze(Selector::All, freeze())
        .freeze(Selector::All, again.clone());
    let expected = Guards {
        epoch: 2,
        freezes: BTreeMap::from([(Selector::All, again)]),
        floors: BTreeMap::new(),
    };
    assert_eq!(guards, expected);
    let expected = Guards {
        epoch: 3,
        ..Guards::default()
    };
    assert_eq!(guards.thaw(&Selector::All), Some(expected));
}

#[test]
fn what_is_not_frozen_cannot_be_thawed() {
    let guards = Guards::default().freeze(Selector::All, freeze());
    assert_eq!(guards.thaw(&Selector::Agent(coder())), None);
    assert_eq!(Guards::default().thaw(&Selector::All), None);
}

#[test]
fn thawing_all_leaves_the_narrower_freezes() {
    let narrow = Selector::Agent(coder());
    let guards = Guards::default()
        .freeze(narrow.clone(), freeze())
        .freeze(Selector::All, freeze())
        .thaw(&Selector::All)
        .unwrap();
    assert_eq!(guards.frozen(&coder(), None), Some((&narrow, &freeze())));
    assert_eq!(guards.frozen(&tester(), None), None);
}

#[test]
fn a_floor_fells_what_is_older_than_its_own_epoch() {
    let guards = Guards {
        epoch: 6,
        ..Guards::default()
    };
    let guards = guards.revoke(Selector::All, operator());
    let expected = Guards {
        epoch: 7,
        freezes: BTreeMap::new(),
        floors: BTreeMap::from([(Selector::All, floor(7))]),
    };
    assert_eq!(guards, expected);
    let fallen = |epoch| guards.fallen(&coder(), None, epoch).is_some();
    assert_eq!([0, 6, 7, 8].map(fallen), [true, true, false, false]);
}

#[test]
fn a_lower_floor_does_not_hide_a_higher_one() {
    let guards = Guards::default()
        .revoke(Selector::All, operator())
        .revoke(Selector::Agent(coder()), operator());
    let found = guards.fallen(&coder(), None, 1);
    assert_eq!(found, Some((&Selector::Agent(coder()), &floor(2))));
}

#[test]
fn a_sweep_lifts_only_the_floor_it_swept() {
    let once = Guards::default().revoke(Selector::All, operator());
    let twice = once.clone().revoke(Selector::All, operator());
    assert_eq!(twice.clone().swept(&Selector::All, 1), None);
    assert_eq!(twice.clone().swept(&Selector::All, 3), None);
    assert_eq!(once.swept(&Selector::Agent(coder()), 1), None);
    let expected = Guards {
        epoch: 3,
        ..Guards::default()
    };
    assert_eq!(twice.swept(&Selector::All, 2), Some(expected));
}

#[test]
fn a_thaw_lifts_no_floor_and_a_sweep_no_freeze() {
    let guards = Guards::default()
        .freeze(Selector::All, freeze())
        .revoke(Selector::All, operator());
    let thawed = guards.clone().thaw(&Selector::All).unwrap();
    assert!(thawed.fallen(&coder(), None, 0).is_some());
    let swept = guards.swept(&Selector::All, 2).unwrap();
    assert!(swept.frozen(&coder(), None).is_some());
}

#[test]
fn a_touch_changes_the_epoch_and_nothing_else() {
    let guards = Guards::default()
        .freeze(Selector::All, freeze())
        .revoke(Selector::Agent(coder()), operator());
    let expected = Guards {
        epoch: 3,
        ..guards.clone()
    };
    assert_eq!(guards.touched(), expected);
}
