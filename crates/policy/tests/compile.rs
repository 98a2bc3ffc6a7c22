//! What is refused at load, why and where.
#![allow(clippy::unwrap_used)]

mod common;

use common::{World, compile, file, refusal, set};
use quietus_policy::{
    Effect, MAX_FILE_BYTES, MAX_FILES, MAX_POLICIES, Place, PolicyError, PolicySet, SCHEMA,
};
use ring::digest::{SHA256, digest};

const ANY: &str = "permit(principal, action, resource);";

#[test]
fn text_that_is_not_cedar_is_refused_with_its_place() {
    let cases = [
        ("permit", 1, 7),
        ("\n\npermit(principal, action, resource)", 3, 36),
        ("permit(principal, action);", 1, 25),
        ("allow(principal, action, resource);", 1, 1),
        (
            "permit(principal, action, resource) when { context.ttl < };",
            1,
            58,
        ),
        (
            "permit(principal, action, resource) when { \"é\" == };",
            1,
            51,
        ),
        ("permit(principal, action, resource);\n}", 2, 1),
        ("permit(user, action, resource);", 1, 8),
        (
            "permit(principal, action, resource) when { \"unclosed };",
            1,
            44,
        ),
        (
            "@id(\"a\") @id(\"b\") permit(principal, action, resource);",
            1,
            10,
        ),
    ];
    for (text, line, column) in cases {
        let error = refusal(text);
        let PolicyError::Syntax { place, message, .. } = &error else {
            unreachable!("{text}: {error:?}");
        };
        assert_eq!(
            (place.line, place.column),
            (line, column),
            "{text}: {message}"
        );
        assert!(error.to_string().starts_with("test.cedar:"), "{error}");
    }
}

#[test]
fn policies_that_do_not_fit_the_schema_are_refused() {
    let cases = [
        (
            "permit(principal, action, resource) when { context.purpose == \"x\" };",
            1,
            44,
        ),
        (
            "permit(principal, action, resource)\nwhen { principal.nickname == \"x\" };",
            2,
            8,
        ),
        (
            "permit(principal, action, resource) when { context.ttl == \"600\" };",
            1,
            44,
        ),
        (
            "permit(principal, action, resource) when { context.ttl };",
            1,
            44,
        ),
        (
            "permit(principal, action, resource) when { principal == resource };",
            1,
            1,
        ),
        (
            "permit(principal, action == Action::\"Read\", resource);",
            1,
            29,
        ),
        (
            "permit(principal, action == Action::\"own\", resource);",
            1,
            29,
        ),
        (
            "permit(principal in Group::\"x\", action, resource);",
            1,
            21,
        ),
        ("permit(principal == User::\"x\", action, resource);", 1, 21),
        ("permit(principal is Team, action, resource);", 1, 1),
        ("permit(principal == Team::\"x\", action, resource);", 1, 1),
        (
            "permit(principal in Target::\"x\", action, resource);",
            1,
            1,
        ),
        (
            "permit(principal, action, resource == Target::\"x\");",
            1,
            1,
        ),
        ("permit(principal, action, resource in Team::\"x\");", 1, 1),
        ("permit(principal, action, resource) when { false };", 1, 1),
        ("permit(principal, action in [], resource);", 1, 1),
        (
            "permit(principal, action, resource) when { principal has nickname };",
            1,
            1,
        ),
        (
            "permit(principal, action, resource) when { principal.team == \"pаyments\" };",
            1,
            62,
        ),
        (
            "permit(principal, action, resource) when { principal.team == \"a\u{202e}b\" };",
            1,
            62,
        ),
    ];
    for (text, line, column) in cases {
        let error = refusal(&format!("{ANY}\n{text}"));
        let PolicyError::Invalid {
            place,
            policy,
            message,
            ..
        } = &error
        else {
            unreachable!("{text}: {error:?}");
        };
        assert_eq!(policy, "test#2", "{text}");
        assert_eq!(
            (place.line - 1, place.column),
            (line, column),
            "{text}: {message}"
        );
    }
}

#[test]
fn the_first_of_several_faults_is_named_every_time() {
    let text = format!(
        "{ANY}\npermit(principal, action, resource) when {{ context.b == 1 || context.a == 1 }};\n\
         permit(principal, action, resource) when {{ context.c == 1 }};"
    );
    let first = refusal(&text).to_string();
    assert!(first.starts_with("test.cedar:2:"), "{first}");
    for _ in 0..20 {
        assert_eq!(refusal(&text).to_string(), first);
    }
}

#[test]
fn templates_are_refused() {
    for text in [
        "permit(principal == ?principal, action, resource);",
        "permit(principal, action, resource in ?resource);",
    ] {
        let place = at(2, 1);
        assert_eq!(
            refusal(&format!("{ANY}\n{text}")),
            PolicyError::Template { place }
        );
    }
}

#[test]
fn unknown_annotations_are_refused() {
    for annotation in [
        "maxttl",
        "Max_ttl",
        "ID",
        "advice",
        "approvals",
        "quorums",
        "permit",
        "_",
    ] {
        let error = refusal(&format!("  @{annotation}(\"1h\") {ANY}"));
        let expected = PolicyError::UnknownAnnotation {
            place: at(1, 3),
            policy: "test#1".to_owned(),
            annotation: annotation.to_owned(),
        };
        assert_eq!(error, expected);
    }
}

#[test]
fn annotations_on_the_wrong_effect_are_refused() {
    let cases = [
        (r#"@max_ttl("1h") forbid"#, "max_ttl"),
        (r#"@approval("oncall") permit"#, "approval"),
        (r#"@approval("oncall") @quorum("2") permit"#, "approval"),
        (r#"@quorum("2") permit"#, "quorum"),
        (r#"@quorum("2") forbid"#, "quorum"),
    ];
    for (head, wrong) in cases {
        let error = refusal(&format!(
            "{head}(principal, action, resource) unless {{ context.approved }};"
        ));
        let PolicyError::MisplacedAnnotation {
            place, annotation, ..
        } = &error
        else {
            unreachable!("{head}: {error:?}");
        };
        assert_eq!((place, *annotation), (&at(1, 1), wrong), "{head}");
    }
}

#[test]
fn annotation_values_have_one_spelling() {
    let long = "x".repeat(129);
    let cases = [
        ("max_ttl", "", ANY),
        ("max_ttl", "0s", ANY),
        ("max_ttl", "1 h", ANY),
        ("max_ttl", "1h30m", ANY),
        ("max_ttl", "900", ANY),
        ("max_ttl", "forever", ANY),
        ("max_ttl", "-1h", ANY),
        ("id", "", ANY),
        ("id", "a b", ANY),
        ("id", "ä", ANY),
        ("id", long.as_str(), ANY),
        ("approval", "", FORBID),
        ("approval", "on call", FORBID),
        ("approval", "a,b", FORBID),
        ("approval\") @quorum", "0", FORBID),
        ("approval\") @quorum", "11", FORBID),
        ("approval\") @quorum", "02", FORBID),
        ("approval\") @quorum", "two", FORBID),
        ("approval\") @quorum", "-1", FORBID),
        ("approval\") @quorum", "", FORBID),
    ];
    for (annotation, text, policy) in cases {
        let annotation = annotation.replace("approval\")", "approval(\"oncall\")");
        let error = refusal(&format!("@{annotation}(\"{text}\") {policy}"));
        let PolicyError::AnnotationValue { place, value, .. } = &error else {
            unreachable!("{annotation} {text}: {error:?}");
        };
        assert_eq!((place, value.as_str()), (&at(1, 1), text));
    }
}

const FORBID: &str = "forbid(principal, action, resource) unless { context.approved };";

#[test]
fn an_approval_that_could_never_lift_its_forbid_is_refused() {
    for condition in [
        "",
        "when { context.task.held }",
        "unless { principal.team == \"approved\" }",
    ] {
        let error = refusal(&format!(
            "@approval(\"oncall\") forbid(principal, action, resource) {condition};"
        ));
        let (place, policy) = (at(1, 1), "test#1".to_owned());
        assert_eq!(error, PolicyError::ApprovalNeverLifts { place, policy });
    }
    assert!(
        compile(
            "@approval(\"g\") forbid(principal, action, resource) unless { context[\"approved\"] };"
        )
        .is_ok()
    );
}

#[test]
fn two_policies_of_one_id_are_refused() {
    let cases = [
        format!("@id(\"a\") {ANY}\n@id(\"a\") {ANY}"),
        format!("@id(\"test#2\") {ANY}\n{ANY}"),
    ];
    for text in cases {
        let error = refusal(&text);
        let PolicyError::DuplicateId { place, first, .. } = &error else {
            unreachable!("{error:?}");
        };
        assert_eq!((place, first), (&at(2, 1), &at(1, 1)));
    }
    let across = vec![
        file("b.cedar", &format!("@id(\"a\") {ANY}")),
        file("a.cedar", &format!("@id(\"a\") {ANY}")),
    ];
    let error = PolicySet::compile(across).err().unwrap();
    assert_eq!(
        error.to_string(),
        "b.cedar:1:1: policy a is already defined at a.cedar:1:1: give it another @id"
    );
}

#[test]
fn what_is_too_much_is_refused() {
    let comment = |bytes: usize| format!("//{}", "x".repeat(bytes - 2));
    assert!(compile(&comment(MAX_FILE_BYTES)).is_ok());
    assert!(matches!(
        refusal(&comment(MAX_FILE_BYTES + 1)),
        PolicyError::FileTooLarge { .. }
    ));
    let files =
        |count: usize, text: &str| (0..count).map(|n| file(&format!("{n}"), text)).collect();
    let refused = |files| PolicySet::compile(files).err().unwrap();
    let many = refused(files(MAX_FILES + 1, ""));
    assert!(matches!(many, PolicyError::TooManyFiles { .. }));
    let much = refused(files(17, &comment(MAX_FILE_BYTES)));
    assert!(matches!(much, PolicyError::TooMuchText { .. }));
    let policies = refusal(&ANY.repeat(MAX_POLICIES + 1));
    assert!(matches!(policies, PolicyError::TooManyPolicies { .. }));
}

#[test]
fn files_need_names_of_their_own() {
    for names in [["a", "a"], ["", "a"]] {
        let files = names.map(|name| file(name, "")).into();
        let error = PolicySet::compile(files).err().unwrap();
        assert!(matches!(error, PolicyError::FileName { .. }));
    }
}

#[test]
fn what_would_overflow_a_stack_is_refused_before_it_is_parsed() {
    for count in [1_000, 100_000] {
        let conditions = [
            format!("{}true{}", "(".repeat(count), ")".repeat(count)),
            format!("{}1{} == 1", "{a:".repeat(count), "}".repeat(count)),
            format!("{}1", "[".repeat(count)),
            vec!["true"; count].join(" && "),
            vec!["true"; count].join("||"),
            format!("{} > 0", vec!["1"; count].join("+")),
            format!("{}true", "if true then true else ".repeat(count)),
            format!("{}true", "!".repeat(count)),
            format!("context{}", ".task".repeat(count)),
            format!("context{}", "[\"task\"]".repeat(count)),
            format!("true }} {} when {{ true", "when { true } ".repeat(count)),
        ];
        for condition in conditions {
            let error = refusal(&format!(
                "permit(principal, action, resource) when {{ {condition} }};"
            ));
            let expected = matches!(
                error,
                PolicyError::TooDeep { .. } | PolicyError::FileTooLarge { .. }
            );
            assert!(expected, "{error}");
        }
    }
}

#[test]
fn a_policy_at_the_limit_of_depth_still_works() {
    let nested = format!("{}context.task.held{}", "(".repeat(29), ")".repeat(29));
    let chained = vec!["context.task.held"; 40].join(" && ");
    for condition in [nested, chained] {
        let text = format!("permit(principal, action, resource) when {{ {condition} }};");
        assert!(World::new().decide(&text).is_permit());
        assert!(World::new().explain(&text).decision.is_permit());
    }
}

#[test]
fn order_and_ids_follow_file_names_and_positions() {
    let files = vec![
        file("b.cedar", ANY),
        file(
            "a.cedar",
            &format!("{ANY} @id(\"named\") forbid(principal, action, resource); {ANY}"),
        ),
        file("c/d.cedar", ANY),
    ];
    let set = PolicySet::compile(files).unwrap();
    let listed: Vec<(&str, Effect, &str)> =
        set.policies().map(|p| (p.id, p.effect, p.file)).collect();
    let expected = [
        ("a#1", Effect::Permit, "a.cedar"),
        ("named", Effect::Forbid, "a.cedar"),
        ("a#3", Effect::Permit, "a.cedar"),
        ("b#1", Effect::Permit, "b.cedar"),
        ("c/d#1", Effect::Permit, "c/d.cedar"),
    ];
    assert_eq!(listed, expected);
    assert_eq!(set.len(), 5);
}

#[test]
fn the_digest_is_of_the_files_and_not_of_their_order() {
    let digest = |files: &[(&str, &str)]| {
        let files = files.iter().map(|(name, text)| file(name, text)).collect();
        PolicySet::compile(files).unwrap().digest()
    };
    let base = digest(&[("a", ANY), ("b", "")]);
    assert_eq!(base, digest(&[("b", ""), ("a", ANY)]));
    let others: [&[(&str, &str)]; 6] = [
        &[("a", ANY)],
        &[("b", ANY), ("a", "")],
        &[("a", ANY), ("c", "")],
        &[("a", ANY), ("b", " ")],
        &[("a", ANY), ("b", ""), ("c", "")],
        &[("ab", ANY), ("", "")][..1],
    ];
    for other in others {
        assert_ne!(base, digest(other));
    }
}

#[test]
fn the_digest_tells_where_one_text_ends_and_the_next_begins() {
    let one = vec![file("a", "//xb")];
    let two = vec![file("a", "//x"), file("b", "")];
    let digest = |files| PolicySet::compile(files).unwrap().digest();
    assert_ne!(digest(one), digest(two));
}

#[test]
fn files_read_back_and_compile_again_to_the_same_set() {
    let first = set(ANY);
    let again = PolicySet::compile(first.files().to_vec()).unwrap();
    assert_eq!(first.digest(), again.digest());
}

#[test]
fn the_schema_is_the_one_that_archives_refer_to() {
    let pinned = "1ea3d951ecf4d37e66836a9cc66683b8a68ab7fb7e7527fcbfb2508dc7590998";
    let hex: String = digest(&SHA256, SCHEMA.as_bytes())
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(
        hex, pinned,
        "a change of schema changes every policy digest"
    );
}

#[test]
fn a_policy_set_is_shared_between_threads() {
    fn shared<T: Send + Sync + 'static>() {}
    shared::<PolicySet>();
}

fn at(line: usize, column: usize) -> Place {
    Place {
        file: "test.cedar".to_owned(),
        line,
        column,
    }
}
