//! One turn of rustls's unbuffered half: what it asks for is done, whatever side it is.

use std::io;

use bytes::BytesMut;
use rustls::CommonState;
use rustls::client::UnbufferedClientConnection;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncryptError, InsufficientSizeError, UnbufferedStatus,
    WriteTraffic,
};
use tokio::io::ReadBuf;

/// The largest record: its header, 16 KiB, and what a cipher of TLS 1.2 may add to it.
pub(super) const RECORD: usize = 5 + (16 + 2) * 1024;
/// What sealing adds to a record, at most.
const SEAL: usize = 5 + 8 + 16 + 1;

/// The keys and the state of one side.
pub(super) enum Engine {
    Client(UnbufferedClientConnection),
    Server(UnbufferedServerConnection),
}

/// What is to be said.
#[derive(Clone, Copy)]
pub(super) enum Word<'a> {
    Data(&'a [u8]),
    Goodbye,
}

/// How far one turn of the engine came.
pub(super) enum Turn {
    /// There may be more to do.
    Again,
    /// Nothing more can be done now.
    Rest,
    /// The word is sealed.
    Said,
}

/// Where the results of a turn go.
pub(super) struct Sink<'a, 'b, 'w> {
    pub(super) reader: Option<&'a mut ReadBuf<'b>>,
    pub(super) ahead: &'a mut BytesMut,
    pub(super) sealed: &'a mut Sealed,
    pub(super) has_ended: &'a mut bool,
    pub(super) word: Option<Word<'w>>,
}

/// Bytes for the wire, in a buffer that is never made smaller.
#[derive(Default)]
pub(super) struct Sealed {
    room: Vec<u8>,
    len: usize,
}

impl Sealed {
    /// Begins anew.
    pub(super) const fn clear(&mut self) {
        self.len = 0;
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.room[..self.len]
    }

    /// Lets `seal` append, with room for `size` and, where that is not enough, for what it asks for.
    fn append<E>(
        &mut self,
        size: usize,
        mut seal: impl FnMut(&mut [u8]) -> Result<usize, E>,
        needed: impl Fn(&E) -> Option<usize>,
    ) -> Result<(), E> {
        let mut size = size;
        loop {
            let end = self.len + size;
            if self.room.len() < end {
                self.room.resize(end, 0);
            }
            match seal(&mut self.room[self.len..]) {
                Ok(written) => {
                    self.len += written;
                    return Ok(());
                }
                Err(error) => match needed(&error) {
                    Some(needed) if needed > self.room.len() - self.len => size = needed,
                    _ => return Err(error),
                },
            }
        }
    }
}

impl Sink<'_, '_, '_> {
    fn plain(&mut self, mut bytes: &[u8]) {
        if let Some(reader) = &mut self.reader {
            let fits = bytes.len().min(reader.remaining());
            reader.put_slice(&bytes[..fits]);
            bytes = &bytes[fits..];
        }
        self.ahead.extend_from_slice(bytes);
    }

    fn seal<D>(
        &mut self,
        traffic: &mut WriteTraffic<'_, D>,
        word: Word<'_>,
    ) -> Result<(), EncryptError> {
        let needed = |error: &EncryptError| match error {
            EncryptError::InsufficientSize(InsufficientSizeError { required_size }) => {
                Some(*required_size)
            }
            EncryptError::EncryptExhausted => None,
        };
        match word {
            Word::Data(data) => {
                let size = data.len() + (data.len() / (16 * 1024) + 1) * SEAL;
                self.sealed
                    .append(size, |out| traffic.encrypt(data, out), needed)
            }
            Word::Goodbye => {
                self.sealed
                    .append(2 + SEAL, |out| traffic.queue_close_notify(out), needed)
            }
        }
    }
}

impl Engine {
    pub(super) fn turn(
        &mut self,
        input: &mut [u8],
        sink: &mut Sink<'_, '_, '_>,
    ) -> (usize, Result<Turn, io::Error>) {
        match self {
            Self::Client(client) => turn(client.process_tls_records(input), sink),
            Self::Server(server) => turn(server.process_tls_records(input), sink),
        }
    }

    pub(super) fn common(&self) -> &CommonState {
        match self {
            Self::Client(client) => client,
            Self::Server(server) => server,
        }
    }
}

/// Does what one status of the engine asks for; how much of the input is done with.
fn turn<D>(
    status: UnbufferedStatus<'_, '_, D>,
    sink: &mut Sink<'_, '_, '_>,
) -> (usize, Result<Turn, io::Error>) {
    let UnbufferedStatus { mut discard, state } = status;
    let state = match state {
        Ok(state) => state,
        Err(error) => return (discard, Err(invalid(error))),
    };
    let turn = match state {
        ConnectionState::ReadTraffic(mut records) => {
            while let Some(record) = records.next_record() {
                match record {
                    Ok(record) => {
                        discard += record.discard;
                        sink.plain(record.payload);
                    }
                    Err(error) => return (discard, Err(invalid(error))),
                }
            }
            Turn::Again
        }
        ConnectionState::EncodeTlsData(mut data) => {
            let needed = |error: &EncodeError| match error {
                EncodeError::InsufficientSize(InsufficientSizeError { required_size }) => {
                    Some(*required_size)
                }
                EncodeError::AlreadyEncoded => None,
            };
            let encoded = sink.sealed.append(RECORD, |out| data.encode(out), needed);
            if let Err(error) = encoded {
                return (discard, Err(io::Error::other(error.to_string())));
            }
            Turn::Again
        }
        ConnectionState::TransmitTlsData(sent) => {
            sent.done();
            Turn::Again
        }
        ConnectionState::PeerClosed => {
            *sink.has_ended = true;
            Turn::Again
        }
        ConnectionState::WriteTraffic(mut traffic) => match sink.word.take() {
            None => Turn::Rest,
            Some(word) => match sink.seal(&mut traffic, word) {
                Ok(()) => Turn::Said,
                Err(error) => return (discard, Err(io::Error::other(error.to_string()))),
            },
        },
        // Early data is never granted.
        _ => Turn::Rest,
    };
    (discard, Ok(turn))
}

fn invalid(error: rustls::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
