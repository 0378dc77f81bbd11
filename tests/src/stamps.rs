//! When bytes reached this machine's kernel, whoever reads them when: what a busy test process adds is
//! not in it.

use std::io::IoSliceMut;
use std::os::fd::AsRawFd as _;
use std::time::Duration;

use nix::sys::socket::sockopt::ReceiveTimestampns;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt};
use nix::sys::time::TimeSpec;
use tokio::io::Interest;
use tokio::net::TcpStream;

use crate::time::within;

/// Has the kernel stamp what comes on `stream` from now on.
pub fn stamp(stream: &TcpStream) {
    setsockopt(stream, ReceiveTimestampns, &true).unwrap();
}

/// Reads once what has come next, and when (since 1970) the last byte of it came.
///
/// # Panics
/// When the connection was reset, or the kernel told no time.
pub async fn read_stamped(stream: &TcpStream) -> (Vec<u8>, Duration) {
    within("stamped bytes", async {
        loop {
            stream.readable().await.unwrap();
            let read = stream.try_io(Interest::READABLE, || {
                let mut bytes = vec![0; 4096];
                let mut space = nix::cmsg_space!(TimeSpec);
                let (size, time) = {
                    let mut parts = [IoSliceMut::new(&mut bytes)];
                    let none = MsgFlags::empty();
                    let fd = stream.as_raw_fd();
                    let read = recvmsg::<()>(fd, &mut parts, Some(&mut space), none)?;
                    let time = read.cmsgs()?.find_map(|control| match control {
                        ControlMessageOwned::ScmTimestampns(time) => Some(Duration::from(time)),
                        _ => None,
                    });
                    (read.bytes, time)
                };
                bytes.truncate(size);
                Ok((bytes, time))
            });
            match read {
                Ok((bytes, time)) => return (bytes, time.expect("a stamp")),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(error) => panic!("no bytes, but {error}"),
            }
        }
    })
    .await
}
