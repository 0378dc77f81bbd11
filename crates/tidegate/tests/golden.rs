//! Golden files: each configuration in `golden/` with what must be said of it: its errors, or
//! its warnings and that it is valid.
//! After a change that is meant, `TIDEGATE_BLESS=1 cargo test -p tidegate --test golden` writes
//! the expectations anew; read the diff.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use tidegate::config::plan::{BridgePlan, DrainPlan, RoomHistory, RoomsPlan, TargetPlan};
use tidegate::config::{Config, Environment};

#[test]
fn each_configuration_gets_the_answer_beside_it() {
    let files = yaml_files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden"));
    assert!(files.len() > 10, "the golden files are missing");
    let is_blessed = std::env::var_os("TIDEGATE_BLESS").is_some();
    let mut differing = String::new();
    for file in files {
        let said = what_is_said(&file);
        let expected_file = file.with_extension("expected");
        if is_blessed {
            fs::write(&expected_file, &said).unwrap();
        }
        let expected = fs::read_to_string(&expected_file).unwrap_or_default();
        if said != expected {
            let name = file.display();
            let _ = write!(
                differing,
                "{name}\n--- expected\n{expected}--- said\n{said}\n"
            );
        }
    }
    assert!(differing.is_empty(), "{differing}");
}

#[test]
fn each_sample_is_valid_and_beyond_doubt() {
    let files = yaml_files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config"));
    assert!(files.len() >= 2, "the samples are missing");
    for file in files {
        let config = Config::from_file(&file).unwrap();
        if let Err(errors) = config.resolve() {
            panic!("{errors}");
        }
        assert_eq!(config.warnings(), [], "{}", file.display());
    }
}

#[test]
fn the_full_sample_shows_the_defaults() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/full.yaml");
    let plan = Config::from_file(file).unwrap().resolve().unwrap();
    let [written, silent] = &plan.services[..] else {
        unreachable!("full.yaml has two services");
    };
    assert_eq!(written.connect_timeout, silent.connect_timeout);
    assert_eq!(written.handshake_timeout, silent.handshake_timeout);
    assert_eq!(written.response_timeout, silent.response_timeout);
    assert_eq!(written.max_idle, silent.max_idle);
    assert_eq!(written.idle_timeout, silent.idle_timeout);
    assert_eq!(written.max_connections, silent.max_connections);
    assert_eq!(plan.drain, DrainPlan::default());
    let rooms = RoomsPlan {
        history: Some(RoomHistory::default()),
        ..RoomsPlan::default()
    };
    assert_eq!(plan.rooms, rooms);
    let limits = |at: usize| format!("{:?}", plan.listeners[at].limits);
    assert_eq!(limits(0), limits(1));
    let [chat, bridge, all] = &plan.routes[..] else {
        unreachable!("full.yaml has three routes");
    };
    assert_eq!(format!("{:?}", chat.limits), format!("{:?}", all.limits));
    let (TargetPlan::Proxy(written), TargetPlan::Bridge(bridge), TargetPlan::Proxy(silent)) =
        (&chat.target, &bridge.target, &all.target)
    else {
        unreachable!("two of them end at a service, and one at a bridge");
    };
    let default = BridgePlan {
        services: bridge.services.clone(),
        rates: bridge.rates,
        rooms: bridge.rooms.clone(),
        ..BridgePlan::default()
    };
    assert_eq!(format!("{bridge:?}"), format!("{default:?}"));
    assert_eq!(written.host, silent.host);
    assert_eq!(written.origin, silent.origin);
    let (written, silent) = (&written.websocket, &silent.websocket);
    assert_eq!(format!("{written:?}"), format!("{silent:?}"));
}

/// A file whose first lines are `#env NAME=value` is read with these variables.
fn what_is_said(file: &Path) -> String {
    let name = file.file_name().unwrap().to_str().unwrap();
    let text = fs::read_to_string(file).unwrap();
    let environment: Environment = text
        .lines()
        .map_while(|line| line.strip_prefix("#env ")?.split_once('='))
        .collect();
    let mut said = String::new();
    match Config::from_yaml_with(name, &text, &environment) {
        Ok(config) => {
            if let Err(errors) = config.resolve() {
                writeln!(said, "{errors}").unwrap();
                return said;
            }
            for warning in config.warnings() {
                writeln!(said, "warning: {warning}").unwrap();
            }
            said.push_str("valid\n");
        }
        Err(errors) => writeln!(said, "{errors}").unwrap(),
    }
    said
}

fn yaml_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap();
    let mut files: Vec<_> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "yaml")
        })
        .collect();
    files.sort();
    files
}
