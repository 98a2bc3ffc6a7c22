//! The `quietus` command.

fn main() {}
