//! The examples of the documents: each must load, so that what they show works.

use super::Config;

const REFERENCE: &str = include_str!("../../../../docs/configuration.md");
const README: &str = include_str!("../../../../README.md");

/// What an example that is only a part of a file lacks of one.
const REST: [(&str, &str); 3] = [
    ("version", "version: 1"),
    (
        "listeners",
        "listeners: { name: public, bind: \"127.0.0.1:0\" }",
    ),
    (
        "services",
        "services: { chat: { endpoints: \"http://h\" }, app: { endpoints: \"http://h\" } }",
    ),
];

/// The YAML blocks of a Markdown text, each with the number of its first line.
fn yaml_blocks(text: &str) -> Vec<(usize, String)> {
    let mut blocks = Vec::new();
    let mut lines = (1..).zip(text.lines());
    while let Some((number, line)) = lines.next() {
        if line == "```yaml" {
            let inside = lines.by_ref().map(|(_, line)| line);
            let block: Vec<_> = inside.take_while(|line| *line != "```").collect();
            blocks.push((number + 1, block.join("\n")));
        }
    }
    blocks
}

/// Adds what `part` lacks of a file.
fn completed(part: &str) -> String {
    let is_written = |key: &str| {
        part.lines()
            .any(|line| line.starts_with(&format!("{key}:")))
    };
    let missing = REST.iter().filter(|(key, _)| !is_written(key));
    let missing: Vec<_> = missing.map(|(_, rest)| *rest).collect();
    format!("{part}\n{}\n", missing.join("\n"))
}

#[test]
fn every_example_loads() {
    for (file, text) in [("docs/configuration.md", REFERENCE), ("README.md", README)] {
        let blocks = yaml_blocks(text);
        assert!(!blocks.is_empty(), "{file} has no example");
        for (line, block) in blocks {
            let config = Config::from_yaml(file, &completed(&block)).unwrap();
            if let Err(errors) = config.resolve() {
                panic!("the example in line {line} of {file}:\n{errors}");
            }
            if block.starts_with("version:") {
                let warnings = config.warnings();
                assert!(warnings.is_empty(), "{file}, line {line}: {warnings:?}");
            }
        }
    }
}
