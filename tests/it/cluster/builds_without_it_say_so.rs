//! A build that has no Redis says what to do, and does not run as if it had.

use std::process::Command;

use tidegate_tests::child::{Process, Scratch};
use tidegate_tests::tools;

#[tokio::test]
async fn at_check_and_at_run() {
    let Some(binary) = tools::tidegate("redis_at_check_and_at_run") else {
        return;
    };
    let mut version = Process::start(Command::new(&binary).arg("version"));
    if version.ends().await.1.contains("redis") {
        return; // somebody tests another build
    }
    let scratch = Scratch::new();
    let file = scratch.write(
        "tidegate.yaml",
        "version: 1\n\
         listeners: { name: public, bind: 127.0.0.1:0 }\n\
         cluster: { redis: { url: 'redis://localhost' } }\n\
         access_log: none\n\
         routes: { name: all, match: { path: /ws }, bridge: {} }\n",
    );
    for word in ["check", "run"] {
        let mut command = Command::new(&binary);
        let command = command.arg(word).arg("--config").arg(&file);
        let (status, said) = Process::start(command).ends().await;
        assert_eq!(status.code(), Some(1), "{word}: {said}");
        let wanted = "cluster.redis: this build has no Redis (build with `--features redis`";
        assert!(said.contains(wanted), "{word}: {said}");
    }
}
