//! `tidegate completions`: shells take the script, and bash completes what there is.

use std::path::Path;
use std::process::Command;

use tidegate_tests::child::{Process, Scratch};
use tidegate_tests::tools;

async fn said(command: &mut Command) -> (Option<i32>, String) {
    let (status, output) = Process::start(command).ends().await;
    (status.code(), output)
}

async fn script(binary: &Path, shell: &str) -> String {
    let (code, script) = said(Command::new(binary).args(["completions", shell])).await;
    assert_eq!(code, Some(0), "{shell}: {script}");
    script
}

/// What bash offers for a line; the word under way is the last one.
async fn offered(bash: &Path, script: &Path, line: &[&str]) -> Vec<String> {
    let program = "source \"$1\"; shift; COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); \
        COMP_LINE=\"$*\"; COMP_POINT=${#COMP_LINE}; COMP_TYPE=9; \
        fn=$(complete -p tidegate | sed 's/.*-F \\([^ ]*\\).*/\\1/'); \
        $fn tidegate \"${COMP_WORDS[COMP_CWORD]}\" \"${COMP_WORDS[COMP_CWORD-1]}\" 2>/dev/null; \
        printf '%s\\n' \"${COMPREPLY[@]}\"";
    let mut command = Command::new(bash);
    command.args(["--norc", "-c", program, "bash"]).arg(script);
    let (code, offered) = said(command.args(line)).await;
    assert_eq!(code, Some(0), "{offered}");
    offered.split_whitespace().map(str::to_owned).collect()
}

#[tokio::test]
async fn bash_completes_commands_and_options() {
    let test = "bash_completes_commands_and_options";
    let (Some(binary), Some(bash)) = (tools::tidegate(test), tools::program(test, "bash")) else {
        return;
    };
    let scratch = Scratch::new();
    let script = scratch.write("tidegate.bash", &script(&binary, "bash").await);
    let has = |offered: &[String], words: &[&str]| {
        for word in words {
            assert!(offered.iter().any(|one| one == word), "{word}: {offered:?}");
        }
    };
    let commands = offered(&bash, &script, &["tidegate", ""]).await;
    let all = [
        "check",
        "completions",
        "dev",
        "routes",
        "run",
        "sessions",
        "version",
        "--config",
    ];
    has(&commands, &all);
    assert_eq!(
        offered(&bash, &script, &["tidegate", "sess"]).await,
        ["sessions"]
    );
    let sessions = offered(&bash, &script, &["tidegate", "sessions", ""]).await;
    has(&sessions, &["ls", "kill"]);
    let options = offered(&bash, &script, &["tidegate", "sessions", "kill", "--"]).await;
    has(&options, &["--code", "--reason", "--admin", "--token-file"]);
    let shells = offered(&bash, &script, &["tidegate", "completions", ""]).await;
    has(&shells, &["bash", "fish", "zsh"]);
}

#[tokio::test]
async fn each_shell_has_a_script_and_another_none() {
    let Some(binary) = tools::tidegate("each_shell_has_a_script_and_another_none") else {
        return;
    };
    for (shell, mark) in [
        ("bash", "complete -F _tidegate"),
        ("zsh", "#compdef tidegate"),
        ("fish", "complete -c tidegate"),
        ("elvish", "edit:completion"),
        ("powershell", "Register-ArgumentCompleter"),
    ] {
        let script = script(&binary, shell).await;
        assert!(script.contains(mark), "{shell}: {script}");
        for word in ["sessions", "kill", "token-file"] {
            assert!(script.contains(word), "{shell} lacks {word}");
        }
    }
    let (code, complaint) = said(Command::new(&binary).args(["completions", "csh"])).await;
    assert_eq!(code, Some(2), "{complaint}");
    assert!(
        complaint.contains("bash") && complaint.contains("zsh"),
        "{complaint}"
    );
}
