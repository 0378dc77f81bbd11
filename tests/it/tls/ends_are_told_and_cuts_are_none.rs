//! `close_notify` is an end; a FIN without it is as bad as a reset, on bodies and on WebSockets, in
//! both directions. Our own ends say `close_notify`, our aborts do not.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use rustls::ClientConnection;
use tidegate_tests::frame::BINARY;
use tidegate_tests::{End, Frame, Request, ScriptedUpstream, tls, within};

use super::Kit;

/// The answer's last bytes are followed by a goodbye, or by a cut.
async fn answer(kit: &Kit, head: &str, body: &[u8], says_goodbye: bool) -> (Vec<u8>, End) {
    let mut upstream = kit.upstream().await;
    let gateway = kit.gateway(&upstream);
    let mut client = kit.connect(gateway.address()).await;
    client
        .request(&Request::get("/").with("Connection", "close"))
        .await;
    let mut peer = upstream.accept().await;
    peer.read_head().await;
    peer.send(head).await;
    peer.send(body).await;
    // The body is on its way before the end is.
    let answered = client.read_head().await;
    assert_eq!(answered.status(), 200);
    if says_goodbye {
        drop(peer);
    } else {
        peer.cut();
    }
    client.read_to_end().await
}

#[tokio::test]
async fn an_answer_until_its_end_is_whole_with_a_goodbye_alone() {
    let kit = Kit::new();
    let head = "HTTP/1.0 200 OK\r\n\r\n";
    let (body, end) = answer(&kit, head, b"all of it", true).await;
    assert!(String::from_utf8_lossy(&body).contains("all of it"));
    assert!(body.ends_with(b"0\r\n\r\n"), "chunked to its end");
    let _ = end;
    let (body, _) = answer(&kit, head, b"all of it", false).await;
    assert!(!body.ends_with(b"0\r\n\r\n"), "a cut looks whole");
}

#[tokio::test]
async fn an_answer_until_our_own_end_is_reset_where_it_was_cut() {
    let kit = Kit::new();
    for says_goodbye in [true, false] {
        let mut upstream = kit.upstream().await;
        let gateway = kit.gateway(&upstream);
        let mut client = kit.connect(gateway.address()).await;
        // A client of HTTP/1.0 gets no chunks: what ends its body is the end of the connection.
        client.request(&Request::get("/").version("HTTP/1.0")).await;
        let mut peer = upstream.accept().await;
        peer.read_head().await;
        peer.send("HTTP/1.0 200 OK\r\n\r\nall of it").await;
        assert_eq!(client.read_head().await.status(), 200);
        client.expect("all of it").await;
        if says_goodbye {
            drop(peer);
        } else {
            peer.cut();
        }
        let wanted = if says_goodbye { End::Fin } else { End::Reset };
        assert_eq!(client.expect_end().await, wanted);
    }
}

#[tokio::test]
async fn an_upload_that_is_cut_reaches_nobody_whole() {
    let kit = Kit::new();
    let mut upstream = kit.upstream().await;
    let gateway = kit.gateway(&upstream);
    let mut client = kit.connect(gateway.address()).await;
    client
        .send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n")
        .await;
    let mut peer = upstream.accept().await;
    peer.read_head().await;
    peer.expect("4\r\nhalf\r\n").await;
    client.cut();
    let (rest, _end) = peer.read_to_end().await;
    assert!(rest.is_empty(), "{rest:?}");
    gateway.is_empty().await;
}

#[tokio::test]
async fn our_own_end_is_told() {
    let kit = Kit::new();
    let upstream = ScriptedUpstream::mirror_tls(tls::server(&kit.issued)).await;
    let gateway = kit.gateway(&upstream);
    let mut client = kit.connect(gateway.address()).await;
    client
        .request(&Request::get("/").with("Connection", "close"))
        .await;
    assert_eq!(client.read_answer().await.status(), 200);
    assert_eq!(client.expect_end().await, End::Fin);
}

#[tokio::test]
async fn a_client_that_is_cut_is_lost() {
    let kit = Kit::new();
    let mut upstream = kit.upstream().await;
    let gateway = kit.gateway(&upstream);
    let (client, mut peer) = kit.open(&gateway, &mut upstream).await;
    client.cut();
    assert_eq!(peer.read_close().await, Some(1001));
    peer.send_frame(&Frame::close(1001, "")).await;
    assert_eq!(peer.expect_end().await, End::Fin);

    let (mut client, mut peer) = kit.open(&gateway, &mut upstream).await;
    let frame = Frame::new(BINARY, [7; 500]).from_client().bytes();
    client.send(&frame[..300]).await;
    peer.read_exact(200).await;
    client.cut();
    let (_half, end) = peer.read_to_end().await;
    assert_eq!(end, End::Reset, "half a frame looks whole");
    gateway.is_empty().await;
}

#[tokio::test]
async fn an_upstream_that_is_cut_is_lost() {
    let kit = Kit::new();
    let mut upstream = kit.upstream().await;
    let gateway = kit.gateway(&upstream);
    let (mut client, peer) = kit.open(&gateway, &mut upstream).await;
    peer.cut();
    assert_eq!(client.read_close().await, Some(1011));
    client
        .send_frame(&Frame::close(1011, "").from_client())
        .await;
    assert_eq!(client.expect_end().await, End::Fin);

    let (mut client, mut peer) = kit.open(&gateway, &mut upstream).await;
    peer.send(&Frame::new(BINARY, [7; 500]).bytes()[..300])
        .await;
    client.read_exact(200).await;
    peer.cut();
    let (_half, end) = client.read_to_end().await;
    assert_eq!(end, End::Reset, "half a frame looks whole");
    gateway.is_empty().await;
}

#[tokio::test]
async fn a_session_ends_in_order_and_frames_of_every_size_pass() {
    let kit = Kit::new();
    let mut upstream = kit.upstream().await;
    let gateway = kit.gateway(&upstream);
    let (mut client, mut peer) = kit.open(&gateway, &mut upstream).await;
    for size in [0, 1, 125, 126, 16_383, 16_384, 16_385, 65_536, 1 << 20] {
        let payload: Vec<u8> = (0..size).map(|at| (at % 251) as u8).collect();
        let down = Frame::new(BINARY, &payload);
        let up = down.clone().from_client();
        let sending = async {
            peer.send_frame(&down).await;
            peer
        };
        let (read, back) = tokio::join!(client.read_frame(), sending);
        assert!(read == down, "{size} down");
        peer = back;
        let sending = async {
            client.send_frame(&up).await;
            client
        };
        let (read, back) = tokio::join!(peer.read_frame(), sending);
        assert!(read == up, "{size} up");
        client = back;
    }
    client
        .send_frame(&Frame::close(1000, "bye").from_client())
        .await;
    assert_eq!(peer.read_close().await, Some(1000));
    peer.send_frame(&Frame::close(1000, "bye")).await;
    assert_eq!(client.read_close().await, Some(1000));
    drop(peer);
    assert_eq!(client.expect_end().await, End::Fin);
}

/// The client's last flight of the handshake, its request, and frames behind it, all in one write.
#[tokio::test]
async fn early_bytes_behind_the_handshake_are_kept() {
    let kit = Kit::new();
    let mut upstream = kit.upstream().await;
    let gateway = kit.gateway(&upstream);
    let (address, config) = (gateway.address(), tls::client(&kit.authority, None));
    let client = tokio::task::spawn_blocking(move || {
        let name = "localhost".try_into().unwrap();
        let mut connection = ClientConnection::new(config, name).unwrap();
        let mut socket = TcpStream::connect(address).unwrap();
        let mut flight = Vec::new();
        while connection.is_handshaking() {
            while connection.wants_write() {
                connection.write_tls(&mut flight).unwrap();
            }
            if connection.is_handshaking() {
                socket.write_all(&flight).unwrap();
                flight.clear();
                connection.read_tls(&mut socket).unwrap();
                connection.process_new_packets().unwrap();
            }
        }
        while connection.wants_write() {
            connection.write_tls(&mut flight).unwrap();
        }
        let mut words = Request::handshake("/").bytes();
        words.extend(Frame::text("first").from_client().bytes());
        connection.writer().write_all(&words).unwrap();
        let second = Frame::text("second").from_client().bytes();
        connection.writer().write_all(&second).unwrap();
        while connection.wants_write() {
            connection.write_tls(&mut flight).unwrap();
        }
        socket.write_all(&flight).unwrap();
        let mut head = [0; 12];
        rustls::Stream::new(&mut connection, &mut socket)
            .read_exact(&mut head)
            .unwrap();
        assert_eq!(&head, b"HTTP/1.1 101");
    });
    let mut peer = upstream.accept().await;
    peer.accept_handshake().await;
    assert_eq!(peer.read_frame().await.payload, b"first");
    assert_eq!(peer.read_frame().await.payload, b"second");
    within("the client", client).await.unwrap();
}

/// The end of an upload may wait within the gateway when the kernel has no room, and goes out when it
/// has. For which sizes it does so depends on the kernel's buffers, so many are tried.
#[tokio::test]
async fn the_last_words_of_an_upload_are_not_kept() {
    let kit = Kit::new();
    let mut upstream = kit.upstream().await;
    let gateway = kit.gateway(&upstream);
    for size in (64 << 10..6 << 20).step_by(60_000) {
        let mut client = kit.connect(gateway.address()).await;
        let mut uploading = tokio::spawn(async move {
            let body = vec![b'x'; size];
            client.request(&Request::new("PUT", "/").body(body)).await;
            client
        });
        let mut peer = upstream.accept().await;
        peer.read_head().await;
        // All that can be on the way is, whether that is all of it or not.
        let all = tokio::time::timeout(Duration::from_millis(60), &mut uploading).await;
        let reading = async {
            peer.read_exact(size).await;
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                .await;
        };
        let answered = async {
            let mut client = match all {
                Ok(client) => client.unwrap(),
                Err(_more) => uploading.await.unwrap(),
            };
            client.read_answer().await
        };
        let ((), answer) = within("the answer", async { tokio::join!(reading, answered) }).await;
        assert_eq!(answer.status(), 200, "{size}");
    }
}

/// Many records of one byte in one segment are read to the last.
#[tokio::test]
async fn nothing_that_was_decrypted_is_left_lying() {
    let kit = Kit::new();
    let mut upstream = kit.upstream().await;
    let gateway = kit.gateway(&upstream);
    let (client, mut peer) = kit.open(&gateway, &mut upstream).await;
    let (_reads, mut writes) = client.into_stream().into_split();
    let frames: Vec<_> = (0..300)
        .map(|number| Frame::text(&number.to_string()).from_client())
        .collect();
    let sending = frames.clone();
    let sender = tokio::spawn(async move {
        use tokio::io::AsyncWriteExt as _;
        for byte in sending.iter().flat_map(Frame::bytes) {
            // A record each; the kernel makes segments of them as it likes.
            writes.write_all(&[byte]).await.unwrap();
        }
        writes.flush().await.unwrap();
        writes
    });
    for frame in &frames {
        assert_eq!(peer.read_frame().await, *frame);
    }
    within("the sender", sender).await.unwrap();
}
