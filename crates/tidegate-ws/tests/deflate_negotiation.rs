//! Who offers what, what is answered, and what both then hold, as RFC 7692 section 7.1 has it.

use tidegate_ws::deflate::{Agreed, Config, accept, answered, answers, offers};
use tidegate_ws::handshake::{Extension, extensions};

fn parsed(header: &str) -> Vec<Extension<'_>> {
    let lines = (!header.is_empty()).then_some(header.as_bytes());
    extensions(lines.into_iter()).unwrap_or_default()
}

fn config(change: impl FnOnce(&mut Config)) -> Config {
    let mut config = Config::default();
    change(&mut config);
    config
}

/// One that wants nothing of the peer, and promises nothing.
fn plain() -> Config {
    config(|config| {
        config.server_no_context_takeover = false;
        config.client_no_context_takeover = false;
    })
}

const fn agreed(own_takeover: bool, own_bits: u8, peer_takeover: bool, peer_bits: u8) -> Agreed {
    Agreed {
        own_takeover,
        own_bits,
        peer_takeover,
        peer_bits,
    }
}

/// What a server answers, without the name, and what it then holds.
fn accepted(offer: &str, config: &Config) -> Option<(Agreed, String)> {
    let (agreed, answer) = accept(&parsed(offer), config)?;
    let parameters = answer.strip_prefix("permessage-deflate").unwrap_or("?");
    Some((agreed, parameters.to_owned()))
}

#[test]
fn a_client_offers_what_it_is_configured_to() {
    assert_eq!(
        offers(&[Config::default()]),
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover; \
         client_max_window_bits"
    );
    let small = config(|config| {
        config.server_max_window_bits = 10;
        config.client_max_window_bits = 9;
    });
    assert_eq!(
        offers(&[small, plain()]),
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover; \
         server_max_window_bits=10; client_max_window_bits=9, \
         permessage-deflate; client_max_window_bits"
    );
    assert_eq!(offers(&[]), "");
    let beyond = config(|config| {
        config.server_max_window_bits = 3;
        config.client_max_window_bits = 99;
    });
    assert!(offers(&[beyond]).ends_with("server_max_window_bits=9; client_max_window_bits"));
}

/// zlib compresses with no window of 8 bits: a peer that uses it would fail the connection.
#[test]
fn nobody_is_asked_for_less_than_nine_bits_but_we_take_eight() {
    assert_eq!(
        offers(&[bits(8, 8)]),
        "permessage-deflate; server_max_window_bits=9; client_max_window_bits=8"
    );
    hold([
        (
            "; client_max_window_bits",
            bits(8, 8),
            agreed(true, 8, true, 9),
            "; server_max_window_bits=8; client_max_window_bits=9",
        ),
        (
            "; client_max_window_bits=12",
            bits(15, 8),
            agreed(true, 15, true, 9),
            "; client_max_window_bits=9",
        ),
        // It says itself that it can.
        (
            "; client_max_window_bits=8",
            bits(15, 8),
            agreed(true, 15, true, 8),
            "; client_max_window_bits=8",
        ),
    ]);
}

/// No demand about takeover, and these windows.
fn bits(server: u8, client: u8) -> Config {
    config(|config| {
        config.server_no_context_takeover = false;
        config.client_no_context_takeover = false;
        config.server_max_window_bits = server;
        config.client_max_window_bits = client;
    })
}

/// A server that is offered this, is configured so, holds that afterwards and answers so.
type Row = (&'static str, Config, Agreed, &'static str);

fn hold(table: impl IntoIterator<Item = Row>) {
    for (offer, config, agreed, answer) in table {
        let offer = format!("permessage-deflate{offer}");
        let expected = (agreed, answer.to_owned());
        assert_eq!(accepted(&offer, &config), Some(expected), "{offer}");
    }
}

#[test]
fn a_server_keeps_to_what_is_said_of_takeover() {
    hold([
        // No demand of either side.
        ("", plain(), agreed(true, 15, true, 15), ""),
        // Ours, said unasked (sections 7.1.1.1 and 7.1.1.2).
        (
            "",
            Config::default(),
            agreed(false, 15, false, 15),
            "; server_no_context_takeover; client_no_context_takeover",
        ),
        // The client's.
        (
            "; server_no_context_takeover",
            plain(),
            agreed(false, 15, true, 15),
            "; server_no_context_takeover",
        ),
        (
            "; client_no_context_takeover",
            plain(),
            agreed(true, 15, false, 15),
            "; client_no_context_takeover",
        ),
    ]);
}

#[test]
fn a_server_keeps_to_windows_and_asks_for_those_it_may() {
    hold([
        // Its window must be said again, and may be smaller (section 7.1.2.1).
        (
            "; server_max_window_bits=15",
            plain(),
            agreed(true, 15, true, 15),
            "; server_max_window_bits=15",
        ),
        (
            "; server_max_window_bits=\"10\"",
            bits(12, 15),
            agreed(true, 10, true, 15),
            "; server_max_window_bits=10",
        ),
        (
            "; server_max_window_bits=8",
            plain(),
            agreed(true, 8, true, 15),
            "; server_max_window_bits=8",
        ),
        (
            "; server_max_window_bits=\"1\\2\"",
            bits(11, 15),
            agreed(true, 11, true, 15),
            "; server_max_window_bits=11",
        ),
        // Unasked too.
        (
            "",
            bits(12, 15),
            agreed(true, 12, true, 15),
            "; server_max_window_bits=12",
        ),
        // A client that does not say so cannot be asked for a smaller window (section 7.1.2.2).
        ("", bits(15, 10), agreed(true, 15, true, 15), ""),
        (
            "; client_max_window_bits",
            bits(15, 10),
            agreed(true, 15, true, 10),
            "; client_max_window_bits=10",
        ),
        (
            "; client_max_window_bits=9",
            bits(15, 10),
            agreed(true, 15, true, 9),
            "; client_max_window_bits=9",
        ),
        (
            "; client_max_window_bits=12",
            plain(),
            agreed(true, 15, true, 12),
            "; client_max_window_bits=12",
        ),
        (
            "; client_max_window_bits",
            plain(),
            agreed(true, 15, true, 15),
            "",
        ),
    ]);
}

/// Parameters that no offer may have.
const WRONG_IN_OFFERS: &[&str] = &[
    "; server_no_context_takeover=1",
    "; server_no_context_takeover=\"true\"",
    "; client_no_context_takeover=x",
    "; server_no_context_takeover; server_no_context_takeover",
    "; client_no_context_takeover; Client_No_Context_Takeover",
    "; server_max_window_bits",
    "; server_max_window_bits=7",
    "; server_max_window_bits=16",
    "; server_max_window_bits=08",
    "; server_max_window_bits=010",
    "; server_max_window_bits=+10",
    "; server_max_window_bits=1e1",
    "; server_max_window_bits=0xa",
    "; server_max_window_bits=266",
    "; server_max_window_bits=\"09\"",
    "; server_max_window_bits=10; server_max_window_bits=10",
    "; client_max_window_bits=7",
    "; client_max_window_bits=16",
    "; client_max_window_bits=09",
    "; client_max_window_bits; client_max_window_bits=10",
    "; client_max_window_bits; client_max_window_bits",
    "; max_window_bits=10",
    "; server_max_window_bits=10; x",
];

#[test]
fn an_offer_that_cannot_be_understood_is_declined_alone() {
    for wrong in WRONG_IN_OFFERS {
        let offer = format!("permessage-deflate{wrong}");
        assert_eq!(parsed(&offer).len(), 1, "{wrong}");
        assert_eq!(accepted(&offer, &plain()), None, "{wrong}");
        let two = format!("x-foo, {offer}, permessage-deflate; server_max_window_bits=9");
        let second = (
            agreed(true, 9, true, 15),
            "; server_max_window_bits=9".to_owned(),
        );
        assert_eq!(accepted(&two, &plain()), Some(second), "{wrong}");
    }
}

#[test]
fn the_first_offer_that_can_be_kept_wins() {
    let two = "permessage-deflate; server_max_window_bits=10, permessage-deflate";
    let first = (
        agreed(true, 10, true, 15),
        "; server_max_window_bits=10".to_owned(),
    );
    assert_eq!(accepted(two, &plain()), Some(first));
    assert_eq!(accepted("", &plain()), None);
    assert_eq!(accepted("x-webkit-deflate-frame", &plain()), None);
    assert!(accepted("PerMessage-Deflate", &plain()).is_some());
}

/// A comma or a semicolon in quotes must not make two elements of one.
#[test]
fn quotes_hide_nothing() {
    for header in [
        "permessage-deflate; server_max_window_bits=\"10, permessage-deflate\"",
        "permessage-deflate; server_max_window_bits=\"10; client_max_window_bits\"",
        "permessage-deflate; server_max_window_bits=\"10",
        "permessage-deflate; server_max_window_bits=10\"",
        "permessage-deflate; server_max_window_bits=\"\"",
        "permessage-deflate; server_max_window_bits=\"10\\\"",
        "permessage-deflate; server_max_window_bits=\"\\,\"",
        "permessage-deflate; server_max_window_bits==10",
        "permessage-deflate; server_max_window_bits=10=10",
        "permessage-deflate;; server_max_window_bits=10",
        "permessage-deflate; server_max_window_bits=10;",
        "permessage-deflate server_max_window_bits=10",
    ] {
        let lines = std::iter::once(header.as_bytes());
        assert!(extensions(lines).is_err(), "{header}");
    }
}

#[test]
fn a_client_takes_an_answer_that_fits_its_offer() {
    let small = || {
        config(|config| {
            config.server_max_window_bits = 12;
            config.client_max_window_bits = 11;
        })
    };
    let table = [
        (plain(), "", agreed(true, 15, true, 15)),
        (
            plain(),
            "; server_no_context_takeover; client_no_context_takeover",
            agreed(false, 15, false, 15),
        ),
        (
            plain(),
            "; server_max_window_bits=8; client_max_window_bits=8",
            agreed(true, 8, true, 8),
        ),
        // A hint that the server leaves out is kept all the same (section 7.1.1.2).
        (
            Config::default(),
            "; server_no_context_takeover",
            agreed(false, 15, false, 15),
        ),
        (
            small(),
            "; server_no_context_takeover; server_max_window_bits=12",
            agreed(false, 11, false, 12),
        ),
        (
            small(),
            "; server_no_context_takeover; server_max_window_bits=\"9\"; client_max_window_bits=10",
            agreed(false, 10, false, 9),
        ),
        // It was asked for 9, which is the least.
        (
            bits(8, 8),
            "; server_max_window_bits=9",
            agreed(true, 8, true, 9),
        ),
    ];
    for (config, answer, agreed) in table {
        let answer = format!("permessage-deflate{answer}");
        let result = answered(&parsed(&answer), &[config]);
        assert_eq!(result, Ok(Some(agreed)), "{answer}");
    }
    assert_eq!(answered(&[], &[plain()]), Ok(None));
}

#[test]
fn a_client_fails_an_answer_that_fits_no_offer() {
    let demanding = config(|config| {
        config.server_max_window_bits = 12;
        config.client_max_window_bits = 11;
    });
    let kept = "permessage-deflate; server_no_context_takeover; server_max_window_bits=12";
    assert!(answered(&parsed(kept), std::slice::from_ref(&demanding)).is_ok());
    for wrong in [
        "permessage-deflate".to_owned(),
        "permessage-deflate; server_no_context_takeover".to_owned(),
        "permessage-deflate; server_max_window_bits=12".to_owned(),
        "permessage-deflate; server_no_context_takeover; server_max_window_bits=13".to_owned(),
        format!("{kept}; client_max_window_bits=12"),
        format!("{kept}; client_max_window_bits"),
        format!("{kept}, {kept}"),
        format!("{kept}, x-foo"),
        "x-foo".to_owned(),
    ] {
        let result = answered(&parsed(&wrong), std::slice::from_ref(&demanding));
        assert!(result.is_err(), "{wrong}");
        // Nothing was offered at all.
        assert!(answered(&parsed(&wrong), &[]).is_err(), "{wrong}");
    }
    let ten = "permessage-deflate; server_max_window_bits=10";
    assert!(answered(&parsed(ten), &[bits(8, 8)]).is_err());
    // What is wrong in an offer is so in an answer.
    for wrong in WRONG_IN_OFFERS {
        let wrong = format!("permessage-deflate{wrong}");
        assert!(answered(&parsed(&wrong), &[plain()]).is_err(), "{wrong}");
    }
}

#[test]
fn an_answer_may_fit_the_second_offer() {
    let configs = [config(|config| config.server_max_window_bits = 10), plain()];
    let answer = parsed("permessage-deflate");
    let expected = agreed(true, 15, true, 15);
    assert_eq!(answered(&answer, &configs), Ok(Some(expected)));
}

/// Both roles of this library agree, whatever each wants.
#[test]
fn what_we_answer_fits_what_we_offer() {
    let mut configs = Vec::new();
    for takeovers in 0..4 {
        for server_bits in [8, 9, 12, 15] {
            for client_bits in [8, 10, 15] {
                configs.push(config(|config| {
                    config.server_no_context_takeover = takeovers & 1 == 0;
                    config.client_no_context_takeover = takeovers & 2 == 0;
                    config.server_max_window_bits = server_bits;
                    config.client_max_window_bits = client_bits;
                }));
            }
        }
    }
    for client in &configs {
        for server in &configs {
            let offer = offers(std::slice::from_ref(client));
            let (served, answer) = accept(&parsed(&offer), server).expect("an offer of ours");
            let result = answered(&parsed(&answer), std::slice::from_ref(client));
            let wanted = result.expect("an answer of ours").expect("deflate");
            assert_eq!(
                wanted.own_takeover, served.peer_takeover,
                "{offer} {answer}"
            );
            assert_eq!(
                wanted.peer_takeover, served.own_takeover,
                "{offer} {answer}"
            );
            assert_eq!(wanted.own_bits, served.peer_bits, "{offer} {answer}");
            assert_eq!(wanted.peer_bits, served.own_bits, "{offer} {answer}");
            assert!(answers(&parsed(&answer)[0], &[offer]), "{answer}");
        }
    }
}

/// For a relay, which sees offers and answers of others.
#[test]
fn an_answer_of_others_must_fit_an_offer_of_others() {
    let fits = |answer: &str, offer: &str| answers(&parsed(answer)[0], &[offer.to_owned()]);
    let plain = "permessage-deflate";
    let bits = "permessage-deflate; client_max_window_bits; server_max_window_bits=12";
    for (answer, offer) in [
        (plain, plain),
        (
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
            plain,
        ),
        ("permessage-deflate; server_max_window_bits=10", plain),
        (
            "permessage-deflate; server_max_window_bits=\"12\"; client_max_window_bits=9",
            bits,
        ),
    ] {
        assert!(fits(answer, offer), "{answer} for {offer}");
    }
    for (answer, offer) in [
        ("permessage-deflate; client_max_window_bits=9", plain),
        ("permessage-deflate; zz=1", plain),
        ("permessage-deflate; server_max_window_bits=16", plain),
        ("permessage-deflate; server_max_window_bits=010", plain),
        ("permessage-deflate; server_max_window_bits=+10", plain),
        ("permessage-deflate; server_no_context_takeover=1", plain),
        (
            "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
            plain,
        ),
        ("permessage-deflate; server_max_window_bits=13", bits),
        (plain, bits),
        (plain, "permessage-deflate; server_no_context_takeover"),
        // A server must decline what it does not know (section 7.1).
        (plain, "permessage-deflate; x=1"),
        (plain, "x-foo"),
        ("x-foo", "x-foo"),
    ] {
        assert!(!fits(answer, offer), "{answer} for {offer}");
    }
}
