//! Paths: routed on what is forwarded, and refused where an upstream could read another one.

use tidegate_tests::probe::Row;

use super::path;

fn refused(target: &str) -> Row {
    Row::refused(path(target), "bad_path")
}

fn becomes(target: &str, seen: &'static str) -> Row {
    Row::forwarded(path(target)).target(seen)
}

/// As above, where `/admin/**` has a route of its own: `/a` before the path says that it took it.
fn routed(target: &str, seen: &'static str) -> Row {
    becomes(target, seen).config(
        "services: { a: { endpoints: ['http://UP/a'] }, b: { endpoints: ['http://UP/b'] }, \
         c: { endpoints: ['http://UP'] } }\n\
         routes:\n  - { name: after, match: { path: /after }, proxy: { service: c } }\n  \
         - { name: admin, match: { path: /admin/** }, proxy: { service: a } }\n  \
         - { name: rest, match: { path: /** }, proxy: { service: b } }\n",
    )
}

const DOTS: &str = "RFC 3986 section 6.2.2.2: equal to a dot; encoded in a dot segment, it is only there to be read by one side and not by the other";
const BACKSLASH: &str = "RFC 3986 section 3.3 gives a backslash no meaning, and some upstreams take it for a slash once they have decoded it";
const CONTROL: &str = "RFC 3986 section 7.3: control bytes split lines, and a NUL cuts the path, for an upstream that decodes them";
const ESCAPE: &str =
    "RFC 3986 section 2.1: two hex digits follow a percent sign; who repairs it reads another path";
const UTF_8: &str = "RFC 3986 section 2 has ASCII, and RFC 3629 section 3 no such UTF-8; such bytes are read in the encoding of whoever reads them";
const BYTES: &str =
    "RFC 3986 section 3.3: no path holds such a byte, and upstreams read it in their own ways";

rows! { Row:
    dots_that_leave_the_root_are_refused: refused("/..");
    dots_that_leave_the_root_with_a_slash_are_refused: refused("/../");
    dots_that_leave_the_root_for_a_file_are_refused: refused("/../../../../etc/passwd");
    dots_that_leave_the_root_on_a_detour_are_refused: refused("/a/../../b");
    dots_that_leave_the_root_behind_a_dot_are_refused: refused("/./../b");
    dots_half_encoded_are_refused: refused("/a/.%2e/b").why(DOTS);
    dots_encoded_are_refused: refused("/a/%2e%2e/b").why(DOTS);
    dots_encoded_in_capitals_are_refused: refused("/a/%2E%2E/b").why(DOTS);
    one_dot_encoded_is_refused: refused("/a/%2e/b").why(DOTS);
    dots_encoded_at_the_end_are_refused: refused("/a/%2e%2e").why(DOTS);
    dots_encoded_that_leave_the_root_are_refused: refused("/%2e%2e/%2e%2e/etc/passwd");
    dots_behind_a_backslash_are_refused: refused("/a\\..\\b").why(BYTES);
    a_backslash_is_no_slash: refused("/a\\b").why(BYTES);
    a_backslash_encoded_is_no_slash: refused("/a%5cb").why(BACKSLASH);
    a_backslash_encoded_in_capitals_is_no_slash: refused("/a%5Cb").why(BACKSLASH);
    a_backslash_encoded_before_dots_is_no_slash: refused("/a/..%5c..%5cb").why(BACKSLASH);
    a_nul_encoded_ends_no_path: refused("/a%00.html").why(CONTROL);
    a_nul_ends_no_path: Row::refused(path("/a\0b"), "bad_request");
    a_lf_encoded_splits_no_line: refused("/a%0aX-A:%201").why(CONTROL);
    a_cr_lf_encoded_splits_no_line: refused("/a%0d%0aX-A:%201").why(CONTROL);
    a_tab_encoded_is_refused: refused("/a%09b").why(CONTROL);
    an_escape_character_encoded_is_refused: refused("/a%1b[31m").why(CONTROL);
    a_delete_encoded_is_refused: refused("/a%7fb").why(CONTROL);
    a_bell_is_refused: Row::refused(path("/a\u{7}b"), "bad_request");
    a_delete_is_refused: Row::refused(path("/a\u{7f}b"), "bad_request");
    a_percent_alone_is_refused: refused("/a%").why(ESCAPE);
    a_percent_with_one_digit_is_refused: refused("/a%2").why(ESCAPE);
    a_percent_with_other_letters_is_refused: refused("/a%zz").why(ESCAPE);
    a_percent_with_one_other_letter_is_refused: refused("/a%2g").why(ESCAPE);
    a_percent_of_iis_is_refused: refused("/a%u002e%u002e/b").why(ESCAPE);
    a_percent_before_a_slash_is_refused: refused("/a%/b").why(ESCAPE);
    latin_1_is_refused: Row::refused(path("/\u{e9}"), "bad_request").why(UTF_8);
    an_overlong_slash_is_refused: Row::refused(path("/..\u{c0}\u{af}b"), "bad_request").why(UTF_8);
    an_overlong_dot_is_refused: Row::refused(path("/\u{c0}\u{ae}\u{c0}\u{ae}/b"), "bad_request").why(UTF_8);
    a_surrogate_is_refused: Row::refused(path("/\u{ed}\u{a0}\u{80}"), "bad_request").why(UTF_8);
    utf_8_cut_short_is_refused: Row::refused(path("/\u{e2}\u{82}"), "bad_request").why(UTF_8);
    a_path_that_is_refused_on_a_handshake_is_not_dialled: Row::refused(tidegate_tests::Request::handshake("/a/%2e%2e/b"), "bad_path").why(DOTS);

    dots_are_resolved_before_they_are_sent_on: becomes("/a/./b/../c", "/a/c");
    dots_at_the_end_leave_a_folder: becomes("/a/b/..", "/a/");
    one_dot_at_the_end_leaves_a_folder: becomes("/a/.", "/a/");
    three_dots_are_a_name: becomes("/.../b", "/.../b");
    three_dots_encoded_are_a_name: becomes("/%2e%2e%2e/b", "/.../b");
    a_name_that_begins_with_dots_is_a_name: becomes("/..a/.b", "/..a/.b");
    a_dot_encoded_within_a_name_is_decoded: becomes("/a%2ejson", "/a.json");
    letters_encoded_are_decoded: becomes("/%61%62", "/ab");
    a_tilde_encoded_is_decoded: becomes("/%7Ea", "/~a");
    a_percent_encoded_twice_is_decoded_never: becomes("/%252e%252e/b", "/%252e%252e/b");
    a_letter_encoded_twice_is_decoded_never: becomes("/%2561", "/%2561");
    a_slash_encoded_stays_encoded: becomes("/a%2Fb%2fc", "/a%2Fb%2fc");
    dots_between_slashes_encoded_stay: becomes("/a%2f..%2fb", "/a%2f..%2fb");
    a_blank_encoded_stays_encoded: becomes("/a%20b+c", "/a%20b+c");
    a_question_mark_encoded_stays_encoded: becomes("/a%3fb", "/a%3fb");
    a_hash_encoded_stays_encoded: becomes("/a%23b", "/a%23b");
    utf_8_encoded_stays_encoded: becomes("/%c3%a9", "/%c3%a9");
    two_slashes_stay_two: becomes("//a//b", "//a//b");
    a_host_behind_two_slashes_is_a_path: becomes("//evil.example/a", "//evil.example/a");
    parameters_of_a_segment_stay: becomes("/a;b=c/d", "/a;b=c/d");
    braces_and_pipes_stay: becomes("/{a}|b", "/{a}|b");
    a_query_passes_byte_for_byte: becomes("/a?b=%2e%2e&c=/../%00%zz&&", "/a?b=%2e%2e&c=/../%00%zz&&");
    an_empty_query_stays: becomes("/a?", "/a?");
    a_second_question_mark_is_of_the_query: becomes("/a?b?c", "/a?b?c");
    a_backslash_in_a_query_is_of_the_query: becomes("/a?b\\c", "/a?b\\c");

    dots_lead_to_no_other_route_than_was_matched: routed("/x/../admin/y", "/a/admin/y");
    letters_encoded_lead_to_no_other_route: routed("/%61dmin/y", "/a/admin/y");
    a_slash_encoded_leads_to_no_other_route: routed("/admin%2Fy", "/b/admin%2Fy");
    two_slashes_lead_to_no_other_route: routed("//admin/y", "/b//admin/y");
    capitals_lead_to_no_other_route: routed("/Admin/y", "/b/Admin/y");
    a_letter_encoded_twice_leads_to_no_other_route: routed("/%2561dmin/y", "/b/%2561dmin/y");
    dots_that_leave_the_route_leave_it: routed("/admin/../y", "/b/y");
    dots_that_come_back_come_back: routed("/admin/../admin", "/a/admin");
    a_parameter_is_part_of_its_segment: routed("/admin;x/y", "/b/admin;x/y");
    an_absolute_target_is_normalised_too: Row::forwarded("GET http://test.example/x/../%61dmin HTTP/1.1\r\nHost: test.example\r\n\r\n").target("/admin");

    a_control_byte_in_a_query_is_refused: Row::refused(path("/a?b=\u{1}"), "bad_request");
    a_delete_in_a_query_is_refused: Row::refused(path("/a?b=\u{7f}"), "bad_request");
    latin_1_in_a_query_is_refused: Row::refused(path("/a?b=\u{e9}"), "bad_request").why(UTF_8);
    utf_8_in_a_path_stays: becomes("/\u{c3}\u{a9}", "/\u{c3}\u{a9}");
    utf_8_in_a_query_stays: becomes("/a?\u{c3}\u{a9}", "/a?\u{c3}\u{a9}");
    quotes_and_angle_brackets_stay: becomes("/\"<a>\"", "/\"<a>\"");
    carets_and_backquotes_stay: becomes("/^`", "/^`");
    a_colon_and_an_at_sign_stay: becomes("/a:b@c", "/a:b@c");
    dots_behind_a_parameter_are_a_name: becomes("/a/..;/b", "/a/..;/b");
}
