//! No secret is in a line, and nobody can write a line of his own.

use serde_json::Value;
use tidegate_tests::{Frame, LogFile, Request, ScriptedUpstream, TestGateway};

fn yaml(log: &LogFile, keys: &str) -> String {
    format!(
        "{}services: {{ up: {{ endpoints: [http://UP] }} }}\n\
         routes: [{{ name: all, match: {{ path: /** }}, proxy: {{ service: up }} }}]\n",
        log.yaml(keys)
    )
}

/// What is asked for, and what is told of it.
const MASKED: [(&str, &str); 12] = [
    ("/?token=s3cret", "/?token=***"),
    ("/?access_token=s3cret&x=1", "/?access_token=***&x=1"),
    ("/?a=b&ticket=s3cret", "/?a=b&ticket=***"),
    ("/?jwt=s3cret.s3cret.s3cret", "/?jwt=***"),
    ("/?code=s3cret", "/?code=***"),
    (
        "/?TOKEN=s3cret&Access_Token=s3cret",
        "/?TOKEN=***&Access_Token=***",
    ),
    ("/?%74%6F%6b%65%6E=s3cret", "/?%74%6F%6b%65%6E=***"),
    ("/?access%5ftoken=s3cret", "/?access%5ftoken=***"),
    ("/?token[]=s3cret", "/?token[]=***"),
    ("/?a;token=s3cret", "/?a;token=***"),
    ("/x?next=/y?token=s3cret", "/x?next=/y?token=***"),
    ("/?zipcode=1&tokens=2", "/?zipcode=1&tokens=2"),
];

#[tokio::test]
async fn values_of_secret_parameters_and_credentials_are_not_written() {
    for format in ["json", "text", "combined"] {
        let log = LogFile::new();
        let upstream = ScriptedUpstream::serve(|mut wire| async move {
            while let Ok(head) = wire.read_head_or_end().await {
                if head.field("Upgrade").is_none() {
                    wire.send("HTTP/1.1 204 No Content\r\n\r\n").await;
                    continue;
                }
                let chosen = "Sec-WebSocket-Protocol: base64url.bearer.authorization.k8s.io.s3cret";
                wire.send(tidegate_tests::wire::switching(&head, &[chosen]))
                    .await;
                wire.read_to_end().await;
                return;
            }
        })
        .await;
        let gateway = TestGateway::start(&upstream, &yaml(&log, &format!("format: {format}")));
        let credentials = |request: Request| {
            request
                .with("Authorization", "Bearer s3cret")
                .with("Cookie", "session=s3cret")
                .with("Referer", "https://a.example/?token=s3cret&a=b#x=s3cret")
        };
        for (target, _) in MASKED {
            let answer = gateway.ask(&credentials(Request::get(target))).await;
            assert_eq!(answer.status(), 204);
        }
        let mut client = gateway.connect().await;
        let offered = "base64url.bearer.authorization.k8s.io.s3cret";
        let request = Request::handshake("/?token=s3cret").with("Sec-WebSocket-Protocol", offered);
        client.request(&credentials(request)).await;
        assert_eq!(client.read_head().await.status(), 101);
        drop(client);
        gateway.is_empty().await;
        gateway.stop().await;
        let text = log.text();
        assert!(!text.contains("s3cret"), "{text}");
        for (_, told) in MASKED {
            let told = match format {
                "json" => format!("\"path\":\"{told}\""),
                "text" => format!(" path=\"{told}\" "),
                _ => format!("\"GET {told} HTTP/1.1\" 204 0 \"https://a.example/?token=***&a=b\""),
            };
            assert!(text.contains(&told), "{told} in {text}");
        }
        assert_eq!(
            text.contains("base64url.bearer.***"),
            format != "combined",
            "{text}"
        );
    }
}

/// What a line that is forged would be.
const FORGED: &str = "forged-by-a-stranger";

#[tokio::test]
async fn no_text_of_a_stranger_becomes_a_line_or_a_field() {
    for format in ["json", "text", "combined"] {
        let log = LogFile::new();
        let mut upstream = ScriptedUpstream::bind().await;
        let gateway = TestGateway::start(&upstream, &yaml(&log, &format!("format: {format}")));
        let texts: [&[u8]; 7] = [
            b"\",\"status\":200,\"cause\":\"forged-by-a-stranger\"}",
            b" cause=forged-by-a-stranger",
            b"\\\" cause=forged-by-a-stranger \\",
            "\u{2028}{\"event\":\"forged-by-a-stranger\"}\u{85}\u{202e}".as_bytes(),
            b"\x85\xff\xfe\xc0\xaf forged-by-a-stranger",
            b"a\tforged-by-a-stranger",
            b"\xf0\x9f\x92",
        ];
        let mut requests = 0;
        for text in texts {
            let mut client = gateway.connect().await;
            let mut bytes = b"GET /a?%0a%22 HTTP/1.0\r\nHost: a\r\nUser-Agent: ".to_vec();
            bytes.extend_from_slice(text);
            bytes.extend_from_slice(b"\r\nOrigin: ");
            bytes.extend_from_slice(text);
            bytes.extend_from_slice(b"\r\n\r\n");
            client.send(&bytes).await;
            let mut peer = upstream.accept().await;
            peer.read_head().await;
            peer.send("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
                .await;
            assert_eq!(client.read_answer().await.status(), 204);
            requests += 1;
        }
        let (mut client, mut peer) = gateway.open(&mut upstream).await;
        peer.send_frame(&Frame::close(
            4000,
            "x\r\n{\"event\":\"forged-by-a-stranger\"}",
        ))
        .await;
        client.read_close().await;
        client
            .send_frame(&Frame::close(4000, "").from_client())
            .await;
        drop((client, peer));
        gateway.is_empty().await;
        gateway.stop().await;
        let sessions = if format == "combined" { 1 } else { 2 };
        let text = std::fs::read(log.path()).unwrap();
        let text = String::from_utf8(text).expect("whole letters");
        assert_eq!(text.matches('\n').count(), requests + sessions, "{text}");
        let misleads = |letter: char| {
            letter != '\n' && (letter.is_control() || "\u{2028}\u{2029}\u{202e}".contains(letter))
        };
        assert!(!text.contains(misleads), "{text:?}");
        if format == "json" {
            for line in tidegate_tests::log::json_lines(&text) {
                assert_ne!(line["event"], FORGED);
                assert_ne!(line["cause"], FORGED);
                assert!(
                    line["path"] == "/a?%0a%22" || line["event"] != "http",
                    "{line}"
                );
            }
            let first: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
            assert_eq!(first["ua"].as_str().unwrap().as_bytes(), texts[0]);
        } else if format == "text" {
            for line in text.lines() {
                assert!(
                    !fields(line).contains(&"cause=forged-by-a-stranger".to_owned()),
                    "{line}"
                );
            }
        }
    }
}

#[tokio::test]
async fn long_texts_are_cut_and_it_shows() {
    for format in ["json", "text", "combined"] {
        let log = LogFile::new();
        let upstream = ScriptedUpstream::mirror().await;
        let gateway = TestGateway::start(&upstream, &yaml(&log, &format!("format: {format}")));
        let long = |letter: &str| letter.repeat(7000);
        let request = Request::new(&long("M"), &format!("/{}", long("p")));
        let request = request.with("User-Agent", &long("u"));
        assert_eq!(gateway.ask(&request).await.status(), 200);
        gateway.stop().await;
        let text = log.text();
        assert!(text.len() < 3500, "{text}");
        for end in ["MMM…", "ppp…", "uuu…"] {
            assert!(text.contains(end), "{text}");
        }
    }
}

/// What stands between the spaces of a line that are not between quotes.
fn fields(line: &str) -> Vec<String> {
    let (mut fields, mut is_quoted, mut is_escaped) = (vec![String::new()], false, false);
    for letter in line.chars() {
        if letter == ' ' && !is_quoted {
            fields.push(String::new());
            continue;
        }
        is_quoted ^= letter == '"' && !is_escaped;
        is_escaped = letter == '\\' && !is_escaped;
        fields.last_mut().unwrap().push(letter);
    }
    assert!(!is_quoted, "{line}");
    fields
}
