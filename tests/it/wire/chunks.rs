//! The chunked coding of a request (RFC 9112 section 7.1): what is wrong is never repaired, and what
//! it said in extensions and trailers does not pass for more than it is.

use tidegate_tests::probe::Row;

use super::post;

fn chunked(body: &str) -> String {
    post("Transfer-Encoding: chunked", body)
}

const CODING: &str = "RFC 9112 section 7.1, the grammar of the chunked coding: what one reader repairs, another reads as the next request (section 11.2)";
const OURS: &str = "a limit of ours: a line with a chunk's size is at most 256 bytes, trailers are at most 100 and 64 KiB";

fn cut(body: &str) -> Row {
    Row::cut(chunked(body)).why(CODING)
}

/// `hello` with these trailers.
fn trailers(lines: &str) -> Row {
    Row::forwarded(chunked(&format!("5\r\nhello\r\n0\r\n{lines}\r\n\r\n")))
}

rows! { Row:
    chunk_size_empty_is_no_end: cut("\r\n\r\n");
    chunk_size_in_other_letters_is_no_size: cut("g\r\nhello\r\n0\r\n\r\n");
    chunk_size_with_0x_is_no_size: cut("0x5\r\nhello\r\n0\r\n\r\n");
    chunk_size_with_a_plus_is_no_size: cut("+5\r\nhello\r\n0\r\n\r\n");
    chunk_size_with_a_minus_is_no_size: cut("-5\r\nhello\r\n0\r\n\r\n");
    chunk_size_with_a_blank_before_is_no_size: cut(" 5\r\nhello\r\n0\r\n\r\n");
    chunk_size_with_a_tab_before_is_no_size: cut("\t5\r\nhello\r\n0\r\n\r\n");
    chunk_size_with_a_blank_behind_is_no_size: cut("5 \r\nhello\r\n0\r\n\r\n");
    chunk_size_with_a_tab_behind_is_no_size: cut("5\t\r\nhello\r\n0\r\n\r\n");
    chunk_size_with_an_underscore_is_no_size: cut("0_5\r\nhello\r\n0\r\n\r\n");
    chunk_size_with_a_comma_is_no_size: cut("5,5\r\nhello\r\n0\r\n\r\n");
    chunk_size_with_a_dot_is_no_size: cut("5.0\r\nhello\r\n0\r\n\r\n");
    chunk_size_with_an_h_is_no_size: cut("5h\r\nhello\r\n0\r\n\r\n");
    chunk_size_in_quotes_is_no_size: cut("\"5\"\r\nhello\r\n0\r\n\r\n");
    chunk_size_with_a_nul_is_no_size: cut("5\0\r\nhello\r\n0\r\n\r\n");
    chunk_size_with_a_bare_cr_is_no_line: cut("5\rhello\r\n0\r\n\r\n");
    chunk_size_with_a_bare_lf_is_no_line: cut("5\nhello\r\n0\r\n\r\n");
    chunk_size_behind_two_cr_is_no_line: cut("5\r\r\nhello\r\n0\r\n\r\n");
    chunk_size_of_2_to_the_64_wraps_to_no_zero: cut("10000000000000000\r\n\r\n");
    chunk_size_of_2_to_the_64_and_5_wraps_to_no_five: cut("10000000000000005\r\nhello\r\n0\r\n\r\n");
    chunk_size_of_2_to_the_64_less_1_is_no_minus_one: cut("ffffffffffffffff\r\nhello\r\n0\r\n\r\n");
    chunk_size_of_2_to_the_63_is_no_negative: cut("8000000000000000\r\nhello\r\n0\r\n\r\n");
    chunk_size_with_many_zeros_is_refused: cut(&format!("{}5\r\nhello\r\n0\r\n\r\n", "0".repeat(300))).why(OURS);
    chunk_data_shorter_than_its_size_is_no_chunk: cut("6\r\nhello\r\n0\r\n\r\n");
    chunk_data_longer_than_its_size_is_no_chunk: cut("4\r\nhello\r\n0\r\n\r\n");
    chunk_data_without_an_end_is_no_chunk: cut("5\r\nhello0\r\n\r\n");
    chunk_data_ended_by_lf_is_no_chunk: cut("5\r\nhello\n0\r\n\r\n");
    chunk_data_ended_by_cr_is_no_chunk: cut("5\r\nhello\r0\r\n\r\n");
    chunk_data_ended_by_other_bytes_is_no_chunk: cut("5\r\nhelloXX0\r\n\r\n");
    chunk_data_ended_twice_is_no_chunk: cut("5\r\nhello\r\n\r\n0\r\n\r\n");
    chunk_extension_behind_a_bare_lf_smuggles_nothing: cut("5;\nhello\r\n0\r\n\r\n");
    chunk_extension_with_a_bare_cr_smuggles_nothing: cut("5;a\rb\r\nhello\r\n0\r\n\r\n");
    chunk_extension_with_a_nul_smuggles_nothing: cut("5;a=\0\r\nhello\r\n0\r\n\r\n");
    chunk_extension_with_a_delete_smuggles_nothing: cut("5;a=\u{7f}\r\nhello\r\n0\r\n\r\n");
    chunk_extension_with_a_lf_in_quotes_smuggles_nothing: cut("5;a=\"x\ny\"\r\nhello\r\n0\r\n\r\n");
    chunk_extension_without_a_semicolon_is_none: cut("5 a=b\r\nhello\r\n0\r\n\r\n");
    chunk_extension_of_a_kilobyte_is_refused: cut(&format!("5;a={}\r\nhello\r\n0\r\n\r\n", "x".repeat(1024))).why(OURS);
    last_chunk_with_a_lf_in_its_extension_smuggles_nothing: cut("5\r\nhello\r\n0;a\nb\r\n\r\n");
    last_chunk_ended_by_lf_is_no_end: cut("5\r\nhello\r\n0\n\r\n");
    last_chunk_behind_which_a_bare_lf_stands_is_no_end: cut("5\r\nhello\r\n0\r\n\n");
    last_chunk_behind_which_a_bare_cr_stands_is_no_end: cut("5\r\nhello\r\n0\r\n\rX");
    last_chunk_in_hex_notation_is_no_end: cut("5\r\nhello\r\n0x0\r\n\r\n");
    trailer_with_a_blank_name_end_is_refused: cut("5\r\nhello\r\n0\r\nX-A : 1\r\n\r\n");
    trailer_without_a_colon_is_refused: cut("5\r\nhello\r\n0\r\nX-A\r\n\r\n");
    trailer_without_a_name_is_refused: cut("5\r\nhello\r\n0\r\n: 1\r\n\r\n");
    trailer_folded_is_refused: cut("5\r\nhello\r\n0\r\nX-A: 1\r\n b\r\n\r\n");
    trailer_that_begins_with_a_fold_is_refused: cut("5\r\nhello\r\n0\r\n X-A: 1\r\n\r\n");
    trailer_with_a_bare_lf_is_refused: cut("5\r\nhello\r\n0\r\nX-A: 1\nX-B: 2\r\n\r\n");
    trailer_with_a_bare_cr_is_refused: cut("5\r\nhello\r\n0\r\nX-A: 1\rX-B: 2\r\n\r\n");
    trailer_with_a_nul_is_refused: cut("5\r\nhello\r\n0\r\nX-A: a\0b\r\n\r\n");
    trailers_over_64_kib_are_refused: cut(&format!("0\r\nX-A: {}\r\n\r\n", "a".repeat(70_000))).why(OURS);
    trailers_over_100_are_refused: cut(&format!("0\r\n{}\r\n", "X-A: 1\r\n".repeat(101))).why(OURS);
    a_request_in_the_place_of_trailers_is_no_request: cut("0\r\nGET /smuggled HTTP/1.1\r\nHost: test.example\r\n\r\n");

    chunks_are_made_anew: Row::forwarded(chunked("2;a=b\r\nhe\r\n03\r\nllo\r\n000\r\n\r\n")).body("hello");
    chunk_sizes_in_capitals_are_read: Row::forwarded(chunked("A\r\n0123456789\r\n0\r\n\r\n")).body("0123456789");
    chunk_extension_in_quotes_is_dropped: Row::forwarded(chunked("5;a=\"b;c\"\r\nhello\r\n0;x\r\n\r\n")).body("hello");
    chunk_data_of_line_ends_is_data: Row::forwarded(chunked("4\r\n\r\n\r\n\r\n0\r\n\r\n")).body("\r\n\r\n");
    chunk_data_that_looks_like_an_end_is_data: Row::forwarded(chunked("5\r\n0\r\n\r\n\r\n0\r\n\r\n")).body("0\r\n\r\n");
    a_request_behind_the_last_chunk_is_the_next: Row::forwarded_as(2, chunked("0\r\n\r\n") + &post("Content-Length: 0", ""));
    trailer_passes_with_its_name: trailers("X-Sum: 42").body("hello\nX-Sum: 42");
    trailer_content_length_frames_nothing: trailers("Content-Length: 50").body("hello");
    trailer_transfer_encoding_frames_nothing: trailers("Transfer-Encoding: chunked").body("hello");
    trailer_host_routes_nothing: trailers("Host: evil.example").body("hello");
    trailer_connection_names_nothing: trailers("Connection: X-Sum\r\nX-Sum: 1").body("hello\nX-Sum: 1");
    trailer_authorization_proves_nothing: trailers("Authorization: Bearer x").body("hello");
    trailer_cookie_proves_nothing: trailers("Cookie: a=b").body("hello");
    trailer_upgrade_switches_nothing: trailers("Upgrade: websocket").body("hello");
    trailer_x_forwarded_for_tells_nothing: trailers("X-Forwarded-For: 6.6.6.6").body("hello");
    trailer_x_forwarded_for_with_underscores_tells_nothing: trailers("X_Forwarded_For: 6.6.6.6").body("hello");
    trailer_x_forwarded_proto_tells_nothing: trailers("x-forwarded-proto: https").body("hello");
    trailer_x_real_ip_tells_nothing: trailers("X-Real-IP: 6.6.6.6").body("hello");
    trailer_forwarded_tells_nothing: trailers("Forwarded: for=6.6.6.6").body("hello");
    trailer_origin_proves_nothing: trailers("Origin: https://app.example").body("hello");
    trailer_sec_websocket_key_shakes_no_hands: trailers("Sec-WebSocket-Key: x").body("hello");
    trailer_proxy_authorization_proves_nothing: trailers("Proxy-Authorization: Basic x").body("hello");
    trailer_http2_settings_goes_nowhere: trailers("HTTP2-Settings: AAMAAABkAAQAAP__").body("hello");
    trailer_keep_alive_goes_nowhere: trailers("Keep-Alive: timeout=5").body("hello");
    trailer_expect_asks_for_nothing: trailers("Expect: 100-continue").body("hello");
}
