//! The link that cases cut, hold and mend.

use std::net::SocketAddr;

use tidegate_tests::backing::Proxy;
use tidegate_tests::time::GRACE;
use tidegate_tests::{eventually, within};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// Answers every byte with itself, and an end with an end.
async fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut reads, mut writes) = socket.split();
                tokio::io::copy(&mut reads, &mut writes).await.ok();
            });
        }
    });
    address
}

async fn returns(socket: &mut TcpStream, byte: u8) {
    socket.write_all(&[byte]).await.unwrap();
    assert_eq!(within("the echo", socket.read_u8()).await.unwrap(), byte);
}

#[tokio::test]
async fn a_whole_link_passes_bytes_and_ends() {
    let link = Proxy::to(echo().await);
    let mut socket = TcpStream::connect(link.address()).await.unwrap();
    returns(&mut socket, 1).await;
    assert_eq!(link.open(), 1);
    let sent = vec![7; 1_000_000];
    let (mut reads, mut writes) = socket.split();
    let mut received = Vec::new();
    let (read, ()) = tokio::join!(reads.read_to_end(&mut received), async {
        writes.write_all(&sent).await.unwrap();
        writes.shutdown().await.unwrap();
    });
    read.unwrap();
    assert!(received == sent);
    eventually("nothing is open", || link.open() == 0).await;
}

#[tokio::test]
async fn a_cut_link_is_cut() {
    let link = Proxy::to(echo().await);
    let mut socket = TcpStream::connect(link.address()).await.unwrap();
    returns(&mut socket, 1).await;
    link.cut();
    let end = within("the end", socket.read_u8()).await.unwrap_err();
    assert_eq!(end.kind(), std::io::ErrorKind::ConnectionReset);
    // The kernel may tell of the reset before it is asked to read.
    if let Ok(mut refused) = TcpStream::connect(link.address()).await {
        assert!(within("the end", refused.read_u8()).await.is_err());
    }
    eventually("nothing is open", || link.open() == 0).await;
    link.mend();
    let mut socket = TcpStream::connect(link.address()).await.unwrap();
    returns(&mut socket, 2).await;
}

#[tokio::test]
async fn a_held_link_keeps_all_for_later() {
    let link = Proxy::to(echo().await);
    let mut socket = TcpStream::connect(link.address()).await.unwrap();
    returns(&mut socket, 1).await;
    link.hold();
    socket.write_all(&[2]).await.unwrap();
    let mut new = TcpStream::connect(link.address()).await.unwrap();
    new.write_all(&[3]).await.unwrap();
    for socket in [&mut socket, &mut new] {
        let silence = tokio::time::timeout(GRACE, socket.read_u8()).await;
        assert!(silence.is_err(), "{silence:?}");
    }
    link.mend();
    assert_eq!(within("the echo", socket.read_u8()).await.unwrap(), 2);
    assert_eq!(within("the echo", new.read_u8()).await.unwrap(), 3);
}

/// What is held can still be cut, and is not spared because all is well again at once.
#[tokio::test]
async fn a_held_link_can_be_cut() {
    let link = Proxy::to(echo().await);
    let mut socket = TcpStream::connect(link.address()).await.unwrap();
    returns(&mut socket, 1).await;
    link.hold();
    socket.write_all(&[2]).await.unwrap();
    link.cut();
    link.mend();
    assert!(within("the end", socket.read_u8()).await.is_err());
}
