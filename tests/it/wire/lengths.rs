//! Where a request ends: `Content-Length` and `Transfer-Encoding` (RFC 9112 sections 6.1 to 6.3).

use tidegate_tests::probe::Row;

use super::{BAD, get, post};

/// A POST with these lines and a body that is right in both readings of most of them.
fn with(lines: &str) -> Row {
    Row::refused(post(lines, "0\r\n\r\n"), BAD).why(FRAMING)
}

const FRAMING: &str = "RFC 9112 sections 6.1 to 6.3 and 11.2: a request whose end could be seen in two places is answered 400, and the connection closed";
const ELEMENTS: &str = "RFC 9112 section 6.1: the only coding we decode is `chunked`, once; RFC 9110 section 5.6.1.2 would let us skip empty elements, but peers disagree on them";

const SMUGGLED: &str = "0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: test.example\r\n\r\n";

rows! { Row:
    cl_te_smuggles_no_request: Row::refused(post("Content-Length: 54\r\nTransfer-Encoding: chunked", SMUGGLED), BAD);
    te_cl_smuggles_no_request: Row::refused(post("Transfer-Encoding: chunked\r\nContent-Length: 4", "39\r\nGET /smuggled HTTP/1.1\r\nHost: test.example\r\n\r\n\r\n0\r\n\r\n"), BAD);
    te_te_with_an_unknown_second_smuggles_no_request: Row::refused(post("Content-Length: 4\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: x", SMUGGLED), BAD);
    te_te_with_an_unknown_first_smuggles_no_request: Row::refused(post("Transfer-Encoding: x\r\nTransfer-Encoding: chunked", SMUGGLED), BAD);
    cl_0_beside_chunks_is_no_empty_body: with("Content-Length: 0\r\nTransfer-Encoding: chunked");
    get_with_cl_and_te_is_judged_as_a_post_is: Row::refused(get("Content-Length: 5\r\nTransfer-Encoding: chunked") + "0\r\n\r\n", BAD);
    cl_between_two_te_is_seen: with("Transfer-Encoding: chunked\r\nContent-Length: 5\r\nTransfer-Encoding: chunked");
    names_in_other_cases_are_the_same_names: with("cOnTeNt-LeNgTh: 5\r\ntRaNsFeR-eNcOdInG: chunked");

    cl_twice_alike_is_not_merged: Row::refused(post("Content-Length: 5\r\nContent-Length: 5", "hello"), BAD);
    cl_twice_unlike_is_not_chosen_from: Row::refused(post("Content-Length: 5\r\nContent-Length: 0", "hello"), BAD);
    cl_twice_far_apart_is_seen: Row::refused(post("Content-Length: 5\r\nX-A: 1\r\nX-B: 2\r\ncontent-length: 6", "hello"), BAD);
    cl_thrice_is_seen: with("Content-Length: 5\r\nContent-Length: 5\r\nContent-Length: 5");
    cl_list_of_equals_is_not_merged: Row::refused(post("Content-Length: 5, 5", "hello"), BAD);
    cl_list_of_unequals_is_not_chosen_from: with("Content-Length: 5,6");
    cl_with_a_comma_behind_is_no_number: with("Content-Length: 5,");
    cl_with_a_comma_before_is_no_number: with("Content-Length: ,5");
    cl_empty_is_no_zero: with("Content-Length:");
    cl_of_blanks_is_no_zero: with("Content-Length:   \t ");
    cl_with_a_plus_is_no_number: with("Content-Length: +5");
    cl_with_a_minus_is_no_number: with("Content-Length: -5");
    cl_minus_zero_is_no_zero: with("Content-Length: -0");
    cl_in_hex_is_no_number: with("Content-Length: 0x5");
    cl_with_hex_digits_is_no_number: with("Content-Length: 5a");
    cl_in_octal_of_c_is_no_number: with("Content-Length: 0o5");
    cl_with_an_exponent_is_no_number: with("Content-Length: 5e0");
    cl_with_a_fraction_is_no_number: with("Content-Length: 5.0");
    cl_with_underscores_is_no_number: with("Content-Length: 1_0");
    cl_with_a_space_inside_is_no_number: with("Content-Length: 1 0");
    cl_with_a_tab_inside_is_no_number: with("Content-Length: 1\t0");
    cl_in_quotes_is_no_number: with("Content-Length: \"5\"");
    cl_with_a_parameter_is_no_number: with("Content-Length: 5;a=b");
    cl_with_a_unit_is_no_number: with("Content-Length: 5 bytes");
    cl_with_a_nul_behind_is_no_number: with("Content-Length: 5\0");
    cl_with_a_vertical_tab_is_no_number: with("Content-Length: \u{b}5");
    cl_with_a_form_feed_is_no_number: with("Content-Length: 5\u{c}");
    cl_with_a_no_break_space_is_no_number: with("Content-Length: \u{a0}5");
    cl_in_superscript_is_no_number: with("Content-Length: \u{b2}");
    cl_in_arabic_digits_is_no_number: with("Content-Length: \u{d9}\u{a5}");
    cl_of_2_to_the_63_is_refused_before_it_is_counted: with("Content-Length: 9999999999999999999999");
    cl_of_2_to_the_64_wraps_to_no_zero: with("Content-Length: 18446744073709551616");
    cl_of_2_to_the_64_and_5_wraps_to_no_five: Row::refused(post("Content-Length: 18446744073709551621", "hello"), BAD);
    cl_of_2_to_the_32_and_5_in_64_bits_is_not_cut_to_5: Row::refused(post("Content-Length: 00000000000000000000000000000005", "hello"), BAD)
        .why("RFC 9112 section 6.3: a length is refused rather than guessed; more digits than any 64-bit number has are how parsers are made to overflow");
    cl_with_a_blank_name_end_is_no_other_field: with("Content-Length : 5");
    cl_with_a_tab_name_end_is_no_other_field: with("Content-Length\t: 5");
    cl_behind_a_fold_is_not_read: with("X-A: 1\r\n Content-Length: 5");
    cl_folded_is_not_read: with("Content-Length:\r\n 5");
    cl_with_leading_zeros_is_sent_on_in_one_form: Row::forwarded(post("Content-Length: 0005", "hello")).field("Content-Length", "5").body("hello");
    cl_of_zeros_is_sent_on_in_one_form: Row::forwarded(post("Content-Length: 00", "")).field("Content-Length", "0");
    cl_with_blanks_around_is_sent_on_bare: Row::forwarded(post("Content-Length: \t 5 \t", "hello")).field("Content-Length", "5").body("hello");
    cl_on_a_get_keeps_its_body_in_the_request: Row::forwarded(get("Content-Length: 5") + "hello").field("Content-Length", "5").body("hello");
    cl_on_a_delete_keeps_its_body_in_the_request: Row::forwarded("DELETE / HTTP/1.1\r\nHost: test.example\r\nContent-Length: 5\r\n\r\nhello").body("hello");
    cl_on_a_head_keeps_its_body_in_the_request: Row::forwarded("HEAD / HTTP/1.1\r\nHost: test.example\r\nContent-Length: 5\r\n\r\nhello").body("hello");
    cl_on_options_keeps_its_body_in_the_request: Row::forwarded("OPTIONS / HTTP/1.1\r\nHost: test.example\r\nContent-Length: 5\r\n\r\nhello").body("hello");
    cl_0_ends_the_request_at_its_head: Row::forwarded_as(2, post("Content-Length: 0", "") + &get("X-Second: 1"));
    a_post_without_a_length_ends_at_its_head: Row::forwarded_as(2, post("X-A: 1", "") + &get("X-Second: 1"));
    a_body_that_looks_like_a_request_stays_a_body: Row::forwarded(post("Content-Length: 48", "GET /smuggled HTTP/1.1\r\nHost: test.example\r\n\r\n12")).body("GET /smuggled HTTP/1.1\r\nHost: test.example\r\n\r\n12");
    cl_with_an_underscore_frames_nothing: Row::forwarded(get("Content_Length: 5")).lacks("Content-Length");
    te_with_an_underscore_frames_nothing: Row::forwarded(get("Transfer_Encoding: chunked")).lacks("Transfer-Encoding");
    cl_named_by_connection_still_frames: Row::forwarded(post("Connection: Content-Length\r\nContent-Length: 5", "hello")).field("Content-Length", "5").body("hello");
    te_named_by_connection_still_frames: Row::forwarded(post("Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked", "5\r\nhello\r\n0\r\n\r\n")).field("Transfer-Encoding", "chunked").body("hello");

    te_chunked_with_vertical_tab_is_no_request_smuggling: with("Transfer-Encoding: \u{b}chunked");
    te_chunked_with_form_feed_is_no_request_smuggling: with("Transfer-Encoding: chunked\u{c}");
    te_chunked_with_nul_is_no_request_smuggling: with("Transfer-Encoding: chunked\0");
    te_chunked_with_no_break_space_is_no_request_smuggling: with("Transfer-Encoding: \u{a0}chunked");
    te_chunked_behind_a_bare_lf_is_no_request_smuggling: with("Transfer-Encoding:\n chunked");
    te_chunked_behind_a_bare_cr_is_no_request_smuggling: with("X: y\rTransfer-Encoding: chunked");
    te_behind_a_bare_lf_is_no_request_smuggling: with("X: y\nTransfer-Encoding: chunked");
    te_folded_is_no_request_smuggling: with("Transfer-Encoding:\r\n chunked");
    te_folded_with_a_tab_is_no_request_smuggling: with("Transfer-Encoding:\r\n\tchunked");
    te_in_two_folds_is_no_request_smuggling: with("Transfer-Encoding: x,\r\n chunked");
    te_with_a_blank_name_end_is_no_other_field: with("Transfer-Encoding : chunked");
    te_with_a_blank_name_start_is_no_fold: with(" Transfer-Encoding: chunked");
    te_twice_chunked_is_not_decoded_once: with("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked");
    te_chunked_chunked_is_not_decoded_once: with("Transfer-Encoding: chunked, chunked");
    te_chunked_and_more_is_not_decoded: with("Transfer-Encoding: chunked, gzip");
    te_gzip_chunked_is_not_decoded_half: with("Transfer-Encoding: gzip, chunked");
    te_identity_is_no_framing: with("Transfer-Encoding: identity");
    te_identity_chunked_is_no_framing: with("Transfer-Encoding: identity, chunked");
    te_chunked_identity_is_no_framing: with("Transfer-Encoding: chunked, identity");
    te_unknown_alone_has_no_end: with("Transfer-Encoding: cow");
    te_deflate_alone_has_no_end: with("Transfer-Encoding: deflate");
    te_x_chunked_is_not_chunked: with("Transfer-Encoding: xchunked");
    te_chunked_x_is_not_chunked: with("Transfer-Encoding: chunkedx");
    te_chunked_cut_short_is_not_chunked: with("Transfer-Encoding: chunke");
    te_chunked_with_a_hyphen_is_not_chunked: with("Transfer-Encoding: -chunked");
    te_chunked_with_dotless_letters_is_not_chunked: with("Transfer-Encoding: chun\u{212a}ed");
    te_chunked_with_a_parameter_is_not_chunked: with("Transfer-Encoding: chunked;q=1");
    te_chunked_with_an_empty_parameter_is_not_chunked: with("Transfer-Encoding: chunked;");
    te_chunked_in_quotes_is_not_chunked: with("Transfer-Encoding: \"chunked\"");
    te_chunked_in_single_quotes_is_not_chunked: with("Transfer-Encoding: 'chunked'");
    te_chunked_in_brackets_is_not_chunked: with("Transfer-Encoding: [chunked]");
    te_chunked_in_two_words_is_not_chunked: with("Transfer-Encoding: chunked chunked");
    te_empty_is_not_none: with("Transfer-Encoding:");
    te_empty_and_chunked_is_not_one: with("Transfer-Encoding:\r\nTransfer-Encoding: chunked");
    te_with_an_empty_element_is_not_tidied: with("Transfer-Encoding: ,chunked")
        .why(ELEMENTS);
    te_with_a_comma_behind_is_not_tidied: with("Transfer-Encoding: chunked,")
        .why(ELEMENTS);
    te_on_http_1_0_is_no_framing: Row::refused("POST / HTTP/1.0\r\nHost: test.example\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", BAD);
    te_on_http_1_0_that_stays_is_no_framing: Row::refused("POST / HTTP/1.0\r\nHost: test.example\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", BAD);
    te_with_blanks_around_is_chunked: Row::forwarded(post("Transfer-Encoding: \t chunked \t", "0\r\n\r\n")).field("Transfer-Encoding", "chunked");
    te_in_capitals_is_chunked: Row::forwarded(post("TRANSFER-ENCODING: CHUNKED", "5\r\nhello\r\n0\r\n\r\n")).field("Transfer-Encoding", "chunked").body("hello");
    te_on_a_get_keeps_its_body_in_the_request: Row::forwarded(get("Transfer-Encoding: chunked") + "5\r\nhello\r\n0\r\n\r\n").body("hello");
    te_on_a_head_keeps_its_body_in_the_request: Row::forwarded("HEAD / HTTP/1.1\r\nHost: test.example\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n").body("hello");

    a_request_behind_connection_close_is_not_served: Row::forwarded(get("Connection: close") + &get("X-Second: 1")).ends().lacks("X-Second");
    a_request_behind_one_of_http_1_0_is_not_served: Row::forwarded("GET / HTTP/1.0\r\nHost: test.example\r\n\r\n".to_owned() + &get("X-Second: 1")).ends().at_once();
    a_body_of_a_refused_path_is_no_request: Row::refused(format!("POST /.. HTTP/1.1\r\nHost: test.example\r\nContent-Length: 46\r\n\r\n{}", get("X-A: 1")), "bad_path").at_once();
    chunks_of_a_refused_path_are_no_request: Row::refused("POST /.. HTTP/1.1\r\nHost: test.example\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", "bad_path").at_once();
    a_body_of_a_request_without_a_route_is_no_request: Row::refused(post("Content-Length: 46", &get("X-A: 1")), "no_route").at_once().config("services: { up: { endpoints: ['http://UP'] } }\nroutes: [{ name: r, match: { path: /after }, proxy: { service: up } }]\n");
    a_body_of_a_refused_method_is_no_request: Row::refused(post("Content-Length: 46", &get("X-A: 1")), "method_not_allowed").at_once().config("services: { up: { endpoints: ['http://UP'] } }\nroutes: [{ name: r, match: { path: /**, methods: GET }, proxy: { service: up } }]\n");
    a_body_of_zero_bytes_of_a_refused_path_leaves_the_connection: Row::refused("POST /.. HTTP/1.1\r\nHost: test.example\r\nContent-Length: 0\r\n\r\n", "bad_path");
}
