//! A newcomer makes a token by one command, lets a gateway know its key by a line of the configuration, and
//! can see why a token is refused.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use tidegate_tests::child::Scratch;
use tidegate_tests::{Request, ScriptedUpstream, TestGateway, tools};

use super::bearing;

const TEST: &str = "development_keys_open_it";

fn run(binary: &Path, folder: &Scratch, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(binary)
        .args(arguments)
        .current_dir(folder.path())
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

#[tokio::test]
async fn a_token_in_one_command() {
    let Some(binary) = tools::tidegate(TEST) else {
        return;
    };
    let folder = Scratch::new();
    let mint = |more: &[&str]| {
        let arguments = [&["token", "mint", "--user", "u7", "--role", "user"], more].concat();
        let (code, token, said) = run(&binary, &folder, &arguments);
        assert_eq!(code, Some(0), "{said}");
        (token.trim().to_owned(), said)
    };
    let (token, said) = mint(&[]);
    assert!(said.contains("auth: { jwt: { pem: 'file:/"), "{said}");
    let key = folder.path().join("tidegate-development.pem");
    let mode = std::fs::metadata(&key).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let (_, said) = mint(&[]);
    assert_eq!(said, "", "the key is there now");
    let line = format!(
        "jwt: {{ pem: 'file:{}' }}",
        key.with_extension("pub.pem").display()
    );
    let upstream = ScriptedUpstream::mirror().await;
    let yaml = super::yaml(&line, "{ require: { roles: user } }");
    let gateway = TestGateway::start(&upstream, &yaml);
    let (other, _) = mint(&["--key", "other.pem"]);
    for (token, expected) in [(&token, 200), (&other, 401)] {
        let answer = gateway.ask(&bearing(Request::get("/"), token)).await;
        assert_eq!(answer.status(), expected);
    }
    let whole = format!(
        "version: 1\nlisteners: [{{ name: p, bind: 127.0.0.1:0 }}]\n{}",
        yaml.replace("UP", "a")
    );
    let _ = folder.write("tidegate.yaml", &whole);
    for (token, code, said) in [
        (&token, 0, "verified: user u7, roles user"),
        (&other, 1, "refused: the signature"),
    ] {
        let arguments = ["token", "inspect", token, "--config", "tidegate.yaml"];
        let (ended, told, _) = run(&binary, &folder, &arguments);
        assert_eq!(ended, Some(code), "{told}");
        assert!(
            told.contains(said) && told.contains("\"sub\": \"u7\""),
            "{told}"
        );
    }
    let (ended, _, said) = run(&binary, &folder, &["token", "inspect", "abc"]);
    assert_eq!(ended, Some(1));
    assert!(said.contains("this is no token"), "{said}");
}

#[tokio::test]
async fn claims_are_as_asked() {
    let Some(binary) = tools::tidegate(TEST) else {
        return;
    };
    let folder = Scratch::new();
    let _ = folder.write("secret", "0123456789abcdef0123456789abcdef\n");
    let arguments = [
        "token",
        "mint",
        "--secret-file",
        "secret",
        "--audience",
        "a",
        "--audience",
        "b",
        "--issuer",
        "i",
        "--scope",
        "r",
        "--scope",
        "w",
        "--claim",
        "level=3",
        "--claim",
        "tenant=acme",
        "--expires-in",
        "10m",
    ];
    let (code, token, said) = run(&binary, &folder, &arguments);
    assert_eq!(code, Some(0), "{said}");
    let (_, told, _) = run(&binary, &folder, &["token", "inspect", token.trim()]);
    let json = &told[..=told.rfind('}').unwrap()];
    let told: serde_json::Value = serde_json::from_str(json).unwrap();
    let claims = &told["claims"];
    assert_eq!(told["header"]["alg"], "HS256");
    assert_eq!(claims["aud"], serde_json::json!(["a", "b"]));
    assert_eq!(
        (&claims["iss"], &claims["scope"]),
        (&"i".into(), &"r w".into())
    );
    assert_eq!(
        (&claims["level"], &claims["tenant"]),
        (&3.into(), &"acme".into())
    );
    let times = (
        claims["exp"].as_u64().unwrap(),
        claims["iat"].as_u64().unwrap(),
    );
    assert_eq!(times.0 - times.1, 600);
}
