//! The negotiation (RFC 7692 sections 5 and 7.1), as pure functions.

use std::fmt;

use crate::deflate::{Config, MAX_WINDOW_BITS, MIN_WINDOW_BITS, askable};
use crate::handshake::{Extension, ResponseError};

const NAME: &str = "permessage-deflate";
const SERVER_NO_CONTEXT_TAKEOVER: &str = "server_no_context_takeover";
const CLIENT_NO_CONTEXT_TAKEOVER: &str = "client_no_context_takeover";
const SERVER_MAX_WINDOW_BITS: &str = "server_max_window_bits";
const CLIENT_MAX_WINDOW_BITS: &str = "client_max_window_bits";

/// What both sides agreed on, as one of them sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Agreed {
    /// Whether what this side sends may refer to its earlier messages.
    pub own_takeover: bool,
    /// The largest window that this side may compress with, in bits from 8 to 15.
    pub own_bits: u8,
    /// Whether what the peer sends may refer to its earlier messages.
    pub peer_takeover: bool,
    /// The largest window that the peer compresses with, in bits from 8 to 15.
    pub peer_bits: u8,
}

/// The offers of a client for `Sec-WebSocket-Extensions`, most wanted first: one for each of
/// `configs`, so that a server that cannot keep the first may take another. Empty for none.
#[must_use]
pub fn offers(configs: &[Config]) -> String {
    let offers: Vec<String> = configs
        .iter()
        .map(|config| Parameters::wanted(config).to_string())
        .collect();
    offers.join(", ")
}

/// What a server makes of a client's offers: the first of permessage-deflate that it can keep, with the
/// element that answers it. `None` when there is none, which opens the WebSocket without the
/// extension (RFC 7692 section 5.1).
#[must_use]
pub fn accept(offers: &[Extension<'_>], config: &Config) -> Option<(Agreed, String)> {
    let offer = offers
        .iter()
        .filter(|offer| offer.is_deflate())
        .find_map(Parameters::of_offer)?;
    let most = |own: u8, offered: Option<u8>| offered.map_or(own, |offered| offered.min(own));
    let server_bits = most(config.server_bits(), offer.server_bits);
    let client_bits = offer.client_bits.map(|offered| match offered {
        ClientBits::Any => askable(config.client_bits()),
        ClientBits::AtMost(offered) => offered.min(askable(config.client_bits())),
    });
    let answer = Parameters {
        server_no_takeover: offer.server_no_takeover || config.server_no_context_takeover,
        client_no_takeover: offer.client_no_takeover || config.client_no_context_takeover,
        // What was asked for must be said again, even if it is the default (section 7.1.2.1).
        server_bits: (offer.server_bits.is_some() || server_bits < MAX_WINDOW_BITS)
            .then_some(server_bits),
        client_bits: client_bits
            .filter(|bits| *bits < MAX_WINDOW_BITS)
            .map(ClientBits::AtMost),
    };
    let agreed = Agreed {
        own_takeover: !answer.server_no_takeover,
        own_bits: server_bits,
        peer_takeover: !answer.client_no_takeover,
        peer_bits: client_bits.unwrap_or(MAX_WINDOW_BITS),
    };
    Some((agreed, answer.to_string()))
}

/// What a client makes of the extensions that a server answered with, having sent the [`offers`] of
/// `configs`. `None` when it has none.
///
/// # Errors
/// When there is anything but one permessage-deflate that fits one of the offers; the client must
/// then fail the connection (RFC 7692 section 5.1, RFC 6455 section 4.1).
pub fn answered(
    answer: &[Extension<'_>],
    configs: &[Config],
) -> Result<Option<Agreed>, ResponseError> {
    let answer = match answer {
        [] => return Ok(None),
        [one] if one.is_deflate() => Parameters::of_answer(one),
        _ => None,
    };
    let answer = answer.ok_or(ResponseError::Extensions)?;
    let offer = configs
        .iter()
        .map(|config| (config, Parameters::wanted(config)))
        .find(|(_, offer)| answer.fits(offer));
    let (config, _) = offer.ok_or(ResponseError::Extensions)?;
    let own_bits = match answer.client_bits {
        Some(ClientBits::AtMost(bits)) => bits,
        _ => config.client_bits(),
    };
    Ok(Some(Agreed {
        // Said in the offer it is a promise, whatever the answer (section 7.1.1.2).
        own_takeover: !(answer.client_no_takeover || config.client_no_context_takeover),
        own_bits,
        peer_takeover: !answer.server_no_takeover,
        peer_bits: answer.server_bits.unwrap_or(MAX_WINDOW_BITS),
    }))
}

/// Whether `answer` accepts one of the permessage-deflate `offers` as RFC 7692 section 7.1 has it:
/// for who passes on what others negotiate. Elements that are no such offer fit nothing.
#[must_use]
pub fn answers(answer: &Extension<'_>, offers: &[String]) -> bool {
    let Some(answer) = Some(answer)
        .filter(|answer| answer.is_deflate())
        .and_then(Parameters::of_answer)
    else {
        return false;
    };
    offers
        .iter()
        .filter_map(|offer| Extension::parse(offer))
        .filter(Extension::is_deflate)
        .filter_map(|offer| Parameters::of_offer(&offer))
        .any(|offer| answer.fits(&offer))
}

/// The parameters of one offer or answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Parameters {
    server_no_takeover: bool,
    client_no_takeover: bool,
    server_bits: Option<u8>,
    client_bits: Option<ClientBits>,
}

/// `client_max_window_bits`, which only an offer can have without a value (section 7.1.2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ClientBits {
    Any,
    AtMost(u8),
}

impl Parameters {
    /// What a client with this configuration asks for.
    fn wanted(config: &Config) -> Self {
        let client_bits = config.client_bits();
        Self {
            server_no_takeover: config.server_no_context_takeover,
            client_no_takeover: config.client_no_context_takeover,
            server_bits: Some(askable(config.server_bits())).filter(|bits| *bits < MAX_WINDOW_BITS),
            client_bits: Some(if client_bits < MAX_WINDOW_BITS {
                ClientBits::AtMost(client_bits)
            } else {
                ClientBits::Any
            }),
        }
    }

    /// The parameters of an offer, or `None` if it must be declined (section 7.1).
    fn of_offer(offer: &Extension<'_>) -> Option<Self> {
        Self::parse(offer)
    }

    /// The parameters of an answer, or `None` if the connection must be failed (section 7.1).
    fn of_answer(answer: &Extension<'_>) -> Option<Self> {
        Self::parse(answer).filter(|answer| answer.client_bits != Some(ClientBits::Any))
    }

    fn parse(element: &Extension<'_>) -> Option<Self> {
        let mut parsed = Self::default();
        for (name, value) in element.parameters() {
            let value = value.as_deref();
            let is = |known: &str| name.eq_ignore_ascii_case(known);
            let is_new = if is(SERVER_NO_CONTEXT_TAKEOVER) && value.is_none() {
                !std::mem::replace(&mut parsed.server_no_takeover, true)
            } else if is(CLIENT_NO_CONTEXT_TAKEOVER) && value.is_none() {
                !std::mem::replace(&mut parsed.client_no_takeover, true)
            } else if is(SERVER_MAX_WINDOW_BITS) {
                parsed.server_bits.replace(window_bits(value?)?).is_none()
            } else if is(CLIENT_MAX_WINDOW_BITS) {
                let bits = match value {
                    Some(value) => ClientBits::AtMost(window_bits(value)?),
                    None => ClientBits::Any,
                };
                parsed.client_bits.replace(bits).is_none()
            } else {
                false
            };
            if !is_new {
                return None;
            }
        }
        Some(parsed)
    }

    /// Whether this answer keeps to the offer.
    fn fits(&self, offer: &Self) -> bool {
        let server_window = match (offer.server_bits, self.server_bits) {
            (Some(asked), answered) => answered.is_some_and(|bits| bits <= asked),
            (None, _) => true,
        };
        let client_window = match (offer.client_bits, self.client_bits) {
            (Some(ClientBits::AtMost(most)), Some(ClientBits::AtMost(bits))) => bits <= most,
            (None, Some(_)) => false,
            _ => true,
        };
        server_window && client_window && (self.server_no_takeover || !offer.server_no_takeover)
    }
}

impl fmt::Display for Parameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(NAME)?;
        if self.server_no_takeover {
            write!(f, "; {SERVER_NO_CONTEXT_TAKEOVER}")?;
        }
        if self.client_no_takeover {
            write!(f, "; {CLIENT_NO_CONTEXT_TAKEOVER}")?;
        }
        if let Some(bits) = self.server_bits {
            write!(f, "; {SERVER_MAX_WINDOW_BITS}={bits}")?;
        }
        match self.client_bits {
            Some(ClientBits::Any) => write!(f, "; {CLIENT_MAX_WINDOW_BITS}"),
            Some(ClientBits::AtMost(bits)) => write!(f, "; {CLIENT_MAX_WINDOW_BITS}={bits}"),
            None => Ok(()),
        }
    }
}

/// A decimal number from 8 to 15 without leading zeros (section 7.1.2.1).
fn window_bits(value: &str) -> Option<u8> {
    (MIN_WINDOW_BITS..=MAX_WINDOW_BITS).find(|bits| bits.to_string() == value)
}
