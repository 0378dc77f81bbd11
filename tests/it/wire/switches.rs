//! The upstream's side of a WebSocket handshake (RFC 6455 section 4.1, last list): a wrong 101 is a
//! 502, never repaired; a refusal passes as it is.

use tidegate_tests::probe::{Ask, ReplyRow, Then};

const BAD: &str = "upstream_bad_switch";
const PLAIN: Ask = Ask::WebSocket(&[]);
const CHAT: Ask = Ask::WebSocket(&[("Sec-WebSocket-Protocol", "chat, superchat")]);
const DEFLATE: Ask = Ask::WebSocket(&[("Sec-WebSocket-Extensions", "permessage-deflate")]);
const BITS: Ask = Ask::WebSocket(&[(
    "Sec-WebSocket-Extensions",
    "permessage-deflate; client_max_window_bits=12; server_max_window_bits=10",
)]);
const PRIVATE: Ask =
    Ask::WebSocket(&[("Sec-WebSocket-Extensions", "x-private, permessage-deflate")]);

/// A 101 with this line among its own.
fn with(line: &str) -> String {
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: ACCEPT\r\n{line}\r\n\r\n"
    )
}

const SWITCH: &str = "RFC 6455 section 4.1, last list: who opened the WebSocket must fail it on such a 101; behind one that is passed on, the two sides speak of different things";
const GRAMMAR: &str = "RFC 9110 section 5.5, RFC 9112 sections 2.2 and 6.1: the grammar of a head, of which nothing is repaired";

/// A 101 of these lines alone.
fn of(lines: &[&str]) -> ReplyRow {
    let lines = lines.join("\r\n");
    let answer = format!("HTTP/1.1 101 Switching Protocols\r\n{lines}\r\n\r\n");
    ReplyRow::problem(answer, BAD).to(PLAIN).why(SWITCH)
}

fn bad(ask: Ask, line: &str) -> ReplyRow {
    ReplyRow::problem(with(line), BAD).to(ask).why(SWITCH)
}

fn malformed(line: &str) -> ReplyRow {
    ReplyRow::problem(with(line), "upstream_malformed")
        .to(PLAIN)
        .why(GRAMMAR)
}

fn good(ask: Ask, line: &str) -> ReplyRow {
    ReplyRow::opened(with(line)).to(ask)
}

const UP: &str = "Upgrade: websocket";
const CO: &str = "Connection: Upgrade";
const AC: &str = "Sec-WebSocket-Accept: ACCEPT";

rows! { ReplyRow:
    a_right_101_opens: good(PLAIN, "X-A: 1").field("X-A", "1");
    a_right_101_in_other_cases_opens: ReplyRow::opened("HTTP/1.1 101 Whatever\r\nupgrade: WebSocket\r\nCONNECTION: keep-alive, upgrade\r\nsec-websocket-accept: ACCEPT\r\n\r\n");
    a_101_without_a_reason_opens: ReplyRow::opened("HTTP/1.1 101 \r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ACCEPT\r\n\r\n");
    cookies_of_a_101_pass: good(PLAIN, "Set-Cookie: a=b").field("Set-Cookie", "a=b");
    a_length_of_a_101_stops_here: good(PLAIN, "Content-Length: 0").lacks("Content-Length");
    what_connection_names_on_a_101_stops_here: good(PLAIN, "Connection: X-Hop\r\nX-Hop: 1").lacks("X-Hop");
    a_key_on_a_101_stops_here: good(PLAIN, "Sec-WebSocket-Key: x").lacks("Sec-WebSocket-Key");
    a_version_on_a_101_stops_here: good(PLAIN, "Sec-WebSocket-Version: 13").lacks("Sec-WebSocket-Version");
    an_offered_subprotocol_passes: good(CHAT, "Sec-WebSocket-Protocol: superchat").field("Sec-WebSocket-Protocol", "superchat");
    no_subprotocol_of_those_offered_opens: good(CHAT, "X-A: 1").lacks("Sec-WebSocket-Protocol");
    an_offered_deflate_passes: good(DEFLATE, "Sec-WebSocket-Extensions: permessage-deflate").field("Sec-WebSocket-Extensions", "permessage-deflate");
    a_declined_deflate_opens: good(DEFLATE, "X-A: 1").lacks("Sec-WebSocket-Extensions");
    a_100_before_a_101_is_passed_over: ReplyRow::opened("HTTP/1.1 100 Continue\r\n\r\n".to_owned() + &with("X-A: 1")).field("X-A", "1")
        .why("RFC 9110 section 15.2: a client must be able to parse interim answers before the final one, even those it does not expect");

    a_101_without_fields_is_refused: of(&["X-Up: 1"]);
    a_101_without_an_accept_is_refused: of(&[UP, CO]);
    a_101_with_an_empty_accept_is_refused: of(&[UP, CO, "Sec-WebSocket-Accept:"]);
    a_101_with_a_wrong_accept_is_refused: of(&[UP, CO, "Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA="]);
    a_101_with_the_accept_of_the_clients_key_is_refused: of(&[UP, CO, "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="]);
    a_101_with_the_clients_key_as_accept_is_refused: of(&[UP, CO, "Sec-WebSocket-Accept: dGhlIHNhbXBsZSBub25jZQ=="]);
    a_101_with_two_accepts_is_refused: of(&[UP, CO, AC, "Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA="]);
    a_101_with_a_wrong_accept_first_is_refused: of(&[UP, CO, "Sec-WebSocket-Accept: AAAA", AC]);
    a_101_with_a_list_of_accepts_is_refused: of(&[UP, CO, "Sec-WebSocket-Accept: ACCEPT, AAAA"]);
    a_101_with_an_accept_and_more_is_refused: of(&[UP, CO, "Sec-WebSocket-Accept: ACCEPTx"]);
    a_101_with_an_accept_in_quotes_is_refused: of(&[UP, CO, "Sec-WebSocket-Accept: \"ACCEPT\""]);
    a_101_without_upgrade_is_refused: of(&[CO, AC]);
    a_101_to_h2c_is_refused: of(&["Upgrade: h2c", CO, AC]);
    a_101_to_h2c_and_websocket_is_refused: of(&["Upgrade: h2c, websocket", CO, AC]);
    a_101_to_websocket_twice_is_refused: of(&[UP, UP, CO, AC]);
    a_101_to_websocket_13_is_refused: of(&["Upgrade: websocket/13", CO, AC]);
    a_101_to_nothing_is_refused: of(&["Upgrade:", CO, AC]);
    a_101_without_connection_is_refused: of(&[UP, AC]);
    a_101_with_connection_keep_alive_is_refused: of(&[UP, "Connection: keep-alive", AC]);
    a_101_with_connection_upgraded_is_refused: of(&[UP, "Connection: upgraded", AC]);
    a_101_with_connection_in_two_words_is_refused: of(&[UP, "Connection: keep-alive upgrade", AC]);
    a_101_of_http_1_0_is_refused: ReplyRow::problem(with("X-A: 1").replacen("1.1", "1.0", 1), "upstream_malformed").to(PLAIN).why(SWITCH);
    a_subprotocol_that_nobody_offered_is_refused: bad(PLAIN, "Sec-WebSocket-Protocol: chat");
    another_subprotocol_is_refused: bad(CHAT, "Sec-WebSocket-Protocol: other");
    a_subprotocol_in_another_case_is_refused: bad(CHAT, "Sec-WebSocket-Protocol: Chat");
    a_part_of_a_subprotocol_is_refused: bad(CHAT, "Sec-WebSocket-Protocol: cha");
    two_subprotocols_are_refused: bad(CHAT, "Sec-WebSocket-Protocol: chat, superchat");
    two_subprotocols_in_two_lines_are_refused: bad(CHAT, "Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Protocol: superchat");
    one_subprotocol_in_two_lines_is_refused: bad(CHAT, "Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Protocol: chat");
    an_empty_subprotocol_is_refused: bad(CHAT, "Sec-WebSocket-Protocol:");
    an_extension_that_nobody_offered_is_refused: bad(PLAIN, "Sec-WebSocket-Extensions: permessage-deflate");
    another_extension_is_refused: bad(DEFLATE, "Sec-WebSocket-Extensions: x-private");
    an_extension_that_we_took_out_is_refused: bad(PRIVATE, "Sec-WebSocket-Extensions: x-private");
    an_extension_beside_deflate_is_refused: bad(DEFLATE, "Sec-WebSocket-Extensions: permessage-deflate, x-private");
    deflate_twice_is_refused: bad(DEFLATE, "Sec-WebSocket-Extensions: permessage-deflate, permessage-deflate");
    deflate_in_two_lines_is_refused: bad(DEFLATE, "Sec-WebSocket-Extensions: permessage-deflate\r\nSec-WebSocket-Extensions: permessage-deflate");
    deflate_with_an_unknown_parameter_is_refused: bad(DEFLATE, "Sec-WebSocket-Extensions: permessage-deflate; a=b");
    deflate_with_a_parameter_twice_is_refused: bad(DEFLATE, "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; server_no_context_takeover");
    deflate_with_a_value_where_none_is_due_is_refused: bad(DEFLATE, "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover=1");
    deflate_with_client_bits_that_were_not_offered_is_refused: bad(DEFLATE, "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits=10");
    deflate_with_more_client_bits_than_offered_is_refused: bad(BITS, "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits=13; server_max_window_bits=10");
    deflate_with_more_server_bits_than_asked_is_refused: bad(BITS, "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=11");
    deflate_without_the_server_bits_that_were_asked_is_refused: bad(BITS, "Sec-WebSocket-Extensions: permessage-deflate");
    deflate_with_7_bits_is_refused: bad(DEFLATE, "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=7");
    deflate_with_16_bits_is_refused: bad(DEFLATE, "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=16");
    deflate_with_bits_of_octal_looks_is_refused: bad(DEFLATE, "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=010");
    deflate_with_bits_and_a_plus_is_refused: bad(DEFLATE, "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=+10");
    deflate_without_a_value_of_its_bits_is_refused: bad(DEFLATE, "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits");
    an_extension_that_is_none_is_refused: bad(DEFLATE, "Sec-WebSocket-Extensions: permessage-deflate; a=");
    a_fold_in_a_101_is_refused: malformed("X-A: 1\r\n folded");
    a_nul_in_a_101_is_refused: malformed("X-A: a\0b");
    a_bare_cr_in_a_101_is_refused: malformed("X-A: a\rSet-Cookie: a=b");
    a_bare_lf_in_a_101_is_refused: malformed("X-A: a\nSet-Cookie: a=b");
    a_blank_before_a_colon_in_a_101_is_refused: malformed("X-A : 1");
    codings_of_a_101_are_refused: malformed("Transfer-Encoding: gzip");
    chunks_of_a_101_are_refused: malformed("Transfer-Encoding: chunked");
    two_framings_of_a_101_are_refused: malformed("Content-Length: 1\r\nTransfer-Encoding: chunked");
    a_101_cut_within_its_fields_is_lost: ReplyRow::problem("HTTP/1.1 101 Switching Protocols\r\nUpgrade: webso", "upstream_lost").to(PLAIN).then(Then::Fin);

    a_200_with_the_fields_of_a_101_opens_nothing: ReplyRow::whole("HTTP/1.1 200 OK\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ACCEPT\r\nContent-Length: 2\r\n\r\nok", 200, "ok").to(PLAIN).lacks("Upgrade");
    a_100_with_the_fields_of_a_101_opens_nothing: ReplyRow::whole("HTTP/1.1 100 Continue\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ACCEPT\r\n\r\nHTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno", 403, "no").to(PLAIN).lacks("Upgrade");
    a_102_with_the_fields_of_a_101_opens_nothing: ReplyRow::whole("HTTP/1.1 102 Processing\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nHTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno", 403, "no").to(PLAIN);
    a_426_of_the_upstream_passes: ReplyRow::whole("HTTP/1.1 426 Upgrade Required\r\nSec-WebSocket-Version: 13, 8\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nContent-Length: 2\r\n\r\nno", 426, "no").to(PLAIN).field("Sec-WebSocket-Version", "13, 8").lacks("Upgrade");
    a_refusal_passes: ReplyRow::whole("HTTP/1.1 403 Not You\r\nX-Why: 1\r\nContent-Length: 2\r\n\r\nno", 403, "no").to(PLAIN).field("X-Why", "1").reason("Not You");
    a_refusal_in_chunks_passes: ReplyRow::whole("HTTP/1.1 403 No\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n", 403, "no").to(PLAIN);
    a_redirect_passes: ReplyRow::whole("HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n", 302, "").to(PLAIN).field("Location", "/elsewhere");
    a_204_opens_nothing: ReplyRow::whole("HTTP/1.1 204 No Content\r\n\r\n", 204, "").to(PLAIN);
    a_second_answer_behind_a_refusal_is_nobodys: ReplyRow::whole("HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nnoHTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ACCEPT\r\n\r\n", 403, "no").to(PLAIN);
    two_framings_of_a_refusal_are_refused: ReplyRow::problem("HTTP/1.1 403 No\r\nX-Up: 1\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\nno", "upstream_malformed").to(PLAIN).why("RFC 9112 section 6.3 point 3");
}
