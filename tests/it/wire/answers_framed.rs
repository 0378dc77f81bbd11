//! Where an answer ends (RFC 9112 section 6.3): what could end in two places is a 502, a body that
//! breaks off looks broken off, and nothing behind an answer is taken for the next.

use tidegate_tests::probe::{Ask, ReplyRow, Then};

fn answer(lines: &str, body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nX-Up: 1\r\n{lines}\r\n\r\n{body}")
}

const FRAMING: &str = "RFC 9112 section 6.3 points 3 to 5: a message with two framings, or a length that is none, may be an attempt at response splitting and is an error";
const CODING: &str = "RFC 9112 section 7.1, the grammar of the chunked coding: what one reader repairs, another reads as the next answer";

fn refused(lines: &str) -> ReplyRow {
    ReplyRow::problem(answer(lines, "0\r\n\r\n"), "upstream_malformed").why(FRAMING)
}

fn chunked(body: &str) -> String {
    answer("Transfer-Encoding: chunked", body)
}

fn cut(body: &str) -> ReplyRow {
    ReplyRow::cut(chunked(body)).why(CODING)
}

fn trailers(lines: &str) -> ReplyRow {
    ReplyRow::whole(
        chunked(&format!("2\r\nok\r\n0\r\n{lines}\r\n\r\n")),
        200,
        "ok",
    )
}

/// An answer with a second one behind it, which nobody asked for.
fn poisoned(first: &str) -> String {
    format!("{first}HTTP/1.1 200 OK\r\nX-Evil: 1\r\nContent-Length: 4\r\n\r\nevil")
}

rows! { ReplyRow:
    two_framings_of_an_answer_are_refused: refused("Content-Length: 5\r\nTransfer-Encoding: chunked")
        .why(FRAMING);
    two_framings_of_an_answer_in_the_other_order_are_refused: refused("Transfer-Encoding: chunked\r\nContent-Length: 5").why(FRAMING);
    two_framings_with_a_length_of_zero_are_refused: refused("Transfer-Encoding: chunked\r\nContent-Length: 0").why(FRAMING);
    two_lengths_alike_of_an_answer_are_not_merged: refused("Content-Length: 5\r\nContent-Length: 5");
    two_lengths_unlike_of_an_answer_are_refused: refused("Content-Length: 5\r\nContent-Length: 4");
    a_list_of_lengths_of_an_answer_is_refused: refused("Content-Length: 5, 5");
    an_empty_length_of_an_answer_is_refused: refused("Content-Length:");
    a_negative_length_of_an_answer_is_refused: refused("Content-Length: -1");
    a_plus_in_a_length_of_an_answer_is_refused: refused("Content-Length: +5");
    a_hex_length_of_an_answer_is_refused: refused("Content-Length: 0x5");
    a_length_of_an_answer_over_64_bits_is_refused: refused("Content-Length: 18446744073709551621");
    a_length_of_an_answer_in_words_is_refused: refused("Content-Length: five");
    a_coding_of_an_answer_that_is_unknown_is_refused: refused("Transfer-Encoding: gzip");
    codings_of_an_answer_before_chunked_are_refused: refused("Transfer-Encoding: gzip, chunked");
    codings_of_an_answer_behind_chunked_are_refused: refused("Transfer-Encoding: chunked, gzip");
    chunked_twice_in_an_answer_is_refused: refused("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked");
    chunked_with_a_vertical_tab_in_an_answer_is_refused: refused("Transfer-Encoding: \u{b}chunked");
    chunked_behind_a_blank_name_end_in_an_answer_is_refused: refused("Transfer-Encoding : chunked");
    identity_in_an_answer_is_refused: refused("Transfer-Encoding: identity");
    an_empty_coding_of_an_answer_is_refused: refused("Transfer-Encoding:");
    chunks_of_http_1_0_are_refused: ReplyRow::problem("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", "upstream_malformed")
        .why("RFC 9112 section 6.1: a Transfer-Encoding on HTTP/1.0 has faulty framing");

    a_body_shorter_than_its_length_looks_cut: ReplyRow::cut(answer("Content-Length: 10", "short")).then(Then::Fin);
    a_body_shorter_than_its_length_looks_cut_by_a_reset: ReplyRow::cut(answer("Content-Length: 10", "short")).then(Then::Reset);
    a_body_without_a_byte_of_its_length_looks_cut: ReplyRow::cut(answer("Content-Length: 10", "")).then(Then::Fin);
    chunks_without_the_last_look_cut: cut("2\r\nok\r\n").then(Then::Fin);
    chunks_that_end_within_one_look_cut: cut("5\r\nok").then(Then::Fin);
    chunks_that_end_within_a_size_look_cut: cut("2\r\nok\r\n1").then(Then::Fin);
    chunks_that_end_within_the_last_look_cut: cut("2\r\nok\r\n0\r\n").then(Then::Fin);
    chunks_that_end_within_a_trailer_look_cut: cut("2\r\nok\r\n0\r\nX-A: 1\r\n").then(Then::Fin);
    a_size_that_is_none_of_an_answer_looks_cut: cut("2\r\nok\r\nzz\r\n");
    a_size_with_0x_of_an_answer_looks_cut: cut("0x2\r\nok\r\n0\r\n\r\n");
    a_size_with_a_minus_of_an_answer_looks_cut: cut("2\r\nok\r\n-1\r\n");
    a_size_with_a_blank_of_an_answer_looks_cut: cut("2 \r\nok\r\n0\r\n\r\n");
    a_size_over_64_bits_of_an_answer_looks_cut: cut("10000000000000002\r\nok\r\n0\r\n\r\n");
    a_size_ended_by_lf_of_an_answer_looks_cut: cut("2\nok\n0\n\n");
    a_chunk_longer_than_its_size_of_an_answer_looks_cut: cut("1\r\nok\r\n0\r\n\r\n");
    a_chunk_ended_by_lf_of_an_answer_looks_cut: cut("2\r\nok\n0\r\n\r\n");
    an_extension_with_a_lf_of_an_answer_looks_cut: cut("2;a\nb\r\nok\r\n0\r\n\r\n");
    a_trailer_that_is_no_field_of_an_answer_looks_cut: cut("2\r\nok\r\n0\r\nX A: 1\r\n\r\n");
    a_trailer_with_a_fold_of_an_answer_looks_cut: cut("2\r\nok\r\n0\r\nX-A: 1\r\n b\r\n\r\n");
    a_trailer_with_a_bare_cr_of_an_answer_looks_cut: cut("2\r\nok\r\n0\r\nX-A: 1\rb\r\n\r\n");

    a_second_answer_behind_a_length_is_nobodys: ReplyRow::whole(poisoned(&answer("Content-Length: 2", "ok")), 200, "ok");
    a_second_answer_behind_chunks_is_nobodys: ReplyRow::whole(poisoned(&chunked("2\r\nok\r\n0\r\n\r\n")), 200, "ok");
    a_second_answer_behind_a_204_is_nobodys: ReplyRow::whole(poisoned("HTTP/1.1 204 No Content\r\n\r\n"), 204, "");
    a_second_answer_behind_a_304_is_nobodys: ReplyRow::whole(poisoned("HTTP/1.1 304 Not Modified\r\n\r\n"), 304, "");
    a_body_longer_than_its_length_is_nobodys: ReplyRow::whole(answer("Content-Length: 2", "okmore"), 200, "ok");
    a_body_behind_a_length_of_zero_is_nobodys: ReplyRow::whole(answer("Content-Length: 0", "more"), 200, "");
    a_body_behind_the_last_chunk_is_nobodys: ReplyRow::whole(chunked("2\r\nok\r\n0\r\n\r\nmore"), 200, "ok");
    a_body_of_a_204_is_nobodys: ReplyRow::whole("HTTP/1.1 204 No Content\r\nContent-Length: 4\r\n\r\nmore", 204, "").lacks("Content-Length").is_last();
    chunks_of_a_204_are_nobodys: ReplyRow::whole("HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nmore\r\n0\r\n\r\n", 204, "").lacks("Transfer-Encoding").is_last();
    a_204_that_announces_a_body_is_the_last_of_its_connection: ReplyRow::whole("HTTP/1.1 204 No Content\r\nContent-Length: 4\r\n\r\n", 204, "").lacks("Content-Length").is_last();
    a_204_that_announces_chunks_is_the_last_of_its_connection: ReplyRow::whole("HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n", 204, "").lacks("Transfer-Encoding").is_last();
    an_answer_of_http_1_0_is_the_last_of_its_connection: ReplyRow::whole("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", 200, "ok").is_last();
    an_answer_that_says_close_is_the_last_of_its_connection: ReplyRow::whole(answer("Connection: close\r\nContent-Length: 2", "ok"), 200, "ok").is_last();
    a_body_of_a_304_is_nobodys: ReplyRow::whole("HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\nmore", 304, "").field("Content-Length", "4");
    chunks_of_a_304_are_nobodys: ReplyRow::whole("HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nmore\r\n0\r\n\r\n", 304, "").lacks("Transfer-Encoding");
    a_body_of_an_answer_to_head_is_nobodys: ReplyRow::whole(answer("Content-Length: 4", "more"), 200, "").to(Ask::Head).field("Content-Length", "4");
    chunks_of_an_answer_to_head_are_nobodys: ReplyRow::whole(chunked("4\r\nmore\r\n0\r\n\r\n"), 200, "").to(Ask::Head);
    two_framings_of_an_answer_to_head_are_refused: ReplyRow::problem(answer("Content-Length: 4\r\nTransfer-Encoding: chunked", ""), "upstream_malformed").to(Ask::Head)
        .why("RFC 9112 section 6.3 point 3: whoever is asked with GET next would get the same head, and a body");
    two_framings_of_a_204_are_refused: ReplyRow::problem("HTTP/1.1 204 No Content\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n", "upstream_malformed").why(FRAMING);

    a_length_with_leading_zeros_is_made_anew: ReplyRow::whole(answer("Content-Length: 0002", "ok"), 200, "ok").field("Content-Length", "2");
    a_body_until_the_end_passes: ReplyRow::whole(answer("X-A: 1", "ok"), 200, "ok").then(Then::Fin);
    a_body_until_a_reset_looks_cut: ReplyRow::cut(answer("X-A: 1", "ok")).then(Then::Reset);
    chunks_pass: ReplyRow::whole(chunked("2;a=b\r\nok\r\n0\r\n\r\n"), 200, "ok").field("Transfer-Encoding", "chunked");
    a_205_with_a_body_keeps_its_framing: ReplyRow::whole("HTTP/1.1 205 Reset Content\r\nContent-Length: 2\r\n\r\nok", 205, "ok");
    a_trailer_of_an_answer_passes: trailers("X-Sum: 1").trailers(&[("X-Sum", "1")]);
    a_trailer_set_cookie_sets_none: trailers("Set-Cookie: a=b").trailers(&[]);
    a_trailer_content_length_of_an_answer_frames_nothing: trailers("Content-Length: 100\r\nX-Sum: 1").trailers(&[("X-Sum", "1")]);
    a_trailer_transfer_encoding_of_an_answer_frames_nothing: trailers("Transfer-Encoding: chunked").trailers(&[]);
    a_trailer_connection_of_an_answer_closes_nothing: trailers("Connection: close").trailers(&[]);
    a_trailer_upgrade_of_an_answer_switches_nothing: trailers("Upgrade: websocket").trailers(&[]);
    a_trailer_keep_alive_of_an_answer_stops_here: trailers("Keep-Alive: timeout=5").trailers(&[]);
    a_trailer_proxy_authenticate_of_an_answer_stops_here: trailers("Proxy-Authenticate: Basic").trailers(&[]);
    a_trailer_content_type_of_an_answer_changes_nothing: trailers("Content-Type: text/html").trailers(&[]);
}
