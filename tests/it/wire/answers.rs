//! The upstream's head (RFC 9112 sections 4 and 5): what breaks the grammar is a 502, and the
//! upstream is hung up on; what does not passes as it is.

use tidegate_tests::probe::{Ask, ReplyRow, Then};

const MALFORMED: &str = "upstream_malformed";

const STATUS: &str = "RFC 9112 sections 2.3 and 4, the grammar of a status line: HTTP/1.0 or 1.1, single blanks, three digits, no control byte";
const GRAMMAR: &str = "RFC 9110 sections 5.1 and 5.5, RFC 9112 section 5: a name is a token, and a value holds no control byte but the tab";
const LF: &str = "RFC 9112 section 2.2 allows a recipient to take a bare LF, and does not ask it to; where one side does and the other does not, an answer is split";

/// An answer with this status line, refused.
fn status(line: &str) -> ReplyRow {
    ReplyRow::problem(
        format!("{line}\r\nX-Up: 1\r\nContent-Length: 2\r\n\r\nok"),
        MALFORMED,
    )
    .why(STATUS)
}

/// An answer with this line among its fields, refused.
fn line(line: &str) -> ReplyRow {
    ReplyRow::problem(ok(line), MALFORMED).why(GRAMMAR)
}

fn ok(line: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nX-Up: 1\r\n{line}\r\nContent-Length: 2\r\n\r\nok")
}

fn passes(lines: &str) -> ReplyRow {
    ReplyRow::whole(ok(lines), 200, "ok")
}

fn interim(count: usize) -> String {
    "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n".repeat(count) + &ok("X-A: 1")
}

rows! { ReplyRow:
    an_answer_passes: passes("X-A: 1").field("X-A", "1").reason("OK");
    a_status_line_without_a_reason_passes: ReplyRow::whole("HTTP/1.1 200 \r\nContent-Length: 2\r\n\r\nok", 200, "ok");
    a_status_line_without_a_blank_behind_passes: ReplyRow::whole("HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok", 200, "ok");
    a_reason_passes_as_it_is: ReplyRow::whole("HTTP/1.1 404 Nobody Home\r\nContent-Length: 2\r\n\r\nno", 404, "no").reason("Nobody Home");
    a_reason_beyond_ascii_passes: ReplyRow::whole("HTTP/1.1 404 N\u{e9}\r\nContent-Length: 0\r\n\r\n", 404, "").reason("N\u{e9}");
    an_unknown_status_passes: ReplyRow::whole("HTTP/1.1 299 Fine\r\nContent-Length: 2\r\n\r\nok", 299, "ok");
    a_status_of_599_passes: ReplyRow::whole("HTTP/1.1 599 Odd\r\nContent-Length: 2\r\n\r\nno", 599, "no");
    an_answer_of_http_1_0_passes_as_1_1: ReplyRow::whole("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", 200, "ok");
    http_1_2_is_no_version_of_an_answer: status("HTTP/1.2 200 OK");
    http_2_is_no_version_of_an_answer: status("HTTP/2 200 OK");
    http_2_0_is_no_version_of_an_answer: status("HTTP/2.0 200 OK");
    http_0_9_is_no_version_of_an_answer: status("HTTP/0.9 200 OK");
    http_in_lower_case_is_no_version: status("http/1.1 200 OK");
    http_with_two_digits_is_no_version: status("HTTP/1.11 200 OK");
    icy_is_no_version: status("ICY 200 OK");
    ssh_is_no_answer: ReplyRow::problem("SSH-2.0-OpenSSH_9.2\r\n\r\n", MALFORMED);
    smtp_is_no_answer: ReplyRow::problem("220 mail.example ESMTP\r\n\r\n", MALFORMED);
    a_request_is_no_answer: ReplyRow::problem("GET / HTTP/1.1\r\nHost: a\r\n\r\n", MALFORMED);
    a_status_of_two_digits_is_none: status("HTTP/1.1 20 OK");
    a_status_of_four_digits_is_none: status("HTTP/1.1 2000 OK");
    a_status_of_letters_is_none: status("HTTP/1.1 2x0 OK");
    a_status_of_zero_is_none: status("HTTP/1.1 000 OK");
    a_status_below_100_is_none: status("HTTP/1.1 099 OK");
    a_status_with_a_minus_is_none: status("HTTP/1.1 -20 OK");
    no_status_is_none: status("HTTP/1.1 OK");
    two_blanks_before_the_status_are_refused: status("HTTP/1.1  200 OK");
    a_tab_before_the_status_is_no_blank: status("HTTP/1.1\t200 OK");
    a_status_glued_to_its_reason_is_refused: status("HTTP/1.1 200OK");
    a_reason_with_a_nul_is_refused: status("HTTP/1.1 200 O\0K");
    a_reason_with_a_bare_cr_injects_nothing: status("HTTP/1.1 200 OK\rSet-Cookie: a=b");
    a_reason_with_a_bare_lf_injects_nothing: status("HTTP/1.1 200 OK\nSet-Cookie: a=b");
    a_reason_with_an_escape_is_refused: status("HTTP/1.1 200 \u{1b}[31m");
    a_blank_before_the_status_line_is_refused: status(" HTTP/1.1 200 OK");
    an_empty_line_before_the_status_line_is_refused: status("\r\nHTTP/1.1 200 OK");
    a_bare_lf_before_the_status_line_is_refused: status("\nHTTP/1.1 200 OK");
    a_byte_order_mark_before_the_status_line_is_refused: status("\u{ef}\u{bb}\u{bf}HTTP/1.1 200 OK");
    lf_ends_no_line_of_an_answer: ReplyRow::problem("HTTP/1.1 200 OK\nContent-Length: 2\n\nok", MALFORMED)
        .why(LF);
    lf_ends_no_field_of_an_answer: line("X-A: 1\nX-B: 2").why(LF);
    lf_ends_no_head_of_an_answer: ReplyRow::problem("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\nok", MALFORMED).why(LF);
    cr_ends_no_field_of_an_answer: line("X-A: 1\rX-B: 2");
    a_nul_in_an_answer_is_refused: line("X-A: a\0b");
    a_delete_in_an_answer_is_refused: line("X-A: a\u{7f}b");
    an_escape_in_an_answer_is_refused: line("X-A: \u{1b}[31m");
    a_fold_in_an_answer_is_refused: line("X-A: 1\r\n folded");
    a_fold_with_a_tab_in_an_answer_is_refused: line("X-A: 1\r\n\tfolded");
    a_fold_behind_the_status_line_is_refused: line(" X-A: 1");
    a_blank_before_the_colon_of_an_answer_is_refused: line("X-A : 1");
    a_tab_before_the_colon_of_an_answer_is_refused: line("X-A\t: 1");
    an_empty_name_in_an_answer_is_refused: line(": 1");
    a_blank_in_a_name_of_an_answer_is_refused: line("X A: 1");
    a_name_beyond_ascii_in_an_answer_is_refused: line("X-\u{e9}: 1");
    a_line_without_a_colon_in_an_answer_is_refused: line("X-A");
    a_quote_in_a_name_of_an_answer_is_refused: line("X\"A: 1");
    a_head_of_65_kib_of_an_answer_is_refused: line(&format!("X-A: {}", "a".repeat(65 * 1024))).why("a limit of ours: a head is at most 64 KiB in either direction");
    one_hundred_and_one_fields_of_an_answer_are_refused: line(&vec!["X-A: 1"; 99].join("\r\n")).why("a limit of ours: 100 fields in either direction");
    one_hundred_fields_of_an_answer_pass: passes(&vec!["X-B: 1"; 98].join("\r\n"));
    bytes_beyond_ascii_in_an_answer_pass: passes("X-A: \u{e9}\u{ff}").field("X-A", "\u{e9}\u{ff}");
    upgrade_on_a_200_stops_here: passes("Connection: Upgrade\r\nUpgrade: websocket").lacks("Upgrade");
    upgrade_h2c_on_a_200_stops_here: passes("Connection: Upgrade\r\nUpgrade: h2c").lacks("Upgrade");
    upgrade_on_a_426_stops_here: ReplyRow::whole("HTTP/1.1 426 Upgrade Required\r\nUpgrade: TLS/1.2\r\nConnection: Upgrade\r\nContent-Length: 2\r\n\r\nno", 426, "no").lacks("Upgrade");
    keep_alive_of_an_answer_stops_here: passes("Keep-Alive: timeout=5\r\nConnection: keep-alive");
    named_fields_of_an_answer_stop_here: passes("Connection: X-Hop\r\nX-Hop: 1").lacks("X-Hop");
    set_cookie_cannot_be_named_away: passes("Connection: Set-Cookie\r\nSet-Cookie: a=b").field("Set-Cookie", "a=b");
    the_length_of_an_answer_cannot_be_named_away: passes("Connection: Content-Length").field("Content-Length", "2");
    a_proxy_authenticate_of_the_upstream_stops_here: passes("Proxy-Authenticate: Basic").lacks("Proxy-Authenticate");

    a_101_that_nobody_asked_for_is_refused: ReplyRow::problem("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", "upstream_bad_switch");
    a_101_to_h2c_that_nobody_asked_for_is_refused: ReplyRow::problem("HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n", "upstream_bad_switch");
    a_101_without_fields_is_refused: ReplyRow::problem("HTTP/1.1 101 Switching Protocols\r\n\r\n", "upstream_bad_switch");
    a_101_to_a_head_is_refused: ReplyRow::problem("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", "upstream_bad_switch").to(Ask::Head);
    a_100_that_nobody_asked_for_is_passed_over: ReplyRow::whole("HTTP/1.1 100 Continue\r\n\r\n".to_owned() + &ok("X-A: 1"), 200, "ok");
    a_103_is_passed_over: ReplyRow::whole(interim(1), 200, "ok").lacks("Link");
    sixteen_interim_answers_are_passed_over: ReplyRow::whole(interim(16), 200, "ok");
    interim_answers_without_end_are_refused: ReplyRow::problem(interim(200), MALFORMED).why("RFC 9110 section 15.2 sets no bound, so ours is 16: they would keep the client waiting for ever");
    an_interim_answer_with_a_length_has_no_body: ReplyRow::whole("HTTP/1.1 103 Early Hints\r\nContent-Length: 5\r\n\r\n".to_owned() + &ok("X-A: 1"), 200, "ok");
    an_interim_answer_in_chunks_is_refused: ReplyRow::problem("HTTP/1.1 103 Early Hints\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned() + &ok("X-A: 1"), MALFORMED).why("RFC 9112 section 6.1: no Transfer-Encoding on a 1xx; who reads chunks there takes the answer for one");
    an_interim_answer_that_breaks_the_grammar_is_refused: ReplyRow::problem("HTTP/1.1 103 Early Hints\r\nX A: 1\r\n\r\n".to_owned() + &ok("X-A: 1"), MALFORMED);
    an_interim_answer_and_no_other_is_lost: ReplyRow::problem("HTTP/1.1 103 Early Hints\r\n\r\n", "upstream_lost").then(Then::Fin);

    an_end_within_the_status_line_is_lost: ReplyRow::problem("HTTP/1.1 2", "upstream_lost").then(Then::Fin);
    an_end_within_the_fields_is_lost: ReplyRow::problem("HTTP/1.1 200 OK\r\nX-Up: 1\r\nConte", "upstream_lost").then(Then::Fin);
    an_end_before_the_empty_line_is_lost: ReplyRow::problem("HTTP/1.1 200 OK\r\nX-Up: 1\r\n", "upstream_lost").then(Then::Fin);
    an_end_within_the_empty_line_is_lost: ReplyRow::problem("HTTP/1.1 200 OK\r\nX-Up: 1\r\n\r", "upstream_lost").then(Then::Fin);
    a_reset_within_the_status_line_is_lost: ReplyRow::problem("HTTP/1.1 2", "upstream_lost").then(Then::Reset);
    a_reset_within_the_fields_is_lost: ReplyRow::problem("HTTP/1.1 200 OK\r\nX-Up: 1\r\nConte", "upstream_lost").then(Then::Reset);
}
