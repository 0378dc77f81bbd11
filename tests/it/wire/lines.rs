//! Field lines and their ends (RFC 9112 sections 2.2 and 5): no CR, LF, NUL, fold or blank in a
//! place where two readers could see different fields.

use tidegate_tests::probe::Row;

use super::{BAD, get};

const GRAMMAR: &str = "RFC 9110 sections 5.1 and 5.5, RFC 9112 section 5: a name is a token, and a value holds no control byte but the tab";
const LF: &str = "RFC 9112 section 2.2 allows a recipient to take a bare LF, and does not ask it to; where one side does and the other does not, a request is smuggled";
const EMPTY: &str = "RFC 9112 section 2.2 asks for one empty line, a CRLF, to be skipped; four are, and more is no request";

fn line(line: &str) -> Row {
    Row::refused(get(line), BAD).why(GRAMMAR)
}

rows! { Row:
    a_blank_before_the_colon_makes_no_field: line("X-A : 1");
    a_tab_before_the_colon_makes_no_field: line("X-A\t: 1");
    a_blank_in_a_name_makes_no_field: line("X A: 1");
    a_line_without_a_colon_makes_no_field: line("X-A");
    an_empty_name_makes_no_field: line(": 1");
    a_name_of_a_blank_makes_no_field: line(" : 1");
    a_name_in_parentheses_makes_no_field: line("X(A): 1");
    a_name_with_a_comma_makes_no_field: line("X,A: 1");
    a_name_with_a_slash_makes_no_field: line("X/A: 1");
    a_name_with_a_semicolon_makes_no_field: line("X;A: 1");
    a_name_with_an_equals_sign_makes_no_field: line("X=A: 1");
    a_name_with_an_at_sign_makes_no_field: line("X@A: 1");
    a_name_with_brackets_makes_no_field: line("X[A]: 1");
    a_name_with_a_backslash_makes_no_field: line("X\\A: 1");
    a_name_with_braces_makes_no_field: line("X{A}: 1");
    a_name_with_a_quote_makes_no_field: line("X\"A: 1");
    a_name_with_angle_brackets_makes_no_field: line("<A>: 1");
    a_name_with_a_question_mark_makes_no_field: line("X?A: 1");
    a_name_with_a_nul_makes_no_field: line("X\0A: 1");
    a_name_with_a_vertical_tab_makes_no_field: line("X-A\u{b}: 1");
    a_name_with_a_delete_makes_no_field: line("X\u{7f}A: 1");
    a_name_beyond_ascii_makes_no_field: line("X-\u{e9}: 1");
    a_name_with_a_soft_hyphen_makes_no_field: line("X\u{ad}A: 1");
    a_value_with_a_nul_is_refused: line("X-A: a\0b");
    a_value_with_a_bare_cr_is_refused: line("X-A: a\rb");
    a_value_with_a_bare_lf_is_refused: line("X-A: a\nb");
    a_value_that_ends_with_two_cr_is_refused: line("X-A: a\r");
    a_value_with_a_bell_is_refused: line("X-A: a\u{7}b");
    a_value_with_an_escape_is_refused: line("X-A: a\u{1b}[31mb");
    a_value_with_a_delete_is_refused: line("X-A: a\u{7f}b");
    a_value_with_a_vertical_tab_is_refused: line("X-A: a\u{b}b");
    a_value_with_a_backspace_is_refused: line("X-A: a\u{8}b");
    a_fold_with_a_blank_is_refused: line("X-A: 1\r\n folded");
    a_fold_with_a_tab_is_refused: line("X-A: 1\r\n\tfolded");
    a_fold_of_blanks_is_refused: line("X-A: 1\r\n  ");
    a_fold_that_looks_like_a_field_is_refused: line("X-A: 1\r\n Host: evil.example");
    a_fold_behind_the_request_line_is_refused: Row::refused("GET / HTTP/1.1\r\n X-A: 1\r\nHost: test.example\r\n\r\n", BAD);
    a_tab_behind_the_request_line_is_refused: Row::refused("GET / HTTP/1.1\r\n\tX-A: 1\r\nHost: test.example\r\n\r\n", BAD);
    a_blank_line_of_blanks_ends_no_head: line("X-A: 1\r\n \r\nX-B: 2");
    lf_ends_no_request_line: Row::refused("GET / HTTP/1.1\nHost: test.example\r\n\r\n", BAD)
        .why(LF);
    lf_ends_no_field_line: Row::refused("GET / HTTP/1.1\r\nHost: test.example\nX-A: 1\r\n\r\n", BAD)
        .why(LF);
    lf_ends_no_head: Row::refused("GET / HTTP/1.1\r\nHost: test.example\r\n\n", BAD)
        .why(LF);
    lf_crlf_ends_no_head: Row::refused("GET / HTTP/1.1\r\nHost: test.example\n\r\n", BAD)
        .why(LF);
    lf_alone_ends_nothing: Row::refused("GET / HTTP/1.1\nHost: test.example\n\n", BAD)
        .why(LF);
    lf_before_a_request_is_no_empty_line: Row::refused("\nGET / HTTP/1.1\r\nHost: test.example\r\n\r\n", BAD)
        .why(EMPTY);
    cr_before_a_request_is_no_empty_line: Row::refused("\rGET / HTTP/1.1\r\nHost: test.example\r\n\r\n", BAD);
    cr_ends_no_request_line: Row::refused("GET / HTTP/1.1\rHost: test.example\r\n\r\n", BAD);
    cr_ends_no_field_line: Row::refused("GET / HTTP/1.1\r\nHost: test.example\rX-A: 1\r\n\r\n", BAD);
    cr_ends_no_head: Row::refused("GET / HTTP/1.1\r\nHost: test.example\r\n\rX", BAD);
    cr_cr_lf_ends_no_line: Row::refused("GET / HTTP/1.1\r\r\nHost: test.example\r\n\r\n", BAD);
    nul_before_a_request_is_no_blank: Row::refused("\0GET / HTTP/1.1\r\nHost: test.example\r\n\r\n", BAD);
    one_empty_line_before_a_request_is_skipped: Row::forwarded("\r\nGET / HTTP/1.1\r\nHost: test.example\r\n\r\n").target("/");
    empty_lines_without_end_are_no_request: Row::refused("\r\n".repeat(6) + "GET / HTTP/1.1\r\nHost: test.example\r\n\r\n", BAD)
        .at_once().why(EMPTY);
    five_empty_lines_are_one_too_many: Row::refused("\r\n".repeat(5) + "GET / HTTP/1.1\r\nHost: test.example\r\n\r\n", BAD)
        .at_once().why(EMPTY);
    a_tls_hello_is_no_request: Row::refused("\u{16}\u{3}\u{1}\0\u{a5}\u{1}\0\0\u{a1}\u{3}\u{3}\r\n\r\n", BAD);
    an_http_2_preface_is_no_request: Row::refused("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", BAD);
    an_answer_is_no_request: Row::refused("HTTP/1.1 200 OK\r\nHost: test.example\r\nContent-Length: 0\r\n\r\n", BAD);
    an_empty_value_is_a_value: Row::forwarded(get("X-A:")).field("X-A", "");
    a_value_without_a_blank_is_a_value: Row::forwarded(get("X-A:1")).field("X-A", "1");
    a_value_keeps_its_inner_blanks: Row::forwarded(get("X-A: a  b\tc")).field("X-A", "a  b\tc");
    a_value_loses_its_outer_blanks: Row::forwarded(get("X-A: \t a \t ")).field("X-A", "a");
    a_value_keeps_bytes_beyond_ascii: Row::forwarded(get("X-A: \u{e9}\u{ff}")).field("X-A", "\u{e9}\u{ff}");
    a_value_keeps_its_colons: Row::forwarded(get("X-A: b: c")).field("X-A", "b: c");
    a_name_of_all_token_characters_is_a_name: Row::forwarded(get("!#$%&'*+-.^_`|~09AZaz: 1")).field("!#$%&'*+-.^_`|~09AZaz", "1");
    lines_keep_their_order_and_case: Row::forwarded(get("x-b: 2\r\nX-A: 1\r\nX-b: 3"))
        .exactly("GET / HTTP/1.1\r\nHost: test.example\r\nx-b: 2\r\nX-A: 1\r\nX-b: 3\r\n\r\n");
}
