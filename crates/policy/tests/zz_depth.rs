mod common;
fn run(kind: &str, n: usize) -> String {
    match kind {
        "paren" => format!("{}true{}", "(".repeat(n), ")".repeat(n)),
        "bang" => format!("{}true", "!".repeat(n)),
        "and" => vec!["context.approved"; n].join(" && "),
        "or" => vec!["context.approved"; n].join(" || "),
        "plus" => format!("{} > 0", vec!["context.ttl"; n].join(" + ")),
        "minus" => format!("{} > 0", vec!["context.ttl"; n].join(" - ")),
        "mul" => format!("{} > 0", vec!["context.ttl"; n].join(" * ")),
        "if" => format!("{}true", "if context.approved then false else ".repeat(n)),
        "ifc" => format!("{}context.approved{}", "if ".repeat(n), " then true else false".repeat(n)),
        "dot" => format!("context{}", ".task".repeat(n)),
        "idx" => format!("context{}", "[\"task\"]".repeat(n)),
        "set" => format!("{}1{}.isEmpty()", "[".repeat(n), "]".repeat(n)),
        "rec" => format!("{}1{} == 1", "{a:".repeat(n), "}".repeat(n)),
        "elems" => format!("[{}].contains(principal.team)", vec!["\"a\""; n].join(",")),
        "when" => format!("context.approved }} {}when {{ context.approved", "when { context.approved } ".repeat(n)),
        _ => String::new(),
    }
}
#[test]
fn depth() {
    let kind = std::env::var("K").unwrap();
    let n: usize = std::env::var("N").unwrap().parse().unwrap();
    let start = std::time::Instant::now();
    let r = common::compile(&format!("permit(principal, action, resource) when {{ {} }};", run(&kind, n)));
    println!("{kind} {n} {:?} {:?}", start.elapsed(), r.map(|s| { let w = common::World::new(); let d = s.decide(&w.request()); s.explain(&w.request()); format!("{:?}", d.faults()) }).map_err(|e| e.to_string().chars().take(100).collect::<String>()));
}
